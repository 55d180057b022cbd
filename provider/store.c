/* SPDX-License-Identifier: Apache-2.0 */
#include "base/unconst.h"
#include "provider/keydata.h"
#include "provider/provider.h"
#include "provider/search.h"
#include "provider/software.h"
#include "provider/unlock.h"
#include "store/certs.h"
#include "store/life.h"

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

/* OSSL_STORE_delete: libcrypto 3.2 and later ask for it, and the headers of 3.0 have no name for
 * it.
 */
enum { STORE_DELETE = 9 };
#ifdef OSSL_FUNC_STORE_DELETE
_Static_assert(STORE_DELETE == OSSL_FUNC_STORE_DELETE, "as libcrypto numbers it");
static OSSL_FUNC_store_delete_fn store_delete;
#endif

/* What became of an error that did not end the loading at once. */
enum trouble {
    TROUBLE_NONE,
    TROUBLE_KEPT,  /* raised when there is nothing else to give */
    TROUBLE_RAISED /* libcrypto asks for the end right after that, and takes it for success */
};

/*
 * An open URI. Of an identity its key is given, then its certificates; of the container the names
 * of all, or of what is searched for the certificates.
 */
struct loader {
    struct lct_provider *provider;
    const struct lct_settings *settings;
    struct lct_uri uri;
    struct lct_key *key; /* NULL: the container */
    bool loading, key_given;
    bool refused; /* what was asked for is nothing that can be searched for: `error` */
    int expect;   /* OSSL_STORE_INFO_*, 0: anything */
    struct lct_search search;
    char **ids; /* whose certificates, or the names */
    size_t num_ids, next;
    struct lct_certs certs; /* of the id before `next` */
    size_t next_cert;
    enum trouble trouble;
    struct lct_err error;
};

static bool is_container(const struct loader *loader)
{
    return loader->uri.id[0] == '\0';
}

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
    loader->ids = calloc(1, sizeof *loader->ids);
    if (loader->ids != NULL)
        loader->ids[0] = strdup(loader->uri.id);
    loader->num_ids = loader->ids != NULL && loader->ids[0] != NULL;
    if (loader->num_ids == 0)
        lct_raise_memory(provider);
    return loader->num_ids > 0;
}

static bool open_container(struct loader *loader)
{
    struct lct_err err;

    if (lct_store_list(&loader->settings->store, &loader->ids, &loader->num_ids, &err) == LCT_OK)
        return true;
    lct_raise(loader->provider, &err);
    return false;
}

static bool parse(struct lct_uri *parsed, const struct lct_provider *provider, const char *uri)
{
    struct lct_err err;

    if (lct_uri_parse(parsed, uri, &err) == LCT_OK)
        return true;
    (void)lct_err_prefix(&err, uri);
    lct_raise(provider, &err);
    return false;
}

static void *store_open(void *provctx, const char *uri)
{
    struct lct_provider *provider = provctx;
    struct loader *loader;
    struct lct_uri parsed;

    const struct lct_settings *settings =
        lct_uri_is_ours(uri) ? lct_provider_settings(provider) : NULL;
    if (settings == NULL || !parse(&parsed, provider, uri))
        return NULL;
    loader = calloc(1, sizeof *loader);
    if (loader == NULL) {
        lct_raise_memory(provider);
        return NULL;
    }
    loader->provider = provider;
    loader->settings = settings;
    loader->uri = parsed;
    if (!(is_container(loader) ? open_container(loader) : open_key(loader))) {
        (void)store_close(loader);
        return NULL;
    }
    return loader;
}

static const OSSL_PARAM *store_settable_ctx_params(void *provctx)
{
    static const OSSL_PARAM params[] = {
        OSSL_PARAM_int(OSSL_STORE_PARAM_EXPECT, NULL),
        OSSL_PARAM_utf8_string(OSSL_STORE_PARAM_PROPERTIES, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_STORE_PARAM_SUBJECT, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_STORE_PARAM_ISSUER, NULL, 0),
        OSSL_PARAM_BN(OSSL_STORE_PARAM_SERIAL, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_STORE_PARAM_DIGEST, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_STORE_PARAM_FINGERPRINT, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_STORE_PARAM_ALIAS, NULL, 0),
        OSSL_PARAM_END,
    };

    (void)provctx;
    return params;
}

/* Back to the beginning, if a program looked for the end before it said what it wants. */
static void rewind_loader(struct loader *loader)
{
    lct_certs_clear(&loader->certs);
    loader->next_cert = loader->next = 0;
    loader->trouble = TROUBLE_NONE;
}

static enum lct_code set_params(struct loader *loader, const OSSL_PARAM params[],
                                struct lct_err *err)
{
    const OSSL_PARAM *expect = OSSL_PARAM_locate_const(params, OSSL_STORE_PARAM_EXPECT);

    if (expect != NULL && !OSSL_PARAM_get_int(expect, &loader->expect))
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED, "what is expected of a store is a number");
    return lct_search_set(&loader->search, loader->provider->crypto, params, err);
}

/*
 * It always succeeds, and a search that cannot be is the error of the first load:
 * OSSL_STORE_open_ex goes on with a loader that it has closed if its parameters are refused, and
 * the program crashes.
 */
static int store_set_ctx_params(void *loaderctx, const OSSL_PARAM params[])
{
    struct loader *loader = loaderctx;

    if (loader->refused)
        return 1;
    if (!loader->loading)
        rewind_loader(loader);
    if (set_params(loader, params, &loader->error) != LCT_OK) {
        loader->refused = true;
        loader->trouble = TROUBLE_KEPT;
    }
    return 1;
}

/* The active generation now: what is read of an identity is then of this one, whatever follows it.
 */
static enum lct_code find_active(const struct lct_store *store, const char *id, unsigned *number,
                                 struct lct_err *err)
{
    struct lct_record *record = NULL;
    enum lct_code code = lct_store_get_record(store, id, &record, NULL, err);

    if (code == LCT_OK)
        *number = record->active;
    free(record);
    return code;
}

/*
 * The certificates of an identity, if one of them is searched for: they must be of its key. In the
 * container, what this user may not read is not there.
 */
static enum lct_code read_certs(struct loader *loader, const char *id, struct lct_err *err)
{
    const struct lct_store *store = &loader->settings->store;
    struct lct_crypto *crypto = loader->provider->crypto;
    struct lct_key *key = loader->key != NULL ? lct_key_up_ref(loader->key) : NULL;
    unsigned number = key != NULL ? key->number : 0;
    bool wanted = false;
    enum lct_code code = number == 0 ? find_active(store, id, &number, err) : LCT_OK;

    if (code == LCT_OK)
        code = lct_certs_read(store, crypto, id, number, &loader->certs, err);
    for (size_t i = 0; i < loader->certs.num && !wanted; i++)
        wanted = lct_search_has_cert(&loader->search, &loader->certs.certs[i]);
    if (wanted && key == NULL)
        code = lct_store_get_key(store, crypto, id, number, &key, err);
    if (wanted && key != NULL) {
        code = lct_certs_check_leaf(&loader->certs, key, err);
        if (code != LCT_OK)
            (void)lct_err_prefix(err, key->label);
    }
    lct_key_free(key);
    if (!wanted || code != LCT_OK)
        lct_certs_clear(&loader->certs);
    return code == LCT_ERR_STORE && is_container(loader) ? LCT_OK : code;
}

static bool find_cert_here(struct loader *loader)
{
    for (; loader->next_cert < loader->certs.num; loader->next_cert++)
        if (lct_search_has_cert(&loader->search, &loader->certs.certs[loader->next_cert]))
            return true;
    return false;
}

/* The next certificate that is wanted. The first of the identities that cannot be read is kept for
 * when the others have been given. */
static bool find_cert(struct loader *loader)
{
    struct lct_err err;

    while (!find_cert_here(loader)) {
        lct_certs_clear(&loader->certs);
        loader->next_cert = 0;
        if (loader->next == loader->num_ids)
            return false;
        const char *id = loader->ids[loader->next++];
        if (lct_search_has_id(&loader->search, id) && read_certs(loader, id, &err) != LCT_OK &&
            loader->trouble == TROUBLE_NONE) {
            loader->trouble = TROUBLE_KEPT;
            loader->error = err;
        }
    }
    return true;
}

static bool wants_key(const struct loader *loader)
{
    return loader->key != NULL && !loader->key_given &&
           (loader->expect == 0 || loader->expect == OSSL_STORE_INFO_PKEY ||
            loader->expect == OSSL_STORE_INFO_PUBKEY) &&
           !lct_search_is_for_certs(&loader->search) &&
           lct_search_has_id(&loader->search, loader->uri.id);
}

static bool wants_certs(const struct loader *loader)
{
    return loader->expect == 0 || loader->expect == OSSL_STORE_INFO_CERT;
}

/* What the next load gives. */
enum item { ITEM_END, ITEM_NAME, ITEM_KEY, ITEM_CERT, ITEM_ERROR, ITEM_NOTHING };

static enum item last_item(const struct loader *loader)
{
    static const enum item items[] = {
        [TROUBLE_NONE] = ITEM_END, [TROUBLE_KEPT] = ITEM_ERROR, [TROUBLE_RAISED] = ITEM_NOTHING};

    return items[loader->trouble];
}

static enum item next_item(struct loader *loader)
{
    if (loader->refused || loader->trouble == TROUBLE_RAISED)
        return last_item(loader);
    if (is_container(loader) && lct_search_is_empty(&loader->search))
        return loader->next < loader->num_ids ? ITEM_NAME : ITEM_END;
    if (wants_key(loader))
        return ITEM_KEY;
    return wants_certs(loader) && find_cert(loader) ? ITEM_CERT : last_item(loader);
}

static int give_name(struct loader *loader, OSSL_CALLBACK *object_cb, void *object_cbarg)
{
    char uri[sizeof "lct:" + LCT_MAX_ID];
    int type = OSSL_OBJECT_NAME;

    (void)snprintf(uri, sizeof uri, "lct:%s", loader->ids[loader->next++]);
    const OSSL_PARAM object[] = {
        OSSL_PARAM_construct_int(OSSL_OBJECT_PARAM_TYPE, &type),
        OSSL_PARAM_construct_utf8_string(OSSL_OBJECT_PARAM_DATA, uri, 0),
        OSSL_PARAM_END,
    };
    return object_cb(object, object_cbarg);
}

static int give_key(struct loader *loader, struct lct_key *key, OSSL_CALLBACK *object_cb,
                    void *object_cbarg)
{
    struct lct_keydata *keydata;

    if (loader->expect == OSSL_STORE_INFO_PUBKEY) {
        keydata = lct_keydata_public(loader->provider, key);
        lct_key_free(key);
    } else {
        keydata = lct_keydata_from_key(loader->provider, key);
    }
    return lct_keydata_give(keydata, object_cb, object_cbarg);
}

static int load_software(struct loader *loader, OSSL_CALLBACK *object_cb, void *object_cbarg,
                         OSSL_PASSPHRASE_CALLBACK *pw_cb, void *pw_cbarg)
{
    if (loader->expect == OSSL_STORE_INFO_PUBKEY)
        return lct_software_give_public(loader->key, object_cb, object_cbarg);
    return lct_provider_unlock(loader->provider, loader->settings, &loader->key, pw_cb, pw_cbarg) &&
           lct_software_give(loader->provider, loader->key, object_cb, object_cbarg);
}

static int load_key(struct loader *loader, OSSL_CALLBACK *object_cb, void *object_cbarg,
                    OSSL_PASSPHRASE_CALLBACK *pw_cb, void *pw_cbarg)
{
    bool private_key = loader->expect != OSSL_STORE_INFO_PUBKEY;

    loader->key_given = true;
    if (lct_key_is_software(loader->key))
        return load_software(loader, object_cb, object_cbarg, pw_cb, pw_cbarg);
    if (private_key) {
        const struct lct_name name = lct_key_name(loader->key);
        struct lct_err err;
        if (lct_life_check_key(loader->key, &err) != LCT_OK) {
            lct_raise(loader->provider, &err);
            return 0;
        }
        lct_tpm_prepare(loader->settings->tpm, &name);
        if (!lct_provider_unlock(loader->provider, loader->settings, &loader->key, pw_cb, pw_cbarg))
            return 0;
    }
    return give_key(loader, lct_key_up_ref(loader->key), object_cb, object_cbarg);
}

static int give_cert(struct loader *loader, OSSL_CALLBACK *object_cb, void *object_cbarg)
{
    const struct lct_cert *cert = &loader->certs.certs[loader->next_cert++];
    int type = OSSL_OBJECT_CERT;
    OSSL_PARAM object[] = {
        OSSL_PARAM_construct_int(OSSL_OBJECT_PARAM_TYPE, &type),
        OSSL_PARAM_construct_octet_string(OSSL_OBJECT_PARAM_DATA, cert->der, cert->der_len),
        OSSL_PARAM_END,
    };

    return object_cb(object, object_cbarg);
}

static int store_load(void *loaderctx, OSSL_CALLBACK *object_cb, void *object_cbarg,
                      OSSL_PASSPHRASE_CALLBACK *pw_cb, void *pw_cbarg)
{
    struct loader *loader = loaderctx;

    loader->loading = true;
    switch (next_item(loader)) {
    case ITEM_NAME:
        return give_name(loader, object_cb, object_cbarg);
    case ITEM_KEY:
        return load_key(loader, object_cb, object_cbarg, pw_cb, pw_cbarg);
    case ITEM_CERT:
        return give_cert(loader, object_cb, object_cbarg);
    case ITEM_ERROR:
        lct_raise(loader->provider, &loader->error);
        loader->trouble = TROUBLE_RAISED;
        return 0;
    case ITEM_NOTHING:
        loader->trouble = TROUBLE_NONE;
        return 0;
    default:
        return 0;
    }
}

static int store_eof(void *loaderctx)
{
    return next_item(loaderctx) == ITEM_END;
}

static int store_close(void *loaderctx)
{
    struct loader *loader = loaderctx;

    lct_store_free_ids(loader->ids, loader->num_ids);
    lct_certs_clear(&loader->certs);
    lct_search_clear(&loader->search);
    lct_key_free(loader->key);
    free(loader);
    return 1;
}

/* Who evicts a key from its persistent handle authorizes that as the TPM's owner, and when the
 * identity is gone, nobody knows that the key was ours. */
static enum lct_code check_persistent(void *arg, const struct lct_record *record,
                                      struct lct_err *err)
{
    (void)arg;
    for (size_t i = 0; record != NULL && i < record->num_generations; i++)
        if (record->generations[i].persistent != 0)
            return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                            "its key is at the persistent handle 0x%08x, where it would stay; "
                            "lct delete %s deletes both",
                            record->generations[i].persistent, record->id);
    return LCT_OK;
}

static int store_delete(void *provctx, const char *uri, const OSSL_PARAM params[],
                        OSSL_PASSPHRASE_CALLBACK *pw_cb, void *pw_cbarg)
{
    struct lct_provider *provider = provctx;
    const struct lct_settings *settings =
        lct_uri_is_ours(uri) ? lct_provider_settings(provider) : NULL;
    const struct lct_deletion deletion = {.before = check_persistent};
    struct lct_deleted deleted = {0};
    struct lct_uri parsed;
    struct lct_err err;
    enum lct_code code;

    (void)params;
    (void)pw_cb;
    (void)pw_cbarg;
    if (settings == NULL || !parse(&parsed, provider, uri))
        return 0;
    if (parsed.id[0] == '\0' || parsed.generation != 0)
        code = LCT_FAIL(&err, LCT_ERR_UNSUPPORTED,
                        "%.200s: what is deleted is an identity, whole: lct:ID", uri);
    else
        code = lct_store_delete(&deleted, &settings->store, parsed.id, &deletion, &err);
    free(deleted.record);
    if (code != LCT_OK)
        lct_raise(provider, &err);
    return code == LCT_OK;
}

const OSSL_DISPATCH lct_store_loader[] = {
    {OSSL_FUNC_STORE_OPEN, (void (*)(void))store_open},
    {OSSL_FUNC_STORE_SETTABLE_CTX_PARAMS, (void (*)(void))store_settable_ctx_params},
    {OSSL_FUNC_STORE_SET_CTX_PARAMS, (void (*)(void))store_set_ctx_params},
    {OSSL_FUNC_STORE_LOAD, (void (*)(void))store_load},
    {OSSL_FUNC_STORE_EOF, (void (*)(void))store_eof},
    {OSSL_FUNC_STORE_CLOSE, (void (*)(void))store_close},
    {STORE_DELETE, (void (*)(void))store_delete},
    {0, NULL},
};
