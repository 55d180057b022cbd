/* SPDX-License-Identifier: Apache-2.0 */
#include "tcg/crypto.h"

#include <openssl/crypto.h>
#include <openssl/provider.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

struct lct_crypto {
    atomic_uint references;
    pthread_mutex_t lock; /* held while the context is made, once */
    _Atomic(OSSL_LIB_CTX *) libctx;
    OSSL_PROVIDER *provider;
};

struct lct_crypto *lct_crypto_new(void)
{
    struct lct_crypto *crypto = calloc(1, sizeof *crypto);

    if (crypto == NULL)
        return NULL;
    atomic_init(&crypto->references, 1);
    if (pthread_mutex_init(&crypto->lock, NULL) != 0) {
        free(crypto);
        return NULL;
    }
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
    OSSL_PROVIDER_unload(crypto->provider);
    OSSL_LIB_CTX_free(atomic_load(&crypto->libctx));
    pthread_mutex_destroy(&crypto->lock);
    free(crypto);
}

static OSSL_LIB_CTX *make(struct lct_crypto *crypto)
{
    OSSL_LIB_CTX *libctx = OSSL_LIB_CTX_new();

    if (libctx == NULL)
        return NULL;
    crypto->provider = OSSL_PROVIDER_load(libctx, "default");
    if (crypto->provider == NULL) {
        OSSL_LIB_CTX_free(libctx);
        return NULL;
    }
    atomic_store(&crypto->libctx, libctx);
    return libctx;
}

OSSL_LIB_CTX *lct_crypto_get(struct lct_crypto *crypto, struct lct_err *err)
{
    OSSL_LIB_CTX *libctx = atomic_load(&crypto->libctx);

    if (libctx != NULL)
        return libctx;
    pthread_mutex_lock(&crypto->lock);
    libctx = atomic_load(&crypto->libctx);
    if (libctx == NULL)
        libctx = make(crypto);
    pthread_mutex_unlock(&crypto->lock);
    if (libctx == NULL)
        (void)LCT_FAIL(err, LCT_ERR_INTERNAL,
                       "libcrypto gives no library context with its default provider");
    return libctx;
}
