/* SPDX-License-Identifier: Apache-2.0 */
#include "tcg/ekcert.h"

#include <limits.h>
#include <openssl/asn1.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/x509.h>
#include <string.h>

void lct_ekcert_clear(struct lct_ekcert *cert)
{
    X509_free(cert->x509);
    OPENSSL_free(cert->der);
    *cert = (struct lct_ekcert){0};
}

static void skip_padding(const uint8_t **bytes, size_t *left)
{
    while (*left > 0 && (**bytes == 0x00 || **bytes == 0xff)) {
        ++*bytes;
        --*left;
    }
}

/* With what is asked of it later: its key's bits are there, and its dates can be read. */
static bool take_apart(struct lct_ekcert *cert, OSSL_LIB_CTX *libctx, const uint8_t *bytes,
                       size_t left)
{
    const unsigned char *at = bytes;

    cert->x509 = X509_new_ex(libctx, NULL);
    if (cert->x509 == NULL || left > LONG_MAX || d2i_X509(&cert->x509, &at, (long)left) == NULL ||
        X509_get0_pubkey_bitstr(cert->x509) == NULL ||
        ASN1_TIME_check(X509_get0_notBefore(cert->x509)) != 1 ||
        ASN1_TIME_check(X509_get0_notAfter(cert->x509)) != 1)
        return false;
    cert->der_len = (size_t)(at - bytes);
    cert->der = OPENSSL_memdup(bytes, cert->der_len);
    return cert->der != NULL;
}

enum lct_code lct_ekcert_next(struct lct_ekcert *cert, const uint8_t **bytes, size_t *left,
                              OSSL_LIB_CTX *libctx, struct lct_err *err)
{
    *cert = (struct lct_ekcert){0};
    skip_padding(bytes, left);
    if (*left == 0)
        return LCT_OK;
    (void)ERR_set_mark();
    bool good = take_apart(cert, libctx, *bytes, *left);
    (void)ERR_pop_to_mark();
    if (!good) {
        lct_ekcert_clear(cert);
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD, "what is there is no whole certificate");
    }
    *bytes += cert->der_len;
    *left -= cert->der_len;
    return LCT_OK;
}

enum lct_code lct_ekcert_take(struct lct_ekcert *cert, const uint8_t *bytes, size_t len,
                              OSSL_LIB_CTX *libctx, struct lct_err *err)
{
    enum lct_code code = lct_ekcert_next(cert, &bytes, &len, libctx, err);

    if (code != LCT_OK)
        return code;
    if (cert->x509 == NULL)
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD, "there is nothing in it");
    skip_padding(&bytes, &len);
    if (len == 0)
        return LCT_OK;
    lct_ekcert_clear(cert);
    return LCT_FAIL(err, LCT_ERR_BAD_RECORD, "something else follows the certificate");
}

/* The RSAPublicKey alone. */
static bool has_same_bits(const X509 *x509, const EVP_PKEY *pkey)
{
    const ASN1_BIT_STRING *bits = X509_get0_pubkey_bitstr(x509);
    unsigned char *own = NULL;
    int own_len = i2d_PublicKey(pkey, &own);
    bool same = own_len > 0 && ASN1_STRING_length(bits) == own_len &&
                memcmp(ASN1_STRING_get0_data(bits), own, (size_t)own_len) == 0;

    OPENSSL_free(own);
    return same;
}

bool lct_ekcert_is_of(const struct lct_ekcert *cert, EVP_PKEY *pkey)
{
    ASN1_OBJECT *algorithm = NULL;

    (void)ERR_set_mark();
    const EVP_PKEY *certified = X509_get0_pubkey(cert->x509);
    bool same = certified != NULL && EVP_PKEY_eq(certified, pkey) == 1;
    if (certified == NULL && EVP_PKEY_is_a(pkey, "RSA") &&
        X509_PUBKEY_get0_param(&algorithm, NULL, NULL, NULL, X509_get_X509_PUBKEY(cert->x509)) == 1)
        same = OBJ_obj2nid(algorithm) == NID_rsaesOaep && has_same_bits(cert->x509, pkey);
    (void)ERR_pop_to_mark();
    return same;
}
