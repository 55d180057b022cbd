/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reader of TSS2 PRIVATE KEY files. `keyfile read FILE` prints what it read, a field a line, or
 * the error. `keyfile write FILE` prints the file as we would write it, and `keyfile again FILE` as
 * if we had made the key. `keyfile mutate FILE` reads every mutation of it.
 */
#include "store/keyfile.h"

#include <openssl/crypto.h>
#include <openssl/pem.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_FILE = 8192 };

static void print_bytes(const char *name, const uint8_t *bytes, size_t len)
{
    printf("%s ", name);
    for (size_t i = 0; i < len; i++)
        printf("%02x", bytes[i]);
    puts("");
}

static void print_policy(const struct lct_keyfile *keyfile)
{
    static const char *const kinds[] = {"none", "auth", "strict", "authority", "either"};
    static const struct lct_seal none;
    const struct lct_seal *seal = keyfile->seal != NULL ? keyfile->seal : &none;
    char text[LCT_SEAL_TEXT];

    lct_seal_text(text, seal);
    printf("seal %s\n", kinds[seal->kind]);
    printf("text %s\n", text);
    printf("auth_value %d\n", keyfile->policy_auth_value);
    print_bytes("pcr_digest", seal->pcr_digest, sizeof seal->pcr_digest);
    print_bytes("authority", seal->authority, seal->authority_len);
    print_bytes("policy_ref", seal->ref, seal->ref_len);
    printf("approvals %zu\n", keyfile->num_approvals);
    for (size_t i = 0; i < keyfile->num_approvals; i++) {
        const struct lct_approval *approval = &keyfile->approvals[i];
        bool good = lct_approval_verify(approval, NULL, seal->authority, seal->authority_len,
                                        NULL) == LCT_OK;
        printf("approval%zu %s ", i, good ? "signed" : "forged");
        print_bytes("policy", approval->policy, sizeof approval->policy);
    }
}

static int read_file(const struct lct_keyfile *keyfile)
{
    static const char *const types[] = {"loadable", "importable", "sealed"};

    printf("type %s\n", types[keyfile->type]);
    printf("empty_auth %d\n", keyfile->empty_auth);
    printf("has_policy %d\n", keyfile->has_policy);
    printf("has_secret %d\n", keyfile->has_secret);
    printf("rsa_parent %d\n", keyfile->rsa_parent);
    printf("description %s\n", keyfile->description != NULL ? keyfile->description : "");
    printf("parent %#x\n", keyfile->parent);
    print_bytes("public", keyfile->public_area, keyfile->public_len);
    print_bytes("private", keyfile->private_area, keyfile->private_len);
    print_policy(keyfile);
    return 0;
}

static int write_file(const struct lct_keyfile *keyfile)
{
    uint8_t *bytes = NULL;
    size_t len = 0;
    struct lct_err err = {0};

    if (lct_keyfile_write_pem(&bytes, &len, keyfile, &err) != LCT_OK) {
        printf("error %d %s\n", (int)err.code, err.text);
        return 1;
    }
    fwrite(bytes, 1, len, stdout);
    OPENSSL_free(bytes);
    return 0;
}

/* Reads bytes of exactly this length, in a block of their own so that a sanitizer sees a byte too
 * many. */
static bool readable(const uint8_t *bytes, size_t len)
{
    struct lct_keyfile keyfile = {0};
    struct lct_err err = {0};
    uint8_t *exact = malloc(len > 0 ? len : 1);

    if (exact == NULL)
        abort();
    memcpy(exact, bytes, len);
    bool taken = lct_keyfile_read(&keyfile, exact, len, NULL, &err) == LCT_OK;
    free(exact);
    lct_keyfile_clear(&keyfile);
    if (!taken && (err.code != LCT_ERR_BAD_RECORD || err.text[0] == '\0')) {
        printf("refused with code %d: %s\n", (int)err.code, err.text);
        exit(1);
    }
    return taken;
}

static int mutate_file(const uint8_t *bytes, size_t len)
{
    uint8_t changed[MAX_FILE + 1];
    size_t taken = 0;

    for (size_t cut = 0; cut < len; cut++) {
        if (readable(bytes, cut)) {
            printf("takes the first %zu of %zu bytes\n", cut, len);
            return 1;
        }
    }
    memcpy(changed, bytes, len);
    changed[len] = 0;
    if (readable(changed, len + 1)) {
        puts("takes a byte too many");
        return 1;
    }
    for (size_t i = 0; i < len; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            memcpy(changed, bytes, len);
            changed[i] ^= (uint8_t)(1u << bit);
            taken += readable(changed, len);
        }
    }
    printf("ok: %zu of %zu taken\n", taken, 8 * len);
    return 0;
}

int main(int argc, char **argv)
{
    uint8_t bytes[MAX_FILE];
    struct lct_keyfile keyfile = {0};
    struct lct_err err = {0};
    int status = 2;
    FILE *file = argc == 3 ? fopen(argv[2], "rb") : NULL;

    if (file == NULL)
        return 2;
    size_t len = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    if (lct_keyfile_read(&keyfile, bytes, len, NULL, &err) != LCT_OK) {
        printf("error %d %s\n", (int)err.code, err.text);
        return 1;
    }
    if (strcmp(argv[1], "read") == 0)
        status = read_file(&keyfile);
    else if (strcmp(argv[1], "write") == 0)
        status = write_file(&keyfile);
    else if (strcmp(argv[1], "again") == 0) {
        struct lct_keyfile fields = keyfile; /* borrowed parts */
        fields.der = NULL;
        status = write_file(&fields);
    } else if (strcmp(argv[1], "mutate") == 0)
        status = mutate_file(bytes, len);
    lct_keyfile_clear(&keyfile);
    return status;
}
