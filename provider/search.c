/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/search.h"

#include <openssl/asn1.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/x509.h>
#include <string.h>

void lct_search_clear(struct lct_search *search)
{
    X509_NAME_free(search->subject);
    X509_NAME_free(search->issuer);
    BN_free(search->serial);
    EVP_MD_free(search->digest);
    OPENSSL_free(search->fingerprint);
    OPENSSL_free(search->alias);
    *search = (struct lct_search){0};
}

static bool set_name(X509_NAME **name, const OSSL_PARAM *param)
{
    const unsigned char *der = NULL;
    const void *data = NULL;
    size_t len = 0;

    if (!OSSL_PARAM_get_octet_string_ptr(param, &data, &len) || data == NULL)
        return false;
    X509_NAME_free(*name);
    der = data;
    *name = d2i_X509_NAME(NULL, &der, (long)len);
    return *name != NULL && der == (const unsigned char *)data + len;
}

static bool set_serial(BIGNUM **serial, const OSSL_PARAM *param)
{
    BN_free(*serial);
    *serial = NULL;
    return OSSL_PARAM_get_BN(param, serial) == 1;
}

static bool set_digest(EVP_MD **digest, struct lct_crypto *crypto, const OSSL_PARAM *param)
{
    OSSL_LIB_CTX *libctx = lct_crypto_get(crypto, NULL);
    const char *name = NULL;

    if (libctx == NULL || !OSSL_PARAM_get_utf8_string_ptr(param, &name) || name == NULL)
        return false;
    EVP_MD_free(*digest);
    *digest = EVP_MD_fetch(libctx, name, NULL);
    return *digest != NULL;
}

static bool set_fingerprint(struct lct_search *search, const OSSL_PARAM *param)
{
    void *bytes = NULL;

    OPENSSL_free(search->fingerprint);
    search->fingerprint = NULL;
    if (!OSSL_PARAM_get_octet_string(param, &bytes, 0, &search->fingerprint_len))
        return false;
    search->fingerprint = bytes;
    return true;
}

static bool set_alias(char **alias, const OSSL_PARAM *param)
{
    OPENSSL_free(*alias);
    *alias = NULL;
    return OSSL_PARAM_get_utf8_string(param, alias, 0) == 1;
}

enum lct_code lct_search_set(struct lct_search *search, struct lct_crypto *crypto,
                             const OSSL_PARAM params[], struct lct_err *err)
{
    const OSSL_PARAM *subject = OSSL_PARAM_locate_const(params, OSSL_STORE_PARAM_SUBJECT);
    const OSSL_PARAM *issuer = OSSL_PARAM_locate_const(params, OSSL_STORE_PARAM_ISSUER);
    const OSSL_PARAM *serial = OSSL_PARAM_locate_const(params, OSSL_STORE_PARAM_SERIAL);
    const OSSL_PARAM *digest = OSSL_PARAM_locate_const(params, OSSL_STORE_PARAM_DIGEST);
    const OSSL_PARAM *fingerprint = OSSL_PARAM_locate_const(params, OSSL_STORE_PARAM_FINGERPRINT);
    const OSSL_PARAM *alias = OSSL_PARAM_locate_const(params, OSSL_STORE_PARAM_ALIAS);

    (void)ERR_set_mark();
    bool good = (subject == NULL || set_name(&search->subject, subject)) &&
                (issuer == NULL || set_name(&search->issuer, issuer)) &&
                (serial == NULL || set_serial(&search->serial, serial)) &&
                (digest == NULL || set_digest(&search->digest, crypto, digest)) &&
                (fingerprint == NULL || set_fingerprint(search, fingerprint)) &&
                (alias == NULL || set_alias(&search->alias, alias)) &&
                (search->fingerprint == NULL || search->digest != NULL);
    (void)ERR_pop_to_mark();
    return good ? LCT_OK
                : LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                           "what is searched for is not a name, a serial number, a fingerprint "
                           "with a digest that is known, or an alias");
}

bool lct_search_is_for_certs(const struct lct_search *search)
{
    return search->subject != NULL || search->issuer != NULL || search->serial != NULL ||
           search->fingerprint != NULL;
}

bool lct_search_is_empty(const struct lct_search *search)
{
    return !lct_search_is_for_certs(search) && search->alias == NULL;
}

bool lct_search_has_id(const struct lct_search *search, const char *id)
{
    return search->alias == NULL || strcmp(search->alias, id) == 0;
}

static bool has_serial(const struct lct_search *search, const struct lct_cert *cert)
{
    BIGNUM *serial = ASN1_INTEGER_to_BN(X509_get0_serialNumber(cert->x509), NULL);
    bool same = serial != NULL && BN_cmp(serial, search->serial) == 0;

    BN_free(serial);
    return same;
}

static bool has_digest(const struct lct_search *search, const uint8_t *bytes, size_t bytes_len)
{
    unsigned char value[EVP_MAX_MD_SIZE];
    unsigned len = 0;

    return EVP_Digest(bytes, bytes_len, value, &len, search->digest, NULL) == 1 &&
           len == search->fingerprint_len && memcmp(value, search->fingerprint, len) == 0;
}

static bool has_fingerprint(const struct lct_search *search, const struct lct_cert *cert)
{
    unsigned char *spki = NULL;
    int spki_len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert->x509), &spki);
    bool same = has_digest(search, cert->der, cert->der_len) ||
                (spki_len > 0 && has_digest(search, spki, (size_t)spki_len));

    OPENSSL_free(spki);
    return same;
}

bool lct_search_has_cert(const struct lct_search *search, const struct lct_cert *cert)
{
    (void)ERR_set_mark();
    bool has = (search->subject == NULL ||
                X509_NAME_cmp(X509_get_subject_name(cert->x509), search->subject) == 0) &&
               (search->issuer == NULL ||
                X509_NAME_cmp(X509_get_issuer_name(cert->x509), search->issuer) == 0) &&
               (search->serial == NULL || has_serial(search, cert)) &&
               (search->fingerprint == NULL || has_fingerprint(search, cert));
    (void)ERR_pop_to_mark();
    return has;
}
