/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/provider.h"

#include "provider/context.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/params.h>
#include <openssl/provider.h>

#define EC_NAMES "EC:id-ecPublicKey:1.2.840.10045.2.1"
#define RSA_NAMES "RSA:rsaEncryption:1.2.840.113549.1.1.1"

static const OSSL_ALGORITHM keymgmts[] = {
    {EC_NAMES, "provider=lct", lct_ec_keymgmt, "EC keys in the TPM"},
    {RSA_NAMES, "provider=lct", lct_rsa_keymgmt, "RSA keys in the TPM"},
    {NULL, NULL, NULL, NULL},
};

static const OSSL_ALGORITHM stores[] = {
    {"lct", "provider=lct", lct_store_loader, "identities"},
    {NULL, NULL, NULL, NULL},
};

/*
 * The decoder of references to keys in software is there twice: after PEM the structure says what
 * it is; bare DER is looked at by the one without a structure, since libcrypto, where the program
 * says which structure it expects (d2i_AutoPrivateKey does), passes over others.
 */
static const OSSL_ALGORITHM decoders[] = {
    {"DER", "provider=lct,input=pem", lct_pem_decoder, NULL},
    {EC_NAMES, "provider=lct,input=der,structure=TSS2PrivateKey", lct_ec_decoder, NULL},
    {EC_NAMES, "provider=lct,input=der,structure=LCTKeyReference", lct_ec_decoder, NULL},
    {RSA_NAMES, "provider=lct,input=der,structure=TSS2PrivateKey", lct_rsa_decoder, NULL},
    {RSA_NAMES, "provider=lct,input=der,structure=LCTKeyReference", lct_rsa_decoder, NULL},
    {"DER", "provider=lct,input=der", lct_software_decoder, NULL},
    {"DER", "provider=lct,input=der,structure=LCTSoftwareReference", lct_software_decoder, NULL},
    {NULL, NULL, NULL, NULL},
};

/*
 * Where a program names no structure, libcrypto takes the last one that has what is asked for: the
 * same as of its own keys.
 */
static const OSSL_ALGORITHM encoders[] = {
    {EC_NAMES, "provider=lct,output=der,structure=SubjectPublicKeyInfo", lct_spki_der_encoder,
     NULL},
    {EC_NAMES, "provider=lct,output=pem,structure=SubjectPublicKeyInfo", lct_spki_pem_encoder,
     NULL},
    {EC_NAMES, "provider=lct,output=der,structure=PrivateKeyInfo", lct_pkcs8_encoder, NULL},
    {EC_NAMES, "provider=lct,output=pem,structure=PrivateKeyInfo", lct_private_pem_encoder, NULL},
    {EC_NAMES, "provider=lct,output=der,structure=type-specific", lct_private_der_encoder, NULL},
    {EC_NAMES, "provider=lct,output=pem,structure=type-specific", lct_specific_pem_encoder, NULL},
    {EC_NAMES, "provider=lct,output=text", lct_text_encoder, NULL},
    {RSA_NAMES, "provider=lct,output=der,structure=SubjectPublicKeyInfo", lct_spki_der_encoder,
     NULL},
    {RSA_NAMES, "provider=lct,output=pem,structure=SubjectPublicKeyInfo", lct_spki_pem_encoder,
     NULL},
    {RSA_NAMES, "provider=lct,output=der,structure=PrivateKeyInfo", lct_pkcs8_encoder, NULL},
    {RSA_NAMES, "provider=lct,output=pem,structure=PrivateKeyInfo", lct_private_pem_encoder, NULL},
    {RSA_NAMES, "provider=lct,output=der,structure=type-specific", lct_private_der_encoder, NULL},
    {RSA_NAMES, "provider=lct,output=pem,structure=type-specific", lct_specific_pem_encoder, NULL},
    {RSA_NAMES, "provider=lct,output=text", lct_text_encoder, NULL},
    {NULL, NULL, NULL, NULL},
};

static OSSL_FUNC_provider_teardown_fn provider_teardown;
static OSSL_FUNC_provider_gettable_params_fn provider_gettable_params;
static OSSL_FUNC_provider_get_params_fn provider_get_params;
static OSSL_FUNC_provider_query_operation_fn provider_query_operation;
static OSSL_FUNC_provider_get_reason_strings_fn provider_get_reason_strings;

static void provider_teardown(void *provctx)
{
    lct_provider_free(provctx);
}

static const OSSL_PARAM *provider_gettable_params(void *provctx)
{
    static const OSSL_PARAM params[] = {
        OSSL_PARAM_utf8_ptr(OSSL_PROV_PARAM_NAME, NULL, 0),
        OSSL_PARAM_utf8_ptr(OSSL_PROV_PARAM_VERSION, NULL, 0),
        OSSL_PARAM_utf8_ptr(OSSL_PROV_PARAM_BUILDINFO, NULL, 0),
        OSSL_PARAM_int(OSSL_PROV_PARAM_STATUS, NULL),
        OSSL_PARAM_END,
    };

    (void)provctx;
    return params;
}

static int provider_get_params(void *provctx, OSSL_PARAM params[])
{
    static const struct {
        const char *key, *value;
    } texts[] = {
        {OSSL_PROV_PARAM_NAME, "lct: identities whose keys live in the TPM"},
        {OSSL_PROV_PARAM_VERSION, LCT_VERSION},
        {OSSL_PROV_PARAM_BUILDINFO, "lct " LCT_VERSION},
    };
    OSSL_PARAM *param;

    (void)provctx;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        param = OSSL_PARAM_locate(params, texts[i].key);
        if (param != NULL && !OSSL_PARAM_set_utf8_ptr(param, texts[i].value))
            return 0;
    }
    param = OSSL_PARAM_locate(params, OSSL_PROV_PARAM_STATUS);
    return param == NULL || OSSL_PARAM_set_int(param, 1);
}

static const OSSL_ALGORITHM *provider_query_operation(void *provctx, int operation_id,
                                                      int *no_cache)
{
    (void)provctx;
    *no_cache = 0;
    switch (operation_id) {
    case OSSL_OP_KEYMGMT:
        return keymgmts;
    case OSSL_OP_SIGNATURE:
        return lct_signatures;
    case OSSL_OP_STORE:
        return stores;
    case OSSL_OP_DECODER:
        return decoders;
    case OSSL_OP_ENCODER:
        return encoders;
    default:
        return NULL;
    }
}

static const OSSL_ITEM *provider_get_reason_strings(void *provctx)
{
    (void)provctx;
    return lct_reasons();
}

OPENSSL_EXPORT OSSL_provider_init_fn OSSL_provider_init;

LCT_EXPORT int OSSL_provider_init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in,
                                  const OSSL_DISPATCH **out, void **provctx)
{
    static const OSSL_DISPATCH functions[] = {
        {OSSL_FUNC_PROVIDER_TEARDOWN, (void (*)(void))provider_teardown},
        {OSSL_FUNC_PROVIDER_GETTABLE_PARAMS, (void (*)(void))provider_gettable_params},
        {OSSL_FUNC_PROVIDER_GET_PARAMS, (void (*)(void))provider_get_params},
        {OSSL_FUNC_PROVIDER_QUERY_OPERATION, (void (*)(void))provider_query_operation},
        {OSSL_FUNC_PROVIDER_GET_REASON_STRINGS, (void (*)(void))provider_get_reason_strings},
        {OSSL_FUNC_PROVIDER_GET_CAPABILITIES, (void (*)(void))lct_provider_get_capabilities},
        {0, NULL},
    };

    *provctx = lct_provider_new(handle, in);
    *out = functions;
    return *provctx != NULL;
}
