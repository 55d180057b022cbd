/* SPDX-License-Identifier: Apache-2.0 */
#include "base/unconst.h"
#include "provider/keydata.h"
#include "provider/provider.h"
#include "provider/unlock.h"

#include <openssl/core_names.h>
#include <openssl/core_object.h>
#include <openssl/params.h>
#include <openssl/store.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static OSSL_FUNC_store_open_fn store_open;
static OSSL_FUNC_store_settable_ctx_params_fn store_settable_ctx_params;
static OSSL_FUNC_store_set_ctx_params_fn store_set_ctx_params;
static OSSL_FUNC_store_load_fn store_load;
static OSSL_FUNC_store_eof_fn store_eof;
static OSSL_FUNC_store_close_fn store_close;

/* An open URI: one key, or for the container the names of all. */
struct loader {
    struct lct_provider *provider;
    const struct lct_settings *settings;
    struct lct_uri uri;
    struct lct_key *key; /* NULL: given, or the container */
    int expect;          /* OSSL_STORE_INFO_*, 0: anything */
    char **ids;
    size_t num_ids, next;
};

/* Read when it is opened, as a file is: a program that only counts what it loads would miss the
 * error. */
static bool open_key(struct loader *loader)
{
    struct lct_provider *provider = loader->provider;
    struct lct_err err;

    if (lct_store_get_key(&loader->settings->store, provider->crypto, loader->uri.id,
                          loader->uri.generation, &loader->key, &err) != LCT_OK) {
        lct_raise(provider, &err);
        return false;
    }
    lct_tpm_prepare(loader->settings->tpm);
    return true;
}

static bool open_container(struct loader *loader)
{
    struct lct_err err;

    if (lct_store_list(&loader->settings->store, &loader->ids, &loader->num_ids, &err) == LCT_OK)
        return true;
    lct_raise(loader->provider, &err);
    return false;
}

static void *store_open(void *provctx, const char *uri)
{
    struct lct_provider *provider = provctx;
    struct loader *loader;
    struct lct_uri parsed;
    struct lct_err err;

    const struct lct_settings *settings =
        lct_uri_is_ours(uri) ? lct_provider_settings(provider) : NULL;
    if (settings == NULL)
        return NULL;
    if (lct_uri_parse(&parsed, uri, &err) != LCT_OK) {
        (void)lct_err_prefix(&err, uri);
        lct_raise(provider, &err);
        return NULL;
    }
    loader = calloc(1, sizeof *loader);
    if (loader == NULL)
        return NULL;
    loader->provider = provider;
    loader->settings = settings;
    loader->uri = parsed;
    if (!(parsed.id[0] == '\0' ? open_container(loader) : open_key(loader))) {
        free(loader);
        return NULL;
    }
    return loader;
}

static const OSSL_PARAM *store_settable_ctx_params(void *provctx)
{
    static const OSSL_PARAM params[] = {
        OSSL_PARAM_int(OSSL_STORE_PARAM_EXPECT, NULL),
        OSSL_PARAM_utf8_string(OSSL_STORE_PARAM_PROPERTIES, NULL, 0),
        OSSL_PARAM_END,
    };

    (void)provctx;
    return params;
}

static int store_set_ctx_params(void *loaderctx, const OSSL_PARAM params[])
{
    struct loader *loader = loaderctx;
    const OSSL_PARAM *expect = OSSL_PARAM_locate_const(params, OSSL_STORE_PARAM_EXPECT);

    return expect == NULL || OSSL_PARAM_get_int(expect, &loader->expect);
}

static int give_name(struct loader *loader, OSSL_CALLBACK *object_cb, void *object_cbarg)
{
    char uri[sizeof "lct:" + LCT_MAX_ID];
    int type = OSSL_OBJECT_NAME;
    OSSL_PARAM object[] = {
        OSSL_PARAM_construct_int(OSSL_OBJECT_PARAM_TYPE, &type),
        OSSL_PARAM_construct_utf8_string(OSSL_OBJECT_PARAM_DATA, uri, 0),
        OSSL_PARAM_END,
    };

    (void)snprintf(uri, sizeof uri, "lct:%s", loader->ids[loader->next++]);
    object[1].data_size = strlen(uri);
    return object_cb(object, object_cbarg);
}

/* As libcrypto takes a key from us: by reference to keydata, which our keymgmt's load takes out. */
static int give_key(struct loader *loader, struct lct_key *key, OSSL_CALLBACK *object_cb,
                    void *object_cbarg)
{
    bool public_only = loader->expect == OSSL_STORE_INFO_PUBKEY;
    int type = OSSL_OBJECT_PKEY;
    struct lct_keydata *keydata;

    if (public_only) {
        keydata = lct_keydata_public(loader->provider, key);
        lct_key_free(key);
    } else {
        keydata = lct_keydata_from_key(loader->provider, key);
    }
    if (keydata == NULL)
        return 0;
    OSSL_PARAM object[] = {
        OSSL_PARAM_construct_int(OSSL_OBJECT_PARAM_TYPE, &type),
        OSSL_PARAM_construct_utf8_string(OSSL_OBJECT_PARAM_DATA_TYPE, lct_unconst(keydata->type),
                                         0),
        OSSL_PARAM_construct_octet_string(OSSL_OBJECT_PARAM_REFERENCE, &keydata, sizeof keydata),
        OSSL_PARAM_END,
    };
    int good = object_cb(object, object_cbarg);
    lct_keydata_free(keydata); /* NULL if it was taken out */
    return good;
}

static int load_key(struct loader *loader, OSSL_CALLBACK *object_cb, void *object_cbarg,
                    OSSL_PASSPHRASE_CALLBACK *pw_cb, void *pw_cbarg)
{
    struct lct_key *key = loader->key;
    bool private_key = loader->expect == 0 || loader->expect == OSSL_STORE_INFO_PKEY;

    loader->key = NULL;
    if (loader->expect == OSSL_STORE_INFO_PUBKEY ||
        (private_key &&
         lct_provider_unlock(loader->provider, loader->settings, key, pw_cb, pw_cbarg)))
        return give_key(loader, key, object_cb, object_cbarg);
    lct_key_free(key);
    return 0; /* an identity holds nothing else yet */
}

static int store_load(void *loaderctx, OSSL_CALLBACK *object_cb, void *object_cbarg,
                      OSSL_PASSPHRASE_CALLBACK *pw_cb, void *pw_cbarg)
{
    struct loader *loader = loaderctx;

    if (loader->uri.id[0] == '\0')
        return give_name(loader, object_cb, object_cbarg);
    return load_key(loader, object_cb, object_cbarg, pw_cb, pw_cbarg);
}

static int store_eof(void *loaderctx)
{
    const struct loader *loader = loaderctx;

    return loader->uri.id[0] == '\0' ? loader->next == loader->num_ids : loader->key == NULL;
}

static int store_close(void *loaderctx)
{
    struct loader *loader = loaderctx;

    lct_store_free_ids(loader->ids, loader->num_ids);
    lct_key_free(loader->key);
    free(loader);
    return 1;
}

const OSSL_DISPATCH lct_store_loader[] = {
    {OSSL_FUNC_STORE_OPEN, (void (*)(void))store_open},
    {OSSL_FUNC_STORE_SETTABLE_CTX_PARAMS, (void (*)(void))store_settable_ctx_params},
    {OSSL_FUNC_STORE_SET_CTX_PARAMS, (void (*)(void))store_set_ctx_params},
    {OSSL_FUNC_STORE_LOAD, (void (*)(void))store_load},
    {OSSL_FUNC_STORE_EOF, (void (*)(void))store_eof},
    {OSSL_FUNC_STORE_CLOSE, (void (*)(void))store_close},
    {0, NULL},
};
