/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What sealing keeps in files, without a TPM. What fails prints "error CODE SENTENCE" and ends with
 * status 1.
 *
 *     sealing record FILE                  reads a record and prints it as it is written
 *     sealing key RECORD KEYFILE           whether a record and a key file are of one key
 *     sealing authority-put STORE PEM [PATH]
 *     sealing authority STORE              fingerprint, path of the private half
 *     sealing pcrs FILE                    reads PCR values and prints them as they are written
 *     sealing approve PEM PCRS             the authority's private key approves values
 *     sealing read APPROVAL PEM            approvals in a text: how many are the authority's
 *     sealing put STORE APPROVAL PEM
 *     sealing find STORE SYSTEMD PEM REF   approvals that fit: created and policy, a line each
 */
#include "base/encode.h"
#include "store/approval.h"
#include "store/authority.h"
#include "store/key.h"
#include "store/record.h"
#include "store/seal.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_FILE = 1 << 20 };

struct bytes {
    size_t len;
    uint8_t data[MAX_FILE];
};

static int fail(const struct lct_err *err)
{
    printf("error %d %s\n", (int)err->code, err->text);
    return 1;
}

static struct bytes *read_file(const char *path)
{
    struct bytes *bytes = malloc(sizeof *bytes);
    FILE *file = fopen(path, "rb");

    if (bytes == NULL || file == NULL)
        exit(2);
    bytes->len = fread(bytes->data, 1, sizeof bytes->data, file);
    fclose(file);
    return bytes;
}

static EVP_PKEY *read_pkey(const char *path)
{
    FILE *file = fopen(path, "r");
    EVP_PKEY *pkey = file != NULL ? PEM_read_PrivateKey(file, NULL, NULL, NULL) : NULL;

    if (pkey == NULL && file != NULL) {
        rewind(file);
        pkey = PEM_read_PUBKEY(file, NULL, NULL, NULL);
    }
    if (pkey == NULL)
        exit(2);
    fclose(file);
    return pkey;
}

static int print_text(char *text)
{
    if (text == NULL)
        return 2;
    puts(text);
    free(text);
    return 0;
}

static int record(char **args)
{
    struct lct_record *read = NULL;
    struct lct_err err = {0};
    struct bytes *bytes = read_file(args[0]);
    enum lct_code code = lct_record_read(&read, bytes->data, bytes->len, &err);

    free(bytes);
    if (code != LCT_OK)
        return fail(&err);
    int status = print_text(lct_record_write(read));
    free(read);
    return status;
}

static int agree(char **args)
{
    struct lct_crypto *crypto = lct_crypto_new();
    struct lct_record *read = NULL;
    struct lct_key *key = NULL;
    struct lct_err err = {0};
    struct bytes *bytes = read_file(args[0]), *pem = read_file(args[1]);
    enum lct_code code = lct_record_read(&read, bytes->data, bytes->len, &err);

    if (code == LCT_OK)
        code = lct_key_new(&key, crypto, read, 0, pem->data, pem->len, &err);
    if (code == LCT_OK)
        code = lct_key_check(key, &err);
    if (code == LCT_OK)
        puts("agree");
    lct_key_free(key);
    free(read);
    free(bytes);
    free(pem);
    lct_crypto_free(crypto);
    return code == LCT_OK ? 0 : fail(&err);
}

static int put_authority(char **args)
{
    struct lct_store store = {.num_dirs = 1, .dirs = {args[0]}};
    struct lct_crypto *crypto = lct_crypto_new();
    EVP_PKEY *pkey = read_pkey(args[1]);
    struct lct_err err = {0};
    enum lct_code code = lct_authority_put(&store, crypto, pkey, args[2], &err);

    EVP_PKEY_free(pkey);
    lct_crypto_free(crypto);
    return code == LCT_OK ? 0 : fail(&err);
}

static int show_authority(char **args)
{
    struct lct_store store = {.num_dirs = 1, .dirs = {args[0]}};
    struct lct_crypto *crypto = lct_crypto_new();
    struct lct_authority authority;
    struct lct_err err = {0};
    enum lct_code code = lct_authority_get(&authority, &store, NULL, crypto, &err);

    if (code == LCT_OK)
        printf("%s %s\n", authority.fingerprint,
               authority.private_key != NULL ? authority.private_key : "-");
    lct_authority_clear(&authority);
    lct_crypto_free(crypto);
    return code == LCT_OK ? 0 : fail(&err);
}

static int pcrs(char **args)
{
    struct lct_seal seal = {.kind = LCT_SEAL_AUTHORITY};
    struct lct_approval approval = {0};
    struct lct_pcr_values values;
    struct lct_err err = {0};
    char id[LCT_MAX_ID + 1];
    struct bytes *bytes = read_file(args[0]);
    enum lct_code code = lct_pcrs_read(&values, &approval, id, bytes->data, bytes->len, &err);

    free(bytes);
    if (code != LCT_OK)
        return fail(&err);
    seal.counter = approval.counter;
    seal.ref_len = approval.ref_len;
    memcpy(seal.ref, approval.ref, sizeof seal.ref);
    return print_text(lct_pcrs_write(&values, id[0] != '\0' ? id : NULL, &seal));
}

static int approve(char **args)
{
    EVP_PKEY *pkey = read_pkey(args[0]);
    struct bytes *bytes = read_file(args[1]);
    struct lct_approval approval = {.created = "2026-11-29T12:00:00Z"};
    struct lct_pcr_values values;
    struct lct_err err = {0};
    char id[LCT_MAX_ID + 1], fingerprint[65];
    enum lct_code code = lct_pcrs_read(&values, &approval, id, bytes->data, bytes->len, &err);

    free(bytes);
    if (code == LCT_OK)
        code = lct_approval_sign(&approval, NULL, &values, pkey, &err);
    if (code == LCT_OK)
        code = lct_authority_fingerprint(fingerprint, pkey, NULL, &err);
    EVP_PKEY_free(pkey);
    return code == LCT_OK ? print_text(lct_approval_write(&approval, fingerprint)) : fail(&err);
}

/* The approvals in a text that are of the authority with this key. */
static enum lct_code read_approvals(struct lct_approvals *approvals, char fingerprint[65],
                                    const char *path, const char *key, struct lct_err *err)
{
    uint8_t public_area[LCT_MAX_AUTHORITY];
    size_t public_len;
    EVP_PKEY *pkey = read_pkey(key);
    struct bytes *bytes = read_file(path);
    enum lct_code code = lct_authority_public(public_area, &public_len, pkey, err);

    if (code == LCT_OK)
        code = lct_authority_fingerprint(fingerprint, pkey, NULL, err);
    if (code == LCT_OK)
        code = lct_approvals_read(approvals, bytes->data, bytes->len, public_area, public_len, NULL,
                                  err);
    EVP_PKEY_free(pkey);
    free(bytes);
    return code;
}

static int read_text(char **args)
{
    struct lct_approvals approvals = {0};
    struct lct_err err = {0};
    char fingerprint[65];
    enum lct_code code = read_approvals(&approvals, fingerprint, args[0], args[1], &err);

    if (code == LCT_OK)
        printf("%zu\n", approvals.num);
    lct_approvals_clear(&approvals);
    return code == LCT_OK ? 0 : fail(&err);
}

static int put(char **args)
{
    struct lct_approvals approvals = {0};
    struct lct_err err = {0};
    char fingerprint[65];
    enum lct_code code = read_approvals(&approvals, fingerprint, args[1], args[2], &err);

    for (size_t i = 0; i < approvals.num && code == LCT_OK; i++)
        code = lct_approval_put(args[0], &approvals.all[i], fingerprint, true, &err);
    lct_approvals_clear(&approvals);
    return code == LCT_OK ? 0 : fail(&err);
}

static int find(char **args)
{
    struct lct_seal seal = {.kind = LCT_SEAL_AUTHORITY};
    struct lct_approvals approvals = {0};
    struct lct_err err = {0};
    char policy[2 * LCT_POLICY_DIGEST + 1];
    EVP_PKEY *pkey = read_pkey(args[2]);
    enum lct_code code = lct_authority_public(seal.authority, &seal.authority_len, pkey, &err);

    EVP_PKEY_free(pkey);
    if (!lct_hex_decode(seal.ref, &seal.ref_len, sizeof seal.ref, args[3] != NULL ? args[3] : ""))
        return 2;
    if (code == LCT_OK)
        code = lct_approvals_find(&approvals, args[0], args[1], &seal, NULL, &err);
    for (size_t i = 0; i < approvals.num; i++) {
        lct_hex_encode(policy, approvals.all[i].policy, LCT_POLICY_DIGEST);
        printf("%s %s\n", approvals.all[i].created, policy);
    }
    lct_approvals_clear(&approvals);
    return code == LCT_OK ? 0 : fail(&err);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int num_args; /* at least */
        int (*run)(char **args);
    } commands[] = {{"record", 1, record},
                    {"key", 2, agree},
                    {"authority-put", 2, put_authority},
                    {"authority", 1, show_authority},
                    {"pcrs", 1, pcrs},
                    {"approve", 2, approve},
                    {"read", 2, read_text},
                    {"put", 3, put},
                    {"find", 3, find}};

    for (size_t i = 0; i < sizeof commands / sizeof commands[0] && argc > 1; i++)
        if (strcmp(argv[1], commands[i].name) == 0 && argc >= 2 + commands[i].num_args)
            return commands[i].run(argv + 2);
    return 2;
}
