/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/scheme.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/params.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <string.h>

/* The name of the digest in the parameters, empty if there is none. */
static void digest_name(const struct lct_operation *operation, char name[64])
{
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST, name, 64),
        OSSL_PARAM_END,
    };

    name[0] = '\0';
    (void)EVP_PKEY_CTX_get_params(operation->parameters, params);
}

/* Our row of a hash by any of its names; NULL: none of ours. *size is its length, 0 if libcrypto
 * has no such hash. */
static const struct lct_hash *find_hash(const struct lct_operation *operation, const char *name,
                                        size_t *size)
{
    OSSL_LIB_CTX *libctx = lct_provider_libctx(operation->provider);
    EVP_MD *md = libctx != NULL ? EVP_MD_fetch(libctx, name, NULL) : NULL;
    size_t num_hashes;
    const struct lct_hash *hashes = lct_hashes(&num_hashes), *found = NULL;

    *size = md != NULL ? (size_t)EVP_MD_get_size(md) : 0;
    for (size_t i = 0; i < num_hashes && found == NULL && md != NULL; i++)
        if (EVP_MD_is_a(md, hashes[i].openssl))
            found = &hashes[i];
    EVP_MD_free(md);
    return found;
}

/*
 * The salt that was asked for must be the one the key's TPM uses: a signature whose salt is not
 * what the certificate or TLS says is refused by the other side, far from here.
 */
static enum lct_code settle_salt(const struct lct_operation *operation,
                                 const struct lct_scheme *scheme, struct lct_err *err)
{
    int asked = RSA_PSS_SALTLEN_AUTO;
    int digest = (int)scheme->hash->size;
    int max = EVP_PKEY_get_size(operation->pkey) - digest - 2;
    enum { AUTO_DIGEST_MAX = -4 }; /* RSA_PSS_SALTLEN_AUTO_DIGEST_MAX, OpenSSL 3.1 */
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_int(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, &asked),
        OSSL_PARAM_END,
    };

    if (EVP_PKEY_CTX_get_params(operation->parameters, params) != 1)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "the salt length is not to be had");
    if (asked == digest)
        asked = RSA_PSS_SALTLEN_DIGEST;
    else if (asked == max)
        asked = RSA_PSS_SALTLEN_MAX;
    if (asked != RSA_PSS_SALTLEN_AUTO && asked != AUTO_DIGEST_MAX && asked != scheme->salt_len)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                        "%s: its TPM makes RSA-PSS signatures with a salt %s; ask for "
                        "rsa_pss_saltlen:%s",
                        operation->key->label,
                        scheme->salt_len == RSA_PSS_SALTLEN_MAX ? "as long as fits"
                                                                : "as long as the digest",
                        scheme->salt_len == RSA_PSS_SALTLEN_MAX ? "max" : "digest");
    if (asked != scheme->salt_len &&
        EVP_PKEY_CTX_set_rsa_pss_saltlen(operation->parameters, scheme->salt_len) != 1)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "the salt length cannot be set");
    return LCT_OK;
}

static enum lct_code check_mgf1(const struct lct_operation *operation, const struct lct_hash *hash,
                                struct lct_err *err)
{
    char name[64] = "";
    size_t size;
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_SIGNATURE_PARAM_MGF1_DIGEST, name, sizeof name),
        OSSL_PARAM_END,
    };

    if (EVP_PKEY_CTX_get_params(operation->parameters, params) == 1 &&
        find_hash(operation, name, &size) == hash)
        return LCT_OK;
    return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                    "%s: a TPM masks RSA-PSS signatures with the digest's own hash, not with %s",
                    operation->key->label, name);
}

enum lct_code lct_operation_fail_padding(const struct lct_operation *operation, struct lct_err *err)
{
    return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                    "%s: a TPM key signs with the paddings pkcs1 and pss only",
                    operation->key->label);
}

static enum lct_code rsa_scheme(const struct lct_operation *operation, struct lct_scheme *scheme,
                                struct lct_err *err)
{
    int padding = 0;
    char name[64];
    size_t size;

    (void)EVP_PKEY_CTX_get_rsa_padding(operation->parameters, &padding);
    if (padding != RSA_PKCS1_PADDING && padding != RSA_PKCS1_PSS_PADDING)
        return lct_operation_fail_padding(operation, err);
    bool pss = padding == RSA_PKCS1_PSS_PADDING;
    digest_name(operation, name);
    if (name[0] == '\0' && !pss) { /* the caller hands in a DigestInfo: prepare */
        *scheme = (struct lct_scheme){0};
        return LCT_OK;
    }
    const struct lct_hash *hash = find_hash(operation, name, &size);
    if (hash == NULL)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED, "%s: a TPM makes no RSA signatures with %s",
                        operation->key->label, name);
    enum lct_code code = lct_key_scheme(scheme, operation->key, hash, pss, err);
    if (code == LCT_OK && pss)
        code = check_mgf1(operation, hash, err);
    if (code == LCT_OK && pss)
        code = settle_salt(operation, scheme, err);
    return code;
}

/* libcrypto 3.2 and later can be asked for a nonce derived from key and digest (RFC 6979). */
static enum lct_code check_nonce(const struct lct_operation *operation, struct lct_err *err)
{
    unsigned type = 0;
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_uint("nonce-type", &type),
        OSSL_PARAM_END,
    };

    (void)EVP_PKEY_CTX_get_params(operation->parameters, params);
    if (type == 0)
        return LCT_OK;
    return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                    "%s: a TPM chooses the nonce of its ECDSA signatures; leave out nonce-type",
                    operation->key->label);
}

enum lct_code lct_operation_scheme(const struct lct_operation *operation, struct lct_scheme *scheme,
                                   struct lct_err *err)
{
    if (strcmp(operation->key->algorithm->key_type, "EC") != 0)
        return rsa_scheme(operation, scheme, err);
    enum lct_code code = check_nonce(operation, err);
    return code == LCT_OK ? lct_key_scheme(scheme, operation->key, NULL, false, err) : code;
}

/* The TPM encodes what it signs anew: that must be what was handed in. */
static bool is_canonical(const X509_SIG *info, const uint8_t *der, size_t der_len)
{
    unsigned char *again = NULL;
    int len = i2d_X509_SIG(info, &again);
    bool same = len >= 0 && (size_t)len == der_len && memcmp(again, der, der_len) == 0;

    OPENSSL_free(again);
    return same;
}

/* RFC 8017, 9.2: for PKCS#1 v1.5 without a digest OpenSSL's callers hand in a DigestInfo; the TPM
 * wants its parts. */
static bool open_digest_info(const struct lct_operation *operation, struct lct_scheme *scheme,
                             uint8_t *digest, size_t *digest_len, const uint8_t *tbs,
                             size_t tbs_len)
{
    const unsigned char *at = tbs;
    (void)ERR_set_mark();
    X509_SIG *info = d2i_X509_SIG(NULL, &at, (long)tbs_len);
    const X509_ALGOR *algorithm = NULL;
    const ASN1_OBJECT *object = NULL;
    const ASN1_OCTET_STRING *value = NULL;
    int parameter = V_ASN1_UNDEF;
    struct lct_err err;
    size_t size = 0;
    bool good = false;

    (void)ERR_pop_to_mark();
    if (info != NULL && at == tbs + tbs_len) {
        X509_SIG_get0(info, &algorithm, &value);
        X509_ALGOR_get0(&object, &parameter, NULL, algorithm);
        const struct lct_hash *hash = find_hash(operation, OBJ_nid2sn(OBJ_obj2nid(object)), &size);
        good = hash != NULL && parameter == V_ASN1_NULL && is_canonical(info, tbs, tbs_len) &&
               (size_t)ASN1_STRING_length(value) == hash->size &&
               lct_key_scheme(scheme, operation->key, hash, false, &err) == LCT_OK;
    }
    if (good) {
        *digest_len = size;
        memcpy(digest, ASN1_STRING_get0_data(value), size);
    }
    X509_SIG_free(info);
    return good;
}

enum lct_code lct_operation_prepare(const struct lct_operation *operation,
                                    struct lct_scheme *scheme, uint8_t *digest, size_t *digest_len,
                                    const uint8_t *tbs, size_t tbs_len, struct lct_err *err)
{
    char name[64];
    size_t size = 0;

    *scheme = (struct lct_scheme){0};
    enum lct_code code = lct_operation_scheme(operation, scheme, err);

    if (code != LCT_OK)
        return code;
    digest_name(operation, name);
    if (name[0] == '\0' && scheme->hash == NULL) {
        if (open_digest_info(operation, scheme, digest, digest_len, tbs, tbs_len))
            return LCT_OK;
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                        "%s: say which digest is signed, as in -pkeyopt digest:sha256; without, an "
                        "RSA key in a TPM signs only the DigestInfo of a hash it has",
                        operation->key->label);
    }
    if (name[0] != '\0')
        (void)find_hash(operation, name, &size);
    if (size != 0 && size != tbs_len)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED, "%s: a digest of %s has %zu bytes, not %zu",
                        operation->key->label, name, size, tbs_len);
    *digest_len = lct_key_fit_digest(scheme, digest, tbs, tbs_len);
    return LCT_OK;
}
