/* SPDX-License-Identifier: Apache-2.0 */
#include "key.h"

#include <openssl/evp.h>
#include <openssl/store.h>
#include <time.h>

EVP_PKEY *key_load(const char *uri)
{
    OSSL_STORE_CTX *store = OSSL_STORE_open(uri, NULL, NULL, NULL, NULL);
    EVP_PKEY *pkey = NULL;

    if (store == NULL)
        return NULL;
    if (OSSL_STORE_expect(store, OSSL_STORE_INFO_PKEY) == 1)
        while (pkey == NULL && !OSSL_STORE_eof(store)) {
            OSSL_STORE_INFO *info = OSSL_STORE_load(store);
            if (info != NULL)
                pkey = OSSL_STORE_INFO_get1_PKEY(info);
            OSSL_STORE_INFO_free(info);
        }
    (void)OSSL_STORE_close(store);
    return pkey;
}

double seconds_now(void)
{
    struct timespec now = {0};

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}
