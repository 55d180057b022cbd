/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/context.h"

#include "provider/unlock.h"

#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdlib.h>
#include <string.h>

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
        case OSSL_FUNC_BIO_READ_EX:
            provider->bio_read_ex = OSSL_FUNC_BIO_read_ex(upcalls);
            break;
        case OSSL_FUNC_BIO_GETS:
            provider->bio_gets = OSSL_FUNC_BIO_gets(upcalls);
            break;
        case OSSL_FUNC_BIO_CTRL:
            provider->bio_ctrl = OSSL_FUNC_BIO_ctrl(upcalls);
            break;
        case OSSL_FUNC_BIO_WRITE_EX:
            provider->bio_write_ex = OSSL_FUNC_BIO_write_ex(upcalls);
            break;
        default:
            break;
        }
}

static void free_texts(char *texts[LCT_MAX_CONFIG_KEYS])
{
    for (size_t i = 0; i < LCT_MAX_CONFIG_KEYS; i++)
        free(texts[i]);
}

/* False if out of memory: a setting that is lost is another than was asked for. */
static bool keep_text(char **text, const char *value)
{
    *text = value != NULL ? strdup(value) : NULL;
    return *text != NULL || value == NULL;
}

/* What libcrypto has of our section of openssl.cnf, and what the program gave it for us. */
static bool read_given(const struct lct_provider *provider, char *texts[LCT_MAX_CONFIG_KEYS])
{
    size_t num_keys;
    const struct lct_config_key *keys = lct_config_keys(&num_keys);

    for (size_t i = 0; i < num_keys && i < LCT_MAX_CONFIG_KEYS; i++) {
        char *value = NULL;
        OSSL_PARAM params[] = {
            OSSL_PARAM_construct_utf8_ptr(keys[i].name, &value, 0),
            OSSL_PARAM_END,
        };
        if (provider->get_params != NULL && provider->get_params(provider->core, params) &&
            !keep_text(&texts[i], value))
            return false;
    }
    return true;
}

static bool read_environment(char *texts[LCT_MAX_CONFIG_KEYS])
{
    size_t num_keys;
    const struct lct_config_key *keys = lct_config_keys(&num_keys);

    for (size_t i = 0; i < num_keys && i < LCT_MAX_CONFIG_KEYS; i++)
        if (keys[i].variable != NULL && !keep_text(&texts[i], secure_getenv(keys[i].variable)))
            return false;
    return true;
}

static enum lct_code configure(struct lct_config *config, char *const given[LCT_MAX_CONFIG_KEYS],
                               char *const environment[LCT_MAX_CONFIG_KEYS], struct lct_err *err)
{
    size_t num_keys;
    const struct lct_config_key *keys = lct_config_keys(&num_keys);
    enum lct_code code = LCT_OK;

    for (size_t i = 0; i < num_keys && i < LCT_MAX_CONFIG_KEYS && code == LCT_OK; i++) {
        if (given[i] != NULL)
            code = keys[i].set(config, given[i], err);
        if (code == LCT_OK && environment[i] != NULL) {
            code = keys[i].set(config, environment[i], err);
            if (code != LCT_OK)
                (void)lct_err_prefix(err, keys[i].variable);
        }
    }
    return code;
}

static void free_settings(struct lct_settings *settings)
{
    if (settings == NULL)
        return;
    lct_tpm_close(settings->tpm);
    lct_store_close(&settings->store);
    lct_config_clear(&settings->config);
    free(settings);
}

/* NULL if out of memory. What is wrong with them is kept, and that does not pass. */
static struct lct_settings *make_settings(char *const given[LCT_MAX_CONFIG_KEYS],
                                          char *const environment[LCT_MAX_CONFIG_KEYS])
{
    struct lct_settings *settings = calloc(1, sizeof *settings);

    if (settings == NULL)
        return NULL;
    enum lct_code code = configure(&settings->config, given, environment, &settings->error);
    if (code != LCT_ERR_INTERNAL &&
        lct_store_open(&settings->store, &settings->config, NULL) == LCT_OK &&
        lct_tpm_open(&settings->tpm, &settings->config, NULL) == LCT_OK)
        return settings;
    free_settings(settings);
    return NULL;
}

struct lct_provider *lct_provider_new(const OSSL_CORE_HANDLE *core, const OSSL_DISPATCH *upcalls)
{
    struct lct_provider *provider = calloc(1, sizeof *provider);

    if (provider == NULL)
        return NULL;
    provider->core = core;
    provider->has_listener = pthread_key_create(&provider->listener, NULL) == 0;
    atomic_init(&provider->effective, NULL);
    take_upcalls(provider, upcalls);
    if (read_given(provider, provider->given) && read_environment(provider->environment))
        provider->first = make_settings(provider->given, provider->environment);
    provider->crypto = lct_crypto_new();
    if (provider->crypto == NULL || provider->first == NULL) {
        lct_provider_free(provider);
        return NULL;
    }
    return provider;
}

void lct_provider_free(struct lct_provider *provider)
{
    if (provider == NULL)
        return;
    struct lct_settings *effective = atomic_load(&provider->effective);
    if (effective != provider->first)
        free_settings(effective);
    free_settings(provider->first);
    lct_provider_forget(provider);
    lct_crypto_free(provider->crypto);
    free_texts(provider->given);
    free_texts(provider->environment);
    if (provider->has_listener)
        (void)pthread_key_delete(provider->listener);
    free(provider);
}

static bool same_texts(char *const a[LCT_MAX_CONFIG_KEYS], char *const b[LCT_MAX_CONFIG_KEYS])
{
    for (size_t i = 0; i < LCT_MAX_CONFIG_KEYS; i++)
        if (a[i] == NULL || b[i] == NULL ? a[i] != b[i] : strcmp(a[i], b[i]) != 0)
            return false;
    return true;
}

/* Without a lock, which a fork could leave held: who comes second frees what it made. */
static struct lct_settings *take_effect(struct lct_provider *provider)
{
    char *given[LCT_MAX_CONFIG_KEYS] = {NULL};
    struct lct_settings *none = NULL, *made = provider->first;

    if (!read_given(provider, given))
        made = NULL;
    else if (!same_texts(given, provider->given))
        made = make_settings(given, provider->environment);
    free_texts(given);
    if (made == NULL)
        return NULL;
    if (atomic_compare_exchange_strong(&provider->effective, &none, made))
        return made;
    if (made != provider->first)
        free_settings(made);
    return none; /* the one that was first */
}

const struct lct_settings *lct_provider_settings(struct lct_provider *provider)
{
    struct lct_settings *settings = atomic_load(&provider->effective);

    if (settings == NULL)
        settings = take_effect(provider);
    if (settings == NULL)
        lct_raise_memory(provider);
    else if (settings->error.code != LCT_OK)
        lct_raise(provider, &settings->error);
    return settings != NULL && settings->error.code == LCT_OK ? settings : NULL;
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
