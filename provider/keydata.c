/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/keydata.h"

#include "base/unconst.h"

#include <openssl/core_names.h>
#include <openssl/core_object.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdlib.h>

struct lct_keydata *lct_keydata_new(struct lct_provider *provider, const char *type)
{
    struct lct_keydata *keydata = calloc(1, sizeof *keydata);

    if (keydata != NULL)
        *keydata = (struct lct_keydata){.provider = provider, .type = type};
    else
        lct_raise_memory(provider);
    return keydata;
}

void lct_keydata_free(struct lct_keydata *keydata)
{
    if (keydata == NULL)
        return;
    EVP_PKEY_free(keydata->pkey);
    lct_key_free(keydata->key);
    free(keydata);
}

struct lct_keydata *lct_keydata_from_key(struct lct_provider *provider, struct lct_key *key)
{
    struct lct_keydata *keydata = lct_keydata_new(provider, key->algorithm->key_type);

    if (keydata == NULL || !EVP_PKEY_up_ref(key->pkey)) {
        lct_key_free(key);
        free(keydata);
        return NULL;
    }
    keydata->pkey = key->pkey;
    keydata->key = key;
    keydata->has = OSSL_KEYMGMT_SELECT_ALL;
    return keydata;
}

int lct_keydata_give(struct lct_keydata *keydata, OSSL_CALLBACK *object_cb, void *object_cbarg)
{
    int type = OSSL_OBJECT_PKEY;

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

struct lct_keydata *lct_keydata_public(struct lct_provider *provider, const struct lct_key *key)
{
    struct lct_keydata *keydata = lct_keydata_new(provider, key->algorithm->key_type);
    EVP_PKEY *pkey = EVP_PKEY_dup(key->pkey); /* a software key may be changed, a TPM's may not */

    if (keydata == NULL || pkey == NULL) {
        EVP_PKEY_free(pkey);
        free(keydata);
        return NULL;
    }
    lct_keydata_take(keydata, pkey);
    return keydata;
}

static int look_at(const OSSL_PARAM params[], void *arg)
{
    int *has = arg;

    if (OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_PRIV_KEY) != NULL ||
        OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_RSA_D) != NULL)
        *has |= OSSL_KEYMGMT_SELECT_PRIVATE_KEY;
    if (OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_PUB_KEY) != NULL ||
        OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_RSA_N) != NULL)
        *has |= OSSL_KEYMGMT_SELECT_PUBLIC_KEY;
    return 1;
}

/* libcrypto does not say what an EVP_PKEY has, but shows what it would export. */
void lct_keydata_update(struct lct_keydata *keydata)
{
    keydata->has = OSSL_KEYMGMT_SELECT_ALL_PARAMETERS;
    (void)ERR_set_mark();
    (void)EVP_PKEY_export(keydata->pkey, OSSL_KEYMGMT_SELECT_ALL, look_at, &keydata->has);
    (void)ERR_pop_to_mark();
}

void lct_keydata_take(struct lct_keydata *keydata, EVP_PKEY *pkey)
{
    EVP_PKEY_free(keydata->pkey);
    keydata->pkey = pkey;
    lct_keydata_update(keydata);
}
