/* SPDX-License-Identifier: Apache-2.0 */
#include "tcg/crypto.h"

#include <openssl/crypto.h>
#include <stdatomic.h>
#include <stdlib.h>

struct lct_crypto {
    atomic_uint references;
    _Atomic(OSSL_LIB_CTX *) libctx; /* NULL: not made yet */
};

struct lct_crypto *lct_crypto_new(void)
{
    struct lct_crypto *crypto = calloc(1, sizeof *crypto);

    if (crypto == NULL)
        return NULL;
    atomic_init(&crypto->references, 1);
    atomic_init(&crypto->libctx, NULL);
    return crypto;
}

struct lct_crypto *lct_crypto_up_ref(struct lct_crypto *crypto)
{
    atomic_fetch_add(&crypto->references, 1);
    return crypto;
}

void lct_crypto_free(struct lct_crypto *crypto)
{
    if (crypto == NULL || atomic_fetch_sub(&crypto->references, 1) != 1)
        return;
    OSSL_LIB_CTX_free(atomic_load(&crypto->libctx));
    free(crypto);
}

/*
 * Without a lock, which a fork could leave held: who comes second frees what it made. A context of
 * its own reads no openssl.cnf, and falls back to the default provider when something is first
 * fetched.
 */
OSSL_LIB_CTX *lct_crypto_get(struct lct_crypto *crypto, struct lct_err *err)
{
    OSSL_LIB_CTX *libctx = atomic_load(&crypto->libctx), *none = NULL;

    if (libctx != NULL)
        return libctx;
    libctx = OSSL_LIB_CTX_new();
    if (libctx == NULL) {
        (void)LCT_FAIL(err, LCT_ERR_INTERNAL, "libcrypto gives no library context");
        return NULL;
    }
    if (atomic_compare_exchange_strong(&crypto->libctx, &none, libctx))
        return libctx;
    OSSL_LIB_CTX_free(libctx);
    return none; /* the one that was first */
}
