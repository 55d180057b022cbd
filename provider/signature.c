/* SPDX-License-Identifier: Apache-2.0 */
#include "base/unconst.h"
#include "provider/operation.h"
#include "provider/provider.h"
#include "provider/scheme.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <string.h>

static OSSL_FUNC_signature_newctx_fn signature_newctx;
static OSSL_FUNC_signature_freectx_fn signature_freectx;
static OSSL_FUNC_signature_dupctx_fn signature_dupctx;
static OSSL_FUNC_signature_sign_init_fn signature_sign_init;
static OSSL_FUNC_signature_sign_fn signature_sign;
static OSSL_FUNC_signature_verify_init_fn signature_verify_init;
static OSSL_FUNC_signature_verify_fn signature_verify;
static OSSL_FUNC_signature_verify_recover_init_fn signature_verify_recover_init;
static OSSL_FUNC_signature_verify_recover_fn signature_verify_recover;
static OSSL_FUNC_signature_digest_sign_init_fn signature_digest_sign_init;
static OSSL_FUNC_signature_digest_sign_update_fn signature_digest_sign_update;
static OSSL_FUNC_signature_digest_sign_final_fn signature_digest_sign_final;
static OSSL_FUNC_signature_digest_sign_fn signature_digest_sign;
static OSSL_FUNC_signature_digest_verify_init_fn signature_digest_verify_init;
static OSSL_FUNC_signature_digest_verify_update_fn signature_digest_verify_update;
static OSSL_FUNC_signature_digest_verify_final_fn signature_digest_verify_final;
static OSSL_FUNC_signature_digest_verify_fn signature_digest_verify;
static OSSL_FUNC_signature_get_ctx_params_fn signature_get_ctx_params;
static OSSL_FUNC_signature_gettable_ctx_params_fn signature_gettable_ctx_params;
static OSSL_FUNC_signature_set_ctx_params_fn signature_set_ctx_params;
static OSSL_FUNC_signature_settable_ctx_params_fn signature_settable_ctx_params;

static void *signature_newctx(void *provctx, const char *propq)
{
    (void)propq; /* the private context has one provider to choose from */
    return lct_operation_new(provctx);
}

static void signature_freectx(void *ctx)
{
    lct_operation_free(ctx);
}

static void *signature_dupctx(void *ctx)
{
    return lct_operation_dup(ctx);
}

static int signature_sign_init(void *ctx, void *provkey, const OSSL_PARAM params[])
{
    struct lct_operation *operation = ctx;

    if (!lct_operation_begin(operation, provkey))
        return 0;
    if (operation->key != NULL)
        return lct_operation_begin_by_tpm(operation) && signature_set_ctx_params(ctx, params);
    return lct_operation_forward(operation, params, EVP_PKEY_sign_init_ex);
}

static int signature_sign(void *ctx, unsigned char *sig, size_t *siglen, size_t sigsize,
                          const unsigned char *tbs, size_t tbslen)
{
    const struct lct_operation *operation = ctx;

    if (!operation->by_tpm) {
        *siglen = sigsize;
        return EVP_PKEY_sign(operation->parameters, sig, siglen, tbs, tbslen);
    }
    return lct_operation_sign(operation, sig, siglen, sigsize, tbs, tbslen);
}

static int signature_verify_init(void *ctx, void *provkey, const OSSL_PARAM params[])
{
    struct lct_operation *operation = ctx;

    return lct_operation_begin(operation, provkey) &&
           lct_operation_forward(operation, params, EVP_PKEY_verify_init_ex);
}

static int signature_verify(void *ctx, const unsigned char *sig, size_t siglen,
                            const unsigned char *tbs, size_t tbslen)
{
    const struct lct_operation *operation = ctx;

    return EVP_PKEY_verify(operation->parameters, sig, siglen, tbs, tbslen) == 1;
}

static int signature_verify_recover_init(void *ctx, void *provkey, const OSSL_PARAM params[])
{
    struct lct_operation *operation = ctx;

    return lct_operation_begin(operation, provkey) &&
           lct_operation_forward(operation, params, EVP_PKEY_verify_recover_init_ex);
}

static int signature_verify_recover(void *ctx, unsigned char *rout, size_t *routlen,
                                    size_t routsize, const unsigned char *sig, size_t siglen)
{
    const struct lct_operation *operation = ctx;

    *routlen = routsize;
    return EVP_PKEY_verify_recover(operation->parameters, rout, routlen, sig, siglen) == 1;
}

/* Programs ask for PSS after init, and until then the padding is PKCS #1: with a key that is bound
 * to PSS that is refused when the padding is set, or when it signs. */
static bool awaits_padding(const struct lct_operation *operation)
{
    return operation->key->scheme == TPM2_ALG_RSAPSS;
}

static int signature_digest_sign_init(void *ctx, const char *mdname, void *provkey,
                                      const OSSL_PARAM params[])
{
    struct lct_operation *operation = ctx;

    if (!lct_operation_begin(operation, provkey))
        return 0;
    if (operation->key != NULL)
        return lct_operation_begin_by_tpm(operation) &&
               lct_operation_begin_hash(operation,
                                        mdname != NULL && *mdname != '\0' ? mdname : "SHA256") &&
               signature_set_ctx_params(ctx, params) &&
               (awaits_padding(operation) || lct_operation_check(operation));
    OSSL_LIB_CTX *libctx = lct_provider_libctx(operation->provider);
    operation->hash = EVP_MD_CTX_new();
    return libctx != NULL && operation->hash != NULL &&
           EVP_DigestSignInit_ex(operation->hash, &operation->parameters, mdname, libctx, NULL,
                                 operation->pkey, params) == 1;
}

static int signature_digest_sign_update(void *ctx, const unsigned char *data, size_t datalen)
{
    const struct lct_operation *operation = ctx;

    return operation->by_tpm ? EVP_DigestUpdate(operation->hash, data, datalen)
                             : EVP_DigestSignUpdate(operation->hash, data, datalen);
}

static int signature_digest_sign_final(void *ctx, unsigned char *sig, size_t *siglen,
                                       size_t sigsize)
{
    const struct lct_operation *operation = ctx;

    if (!operation->by_tpm) {
        *siglen = sigsize;
        return EVP_DigestSignFinal(operation->hash, sig, siglen);
    }
    return lct_operation_sign_hash(operation, sig, siglen, sigsize, NULL, 0);
}

static int signature_digest_sign(void *ctx, unsigned char *sig, size_t *siglen, size_t sigsize,
                                 const unsigned char *tbs, size_t tbslen)
{
    struct lct_operation *operation = ctx;

    if (!operation->by_tpm) {
        *siglen = sigsize;
        return EVP_DigestSign(operation->hash, sig, siglen, tbs, tbslen);
    }
    return lct_operation_sign_rest(operation, sig, siglen, sigsize, tbs, tbslen);
}

static int signature_digest_verify_init(void *ctx, const char *mdname, void *provkey,
                                        const OSSL_PARAM params[])
{
    struct lct_operation *operation = ctx;

    if (!lct_operation_begin(operation, provkey))
        return 0;
    OSSL_LIB_CTX *libctx = lct_provider_libctx(operation->provider);
    operation->hash = EVP_MD_CTX_new();
    return libctx != NULL && operation->hash != NULL &&
           EVP_DigestVerifyInit_ex(operation->hash, &operation->parameters, mdname, libctx, NULL,
                                   operation->pkey, params) == 1;
}

static int signature_digest_verify_update(void *ctx, const unsigned char *data, size_t datalen)
{
    const struct lct_operation *operation = ctx;

    return EVP_DigestVerifyUpdate(operation->hash, data, datalen);
}

static int signature_digest_verify_final(void *ctx, const unsigned char *sig, size_t siglen)
{
    const struct lct_operation *operation = ctx;

    return EVP_DigestVerifyFinal(operation->hash, sig, siglen) == 1;
}

static int signature_digest_verify(void *ctx, const unsigned char *sig, size_t siglen,
                                   const unsigned char *tbs, size_t tbslen)
{
    const struct lct_operation *operation = ctx;

    return EVP_DigestVerify(operation->hash, sig, siglen, tbs, tbslen) == 1;
}

static int signature_get_ctx_params(void *ctx, OSSL_PARAM *params)
{
    return lct_operation_get_params(ctx, params);
}

static const OSSL_PARAM *signature_gettable_ctx_params(void *ctx, void *provctx)
{
    (void)provctx;
    return lct_operation_gettable_params(ctx);
}

/* The digest of a digest operation was fixed when it began. */
static bool keeps_digest(const struct lct_operation *operation, const OSSL_PARAM params[])
{
    const OSSL_PARAM *param = OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_DIGEST);
    const char *name = NULL;

    return param == NULL || (OSSL_PARAM_get_utf8_string_ptr(param, &name) && name != NULL &&
                             EVP_MD_is_a(EVP_MD_CTX_get0_md(operation->hash), name));
}

/* OpenSSL 3.0 passes over the name of a padding that it does not know, and signs with another. */
static bool names_padding(const struct lct_operation *operation, const OSSL_PARAM params[])
{
    const OSSL_PARAM *param = OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_PAD_MODE);
    const char *name = NULL;
    struct lct_err err;

    if (param == NULL || param->data_type != OSSL_PARAM_UTF8_STRING)
        return true;
    if (OSSL_PARAM_get_utf8_string_ptr(param, &name) && name != NULL &&
        (strcmp(name, OSSL_PKEY_RSA_PAD_MODE_PKCSV15) == 0 ||
         strcmp(name, OSSL_PKEY_RSA_PAD_MODE_PSS) == 0))
        return true;
    (void)lct_operation_fail_padding(operation, &err);
    return lct_operation_fail(operation, &err);
}

static int signature_set_ctx_params(void *ctx, const OSSL_PARAM params[])
{
    const struct lct_operation *operation = ctx;

    if (params == NULL || params[0].key == NULL)
        return 1;
    bool digest_by_tpm = operation->by_tpm && operation->hash != NULL;
    if (operation->parameters == NULL || (operation->by_tpm && !names_padding(operation, params)) ||
        (digest_by_tpm && !keeps_digest(operation, params)) ||
        EVP_PKEY_CTX_set_params(operation->parameters, params) != 1)
        return 0;
    return !digest_by_tpm || lct_operation_check(operation);
}

static const OSSL_PARAM *signature_settable_ctx_params(void *ctx, void *provctx)
{
    static const OSSL_PARAM none[] = {OSSL_PARAM_END};
    const struct lct_operation *operation = ctx;

    (void)provctx;
    return operation != NULL && operation->parameters != NULL
               ? EVP_PKEY_CTX_settable_params(operation->parameters)
               : none;
}

/* One table for both: that ECDSA recovers nothing, libcrypto says by itself. */
const OSSL_DISPATCH lct_signature[] = {
    {OSSL_FUNC_SIGNATURE_NEWCTX, (void (*)(void))signature_newctx},
    {OSSL_FUNC_SIGNATURE_FREECTX, (void (*)(void))signature_freectx},
    {OSSL_FUNC_SIGNATURE_DUPCTX, (void (*)(void))signature_dupctx},
    {OSSL_FUNC_SIGNATURE_SIGN_INIT, (void (*)(void))signature_sign_init},
    {OSSL_FUNC_SIGNATURE_SIGN, (void (*)(void))signature_sign},
    {OSSL_FUNC_SIGNATURE_VERIFY_INIT, (void (*)(void))signature_verify_init},
    {OSSL_FUNC_SIGNATURE_VERIFY, (void (*)(void))signature_verify},
    {OSSL_FUNC_SIGNATURE_VERIFY_RECOVER_INIT, (void (*)(void))signature_verify_recover_init},
    {OSSL_FUNC_SIGNATURE_VERIFY_RECOVER, (void (*)(void))signature_verify_recover},
    {OSSL_FUNC_SIGNATURE_DIGEST_SIGN_INIT, (void (*)(void))signature_digest_sign_init},
    {OSSL_FUNC_SIGNATURE_DIGEST_SIGN_UPDATE, (void (*)(void))signature_digest_sign_update},
    {OSSL_FUNC_SIGNATURE_DIGEST_SIGN_FINAL, (void (*)(void))signature_digest_sign_final},
    {OSSL_FUNC_SIGNATURE_DIGEST_SIGN, (void (*)(void))signature_digest_sign},
    {OSSL_FUNC_SIGNATURE_DIGEST_VERIFY_INIT, (void (*)(void))signature_digest_verify_init},
    {OSSL_FUNC_SIGNATURE_DIGEST_VERIFY_UPDATE, (void (*)(void))signature_digest_verify_update},
    {OSSL_FUNC_SIGNATURE_DIGEST_VERIFY_FINAL, (void (*)(void))signature_digest_verify_final},
    {OSSL_FUNC_SIGNATURE_DIGEST_VERIFY, (void (*)(void))signature_digest_verify},
    {OSSL_FUNC_SIGNATURE_GET_CTX_PARAMS, (void (*)(void))signature_get_ctx_params},
    {OSSL_FUNC_SIGNATURE_GETTABLE_CTX_PARAMS, (void (*)(void))signature_gettable_ctx_params},
    {OSSL_FUNC_SIGNATURE_SET_CTX_PARAMS, (void (*)(void))signature_set_ctx_params},
    {OSSL_FUNC_SIGNATURE_SETTABLE_CTX_PARAMS, (void (*)(void))signature_settable_ctx_params},
    {0, NULL},
};
