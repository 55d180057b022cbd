/* SPDX-License-Identifier: Apache-2.0 */
#include "tcg/crypto.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
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

static bool has_digest(OSSL_LIB_CTX *libctx, const char *name)
{
    EVP_MD *md = EVP_MD_fetch(libctx, name, NULL);

    EVP_MD_free(md);
    return md != NULL;
}

static bool has_key_type(OSSL_LIB_CTX *libctx, const char *name)
{
    EVP_KEYMGMT *keymgmt = EVP_KEYMGMT_fetch(libctx, name, NULL);

    EVP_KEYMGMT_free(keymgmt);
    return keymgmt != NULL;
}

static bool has_signature(OSSL_LIB_CTX *libctx, const char *name)
{
    EVP_SIGNATURE *signature = EVP_SIGNATURE_fetch(libctx, name, NULL);

    EVP_SIGNATURE_free(signature);
    return signature != NULL;
}

/* What every key takes. */
static const struct {
    bool (*is_there)(OSSL_LIB_CTX *libctx, const char *name);
    const char *name;
} needed[] = {
    {has_digest, "SHA256"}, {has_digest, "SHA384"},   {has_digest, "SHA512"}, {has_key_type, "EC"},
    {has_key_type, "RSA"},  {has_signature, "ECDSA"}, {has_signature, "RSA"},
};

/*
 * A context lists the algorithms of a kind when the first of them is fetched, and once: what there
 * was no memory for then it never has. So that is done here, where it can be thrown away.
 */
static OSSL_LIB_CTX *make(void)
{
    OSSL_LIB_CTX *libctx = OSSL_LIB_CTX_new();
    bool whole = libctx != NULL;

    (void)ERR_set_mark();
    for (size_t i = 0; whole && i < sizeof needed / sizeof needed[0]; i++)
        whole = needed[i].is_there(libctx, needed[i].name);
    (void)ERR_pop_to_mark();
    if (whole)
        return libctx;
    OSSL_LIB_CTX_free(libctx);
    return NULL;
}

/* Without a lock, which a fork could leave held: who comes second frees what it made. A context of
 * its own reads no openssl.cnf, and falls back to the default provider. */
OSSL_LIB_CTX *lct_crypto_get(struct lct_crypto *crypto, struct lct_err *err)
{
    OSSL_LIB_CTX *libctx = atomic_load(&crypto->libctx), *none = NULL;

    if (libctx != NULL)
        return libctx;
    libctx = make();
    if (libctx == NULL) {
        (void)LCT_FAIL(err, LCT_ERR_INTERNAL,
                       "libcrypto gives no library context with the algorithms of keys");
        return NULL;
    }
    if (atomic_compare_exchange_strong(&crypto->libctx, &none, libctx))
        return libctx;
    OSSL_LIB_CTX_free(libctx);
    return none; /* the one that was first */
}
