/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a verifier issues, and what it believes of what others issued. EVIDENCE and CLAIMS are JSON,
 * KEY is PEM, CERT is DER, TRUST a trust file ("-": none), TIME seconds. What fails prints "error
 * CODE SENTENCE" and ends with status 1.
 *
 *     issue certificate EVIDENCE KEY CERT TRUST TIME DAYS OUTPUT    an AK certificate, in DER
 *     issue verdict EVIDENCE CLAIMS KEY TIME DAYS                   a signed verdict
 *     issue liar EVIDENCE CLAIMS KEY CERT TIME    both, by a signer whose signatures are wrong
 *     issue read JWS                              what is in it, believing nothing, as JSON
 *     issue judge JWS TRUST TIME [KEY]            the same as it is to be taken
 *     issue change JWS TRUST TIME                 with each bit changed, each beginning of it, and
 * a character more: how many of how many hold issue claims CLAIMS                         reads
 * them and prints them as they are written issue fault CERT TIME lct_ak_certificate_fault
 */
#include "proof/ak.h"
#include "proof/document.h"
#include "proof/issue.h"
#include "proof/json.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_FILE = 1 << 20 };

struct file {
    char *bytes; /* in a block of their own, so that a sanitizer sees a byte too many */
    size_t len;
};

static OSSL_LIB_CTX *libctx;
static struct lct_err err;

static void must(bool good, const char *what)
{
    if (good)
        return;
    (void)fprintf(stderr, "issue: %s\n", what);
    exit(2);
}

static int fail(void)
{
    printf("error %d %s\n", (int)err.code, err.text);
    return 1;
}

static char *copy(const char *bytes, size_t len)
{
    char *block = malloc(len > 0 ? len : 1);

    must(block != NULL, "memory");
    memcpy(block, bytes, len);
    return block;
}

static struct file read_file(const char *path)
{
    static char room[MAX_FILE];
    struct file file;
    FILE *stream = fopen(path, "rb");

    must(stream != NULL, path);
    file.len = fread(room, 1, sizeof room, stream);
    (void)fclose(stream);
    file.bytes = copy(room, file.len);
    return file;
}

static json_t *read_json(const char *path)
{
    struct file file = read_file(path);
    json_t *json = json_loadb(file.bytes, file.len, JSON_REJECT_DUPLICATES, NULL);

    free(file.bytes);
    must(json != NULL, path);
    return json;
}

static EVP_PKEY *read_key(const char *path)
{
    FILE *stream = fopen(path, "r");

    must(stream != NULL, path);
    EVP_PKEY *pkey = PEM_read_PrivateKey_ex(stream, NULL, NULL, NULL, libctx, NULL);
    if (pkey == NULL) {
        rewind(stream);
        pkey = PEM_read_PUBKEY_ex(stream, NULL, NULL, NULL, libctx, NULL);
    }
    (void)fclose(stream);
    must(pkey != NULL, path);
    return pkey;
}

static X509 *read_certificate(const char *path)
{
    struct file file = read_file(path);
    const unsigned char *at = (const unsigned char *)file.bytes;
    X509 *certificate = X509_new_ex(libctx, NULL);

    must(certificate != NULL && d2i_X509(&certificate, &at, (long)file.len) != NULL, path);
    free(file.bytes);
    return certificate;
}

static struct lct_evidence *read_evidence(const char *path)
{
    struct lct_evidence *evidence = NULL;
    json_t *json = read_json(path);

    must(lct_evidence_read(&evidence, libctx, json, &err) == LCT_OK, err.text);
    json_decref(json);
    return evidence;
}

static struct lct_trust *read_trust(const char *path)
{
    struct lct_trust *trust = NULL;

    if (strcmp(path, "-") != 0)
        must(lct_trust_read(&trust, libctx, path, &err) == LCT_OK, err.text);
    return trust;
}

static time_t read_time(const char *text)
{
    return (time_t)strtoll(text, NULL, 10);
}

static void read_claims(struct lct_verdict *verdict, const char *path)
{
    json_t *json = read_json(path);

    must(lct_verdict_from_json(verdict, json), path);
    json_decref(json);
}

static int certificate(char **args)
{
    struct lct_evidence *evidence = read_evidence(args[0]);
    EVP_PKEY *pkey = read_key(args[1]);
    struct lct_trust *trust = read_trust(args[3]);
    struct lct_signer signer;
    struct lct_issue issue = {.signer = &signer,
                              .certificate = read_certificate(args[2]),
                              .trust = trust,
                              .now = read_time(args[4]),
                              .days = (unsigned)strtoul(args[5], NULL, 10)};
    uint8_t *der = NULL;
    size_t der_len = 0;
    enum lct_code code = lct_signer_of_pkey(&signer, pkey, libctx, &err);

    if (code == LCT_OK)
        code = lct_issue_certificate(&der, &der_len, libctx, evidence, &issue, &err);
    if (code == LCT_OK) {
        FILE *output = fopen(args[6], "wb");
        must(output != NULL && fwrite(der, 1, der_len, output) == der_len && fclose(output) == 0,
             args[6]);
    }
    OPENSSL_free(der);
    X509_free(issue.certificate);
    lct_trust_free(trust);
    EVP_PKEY_free(pkey);
    lct_evidence_free(evidence);
    return code == LCT_OK ? 0 : fail();
}

static int verdict(char **args)
{
    struct lct_evidence *evidence = read_evidence(args[0]);
    EVP_PKEY *pkey = read_key(args[2]);
    struct lct_verdict given = {0};
    struct lct_signer signer;
    const struct lct_issue issue = {
        .signer = &signer, .now = read_time(args[3]), .days = (unsigned)strtoul(args[4], NULL, 10)};
    char *jws = NULL;
    enum lct_code code = lct_signer_of_pkey(&signer, pkey, libctx, &err);

    read_claims(&given, args[1]);
    if (code == LCT_OK)
        code = lct_issue_verdict(&jws, libctx, evidence, &given, &issue, &err);
    if (code == LCT_OK)
        puts(jws);
    free(jws);
    EVP_PKEY_free(pkey);
    lct_evidence_free(evidence);
    return code == LCT_OK ? 0 : fail();
}

/* One bit of it is another, as in a fault. */
static enum lct_code lie(const struct lct_signer *signer, struct lct_signature *signature,
                         const uint8_t *message, size_t message_len, struct lct_err *why)
{
    const struct lct_signer *honest = signer->arg;
    enum lct_code code = honest->sign(honest, signature, message, message_len, why);

    signature->data[signature->len - 1] ^= 1;
    return code;
}

static int liar(char **args)
{
    struct lct_evidence *evidence = read_evidence(args[0]);
    EVP_PKEY *pkey = read_key(args[2]);
    struct lct_verdict given = {0};
    struct lct_signer honest, signer;
    struct lct_issue issue = {.signer = &signer,
                              .certificate = read_certificate(args[3]),
                              .now = read_time(args[4]),
                              .days = 1};
    uint8_t *der = NULL;
    size_t der_len = 0;
    char *jws = NULL;

    read_claims(&given, args[1]);
    must(lct_signer_of_pkey(&honest, pkey, libctx, &err) == LCT_OK, err.text);
    signer = honest;
    signer.sign = lie;
    signer.arg = &honest;
    must(lct_issue_certificate(&der, &der_len, libctx, evidence, &issue, &err) != LCT_OK &&
             der == NULL && der_len == 0,
         "a certificate with a wrong signature is given out");
    (void)fail();
    must(lct_issue_verdict(&jws, libctx, evidence, &given, &issue, &err) != LCT_OK && jws == NULL,
         "a verdict with a wrong signature is given out");
    (void)fail();
    X509_free(issue.certificate);
    EVP_PKEY_free(pkey);
    lct_evidence_free(evidence);
    return 0;
}

static int print_issued(const struct lct_issued_verdict *issued)
{
    json_t *json = json_pack(
        "{s:s, s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:b, s:o}", "id", issued->id,
        "generation", (int)issued->generation, "issued", issued->issued, "expires", issued->expires,
        "issuer", issued->issuer, "ek", issued->ek, "challenge", issued->challenge, "evidence",
        issued->evidence, "ak", lct_json_of_bytes(issued->ak.data, issued->ak.len), "key",
        lct_document_of_bytes(issued->key.bytes, issued->key.len), "holds",
        (int)lct_verdict_holds(&issued->verdict), "claims", lct_verdict_json(&issued->verdict));

    must(json != NULL && json_dumpf(json, stdout, 0) == 0, "JSON");
    puts("");
    json_decref(json);
    return 0;
}

static int read_jws(char **args)
{
    static struct lct_issued_verdict issued;
    struct file jws = read_file(args[0]);
    enum lct_code code = lct_issued_verdict_read(&issued, libctx, jws.bytes, jws.len, &err);

    free(jws.bytes);
    return code == LCT_OK ? print_issued(&issued) : fail();
}

static int judge(char **args)
{
    static struct lct_issued_verdict issued;
    struct file jws = read_file(args[0]);
    struct lct_trust *trust = read_trust(args[1]);
    EVP_PKEY *pkey = args[3] != NULL ? read_key(args[3]) : NULL;
    enum lct_code code = lct_issued_verdict_judge(&issued, libctx, jws.bytes, jws.len, trust, pkey,
                                                  read_time(args[2]), &err);

    EVP_PKEY_free(pkey);
    lct_trust_free(trust);
    free(jws.bytes);
    return code == LCT_OK ? print_issued(&issued) : fail();
}

static bool holds(const struct lct_trust *trust, time_t now, const char *text, size_t len)
{
    static struct lct_issued_verdict issued;
    char *block = copy(text, len);
    enum lct_code code =
        lct_issued_verdict_judge(&issued, libctx, block, len, trust, NULL, now, NULL);

    free(block);
    return code == LCT_OK && lct_verdict_holds(&issued.verdict);
}

/* How many of the eight with one bit of this character changed hold. */
static size_t flip(const struct lct_trust *trust, time_t now, struct file *jws, size_t at)
{
    const char as_it_is = jws->bytes[at];
    size_t num_held = 0;

    for (unsigned bit = 0; bit < 8; bit++) {
        const uint8_t changed = (uint8_t)as_it_is ^ (uint8_t)(1u << bit);
        memcpy(jws->bytes + at, &changed, 1);
        num_held += holds(trust, now, jws->bytes, jws->len);
    }
    jws->bytes[at] = as_it_is;
    return num_held;
}

static int change(char **args)
{
    struct file jws = read_file(args[0]);
    struct lct_trust *trust = read_trust(args[1]);
    time_t now = read_time(args[2]);
    char *longer = malloc(jws.len + 1);
    size_t num = 0, num_held = 0;

    must(longer != NULL && holds(trust, now, jws.bytes, jws.len), "it does not hold as it is");
    for (size_t at = 0; at < jws.len; at++) {
        num_held += flip(trust, now, &jws, at);
        num_held += holds(trust, now, jws.bytes, at);
        memcpy(longer, jws.bytes, at);
        longer[at] = at % 2 == 0 ? '.' : 'A';
        memcpy(longer + at + 1, jws.bytes + at, jws.len - at);
        num_held += holds(trust, now, longer, jws.len + 1);
        num += 8 + 2;
    }
    printf("%zu %zu\n", num_held, num);
    free(longer);
    lct_trust_free(trust);
    free(jws.bytes);
    return 0;
}

static int claims(char **args)
{
    struct lct_verdict given = {0};
    json_t *json = read_json(args[0]);
    bool good = lct_verdict_from_json(&given, json);

    json_decref(json);
    if (!good) {
        puts("malformed");
        return 1;
    }
    json = lct_verdict_json(&given);
    must(json != NULL && json_dumpf(json, stdout, 0) == 0, "JSON");
    puts("");
    json_decref(json);
    return 0;
}

static int fault(char **args)
{
    X509 *given = read_certificate(args[0]);
    const char *what = lct_ak_certificate_fault(given, read_time(args[1]));

    puts(what != NULL ? what : "none");
    X509_free(given);
    return 0;
}

static const struct {
    const char *word;
    int num_args; /* at least */
    int (*run)(char **args);
} commands[] = {
    {"certificate", 7, certificate}, {"verdict", 5, verdict}, {"liar", 5, liar},
    {"read", 1, read_jws},           {"judge", 3, judge},     {"change", 3, change},
    {"claims", 1, claims},           {"fault", 2, fault},
};

int main(int argc, char **argv)
{
    int status = 2;

    libctx = OSSL_LIB_CTX_new();
    for (size_t i = 0; libctx != NULL && i < sizeof commands / sizeof commands[0]; i++)
        if (argc - 2 >= commands[i].num_args && strcmp(argv[1], commands[i].word) == 0)
            status = commands[i].run(argv + 2);
    OSSL_LIB_CTX_free(libctx);
    return status;
}
