/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/operation.h"

#include "base/unconst.h"
#include "provider/scheme.h"

#include <openssl/core_names.h>
#include <openssl/params.h>
#include <stdlib.h>
#include <string.h>

struct lct_operation *lct_operation_new(struct lct_provider *provider)
{
    struct lct_operation *operation = calloc(1, sizeof *operation);

    if (operation != NULL)
        operation->provider = provider;
    else
        lct_raise_memory(provider);
    return operation;
}

static void clear(struct lct_operation *operation)
{
    if (operation->hash == NULL || operation->by_tpm)
        EVP_PKEY_CTX_free(operation->parameters);
    EVP_MD_CTX_free(operation->hash);
    operation->parameters = NULL;
    operation->hash = NULL;
    operation->by_tpm = false;
}

void lct_operation_free(struct lct_operation *operation)
{
    if (operation == NULL)
        return;
    clear(operation);
    lct_key_free(operation->key);
    EVP_PKEY_free(operation->pkey);
    free(operation);
}

static bool dup_contexts(struct lct_operation *to, const struct lct_operation *from)
{
    if (from->hash != NULL) {
        to->hash = EVP_MD_CTX_new();
        if (to->hash == NULL || EVP_MD_CTX_copy_ex(to->hash, from->hash) != 1)
            return false;
        if (!from->by_tpm) {
            to->parameters = EVP_MD_CTX_get_pkey_ctx(to->hash);
            return to->parameters != NULL;
        }
    }
    to->parameters = from->parameters != NULL ? EVP_PKEY_CTX_dup(from->parameters) : NULL;
    return to->parameters != NULL || from->parameters == NULL;
}

struct lct_operation *lct_operation_dup(const struct lct_operation *from)
{
    struct lct_operation *to = lct_operation_new(from->provider);

    if (to == NULL)
        return NULL;
    to->composite = from->composite;
    to->by_tpm = from->by_tpm;
    to->key = from->key != NULL ? lct_key_up_ref(from->key) : NULL;
    if (from->pkey != NULL && EVP_PKEY_up_ref(from->pkey))
        to->pkey = from->pkey;
    if (dup_contexts(to, from))
        return to;
    lct_operation_free(to);
    return NULL;
}

bool lct_operation_begin(struct lct_operation *operation, const struct lct_keydata *keydata)
{
    clear(operation);
    if (keydata == NULL)
        return operation->pkey != NULL;
    if (keydata->pkey == NULL || !EVP_PKEY_up_ref(keydata->pkey))
        return false;
    EVP_PKEY_free(operation->pkey);
    lct_key_free(operation->key);
    operation->pkey = keydata->pkey;
    operation->key = keydata->key != NULL ? lct_key_up_ref(keydata->key) : NULL;
    return true;
}

bool lct_operation_fail(const struct lct_operation *operation, const struct lct_err *err)
{
    lct_raise(operation->provider, err);
    return false;
}

bool lct_operation_begin_by_tpm(struct lct_operation *operation)
{
    operation->by_tpm = true;
    operation->parameters = lct_provider_pkey_ctx(operation->provider, operation->pkey, NULL);
    return operation->parameters != NULL && EVP_PKEY_verify_init(operation->parameters) == 1;
}

bool lct_operation_forward(struct lct_operation *operation, const OSSL_PARAM params[],
                           int (*init)(EVP_PKEY_CTX *ctx, const OSSL_PARAM params[]))
{
    operation->parameters = lct_provider_pkey_ctx(operation->provider, operation->pkey, NULL);
    return operation->parameters != NULL && init(operation->parameters, params) == 1;
}

bool lct_operation_set_digest(const struct lct_operation *operation, const char *name)
{
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST, lct_unconst(name), 0),
        OSSL_PARAM_END,
    };

    return EVP_PKEY_CTX_set_params(operation->parameters, params) == 1;
}

bool lct_operation_begin_hash(struct lct_operation *operation, const char *name)
{
    OSSL_LIB_CTX *libctx = lct_provider_libctx(operation->provider);
    EVP_MD *md = libctx != NULL ? EVP_MD_fetch(libctx, name, NULL) : NULL;

    operation->hash = EVP_MD_CTX_new();
    bool good = md != NULL && operation->hash != NULL &&
                lct_operation_set_digest(operation, name) &&
                EVP_DigestInit_ex2(operation->hash, md, NULL) == 1;
    EVP_MD_free(md);
    return good;
}

bool lct_operation_check(const struct lct_operation *operation)
{
    struct lct_scheme scheme;
    struct lct_err err;

    return lct_operation_scheme(operation, &scheme, &err) == LCT_OK ||
           lct_operation_fail(operation, &err);
}

bool lct_operation_give_size(const struct lct_operation *operation, size_t *siglen)
{
    int size = EVP_PKEY_get_size(operation->pkey);

    *siglen = (size_t)size;
    return size > 0;
}

bool lct_operation_sign(const struct lct_operation *operation, unsigned char *sig, size_t *siglen,
                        size_t sigsize, const uint8_t *tbs, size_t tbs_len)
{
    struct lct_signature signature;
    struct lct_scheme scheme;
    struct lct_err err;
    uint8_t digest[LCT_MAX_HASH];
    size_t digest_len = 0;

    if (sig == NULL)
        return lct_operation_give_size(operation, siglen);
    const struct lct_settings *settings = lct_provider_settings(operation->provider);
    if (settings == NULL)
        return false;
    enum lct_code code =
        lct_operation_prepare(operation, &scheme, digest, &digest_len, tbs, tbs_len, &err);
    if (code == LCT_OK)
        code = lct_key_sign(operation->key, settings->tpm, &signature, &scheme, digest, digest_len,
                            &err);
    if (code == LCT_OK && signature.len > sigsize)
        code = LCT_FAIL(&err, LCT_ERR_INTERNAL, "%s: the caller's buffer is too small",
                        operation->key->label);
    if (code != LCT_OK)
        return lct_operation_fail(operation, &err);
    memcpy(sig, signature.data, signature.len);
    *siglen = signature.len;
    return true;
}

/* A copy of `from` that has hashed that much more. NULL: none is to be had. */
static EVP_MD_CTX *hash_on(const EVP_MD_CTX *from, const uint8_t *rest, size_t rest_len)
{
    EVP_MD_CTX *copy = EVP_MD_CTX_new();

    if (copy != NULL && EVP_MD_CTX_copy_ex(copy, from) == 1 &&
        EVP_DigestUpdate(copy, rest, rest_len) == 1)
        return copy;
    EVP_MD_CTX_free(copy);
    return NULL;
}

/* A caller may go on with `hash`, as with software keys: so it ends in a copy. */
static bool sign_hash(const struct lct_operation *operation, const EVP_MD_CTX *hash,
                      unsigned char *sig, size_t *siglen, size_t sigsize)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned digest_len = 0;
    EVP_MD_CTX *last = hash != NULL ? hash_on(hash, NULL, 0) : NULL;
    bool good = last != NULL && EVP_DigestFinal_ex(last, digest, &digest_len) == 1;

    EVP_MD_CTX_free(last);
    return good && lct_operation_sign(operation, sig, siglen, sigsize, digest, digest_len);
}

bool lct_operation_sign_hash(const struct lct_operation *operation, unsigned char *sig,
                             size_t *siglen, size_t sigsize, const uint8_t *rest, size_t rest_len)
{
    if (sig == NULL)
        return lct_operation_give_size(operation, siglen);
    EVP_MD_CTX *whole = hash_on(operation->hash, rest, rest_len);
    bool good = sign_hash(operation, whole, sig, siglen, sigsize);
    EVP_MD_CTX_free(whole);
    return good;
}

bool lct_operation_sign_rest(struct lct_operation *operation, unsigned char *sig, size_t *siglen,
                             size_t sigsize, const uint8_t *rest, size_t rest_len)
{
    if (sig == NULL)
        return lct_operation_give_size(operation, siglen);
    EVP_MD_CTX *whole = hash_on(operation->hash, rest, rest_len), *done = whole;
    bool good = sign_hash(operation, whole, sig, siglen, sigsize);
    if (good) {
        done = operation->hash;
        operation->hash = whole;
    }
    EVP_MD_CTX_free(done);
    return good;
}

bool lct_operation_get_params(const struct lct_operation *operation, OSSL_PARAM params[])
{
    return operation->parameters != NULL &&
           EVP_PKEY_CTX_get_params(operation->parameters, params) == 1;
}

const OSSL_PARAM *lct_operation_gettable_params(const struct lct_operation *operation)
{
    static const OSSL_PARAM none[] = {OSSL_PARAM_END};

    return operation != NULL && operation->parameters != NULL
               ? EVP_PKEY_CTX_gettable_params(operation->parameters)
               : none;
}
