/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/software.h"

#include "base/unconst.h"
#include "provider/unlock.h"
#include "store/audit.h"
#include "store/software.h"

#include <openssl/core_names.h>
#include <openssl/core_object.h>
#include <openssl/crypto.h>
#include <openssl/params.h>
#include <string.h>

static int give(const struct lct_key *key, const char *structure, const uint8_t *der,
                size_t der_len, OSSL_CALLBACK *object_cb, void *object_cbarg)
{
    int type = OSSL_OBJECT_PKEY;
    const char *key_type = key->algorithm->key_type;
    const OSSL_PARAM object[] = {
        OSSL_PARAM_construct_int(OSSL_OBJECT_PARAM_TYPE, &type),
        OSSL_PARAM_construct_utf8_string(OSSL_OBJECT_PARAM_DATA_TYPE, lct_unconst(key_type), 0),
        OSSL_PARAM_construct_utf8_string(OSSL_OBJECT_PARAM_DATA_STRUCTURE, lct_unconst(structure),
                                         0),
        OSSL_PARAM_construct_octet_string(OSSL_OBJECT_PARAM_DATA, lct_unconst(der), der_len),
        OSSL_PARAM_END,
    };

    return object_cb(object, object_cbarg);
}

int lct_software_give(const struct lct_provider *provider, const struct lct_key *key,
                      OSSL_CALLBACK *object_cb, void *object_cbarg)
{
    uint8_t *der = NULL;
    size_t der_len = 0;
    struct lct_err err;

    if (lct_audit_release(key, &err) != LCT_OK) {
        lct_provider_tell(provider, &err);
        lct_raise(provider, &err);
        return 0;
    }
    int good = lct_software_encode(&der, &der_len, key->private_key, NULL) == LCT_OK &&
               give(key, "PrivateKeyInfo", der, der_len, object_cb, object_cbarg);

    OPENSSL_clear_free(der, der_len);
    return good;
}

int lct_software_give_public(const struct lct_key *key, OSSL_CALLBACK *object_cb,
                             void *object_cbarg)
{
    struct lct_generation generation;

    lct_key_generation(&generation, key);
    return give(key, "SubjectPublicKeyInfo", generation.public_area, generation.public_len,
                object_cb, object_cbarg);
}
