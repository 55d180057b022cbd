/* SPDX-License-Identifier: Apache-2.0 */
#include "store/armour.h"

#include <limits.h>
#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <string.h>

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void skip_space(const uint8_t **bytes, size_t *bytes_len)
{
    while (*bytes_len > 0 && is_space((char)**bytes)) {
        (*bytes)++;
        (*bytes_len)--;
    }
}

bool lct_armour_is_pem(const uint8_t *bytes, size_t bytes_len)
{
    static const char begin[] = "-----BEGIN ";

    skip_space(&bytes, &bytes_len);
    return bytes_len >= sizeof begin - 1 && memcmp(bytes, begin, sizeof begin - 1) == 0;
}

bool lct_armour_is_private(const char *label)
{
    static const char suffix[] = "PRIVATE KEY";
    size_t len = strlen(label);

    return len >= sizeof suffix - 1 && strcmp(label + len - (sizeof suffix - 1), suffix) == 0;
}

bool lct_armour_next(char **label, uint8_t **der, size_t *der_len, const uint8_t **bytes,
                     size_t *bytes_len)
{
    char *header = NULL;
    long len = 0;

    *label = NULL;
    *der = NULL;
    skip_space(bytes, bytes_len); /* what else comes before the block, PEM_read_bio skips */
    if (*bytes_len > INT_MAX || !lct_armour_is_pem(*bytes, *bytes_len))
        return false;
    (void)ERR_set_mark();
    BIO *bio = BIO_new_mem_buf(*bytes, (int)*bytes_len);
    bool good =
        bio != NULL && PEM_read_bio(bio, label, &header, der, &len) == 1 && header[0] == '\0';
    (void)ERR_pop_to_mark();
    if (good) {
        size_t left = BIO_ctrl_pending(bio);
        *bytes += *bytes_len - left;
        *bytes_len = left;
        skip_space(bytes, bytes_len);
        *der_len = (size_t)len;
    } else {
        OPENSSL_free(*label);
        OPENSSL_free(*der);
        *label = NULL;
        *der = NULL;
    }
    OPENSSL_free(header);
    BIO_free(bio);
    return good;
}

bool lct_armour_read(uint8_t **der, size_t *der_len, const char *label, const uint8_t *bytes,
                     size_t bytes_len)
{
    char *name = NULL;
    bool good = lct_armour_next(&name, der, der_len, &bytes, &bytes_len) && bytes_len == 0 &&
                strcmp(name, label) == 0;

    OPENSSL_free(name);
    if (!good) {
        OPENSSL_free(*der);
        *der = NULL;
    }
    return good;
}

bool lct_armour_write(uint8_t **text, size_t *text_len, const char *label, const uint8_t *der,
                      size_t der_len)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *data = NULL;

    *text = NULL;
    if (bio != NULL && PEM_write_bio(bio, label, "", der, (long)der_len) > 0) {
        *text_len = (size_t)BIO_get_mem_data(bio, &data);
        *text = OPENSSL_memdup(data, *text_len);
    }
    BIO_free(bio);
    return *text != NULL;
}

bool lct_armour_holds_first(const uint8_t *der, size_t der_len, const uint8_t *first,
                            size_t first_len)
{
    const unsigned char *at = der;
    long len = 0;
    int tag = 0, class = 0;

    (void)ERR_set_mark();
    /* 0x80: an error, one of which is that not all of it is here */
    (void)ASN1_get_object(&at, &len, &tag, &class, (long)der_len);
    (void)ERR_pop_to_mark();
    return tag == V_ASN1_SEQUENCE && class == V_ASN1_UNIVERSAL &&
           der_len - (size_t)(at - der) >= first_len && memcmp(at, first, first_len) == 0;
}

bool lct_armour_is_canonical(const ASN1_VALUE *value, const ASN1_ITEM *item, const uint8_t *der,
                             size_t der_len)
{
    unsigned char *again = NULL;
    int len = ASN1_item_i2d(value, &again, item);
    bool same = len >= 0 && (size_t)len == der_len && memcmp(again, der, der_len) == 0;

    OPENSSL_free(again);
    return same;
}
