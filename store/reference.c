/* SPDX-License-Identifier: Apache-2.0 */
#include "store/reference.h"

#include "store/armour.h"

#include <openssl/asn1t.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char lct_reference_label[] = "LCT PRIVATE KEY";

static const char type_text[] = "LCT Key Reference v1";

enum { MAX_URI = 3 * LCT_MAX_ID + 64 };

typedef struct {
    ASN1_VISIBLESTRING *type;
    ASN1_UTF8STRING *uri;
    ASN1_STRING
    *public_key; /* as it is: an X509_PUBKEY would be decoded in the program's context */
} KEY_REFERENCE;

/* clang-format off */
ASN1_SEQUENCE(KEY_REFERENCE) = {
    ASN1_SIMPLE(KEY_REFERENCE, type, ASN1_VISIBLESTRING),
    ASN1_SIMPLE(KEY_REFERENCE, uri, ASN1_UTF8STRING),
    ASN1_SIMPLE(KEY_REFERENCE, public_key, ASN1_SEQUENCE)
} static_ASN1_SEQUENCE_END(KEY_REFERENCE)
    /* clang-format on */

    static bool holds(const ASN1_STRING *string, const char *text)
{
    size_t len = strlen(text);

    return (size_t)ASN1_STRING_length(string) == len &&
           memcmp(ASN1_STRING_get0_data(string), text, len) == 0;
}

bool lct_reference_begins(const uint8_t *der, size_t der_len)
{
    uint8_t first[2 + sizeof type_text - 1] = {V_ASN1_VISIBLESTRING, sizeof type_text - 1};

    memcpy(first + 2, type_text, sizeof type_text - 1);
    return lct_armour_holds_first(der, der_len, first, sizeof first);
}

static bool take_uri(struct lct_uri *uri, const ASN1_UTF8STRING *string)
{
    char text[MAX_URI + 1];
    int len = ASN1_STRING_length(string);

    if (len > MAX_URI || memchr(ASN1_STRING_get0_data(string), 0, (size_t)len) != NULL)
        return false;
    memcpy(text, ASN1_STRING_get0_data(string), (size_t)len);
    text[len] = '\0';
    return lct_uri_parse(uri, text, NULL) == LCT_OK && uri->id[0] != '\0';
}

static bool take_public(struct lct_reference *reference, const ASN1_STRING *string)
{
    reference->public_len = (size_t)ASN1_STRING_length(string);
    reference->public_key = malloc(reference->public_len);
    if (reference->public_key == NULL)
        return false;
    memcpy(reference->public_key, ASN1_STRING_get0_data(string), reference->public_len);
    return true;
}

static bool from_der(struct lct_reference *reference, const uint8_t *der, size_t der_len)
{
    const unsigned char *at = der;
    KEY_REFERENCE *from =
        (KEY_REFERENCE *)ASN1_item_d2i(NULL, &at, (long)der_len, ASN1_ITEM_rptr(KEY_REFERENCE));
    bool good = from != NULL &&
                lct_armour_is_canonical((const ASN1_VALUE *)from, ASN1_ITEM_rptr(KEY_REFERENCE),
                                        der, der_len) &&
                holds(from->type, type_text) && take_uri(&reference->uri, from->uri) &&
                take_public(reference, from->public_key);

    ASN1_item_free((ASN1_VALUE *)from, ASN1_ITEM_rptr(KEY_REFERENCE));
    return good;
}

static bool from_pem(struct lct_reference *reference, const uint8_t *bytes, size_t bytes_len)
{
    uint8_t *der = NULL;
    size_t der_len = 0;
    bool good = lct_armour_read(&der, &der_len, lct_reference_label, bytes, bytes_len) &&
                from_der(reference, der, der_len);

    OPENSSL_free(der);
    return good;
}

enum lct_code lct_reference_read(struct lct_reference *reference, const uint8_t *bytes,
                                 size_t bytes_len, struct lct_err *err)
{
    enum { MAX = 65536 };

    *reference = (struct lct_reference){0};
    (void)ERR_set_mark();
    bool good = bytes_len <= MAX &&
                (lct_armour_is_pem(bytes, bytes_len) ? from_pem(reference, bytes, bytes_len)
                                                     : from_der(reference, bytes, bytes_len));
    (void)ERR_pop_to_mark();
    if (good)
        return LCT_OK;
    lct_reference_clear(reference);
    return LCT_FAIL(err, LCT_ERR_BAD_RECORD,
                    "the file is not a whole %s; write it anew with lct pem", lct_reference_label);
}

void lct_reference_clear(struct lct_reference *reference)
{
    free(reference->public_key);
    *reference = (struct lct_reference){0};
}

/* Encoded, with its parts borrowed. */
static int encode(uint8_t **der, const char *uri, const uint8_t *public_key, size_t public_len)
{
    KEY_REFERENCE *from = (KEY_REFERENCE *)ASN1_item_new(ASN1_ITEM_rptr(KEY_REFERENCE));
    int len = -1;

    *der = NULL;
    if (from != NULL && ASN1_STRING_set(from->type, type_text, -1) &&
        ASN1_STRING_set(from->uri, uri, -1) &&
        ASN1_STRING_set(from->public_key, public_key, (int)public_len))
        len = ASN1_item_i2d((const ASN1_VALUE *)from, der, ASN1_ITEM_rptr(KEY_REFERENCE));
    ASN1_item_free((ASN1_VALUE *)from, ASN1_ITEM_rptr(KEY_REFERENCE));
    return len;
}

static bool is_active(const struct lct_key *key)
{
    const struct lct_key_life *life = atomic_load(&key->life);

    return life == NULL || life->life.number == life->life.active;
}

enum lct_code lct_reference_write(uint8_t **text, size_t *text_len, const struct lct_key *key,
                                  struct lct_err *err)
{
    char uri[MAX_URI];
    unsigned char *public_key = NULL;
    uint8_t *der = NULL;
    int len = -1, public_len = i2d_PUBKEY(key->pkey, &public_key);
    bool good = false;

    *text = NULL;
    if (is_active(key))
        (void)snprintf(uri, sizeof uri, "lct://%s", key->id);
    else
        (void)snprintf(uri, sizeof uri, "lct://%s?generation=%u", key->id, key->number);
    if (public_len > 0)
        len = encode(&der, uri, public_key, (size_t)public_len);
    if (len > 0)
        good = lct_armour_write(text, text_len, lct_reference_label, der, (size_t)len);
    OPENSSL_free(der);
    OPENSSL_free(public_key);
    return good
               ? LCT_OK
               : LCT_FAIL(err, LCT_ERR_INTERNAL, "%s: the reference cannot be encoded", key->label);
}

static bool is_of(const struct lct_reference *reference, const struct lct_key *key)
{
    unsigned char *public_key = NULL;
    int len = i2d_PUBKEY(key->pkey, &public_key);
    bool same = len >= 0 && (size_t)len == reference->public_len &&
                memcmp(public_key, reference->public_key, reference->public_len) == 0;

    OPENSSL_free(public_key);
    return same;
}

/* Whether the reference's key was the identity's in another generation. */
static enum lct_code find_earlier(const struct lct_store *store, struct lct_crypto *crypto,
                                  const struct lct_reference *reference, bool *found,
                                  struct lct_err *err)
{
    struct lct_record *record = NULL;
    enum lct_code code = lct_store_get_record(store, reference->uri.id, &record, NULL, err);

    *found = false;
    for (size_t i = 0; code == LCT_OK && record != NULL && !*found && i < record->num_generations;
         i++) {
        struct lct_key *key = NULL;
        if (record->generations[i].number != record->active &&
            lct_store_get_key(store, crypto, reference->uri.id, record->generations[i].number, &key,
                              NULL) == LCT_OK)
            *found = is_of(reference, key);
        lct_key_free(key);
    }
    free(record);
    return code;
}

enum lct_code lct_reference_get_key(const struct lct_store *store, struct lct_crypto *crypto,
                                    const struct lct_reference *reference, struct lct_key **key,
                                    struct lct_err *err)
{
    bool found;
    enum lct_code code =
        lct_store_get_key(store, crypto, reference->uri.id, reference->uri.generation, key, err);

    if (code != LCT_OK || is_of(reference, *key))
        return code;
    found = false;
    if (reference->uri.generation == 0)
        code = find_earlier(store, crypto, reference, &found, err);
    if (code == LCT_OK && !found)
        code = LCT_FAIL(err, LCT_ERR_WRONG_KEY,
                        "%s: the key file was written for another key than this identity has or "
                        "had; if the identity was made anew, write the file anew: lct pem %s",
                        (*key)->label, reference->uri.id);
    if (code != LCT_OK) {
        lct_key_free(*key);
        *key = NULL;
    }
    return code;
}
