/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Statements on the life of an identity, by keys in software. KEY is a private key in PEM; NAME a
 * TPM's in hexadecimal, or "-" of a key in software; "-" is none, too, of EVIDENCE and VERDICT.
 * What fails prints "error CODE SENTENCE" and ends with status 1.
 *
 *     statement succession ID COUNTER REASON TIME NUMBER NAME KEY NUMBER NAME KEY EVIDENCE ROLES
 *                                 of two keys; signed in those of the roles "old,new"
 *     statement end ID COUNTER retired|REASON TIME NUMBER NAME KEY
 *     statement signed ID NUMBER TIME KIND FILE KEY
 *     statement witness STATEMENT KEY VERDICT SECONDS
 *     statement as ROLE STATEMENT KEY      a signature more, in the role "old" or "new"
 *     statement change STATEMENT TRUST SECONDS STEP   with one bit changed, each STEPth in turn:
 *                                 how many of how many hold
 *     statement write FILE                 JSON in its canonical form, or "none"
 *     statement read FILE                  "canonical" or "none"
 */
#include "proof/ending.h"
#include "proof/jcs.h"
#include "proof/json.h"
#include "proof/signed_statement.h"
#include "proof/succession.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_FILE = 4 << 20 };

struct file {
    uint8_t *bytes; /* in a block of their own, so that a sanitizer sees a byte too many */
    size_t len;
};

static OSSL_LIB_CTX *libctx;
static struct lct_err err;

static void must(bool good, const char *what)
{
    if (good)
        return;
    (void)fprintf(stderr, "statement: %s\n", what);
    exit(2);
}

static int fail(void)
{
    printf("error %d %s\n", (int)err.code, err.text);
    return 1;
}

static struct file read_file(const char *path)
{
    static uint8_t room[MAX_FILE];
    FILE *stream = fopen(path, "rb");

    must(stream != NULL, path);
    struct file file = {.len = fread(room, 1, sizeof room, stream)};
    (void)fclose(stream);
    file.bytes = malloc(file.len > 0 ? file.len : 1);
    must(file.bytes != NULL, "memory");
    memcpy(file.bytes, room, file.len);
    return file;
}

static EVP_PKEY *read_key(const char *path)
{
    FILE *stream = fopen(path, "rb");

    must(stream != NULL, path);
    EVP_PKEY *pkey = PEM_read_PrivateKey_ex(stream, NULL, NULL, NULL, libctx, NULL);
    (void)fclose(stream);
    must(pkey != NULL, "a private key");
    return pkey;
}

static struct lct_signer signer_of(EVP_PKEY *pkey)
{
    struct lct_signer signer;

    must(lct_signer_of_pkey(&signer, pkey, libctx, &err) == LCT_OK, err.text);
    return signer;
}

static unsigned number_of(const char *text)
{
    return (unsigned)strtoul(text, NULL, 10);
}

static void set(char *text, size_t size, const char *value)
{
    must(snprintf(text, size, "%s", value) < (int)size, "a text is too long");
}

/* Of NUMBER NAME KEY; the caller frees the key. */
static EVP_PKEY *read_subject(struct lct_subject *subject, char **args)
{
    EVP_PKEY *pkey = read_key(args[2]);

    *subject = (struct lct_subject){.generation = number_of(args[0])};
    subject->software = strcmp(args[1], "-") == 0;
    must(subject->software || lct_json_name(&subject->name, args[1]), "a Name");
    must(lct_subject_set_key(subject, pkey, &err) == LCT_OK, err.text);
    return pkey;
}

/* Prints it, and lets it go. */
static int finish(struct lct_jws_general *jws, enum lct_code code)
{
    char *text = code == LCT_OK ? lct_jws_general_write(jws) : NULL;

    lct_jws_general_clear(jws);
    if (code != LCT_OK)
        return fail();
    must(text != NULL, "memory");
    puts(text);
    free(text);
    return 0;
}

static int succession(char **args)
{
    struct lct_succession made = {.counter = number_of(args[1])};
    struct lct_jws_general jws;

    set(made.id, sizeof made.id, args[0]);
    set(made.reason, sizeof made.reason, args[2]);
    set(made.created, sizeof made.created, args[3]);
    EVP_PKEY *from = read_subject(&made.old_key, args + 4);
    EVP_PKEY *to = read_subject(&made.new_key, args + 7);
    if (strcmp(args[10], "-") != 0)
        set(made.evidence, sizeof made.evidence, args[10]);
    enum lct_code code = lct_succession_begin(&jws, &made, libctx, &err);
    struct lct_signer by_old = signer_of(from), by_new = signer_of(to);
    if (code == LCT_OK && strstr(args[11], "old") != NULL)
        code = lct_succession_sign(&jws, &made, LCT_ROLE_OLD, &by_old, &err);
    if (code == LCT_OK && strstr(args[11], "new") != NULL)
        code = lct_succession_sign(&jws, &made, LCT_ROLE_NEW, &by_new, &err);
    EVP_PKEY_free(from);
    EVP_PKEY_free(to);
    return finish(&jws, code);
}

static int end(char **args)
{
    struct lct_end made = {.counter = number_of(args[1])};
    struct lct_jws_general jws;

    set(made.id, sizeof made.id, args[0]);
    made.revoked = strcmp(args[2], "retired") != 0;
    set(made.reason, sizeof made.reason, made.revoked ? args[2] : "");
    set(made.created, sizeof made.created, args[3]);
    EVP_PKEY *pkey = read_subject(&made.key, args + 4);
    struct lct_signer signer = signer_of(pkey);
    enum lct_code code = lct_end_sign(&jws, &made, &signer, &err);
    EVP_PKEY_free(pkey);
    return finish(&jws, code);
}

static int signed_statement(char **args)
{
    struct file file = read_file(args[4]);
    struct lct_signed_statement made = {.generation = number_of(args[1])};
    struct lct_jws_general jws;
    EVP_PKEY *pkey = read_key(args[5]);
    struct lct_signer signer = signer_of(pkey);

    set(made.id, sizeof made.id, args[0]);
    set(made.created, sizeof made.created, args[2]);
    set(made.kind, sizeof made.kind, args[3]);
    made.content = file.bytes;
    made.content_len = file.len;
    enum lct_code code = lct_signed_statement_sign(&jws, &made, &signer, &err);
    free(file.bytes);
    EVP_PKEY_free(pkey);
    return finish(&jws, code);
}

static enum lct_code read_succession(struct lct_jws_general *jws, struct lct_succession *read,
                                     const char *path)
{
    struct file file = read_file(path);
    enum lct_code code = lct_jws_general_read(jws, file.bytes, file.len, &err);

    free(file.bytes);
    return code == LCT_OK ? lct_succession_read(read, libctx, jws, &err) : code;
}

static char *read_verdict(const char *path)
{
    if (strcmp(path, "-") == 0)
        return NULL;
    struct file file = read_file(path);
    char *text = strndup((const char *)file.bytes, file.len);
    free(file.bytes);
    must(text != NULL, "memory");
    text[strcspn(text, "\n")] = '\0';
    return text;
}

static int witness(char **args)
{
    struct lct_jws_general jws;
    struct lct_succession read;
    EVP_PKEY *pkey = read_key(args[1]);
    struct lct_signer signer = signer_of(pkey);
    char *verdict = read_verdict(args[2]);
    enum lct_code code = read_succession(&jws, &read, args[0]);

    if (code == LCT_OK)
        code = lct_succession_witness(&jws, &read, &signer, verdict,
                                      (time_t)strtoll(args[3], NULL, 10), &err);
    free(verdict);
    EVP_PKEY_free(pkey);
    return finish(&jws, code);
}

static int sign_as(char **args)
{
    struct lct_jws_general jws;
    struct lct_succession read;
    EVP_PKEY *pkey = read_key(args[2]);
    struct lct_signer signer = signer_of(pkey);
    enum lct_role role = strcmp(args[0], "old") == 0 ? LCT_ROLE_OLD : LCT_ROLE_NEW;
    enum lct_code code = read_succession(&jws, &read, args[1]);

    if (code == LCT_OK)
        code = lct_succession_sign(&jws, &read, role, &signer, &err);
    EVP_PKEY_free(pkey);
    return finish(&jws, code);
}

static bool holds(const struct file *file, const struct lct_judgement_request *request)
{
    static struct lct_judgement judgement;
    struct lct_jws_general jws;
    struct lct_succession read;
    enum lct_code code = lct_jws_general_read(&jws, file->bytes, file->len, NULL);

    judgement.holds = false;
    if (code == LCT_OK)
        code = lct_succession_read(&read, libctx, &jws, NULL);
    if (code == LCT_OK)
        lct_succession_judge(&judgement, libctx, &read, &jws, request);
    lct_jws_general_clear(&jws);
    return code == LCT_OK && judgement.holds;
}

static int change(char **args)
{
    struct file file = read_file(args[0]);
    struct lct_trust *trust = NULL;
    struct lct_judgement_request request = {.threshold = 1,
                                            .now = (time_t)strtoll(args[2], NULL, 10)};
    size_t num_held = 0, num = 0, step = number_of(args[3]);

    must(step > 0 && lct_trust_read(&trust, libctx, args[1], &err) == LCT_OK, err.text);
    request.trust = trust;
    while (file.len > 0 && file.bytes[file.len - 1] == '\n')
        file.len--;
    must(holds(&file, &request), "it does not hold as it is");
    for (size_t bit = 0; bit < 8 * file.len; bit += step, num++) {
        file.bytes[bit / 8] = (uint8_t)(file.bytes[bit / 8] ^ 1u << bit % 8);
        num_held += holds(&file, &request);
        file.bytes[bit / 8] = (uint8_t)(file.bytes[bit / 8] ^ 1u << bit % 8);
    }
    printf("%zu %zu\n", num_held, num);
    lct_trust_free(trust);
    free(file.bytes);
    return 0;
}

static int write_canonical(char **args)
{
    struct file file = read_file(args[0]);
    json_t *json = json_loadb((const char *)file.bytes, file.len, JSON_DECODE_ANY, NULL);
    char *text = lct_jcs_write(json);

    puts(text != NULL ? text : "none");
    free(text);
    json_decref(json);
    free(file.bytes);
    return 0;
}

static int read_canonical(char **args)
{
    struct file file = read_file(args[0]);
    json_t *json = lct_jcs_read(file.bytes, file.len);

    puts(json != NULL ? "canonical" : "none");
    json_decref(json);
    free(file.bytes);
    return 0;
}

static const struct {
    const char *word;
    int num_args;
    int (*run)(char **args);
} commands[] = {
    {"succession", 12, succession},
    {"end", 7, end},
    {"signed", 6, signed_statement},
    {"witness", 4, witness},
    {"as", 3, sign_as},
    {"write", 1, write_canonical},
    {"change", 4, change},
    {"read", 1, read_canonical},
};

int main(int argc, char **argv)
{
    int status = 2;

    libctx = OSSL_LIB_CTX_new();
    for (size_t i = 0; libctx != NULL && i < sizeof commands / sizeof commands[0]; i++)
        if (argc - 2 == commands[i].num_args && strcmp(argv[1], commands[i].word) == 0)
            status = commands[i].run(argv + 2);
    OSSL_LIB_CTX_free(libctx);
    return status;
}
