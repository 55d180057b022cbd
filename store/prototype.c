/* SPDX-License-Identifier: Apache-2.0 */
#include "store/prototype.h"

#include "proof/json.h"
#include "store/armour.h"
#include "tcg/algorithm.h"

#include <jansson.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <string.h>

/* The prototype's only key in a TPM, and how it called that. */
static const char prototype_algorithm[] = "ECC-P256";

static enum lct_code fail_member(const char *member, const char *what, struct lct_err *err)
{
    return LCT_FAIL(err, LCT_ERR_BAD_RECORD, "its %s is %s", member, what);
}

static enum lct_code take_text(const char **text, json_t *object, const char *member,
                               struct lct_err *err)
{
    *text = json_string_value(json_object_get(object, member));
    return *text != NULL ? LCT_OK : fail_member(member, "missing, or no text", err);
}

static enum lct_code check_algorithm(json_t *object, struct lct_err *err)
{
    const char *algorithm = NULL;
    enum lct_code code = take_text(&algorithm, object, "algorithm", err);

    if (code != LCT_OK || strcmp(algorithm, prototype_algorithm) == 0)
        return code;
    return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                    "its algorithm is not %s, the only one of the prototype's keys in a TPM; a "
                    "software key of its is imported with --software from its PEM file",
                    prototype_algorithm);
}

static enum lct_code take_handle(uint32_t *handle, json_t *object, struct lct_err *err)
{
    const char *text = NULL;
    enum lct_code code = take_text(&text, object, "persistent_handle", err);

    if (code == LCT_OK && (!lct_json_handle(handle, text) || *handle >> 24 != TPM2_HT_PERSISTENT))
        code = fail_member("persistent_handle", "not a persistent handle, as in 0x81010044", err);
    return code;
}

/* A SubjectPublicKeyInfo of P-256; NULL: it is none. */
static EVP_PKEY *read_pkey(OSSL_LIB_CTX *libctx, const char *pem)
{
    EVP_PKEY *pkey = NULL;
    uint8_t *der = NULL;
    size_t der_len = 0, name_len = 0;
    char group[32];

    if (!lct_armour_read(&der, &der_len, "PUBLIC KEY", (const uint8_t *)pem, strlen(pem)))
        return NULL;
    const unsigned char *at = der;
    (void)ERR_set_mark();
    pkey = d2i_PUBKEY_ex(NULL, &at, (long)der_len, libctx, NULL);
    bool good = pkey != NULL && at == der + der_len &&
                EVP_PKEY_get_group_name(pkey, group, sizeof group, &name_len) == 1 &&
                strcmp(group, SN_X9_62_prime256v1) == 0;
    (void)ERR_pop_to_mark();
    OPENSSL_free(der);
    if (good)
        return pkey;
    EVP_PKEY_free(pkey);
    return NULL;
}

static enum lct_code take_pkey(EVP_PKEY **pkey, OSSL_LIB_CTX *libctx, json_t *object,
                               struct lct_err *err)
{
    const char *pem = NULL;
    enum lct_code code = take_text(&pem, object, "public_key_pem", err);

    if (code != LCT_OK)
        return code;
    *pkey = read_pkey(libctx, pem);
    return *pkey != NULL ? LCT_OK
                         : fail_member("public_key_pem", "no P-256 public key in PEM", err);
}

/* The prototype called a key by what its user gave it, which may be a URI or anything. */
static enum lct_code take_id(char id[LCT_MAX_ID + 1], json_t *object, struct lct_err *err)
{
    struct lct_uri uri = {.generation = 0};
    const char *key_id = NULL;
    enum lct_code code = take_text(&key_id, object, "key_id", err);

    id[0] = '\0';
    if (code != LCT_OK)
        return code;
    if (lct_uri_is_ours(key_id)) {
        if (lct_uri_parse(&uri, key_id, NULL) != LCT_OK || uri.generation != 0)
            return LCT_OK;
        key_id = uri.id;
    }
    if (lct_id_check_new(key_id, NULL) == LCT_OK)
        (void)lct_json_text(id, LCT_MAX_ID + 1, key_id);
    return LCT_OK;
}

enum lct_code lct_prototype_read(struct lct_prototype *prototype, OSSL_LIB_CTX *libctx,
                                 const uint8_t *text, size_t text_len, struct lct_err *err)
{
    *prototype = (struct lct_prototype){.handle = 0};
    json_t *object = lct_json_load(text, text_len, NULL);
    enum lct_code code = LCT_OK;

    if (!json_is_object(object))
        code = LCT_FAIL(err, LCT_ERR_BAD_RECORD,
                        "it is not JSON of one object, as the prototype wrote of its keys");
    if (code == LCT_OK)
        code = check_algorithm(object, err);
    if (code == LCT_OK)
        code = take_handle(&prototype->handle, object, err);
    if (code == LCT_OK)
        code = take_pkey(&prototype->pkey, libctx, object, err);
    if (code == LCT_OK)
        code = take_id(prototype->id, object, err);
    json_decref(object);
    return code;
}

void lct_prototype_clear(struct lct_prototype *prototype)
{
    EVP_PKEY_free(prototype->pkey);
    *prototype = (struct lct_prototype){.handle = 0};
}
