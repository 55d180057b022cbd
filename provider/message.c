/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/operation.h"
#include "provider/provider.h"

#ifdef OSSL_FUNC_SIGNATURE_SIGN_MESSAGE_INIT

#include "base/unconst.h"

#include <openssl/core_names.h>
#include <openssl/params.h>

/*
 * Signatures under names that say the digest, of libcrypto 3.4 and later, which hands over either a
 * digest or, with EVP_PKEY_sign_message_init(3), a message. Forwarded operations are those of the
 * same name; in a signature by the TPM `hash` is set while it is of a message.
 */
static OSSL_FUNC_signature_freectx_fn message_freectx;
static OSSL_FUNC_signature_dupctx_fn message_dupctx;
static OSSL_FUNC_signature_query_key_types_fn ecdsa_query_key_types, rsa_query_key_types;
static OSSL_FUNC_signature_sign_init_fn message_sign_init;
static OSSL_FUNC_signature_sign_fn message_sign;
static OSSL_FUNC_signature_sign_message_init_fn message_sign_message_init;
static OSSL_FUNC_signature_sign_message_update_fn message_sign_message_update;
static OSSL_FUNC_signature_sign_message_final_fn message_sign_message_final;
static OSSL_FUNC_signature_verify_init_fn message_verify_init;
static OSSL_FUNC_signature_verify_fn message_verify;
static OSSL_FUNC_signature_verify_message_init_fn message_verify_message_init;
static OSSL_FUNC_signature_verify_message_update_fn message_verify_message_update;
static OSSL_FUNC_signature_verify_message_final_fn message_verify_message_final;
static OSSL_FUNC_signature_get_ctx_params_fn message_get_ctx_params;
static OSSL_FUNC_signature_gettable_ctx_params_fn message_gettable_ctx_params;
static OSSL_FUNC_signature_set_ctx_params_fn message_set_ctx_params;
static OSSL_FUNC_signature_settable_ctx_params_fn message_settable_ctx_params;

static void message_freectx(void *ctx)
{
    lct_operation_free(ctx);
}

static void *message_dupctx(void *ctx)
{
    return lct_operation_dup(ctx);
}

static const char **ecdsa_query_key_types(void)
{
    static const char *const types[] = {"EC", NULL};

    return lct_unconst(types);
}

static const char **rsa_query_key_types(void)
{
    static const char *const types[] = {"RSA", NULL};

    return lct_unconst(types);
}

/* Begins anew, with a key of the type that the name says: libcrypto looks, too. */
static bool begin(struct lct_operation *operation, const struct lct_keydata *keydata)
{
    struct lct_err err;

    if (!lct_operation_begin(operation, keydata))
        return false;
    if (EVP_PKEY_is_a(operation->pkey, operation->composite->key_type))
        return true;
    (void)LCT_FAIL(&err, LCT_ERR_UNSUPPORTED, "%s signs with %s keys only",
                   operation->composite->name, operation->composite->key_type);
    return lct_operation_fail(operation, &err);
}

/* The operation of the same name in the private context. */
static bool forward(struct lct_operation *operation, const OSSL_PARAM params[],
                    int (*init)(EVP_PKEY_CTX *ctx, EVP_SIGNATURE *algo, const OSSL_PARAM params[]))
{
    OSSL_LIB_CTX *libctx = lct_provider_libctx(operation->provider);
    EVP_SIGNATURE *algorithm =
        libctx != NULL ? EVP_SIGNATURE_fetch(libctx, operation->composite->name, NULL) : NULL;

    if (algorithm != NULL)
        operation->parameters = lct_provider_pkey_ctx(operation->provider, operation->pkey, NULL);
    bool good =
        operation->parameters != NULL && init(operation->parameters, algorithm, params) == 1;
    EVP_SIGNATURE_free(algorithm);
    return good;
}

static int message_sign_init(void *ctx, void *provkey, const OSSL_PARAM params[])
{
    struct lct_operation *operation = ctx;

    if (!begin(operation, provkey))
        return 0;
    if (operation->key != NULL)
        return lct_operation_begin_by_tpm(operation) &&
               lct_operation_set_digest(operation, operation->composite->digest) &&
               message_set_ctx_params(ctx, params) && lct_operation_check(operation);
    return forward(operation, params, EVP_PKEY_sign_init_ex2);
}

static int message_sign_message_init(void *ctx, void *provkey, const OSSL_PARAM params[])
{
    struct lct_operation *operation = ctx;

    if (!begin(operation, provkey))
        return 0;
    if (operation->key != NULL)
        return lct_operation_begin_by_tpm(operation) &&
               lct_operation_begin_hash(operation, operation->composite->digest) &&
               message_set_ctx_params(ctx, params) && lct_operation_check(operation);
    return forward(operation, params, EVP_PKEY_sign_message_init);
}

static int message_sign_message_update(void *ctx, const unsigned char *in, size_t inlen)
{
    const struct lct_operation *operation = ctx;

    return operation->by_tpm ? EVP_DigestUpdate(operation->hash, in, inlen)
                             : EVP_PKEY_sign_message_update(operation->parameters, in, inlen);
}

static int message_sign_message_final(void *ctx, unsigned char *sig, size_t *siglen, size_t sigsize)
{
    const struct lct_operation *operation = ctx;

    if (operation->by_tpm)
        return lct_operation_sign_hash(operation, sig, siglen, sigsize, NULL, 0);
    *siglen = sigsize;
    return EVP_PKEY_sign_message_final(operation->parameters, sig, siglen);
}

/* Of a digest, or of a whole message. */
static int message_sign(void *ctx, unsigned char *sig, size_t *siglen, size_t sigsize,
                        const unsigned char *tbs, size_t tbslen)
{
    const struct lct_operation *operation = ctx;

    if (!operation->by_tpm) {
        *siglen = sigsize;
        return EVP_PKEY_sign(operation->parameters, sig, siglen, tbs, tbslen);
    }
    if (operation->hash == NULL)
        return lct_operation_sign(operation, sig, siglen, sigsize, tbs, tbslen);
    return lct_operation_sign_hash(operation, sig, siglen, sigsize, tbs, tbslen);
}

static int message_verify_init(void *ctx, void *provkey, const OSSL_PARAM params[])
{
    return begin(ctx, provkey) && forward(ctx, params, EVP_PKEY_verify_init_ex2);
}

static int message_verify(void *ctx, const unsigned char *sig, size_t siglen,
                          const unsigned char *tbs, size_t tbslen)
{
    const struct lct_operation *operation = ctx;

    return EVP_PKEY_verify(operation->parameters, sig, siglen, tbs, tbslen) == 1;
}

static int message_verify_message_init(void *ctx, void *provkey, const OSSL_PARAM params[])
{
    return begin(ctx, provkey) && forward(ctx, params, EVP_PKEY_verify_message_init);
}

static int message_verify_message_update(void *ctx, const unsigned char *in, size_t inlen)
{
    const struct lct_operation *operation = ctx;

    return EVP_PKEY_verify_message_update(operation->parameters, in, inlen);
}

static int message_verify_message_final(void *ctx)
{
    const struct lct_operation *operation = ctx;

    return EVP_PKEY_verify_message_final(operation->parameters) == 1;
}

static int message_get_ctx_params(void *ctx, OSSL_PARAM *params)
{
    return lct_operation_get_params(ctx, params);
}

static const OSSL_PARAM *message_gettable_ctx_params(void *ctx, void *provctx)
{
    (void)provctx;
    return lct_operation_gettable_params(ctx);
}

/* The name says it all: who asks for a digest, a padding or a salt expects another signature. */
static bool is_settled(const struct lct_operation *operation, const OSSL_PARAM params[])
{
    const OSSL_PARAM *known = EVP_PKEY_CTX_settable_params(operation->parameters);
    struct lct_err err;

    for (; params != NULL && params->key != NULL; params++) {
        if (known == NULL || OSSL_PARAM_locate_const(known, params->key) == NULL)
            continue;
        (void)LCT_FAIL(&err, LCT_ERR_UNSUPPORTED,
                       "%s: the name %s says how it is signed, and %s cannot be set beside it",
                       operation->key->label, operation->composite->name, params->key);
        return lct_operation_fail(operation, &err);
    }
    return true;
}

static int message_set_ctx_params(void *ctx, const OSSL_PARAM params[])
{
    const struct lct_operation *operation = ctx;

    if (params == NULL || params->key == NULL)
        return 1;
    if (operation->parameters == NULL)
        return 0;
    return operation->by_tpm ? is_settled(operation, params)
                             : EVP_PKEY_CTX_set_params(operation->parameters, params) == 1;
}

static const OSSL_PARAM *message_settable_ctx_params(void *ctx, void *provctx)
{
    static const OSSL_PARAM none[] = {OSSL_PARAM_END};
    const struct lct_operation *operation = ctx;

    (void)provctx;
    return operation != NULL && operation->parameters != NULL && !operation->by_tpm
               ? EVP_PKEY_CTX_settable_params(operation->parameters)
               : none;
}

/* What all of them have, beside a NEWCTX that knows the name. */
#define MESSAGE_FUNCTIONS                                                                          \
    {OSSL_FUNC_SIGNATURE_FREECTX, (void (*)(void))message_freectx},                                \
        {OSSL_FUNC_SIGNATURE_DUPCTX, (void (*)(void))message_dupctx},                              \
        {OSSL_FUNC_SIGNATURE_SIGN_INIT, (void (*)(void))message_sign_init},                        \
        {OSSL_FUNC_SIGNATURE_SIGN, (void (*)(void))message_sign},                                  \
        {OSSL_FUNC_SIGNATURE_SIGN_MESSAGE_INIT, (void (*)(void))message_sign_message_init},        \
        {OSSL_FUNC_SIGNATURE_SIGN_MESSAGE_UPDATE, (void (*)(void))message_sign_message_update},    \
        {OSSL_FUNC_SIGNATURE_SIGN_MESSAGE_FINAL, (void (*)(void))message_sign_message_final},      \
        {OSSL_FUNC_SIGNATURE_VERIFY_INIT, (void (*)(void))message_verify_init},                    \
        {OSSL_FUNC_SIGNATURE_VERIFY, (void (*)(void))message_verify},                              \
        {OSSL_FUNC_SIGNATURE_VERIFY_MESSAGE_INIT, (void (*)(void))message_verify_message_init},    \
        {OSSL_FUNC_SIGNATURE_VERIFY_MESSAGE_UPDATE,                                                \
         (void (*)(void))message_verify_message_update},                                           \
        {OSSL_FUNC_SIGNATURE_VERIFY_MESSAGE_FINAL, (void (*)(void))message_verify_message_final},  \
        {OSSL_FUNC_SIGNATURE_GET_CTX_PARAMS, (void (*)(void))message_get_ctx_params},              \
        {OSSL_FUNC_SIGNATURE_GETTABLE_CTX_PARAMS, (void (*)(void))message_gettable_ctx_params},    \
        {OSSL_FUNC_SIGNATURE_SET_CTX_PARAMS, (void (*)(void))message_set_ctx_params},              \
    {                                                                                              \
        OSSL_FUNC_SIGNATURE_SETTABLE_CTX_PARAMS, (void (*)(void))message_settable_ctx_params       \
    }
#define ECDSA_FUNCTIONS                                                                            \
    {OSSL_FUNC_SIGNATURE_QUERY_KEY_TYPES, (void (*)(void))ecdsa_query_key_types}, MESSAGE_FUNCTIONS
#define RSA_FUNCTIONS                                                                              \
    {OSSL_FUNC_SIGNATURE_QUERY_KEY_TYPES, (void (*)(void))rsa_query_key_types}, MESSAGE_FUNCTIONS

static void *new_context(void *provctx, const struct lct_composite *composite)
{
    struct lct_operation *operation = lct_operation_new(provctx);

    if (operation != NULL)
        operation->composite = composite;
    return operation;
}

static void *ecdsa_sha1_newctx(void *provctx, const char *propq)
{
    static const struct lct_composite composite = {"ECDSA-SHA1", "EC", "SHA1"};

    (void)propq;
    return new_context(provctx, &composite);
}

static void *ecdsa_sha256_newctx(void *provctx, const char *propq)
{
    static const struct lct_composite composite = {"ECDSA-SHA2-256", "EC", "SHA256"};

    (void)propq;
    return new_context(provctx, &composite);
}

static void *ecdsa_sha384_newctx(void *provctx, const char *propq)
{
    static const struct lct_composite composite = {"ECDSA-SHA2-384", "EC", "SHA384"};

    (void)propq;
    return new_context(provctx, &composite);
}

static void *ecdsa_sha512_newctx(void *provctx, const char *propq)
{
    static const struct lct_composite composite = {"ECDSA-SHA2-512", "EC", "SHA512"};

    (void)propq;
    return new_context(provctx, &composite);
}

static void *ecdsa_sha3_256_newctx(void *provctx, const char *propq)
{
    static const struct lct_composite composite = {"ECDSA-SHA3-256", "EC", "SHA3-256"};

    (void)propq;
    return new_context(provctx, &composite);
}

static void *ecdsa_sha3_384_newctx(void *provctx, const char *propq)
{
    static const struct lct_composite composite = {"ECDSA-SHA3-384", "EC", "SHA3-384"};

    (void)propq;
    return new_context(provctx, &composite);
}

static void *ecdsa_sha3_512_newctx(void *provctx, const char *propq)
{
    static const struct lct_composite composite = {"ECDSA-SHA3-512", "EC", "SHA3-512"};

    (void)propq;
    return new_context(provctx, &composite);
}

static void *rsa_sha1_newctx(void *provctx, const char *propq)
{
    static const struct lct_composite composite = {"RSA-SHA1", "RSA", "SHA1"};

    (void)propq;
    return new_context(provctx, &composite);
}

static void *rsa_sha256_newctx(void *provctx, const char *propq)
{
    static const struct lct_composite composite = {"RSA-SHA2-256", "RSA", "SHA256"};

    (void)propq;
    return new_context(provctx, &composite);
}

static void *rsa_sha384_newctx(void *provctx, const char *propq)
{
    static const struct lct_composite composite = {"RSA-SHA2-384", "RSA", "SHA384"};

    (void)propq;
    return new_context(provctx, &composite);
}

static void *rsa_sha512_newctx(void *provctx, const char *propq)
{
    static const struct lct_composite composite = {"RSA-SHA2-512", "RSA", "SHA512"};

    (void)propq;
    return new_context(provctx, &composite);
}

static void *rsa_sha3_256_newctx(void *provctx, const char *propq)
{
    static const struct lct_composite composite = {"RSA-SHA3-256", "RSA", "SHA3-256"};

    (void)propq;
    return new_context(provctx, &composite);
}

static void *rsa_sha3_384_newctx(void *provctx, const char *propq)
{
    static const struct lct_composite composite = {"RSA-SHA3-384", "RSA", "SHA3-384"};

    (void)propq;
    return new_context(provctx, &composite);
}

static void *rsa_sha3_512_newctx(void *provctx, const char *propq)
{
    static const struct lct_composite composite = {"RSA-SHA3-512", "RSA", "SHA3-512"};

    (void)propq;
    return new_context(provctx, &composite);
}

static const OSSL_DISPATCH ecdsa_sha1[] = {
    {OSSL_FUNC_SIGNATURE_NEWCTX, (void (*)(void))ecdsa_sha1_newctx}, ECDSA_FUNCTIONS, {0, NULL}};
static const OSSL_DISPATCH ecdsa_sha256[] = {
    {OSSL_FUNC_SIGNATURE_NEWCTX, (void (*)(void))ecdsa_sha256_newctx}, ECDSA_FUNCTIONS, {0, NULL}};
static const OSSL_DISPATCH ecdsa_sha384[] = {
    {OSSL_FUNC_SIGNATURE_NEWCTX, (void (*)(void))ecdsa_sha384_newctx}, ECDSA_FUNCTIONS, {0, NULL}};
static const OSSL_DISPATCH ecdsa_sha512[] = {
    {OSSL_FUNC_SIGNATURE_NEWCTX, (void (*)(void))ecdsa_sha512_newctx}, ECDSA_FUNCTIONS, {0, NULL}};
static const OSSL_DISPATCH ecdsa_sha3_256[] = {
    {OSSL_FUNC_SIGNATURE_NEWCTX, (void (*)(void))ecdsa_sha3_256_newctx},
    ECDSA_FUNCTIONS,
    {0, NULL}};
static const OSSL_DISPATCH ecdsa_sha3_384[] = {
    {OSSL_FUNC_SIGNATURE_NEWCTX, (void (*)(void))ecdsa_sha3_384_newctx},
    ECDSA_FUNCTIONS,
    {0, NULL}};
static const OSSL_DISPATCH ecdsa_sha3_512[] = {
    {OSSL_FUNC_SIGNATURE_NEWCTX, (void (*)(void))ecdsa_sha3_512_newctx},
    ECDSA_FUNCTIONS,
    {0, NULL}};
static const OSSL_DISPATCH rsa_sha1[] = {
    {OSSL_FUNC_SIGNATURE_NEWCTX, (void (*)(void))rsa_sha1_newctx}, RSA_FUNCTIONS, {0, NULL}};
static const OSSL_DISPATCH rsa_sha256[] = {
    {OSSL_FUNC_SIGNATURE_NEWCTX, (void (*)(void))rsa_sha256_newctx}, RSA_FUNCTIONS, {0, NULL}};
static const OSSL_DISPATCH rsa_sha384[] = {
    {OSSL_FUNC_SIGNATURE_NEWCTX, (void (*)(void))rsa_sha384_newctx}, RSA_FUNCTIONS, {0, NULL}};
static const OSSL_DISPATCH rsa_sha512[] = {
    {OSSL_FUNC_SIGNATURE_NEWCTX, (void (*)(void))rsa_sha512_newctx}, RSA_FUNCTIONS, {0, NULL}};
static const OSSL_DISPATCH rsa_sha3_256[] = {
    {OSSL_FUNC_SIGNATURE_NEWCTX, (void (*)(void))rsa_sha3_256_newctx}, RSA_FUNCTIONS, {0, NULL}};
static const OSSL_DISPATCH rsa_sha3_384[] = {
    {OSSL_FUNC_SIGNATURE_NEWCTX, (void (*)(void))rsa_sha3_384_newctx}, RSA_FUNCTIONS, {0, NULL}};
static const OSSL_DISPATCH rsa_sha3_512[] = {
    {OSSL_FUNC_SIGNATURE_NEWCTX, (void (*)(void))rsa_sha3_512_newctx}, RSA_FUNCTIONS, {0, NULL}};

#endif

const OSSL_ALGORITHM lct_signatures[] = {
    {"ECDSA", "provider=lct", lct_signature, "ECDSA by the TPM"},
    {"RSA:rsaEncryption:1.2.840.113549.1.1.1", "provider=lct", lct_signature,
     "RSA signatures by the TPM"},
#ifdef OSSL_FUNC_SIGNATURE_SIGN_MESSAGE_INIT
    {"ECDSA-SHA1:ECDSA-SHA-1:ecdsa-with-SHA1:1.2.840.10045.4.1", "provider=lct", ecdsa_sha1,
     "ECDSA by the TPM"},
    {"ECDSA-SHA2-256:ECDSA-SHA256:ecdsa-with-SHA256:1.2.840.10045.4.3.2", "provider=lct",
     ecdsa_sha256, "ECDSA by the TPM"},
    {"ECDSA-SHA2-384:ECDSA-SHA384:ecdsa-with-SHA384:1.2.840.10045.4.3.3", "provider=lct",
     ecdsa_sha384, "ECDSA by the TPM"},
    {"ECDSA-SHA2-512:ECDSA-SHA512:ecdsa-with-SHA512:1.2.840.10045.4.3.4", "provider=lct",
     ecdsa_sha512, "ECDSA by the TPM"},
    {"ECDSA-SHA3-256:ecdsa_with_SHA3-256:id-ecdsa-with-sha3-256:2.16.840.1.101.3.4.3.10",
     "provider=lct", ecdsa_sha3_256, "ECDSA by the TPM"},
    {"ECDSA-SHA3-384:ecdsa_with_SHA3-384:id-ecdsa-with-sha3-384:2.16.840.1.101.3.4.3.11",
     "provider=lct", ecdsa_sha3_384, "ECDSA by the TPM"},
    {"ECDSA-SHA3-512:ecdsa_with_SHA3-512:id-ecdsa-with-sha3-512:2.16.840.1.101.3.4.3.12",
     "provider=lct", ecdsa_sha3_512, "ECDSA by the TPM"},
    {"RSA-SHA1:RSA-SHA-1:sha1WithRSAEncryption:1.2.840.113549.1.1.5", "provider=lct", rsa_sha1,
     "RSA signatures by the TPM"},
    {"RSA-SHA2-256:RSA-SHA256:sha256WithRSAEncryption:1.2.840.113549.1.1.11", "provider=lct",
     rsa_sha256, "RSA signatures by the TPM"},
    {"RSA-SHA2-384:RSA-SHA384:sha384WithRSAEncryption:1.2.840.113549.1.1.12", "provider=lct",
     rsa_sha384, "RSA signatures by the TPM"},
    {"RSA-SHA2-512:RSA-SHA512:sha512WithRSAEncryption:1.2.840.113549.1.1.13", "provider=lct",
     rsa_sha512, "RSA signatures by the TPM"},
    {"RSA-SHA3-256:id-rsassa-pkcs1-v1_5-with-sha3-256:2.16.840.1.101.3.4.3.14", "provider=lct",
     rsa_sha3_256, "RSA signatures by the TPM"},
    {"RSA-SHA3-384:id-rsassa-pkcs1-v1_5-with-sha3-384:2.16.840.1.101.3.4.3.15", "provider=lct",
     rsa_sha3_384, "RSA signatures by the TPM"},
    {"RSA-SHA3-512:id-rsassa-pkcs1-v1_5-with-sha3-512:2.16.840.1.101.3.4.3.16", "provider=lct",
     rsa_sha3_512, "RSA signatures by the TPM"},
#endif
    {NULL, NULL, NULL, NULL},
};
