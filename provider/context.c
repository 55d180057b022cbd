/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/context.h"

#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdlib.h>

static void take_upcalls(struct lct_provider *provider, const OSSL_DISPATCH *upcalls)
{
    for (; upcalls->function_id != 0; upcalls++)
        switch (upcalls->function_id) {
        case OSSL_FUNC_CORE_NEW_ERROR:
            provider->new_error = OSSL_FUNC_core_new_error(upcalls);
            break;
        case OSSL_FUNC_CORE_SET_ERROR_DEBUG:
            provider->set_error_debug = OSSL_FUNC_core_set_error_debug(upcalls);
            break;
        case OSSL_FUNC_CORE_VSET_ERROR:
            provider->vset_error = OSSL_FUNC_core_vset_error(upcalls);
            break;
        case OSSL_FUNC_CORE_GET_PARAMS:
            provider->get_params = OSSL_FUNC_core_get_params(upcalls);
            break;
        case OSSL_FUNC_BIO_WRITE_EX:
            provider->bio_write_ex = OSSL_FUNC_BIO_write_ex(upcalls);
            break;
        default:
            break;
        }
}

/* Our section of openssl.cnf, then the environment. */
static enum lct_code read_config(struct lct_provider *provider, struct lct_err *err)
{
    size_t num_keys;
    const struct lct_config_key *keys = lct_config_keys(&num_keys);

    for (size_t i = 0; i < num_keys; i++) {
        char *value = NULL;
        OSSL_PARAM params[] = {
            OSSL_PARAM_construct_utf8_ptr(keys[i].name, &value, 0),
            OSSL_PARAM_END,
        };
        if (provider->get_params == NULL || !provider->get_params(provider->core, params) ||
            value == NULL)
            continue;
        enum lct_code code = lct_config_set(&provider->config, keys[i].name, value, err);
        if (code != LCT_OK)
            return code;
    }
    return lct_config_environment(&provider->config, err);
}

struct lct_provider *lct_provider_new(const OSSL_CORE_HANDLE *core, const OSSL_DISPATCH *upcalls)
{
    struct lct_provider *provider = calloc(1, sizeof *provider);

    if (provider == NULL)
        return NULL;
    provider->core = core;
    take_upcalls(provider, upcalls);
    (void)read_config(provider, &provider->config_error);
    provider->crypto = lct_crypto_new();
    if (provider->crypto == NULL ||
        lct_store_open(&provider->store, &provider->config, NULL) != LCT_OK ||
        lct_tpm_open(&provider->tpm, &provider->config, NULL) != LCT_OK) {
        lct_provider_free(provider);
        return NULL;
    }
    return provider;
}

void lct_provider_free(struct lct_provider *provider)
{
    if (provider == NULL)
        return;
    lct_tpm_close(provider->tpm);
    lct_store_close(&provider->store);
    lct_crypto_free(provider->crypto);
    lct_config_clear(&provider->config);
    free(provider);
}

bool lct_provider_is_configured(const struct lct_provider *provider)
{
    if (provider->config_error.code == LCT_OK)
        return true;
    lct_raise(provider, &provider->config_error);
    return false;
}

OSSL_LIB_CTX *lct_provider_libctx(const struct lct_provider *provider)
{
    struct lct_err err;
    OSSL_LIB_CTX *libctx = lct_crypto_get(provider->crypto, &err);

    if (libctx == NULL)
        lct_raise(provider, &err);
    return libctx;
}

EVP_PKEY_CTX *lct_provider_pkey_ctx(const struct lct_provider *provider, EVP_PKEY *pkey,
                                    const char *type)
{
    OSSL_LIB_CTX *libctx = lct_provider_libctx(provider);

    if (libctx == NULL)
        return NULL;
    return pkey != NULL ? EVP_PKEY_CTX_new_from_pkey(libctx, pkey, NULL)
                        : EVP_PKEY_CTX_new_from_name(libctx, type, NULL);
}
