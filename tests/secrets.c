/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stays of the passphrase in FILE in the memory of a process that goes on. `secrets used TCTI
 * FILE STORE ID`: of a key that is freed, after it has signed. `secrets created TCTI FILE NUMBER`:
 * of one that was made, while the random numbers are at an end from the NUMBER-th time on that one
 * is asked for; 0: they are not. Or of the authorization in FILE: `secrets owner TCTI FILE`: with
 * which a storage root key and a key were made; `secrets endorsement TCTI FILE`: which was proved.
 * Prints how that ended, how often the secret is there while it is needed, and after that.
 */
#include "memory.h"

#include "base/config.h"
#include "base/secret.h"
#include "store/key.h"
#include "store/store.h"
#include "tcg/algorithm.h"
#include "tcg/crypto.h"
#include "tpm/hierarchy.h"
#include "tpm/tpm.h"

#include <dlfcn.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static long random_left = -1; /* times; below 0: for ever */

/* In libcrypto's place, for what is linked into this program. */
int RAND_bytes_ex(OSSL_LIB_CTX *libctx, unsigned char *bytes, size_t len, unsigned int strength)
{
    void *symbol = dlsym(RTLD_NEXT, "RAND_bytes_ex");
    int (*real)(OSSL_LIB_CTX *, unsigned char *, size_t, unsigned int);

    memcpy(&real, &symbol, sizeof real);
    if (random_left == 0)
        return 0;
    random_left -= random_left > 0;
    return real(libctx, bytes, len, strength);
}

static int tell(enum lct_code code, size_t before, size_t after)
{
    printf("%d: before %zu, after %zu\n", (int)code, before, after);
    return 0;
}

static int fail(const struct lct_err *err)
{
    fprintf(stderr, "secrets: %s\n", err->text);
    return 1;
}

static enum lct_code sign(const struct lct_key *key, struct lct_tpm *tpm, struct lct_err *err)
{
    struct lct_signature signature;
    struct lct_scheme scheme;
    enum lct_code code = lct_key_default_scheme(&scheme, key, err);

    return code == LCT_OK ? lct_key_sign_message(key, tpm, &signature, &scheme,
                                                 (const uint8_t *)"message", 7, err)
                          : code;
}

static int use(struct lct_config *config, const struct masked *masked, const char *id)
{
    struct lct_store store = {0};
    struct lct_crypto *crypto = lct_crypto_new();
    struct lct_key *key = NULL;
    struct lct_tpm *tpm = NULL;
    struct lct_err err = {.code = LCT_OK};
    enum lct_code code = lct_store_open(&store, config, &err);

    if (code == LCT_OK)
        code = lct_tpm_open(&tpm, config, &err);
    if (code == LCT_OK)
        code = lct_store_get_key(&store, crypto, id, 0, &key, &err);
    if (code == LCT_OK)
        code = lct_key_unlock(key, config, &err);
    if (code == LCT_OK)
        code = sign(key, tpm, &err);
    if (code != LCT_OK)
        return fail(&err);
    size_t before = masked_count(masked);
    lct_key_free(key);
    (void)tell(code, before, masked_count(masked));
    lct_tpm_close(tpm);
    lct_store_close(&store);
    lct_crypto_free(crypto);
    return 0;
}

enum what { A_KEY_S, OWNERS, ENDORSEMENTS };

static enum lct_code need(enum what what, struct lct_tpm *tpm, const struct lct_secret *auth,
                          OSSL_LIB_CTX *libctx, struct lct_err *err)
{
    struct lct_tpm_created created;
    const struct lct_tpm_template from = {.label = "k",
                                          .algorithm = lct_algorithm_by_name("ec-p256"),
                                          .auth = what == A_KEY_S ? auth : NULL,
                                          .owner_auth = what == OWNERS ? auth : NULL,
                                          .provision = what == OWNERS,
                                          .libctx = libctx};

    return what == ENDORSEMENTS
               ? lct_tpm_check_hierarchy(tpm, TPM2_RH_ENDORSEMENT, auth, libctx, err)
               : lct_tpm_create(tpm, &created, &from, err);
}

static int authorize(const struct lct_config *config, const struct masked *masked, enum what what,
                     long number)
{
    struct lct_crypto *crypto = lct_crypto_new();
    struct lct_secret auth = {0};
    struct lct_tpm *tpm = NULL;
    struct lct_err err = {.code = LCT_OK};
    OSSL_LIB_CTX *libctx = lct_crypto_get(crypto, &err);

    if (libctx == NULL || lct_tpm_open(&tpm, config, &err) != LCT_OK ||
        lct_secret_read(&auth, "k", config->passphrase_file, &err) != LCT_OK)
        return fail(&err);
    size_t before = masked_count(masked);
    random_left = number - 1;
    enum lct_code code = need(what, tpm, &auth, libctx, &err);
    random_left = -1;
    lct_secret_wipe(&auth);
    (void)tell(code, before, masked_count(masked));
    lct_tpm_close(tpm);
    lct_crypto_free(crypto);
    return 0;
}

int main(int argc, char **argv)
{
    struct masked masked = {.len = 0};

    if (argc < 4 || !masked_read(&masked, argv[3])) {
        (void)fputs("usage: secrets used TCTI FILE STORE ID | created TCTI FILE NUMBER | "
                    "owner TCTI FILE | endorsement TCTI FILE\n",
                    stderr);
        return 2;
    }
    struct lct_config config = {.tcti = argv[2], .passphrase_file = argv[3]};
    if (argc == 4 && strcmp(argv[1], "owner") == 0)
        return authorize(&config, &masked, OWNERS, 0);
    if (argc == 4 && strcmp(argv[1], "endorsement") == 0)
        return authorize(&config, &masked, ENDORSEMENTS, 0);
    if (argc == 5 && strcmp(argv[1], "created") == 0)
        return authorize(&config, &masked, A_KEY_S, strtol(argv[4], NULL, 10));
    config.store = argv[4];
    return argc == 6 ? use(&config, &masked, argv[5]) : 2;
}
