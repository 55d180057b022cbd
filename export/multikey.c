/* SPDX-License-Identifier: Apache-2.0 */
#include "export/multikey.h"

#include "base/unconst.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { COMPRESSED = 33, UNCOMPRESSED = 65, RAW = 32, CODEC = 2, MAX_BYTES = CODEC + COMPRESSED };

static const char base58[] = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/* multicodec's numbers as varints: 0x1200, 0xed. */
static const struct kind {
    uint8_t codec[CODEC];
    size_t len; /* of the key */
    bool ec;
} kinds[] = {{{0x80, 0x24}, COMPRESSED, true}, {{0xed, 0x01}, RAW, false}};

/* The number that the bytes are in base 58; the first of them is not zero. */
static void encode(char *text, const uint8_t *bytes, size_t len)
{
    uint8_t digits[LCT_MULTIKEY] = {0};
    size_t num = 0;

    for (size_t i = 0; i < len; i++) {
        unsigned carry = bytes[i];
        for (size_t j = 0; j < num || carry > 0; j++) {
            if (j == num)
                num++;
            carry += 256u * digits[j];
            digits[j] = (uint8_t)(carry % 58);
            carry /= 58;
        }
    }
    for (size_t i = 0; i < num; i++)
        text[i] = base58[digits[num - 1 - i]];
    text[num] = '\0';
}

/* And back; false: it is no such number, or one of another length. */
static bool decode(uint8_t *bytes, size_t len, const char *text)
{
    memset(bytes, 0, len);
    for (; *text != '\0'; text++) {
        const char *at = strchr(base58, *text);
        if (at == NULL)
            return false;
        unsigned carry = (unsigned)(at - base58);
        for (size_t j = len; j-- > 0;) {
            carry += 58u * bytes[j];
            bytes[j] = (uint8_t)carry;
            carry >>= 8;
        }
        if (carry > 0)
            return false;
    }
    return bytes[0] != 0;
}

static bool take_point(uint8_t *bytes, const EVP_PKEY *pkey)
{
    unsigned char point[UNCOMPRESSED];
    char group[32] = "";
    size_t len = 0;

    if (EVP_PKEY_get_group_name(pkey, group, sizeof group, NULL) != 1 ||
        strcmp(group, "prime256v1") != 0 ||
        EVP_PKEY_get_octet_string_param(pkey, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, point,
                                        sizeof point, &len) != 1 ||
        len != UNCOMPRESSED)
        return false;
    bytes[0] = (uint8_t)(2 | (point[UNCOMPRESSED - 1] & 1)); /* SEC 1, 2.3.3 */
    memcpy(bytes + 1, point + 1, COMPRESSED - 1);
    return true;
}

enum lct_code lct_multikey_encode(char text[LCT_MULTIKEY], const EVP_PKEY *pkey,
                                  struct lct_err *err)
{
    uint8_t bytes[MAX_BYTES];
    size_t len = RAW;
    const struct kind *kind = NULL;

    if (EVP_PKEY_is_a(pkey, "EC") == 1 && take_point(bytes + CODEC, pkey))
        kind = &kinds[0];
    else if (EVP_PKEY_is_a(pkey, "ED25519") == 1 &&
             EVP_PKEY_get_raw_public_key(pkey, bytes + CODEC, &len) == 1)
        kind = &kinds[1];
    if (kind == NULL)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED, "the key is neither of P-256 nor of Ed25519");
    memcpy(bytes, kind->codec, CODEC);
    text[0] = 'z';
    encode(text + 1, bytes, CODEC + kind->len);
    return LCT_OK;
}

/* A point that is not on the curve is none. */
static EVP_PKEY *from_point(OSSL_LIB_CTX *libctx, uint8_t *point)
{
    char group[] = "prime256v1", format[] = OSSL_PKEY_EC_POINT_CONVERSION_FORMAT_UNCOMPRESSED;
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, format, 0),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, COMPRESSED),
        OSSL_PARAM_construct_end()};
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(libctx, "EC", NULL);
    EVP_PKEY *pkey = NULL;

    if (ctx != NULL && EVP_PKEY_fromdata_init(ctx) == 1)
        (void)EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, lct_unconst(params));
    EVP_PKEY_CTX_free(ctx);
    return pkey;
}

EVP_PKEY *lct_multikey_decode(OSSL_LIB_CTX *libctx, const char *text, struct lct_err *err)
{
    uint8_t bytes[MAX_BYTES];
    EVP_PKEY *pkey = NULL;
    char again[LCT_MULTIKEY] = "";

    (void)ERR_set_mark();
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0] && pkey == NULL; i++)
        if (text[0] == 'z' && strlen(text) < LCT_MULTIKEY &&
            decode(bytes, CODEC + kinds[i].len, text + 1) &&
            memcmp(bytes, kinds[i].codec, CODEC) == 0)
            pkey = kinds[i].ec ? from_point(libctx, bytes + CODEC)
                               : EVP_PKEY_new_raw_public_key_ex(libctx, "ED25519", NULL,
                                                                bytes + CODEC, RAW);
    (void)ERR_pop_to_mark();
    if (pkey != NULL && lct_multikey_encode(again, pkey, NULL) == LCT_OK &&
        strcmp(again, text) == 0)
        return pkey;
    EVP_PKEY_free(pkey);
    (void)LCT_FAIL(err, LCT_ERR_BAD_EVIDENCE,
                   "the public key is no Multikey of P-256 or Ed25519 (\"zDn...\", \"z6Mk...\")");
    return NULL;
}
