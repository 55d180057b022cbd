/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/ak.h"

#include "proof/certificate.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <string.h>

enum { MIN_RSA_BITS = 2048, MAX_RSA_BITS = 4096 };

static bool is_known_group(const EVP_PKEY *pkey)
{
    static const uint16_t curves[] = {TPM2_ECC_NIST_P256, TPM2_ECC_NIST_P384, TPM2_ECC_NIST_P521};
    char group[64] = "";

    if (EVP_PKEY_get_group_name(pkey, group, sizeof group, NULL) != 1)
        return false;
    for (size_t i = 0; i < sizeof curves / sizeof curves[0]; i++)
        if (strcmp(group, lct_curve_by_id(curves[i])->group) == 0)
            return true;
    return false;
}

static bool is_known_rsa(const EVP_PKEY *pkey)
{
    int bits = EVP_PKEY_get_bits(pkey);
    BIGNUM *exponent = NULL;
    bool known = bits >= MIN_RSA_BITS && bits <= MAX_RSA_BITS && bits % 1024 == 0 &&
                 EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_E, &exponent) == 1 &&
                 BN_is_word(exponent, 65537);

    BN_free(exponent);
    return known;
}

enum lct_code lct_ak_check_kind(const EVP_PKEY *pkey, struct lct_err *err)
{
    if (EVP_PKEY_is_a(pkey, "EC") ? is_known_group(pkey)
                                  : EVP_PKEY_is_a(pkey, "RSA") && is_known_rsa(pkey))
        return LCT_OK;
    return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                    "the key is none of P-256, P-384, P-521, RSA 2048, 3072 and 4096 with the "
                    "exponent 65537");
}

enum lct_code lct_ak_check_identity(const EVP_PKEY *pkey, struct lct_err *err)
{
    if (EVP_PKEY_is_a(pkey, "ED25519") || lct_ak_check_kind(pkey, NULL) == LCT_OK)
        return LCT_OK;
    return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                    "the key is none of P-256, P-384, P-521, Ed25519, RSA 2048, 3072 and 4096 with "
                    "the exponent 65537");
}

static enum lct_code fail_form(struct lct_err *err)
{
    return LCT_FAIL(err, LCT_ERR_BAD_EVIDENCE,
                    "it is no public key or certificate in PEM, no certificate in DER, and no "
                    "TPM2B_PUBLIC");
}

static X509 *certificate_of_pem(OSSL_LIB_CTX *libctx, BIO *bio)
{
    X509 *certificate = X509_new_ex(libctx, NULL);

    if (certificate != NULL && PEM_read_bio_X509(bio, &certificate, NULL, NULL) == NULL) {
        X509_free(certificate);
        certificate = NULL;
    }
    return certificate;
}

static void decode_pem(struct lct_ak *ak, OSSL_LIB_CTX *libctx, const uint8_t *bytes,
                       size_t bytes_len)
{
    BIO *bio = BIO_new_mem_buf(bytes, (int)bytes_len);

    if (bio != NULL && memmem(bytes, bytes_len, "-----BEGIN PUBLIC KEY-----", 26) != NULL)
        ak->pkey = PEM_read_bio_PUBKEY_ex(bio, NULL, NULL, NULL, libctx, NULL);
    else if (bio != NULL)
        ak->certificate = certificate_of_pem(libctx, bio);
    BIO_free(bio);
}

static enum lct_code decode_public(struct lct_ak *ak, OSSL_LIB_CTX *libctx, const uint8_t *bytes,
                                   size_t bytes_len, struct lct_err *err)
{
    enum lct_code code =
        lct_public_import(&ak->public_area, &ak->name, libctx, bytes, bytes_len, err);

    if (code == LCT_ERR_BAD_RECORD)
        return fail_form(err);
    if (code != LCT_OK)
        return code;
    ak->has_public = true;
    struct lct_err why = {.code = LCT_OK};
    ak->pkey = lct_public_pkey(&ak->public_area, libctx, &why);
    if (ak->pkey != NULL)
        return LCT_OK;
    return LCT_FAIL(err, why.code == LCT_ERR_BAD_RECORD ? LCT_ERR_BAD_EVIDENCE : why.code, "%s",
                    why.text);
}

/* Whatever its kind. */
static enum lct_code decode(struct lct_ak *ak, OSSL_LIB_CTX *libctx, const uint8_t *bytes,
                            size_t bytes_len, struct lct_err *err)
{
    enum lct_code code = LCT_OK;

    memset(ak, 0, sizeof *ak);
    (void)ERR_set_mark();
    if (memmem(bytes, bytes_len, "-----BEGIN ", 11) != NULL)
        decode_pem(ak, libctx, bytes, bytes_len);
    else if (bytes_len > 0 && bytes[0] == 0x30)
        ak->certificate = lct_certificate_decode(libctx, bytes, bytes_len);
    else
        code = decode_public(ak, libctx, bytes, bytes_len, err);
    if (ak->certificate != NULL)
        ak->pkey = X509_get_pubkey(ak->certificate);
    (void)ERR_pop_to_mark();
    if (code != LCT_OK)
        return code;
    return ak->pkey != NULL ? LCT_OK : fail_form(err);
}

enum lct_code lct_ak_decode(struct lct_ak *ak, OSSL_LIB_CTX *libctx, const uint8_t *bytes,
                            size_t bytes_len, struct lct_err *err)
{
    enum lct_code code = decode(ak, libctx, bytes, bytes_len, err);

    return code == LCT_OK ? lct_ak_check_kind(ak->pkey, err) : code;
}

enum lct_code lct_ak_decode_identity(struct lct_ak *ak, OSSL_LIB_CTX *libctx, const uint8_t *bytes,
                                     size_t bytes_len, struct lct_err *err)
{
    enum lct_code code = decode(ak, libctx, bytes, bytes_len, err);

    return code == LCT_OK ? lct_ak_check_identity(ak->pkey, err) : code;
}

void lct_ak_clear(struct lct_ak *ak)
{
    EVP_PKEY_free(ak->pkey);
    X509_free(ak->certificate);
    memset(ak, 0, sizeof *ak);
}

const char *lct_ak_public_fault(const struct lct_public *public_area)
{
    if ((public_area->attributes & TPMA_OBJECT_SIGN_ENCRYPT) == 0)
        return "does not sign";
    if ((public_area->attributes & TPMA_OBJECT_RESTRICTED) == 0)
        return "is not restricted: it signs what anybody writes, also what looks like this";
    if ((public_area->attributes & TPMA_OBJECT_DECRYPT) != 0)
        return "decrypts, too";
    if (!lct_public_is_bound(public_area))
        return "was not made in its TPM or can leave it (fixedTPM, fixedParent, "
               "sensitiveDataOrigin)";
    if (public_area->scheme == TPM2_ALG_NULL)
        return "has no signature scheme";
    return NULL;
}

const char *lct_ak_certificate_fault(const X509 *certificate, time_t now)
{
    const char *fault = NULL;

    (void)ERR_set_mark();
    if (X509_get_version(certificate) != X509_VERSION_3)
        fault = "is not of version 3";
    else if (X509_cmp_time(X509_get0_notBefore(certificate), &now) >= 0)
        fault = "is not valid yet";
    else if (X509_cmp_time(X509_get0_notAfter(certificate), &now) <= 0)
        fault = "is expired; --time is another time to judge it at";
    else if (!lct_certificate_has_usage(certificate, "2.23.133.8.3") ||
             lct_certificate_has_usage(certificate, "2.23.133.8.1"))
        /* TCG Infrastructure: tcg-kp-AIKCertificate, and not tcg-kp-EKCertificate beside it. */
        fault = "is not of an attestation key (extended key usage 2.23.133.8.3, and not that of "
                "an EK)";
    else if (!lct_certificate_is_no_ca(certificate))
        fault = "is that of a certification authority";
    else if (!lct_certificate_allows(certificate, LCT_USE_SIGN))
        fault = "is of a key that may not sign";
    (void)ERR_pop_to_mark();
    return fault;
}
