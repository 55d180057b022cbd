/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/ak.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
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

static enum lct_code fail_form(struct lct_err *err)
{
    return LCT_FAIL(err, LCT_ERR_BAD_EVIDENCE,
                    "it is no public key or certificate in PEM, no certificate in DER, and no "
                    "TPM2B_PUBLIC");
}

/* All of `bytes` in DER. */
static X509 *certificate_of_der(OSSL_LIB_CTX *libctx, const uint8_t *bytes, size_t bytes_len)
{
    X509 *certificate = X509_new_ex(libctx, NULL);
    const unsigned char *at = bytes;

    if (certificate != NULL &&
        (d2i_X509(&certificate, &at, (long)bytes_len) == NULL || at != bytes + bytes_len)) {
        X509_free(certificate);
        certificate = NULL;
    }
    return certificate;
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

enum lct_code lct_ak_decode(struct lct_ak *ak, OSSL_LIB_CTX *libctx, const uint8_t *bytes,
                            size_t bytes_len, struct lct_err *err)
{
    enum lct_code code = LCT_OK;

    memset(ak, 0, sizeof *ak);
    (void)ERR_set_mark();
    if (memmem(bytes, bytes_len, "-----BEGIN ", 11) != NULL)
        decode_pem(ak, libctx, bytes, bytes_len);
    else if (bytes_len > 0 && bytes[0] == 0x30)
        ak->certificate = certificate_of_der(libctx, bytes, bytes_len);
    else
        code = decode_public(ak, libctx, bytes, bytes_len, err);
    if (ak->certificate != NULL)
        ak->pkey = X509_get_pubkey(ak->certificate);
    (void)ERR_pop_to_mark();
    if (code != LCT_OK)
        return code;
    return ak->pkey != NULL ? lct_ak_check_kind(ak->pkey, err) : fail_form(err);
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

/* The TCG's OIDs are not in libcrypto's table. */
static bool is_oid(const ASN1_OBJECT *object, const char *oid)
{
    char text[64];
    int len = OBJ_obj2txt(text, sizeof text, object, 1);

    return len > 0 && (size_t)len < sizeof text && strcmp(text, oid) == 0;
}

/* TCG Infrastructure: tcg-kp-AIKCertificate, and not tcg-kp-EKCertificate beside it. */
static bool has_ak_usage(const X509 *certificate)
{
    EXTENDED_KEY_USAGE *usage = X509_get_ext_d2i(certificate, NID_ext_key_usage, NULL, NULL);
    bool ak = false, ek = false;

    for (int i = 0; i < sk_ASN1_OBJECT_num(usage); i++) {
        const ASN1_OBJECT *object = sk_ASN1_OBJECT_value(usage, i);
        ak = ak || is_oid(object, "2.23.133.8.3");
        ek = ek || is_oid(object, "2.23.133.8.1");
    }
    EXTENDED_KEY_USAGE_free(usage);
    return ak && !ek;
}

/* Absent is no CA; what cannot be read, or is there twice, is not taken. */
static bool is_no_ca(const X509 *certificate)
{
    int critical = 0;
    BASIC_CONSTRAINTS *constraints =
        X509_get_ext_d2i(certificate, NID_basic_constraints, &critical, NULL);
    bool no_ca = constraints != NULL ? constraints->ca == 0 : critical == -1;

    BASIC_CONSTRAINTS_free(constraints);
    return no_ca;
}

static bool may_sign(const X509 *certificate)
{
    int critical = 0;
    ASN1_BIT_STRING *usage = X509_get_ext_d2i(certificate, NID_key_usage, &critical, NULL);
    bool may = usage != NULL ? ASN1_BIT_STRING_get_bit(usage, 0) == 1 : critical == -1;

    ASN1_BIT_STRING_free(usage);
    return may;
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
    else if (!has_ak_usage(certificate))
        fault = "is not of an attestation key (extended key usage 2.23.133.8.3, and not that of "
                "an EK)";
    else if (!is_no_ca(certificate))
        fault = "is that of a certification authority";
    else if (!may_sign(certificate))
        fault = "is of a key that may not sign";
    (void)ERR_pop_to_mark();
    return fault;
}
