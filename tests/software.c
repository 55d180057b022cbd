/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys in software. `software web4 FILE` prints the name that follows from a public key in PEM.
 * `software wiped STORE ID FILE` signs with an identity whose passphrase is in FILE, and then looks
 * for that passphrase in all of its own memory: it has to be there before the key is freed, and
 * nowhere after that. `software mutate FILE` reads the file of a key with each byte of it changed.
 */
#include "memory.h"

#include "base/config.h"
#include "proof/web4.h"
#include "store/key.h"
#include "store/software.h"
#include "store/store.h"

#include <openssl/crypto.h>
#include <openssl/pem.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_FILE = 8192 };

static int fail(const char *what)
{
    fprintf(stderr, "software: %s\n", what);
    return 1;
}

static int print_web4(const char *path)
{
    char name[LCT_WEB4_NAME];
    FILE *file = fopen(path, "r");
    EVP_PKEY *pkey = file != NULL ? PEM_read_PUBKEY(file, NULL, NULL, NULL) : NULL;
    struct lct_err err = {.text = "no public key"};

    if (file != NULL)
        fclose(file);
    enum lct_code code = pkey != NULL ? lct_web4_name(name, NULL, pkey, &err) : LCT_ERR_IO;
    EVP_PKEY_free(pkey);
    if (code != LCT_OK)
        return fail(err.text);
    puts(name);
    return 0;
}

static enum lct_code sign(const struct lct_key *key, struct lct_err *err)
{
    static const uint8_t message[] = "message";
    struct lct_signature signature;
    struct lct_scheme scheme;
    enum lct_code code = lct_key_default_scheme(&scheme, key, err);

    return code == LCT_OK
               ? lct_key_sign_message(key, NULL, &signature, &scheme, message, sizeof message, err)
               : code;
}

static int look_for_passphrase(char *dir, const char *id, char *path)
{
    struct lct_config config = {.store = dir, .passphrase_file = path};
    struct lct_store store = {0};
    struct lct_crypto *crypto = lct_crypto_new();
    struct lct_key *key = NULL;
    struct lct_err err = {.text = "no passphrase"};
    struct masked masked = {.len = 0};
    enum lct_code code = masked_read(&masked, path) ? LCT_OK : LCT_ERR_IO;

    if (code == LCT_OK)
        code = lct_store_open(&store, &config, &err);
    if (code == LCT_OK)
        code = lct_store_get_key(&store, crypto, id, 0, &key, &err);
    if (code == LCT_OK)
        code = lct_key_unlock(key, &config, &err);
    if (code == LCT_OK)
        code = sign(key, &err);
    size_t before = code == LCT_OK ? masked_count(&masked) : 0;
    lct_key_free(key);
    size_t after = masked_count(&masked);
    lct_store_close(&store);
    lct_crypto_free(crypto);
    if (code != LCT_OK)
        return fail(err.text);
    printf("before %zu, after %zu\n", before, after);
    return 0;
}

/* A byte of the DER in a file, changed each way: what is read is the same, or nothing is. */
static int mutate(const char *path)
{
    uint8_t bytes[MAX_FILE], *der = NULL, *pem = NULL, *again = NULL;
    size_t der_len = 0, pem_len = 0, again_len = 0, taken = 0;
    char *label = NULL, *header = NULL;
    long len = 0;
    FILE *file = fopen(path, "rb");

    if (file == NULL || PEM_read(file, &label, &header, &der, &len) != 1 || len > MAX_FILE)
        return fail("no PEM");
    fclose(file);
    der_len = (size_t)len;
    for (size_t i = 0; i < der_len; i++)
        for (unsigned value = 0; value < 256; value++) {
            memcpy(bytes, der, der_len);
            bytes[i] = (uint8_t)value;
            BIO *bio = BIO_new(BIO_s_mem());
            PEM_write_bio(bio, label, "", bytes, len);
            pem_len = (size_t)BIO_get_mem_data(bio, &pem);
            if (lct_software_read(&again, &again_len, pem, pem_len, NULL) == LCT_OK) {
                taken++;
                if (again_len != der_len || memcmp(again, bytes, der_len) != 0)
                    return fail("another file is read than was given");
                OPENSSL_free(again);
            }
            BIO_free(bio);
        }
    OPENSSL_free(label);
    OPENSSL_free(header);
    OPENSSL_free(der);
    printf("%zu of %zu taken\n", taken, 256 * der_len);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "web4") == 0)
        return print_web4(argv[2]);
    if (argc == 3 && strcmp(argv[1], "mutate") == 0)
        return mutate(argv[2]);
    if (argc == 5 && strcmp(argv[1], "wiped") == 0)
        return look_for_passphrase(argv[2], argv[3], argv[4]);
    fputs("usage: software web4 FILE | mutate FILE | wiped STORE ID FILE\n", stderr);
    return 2;
}
