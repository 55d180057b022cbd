/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/issue.h"

#include "proof/certificate.h"
#include "proof/spki.h"

#include <openssl/asn1.h>
#include <openssl/asn1t.h>
#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdbool.h>

enum {
    SERIAL = 16,          /* bytes; RFC 5280, 4.1.2.2: 20 at most, and positive */
    EARLIER = 60,         /* seconds that clocks may be apart */
    MAX_TPM_VALUE = 64,   /* characters of what a certificate says of a TPM */
    DIGITAL_SIGNATURE = 0 /* RFC 5280, 4.2.1.3 */
};

/*
 * A certificate of RFC 5280, 4.1, field by field. libcrypto's X509 gets its two
 * AlgorithmIdentifiers from X509_sign alone, which wants a private key of its own; an issuer's key
 * in a TPM is none. So what is signed is written by these templates, for every issuer the same.
 */
typedef struct {
    ASN1_INTEGER *version, *serial;
    X509_ALGOR *algorithm;
    X509_NAME *issuer;
    X509_VAL *validity;
    X509_NAME *subject;
    X509_PUBKEY *key;
    STACK_OF(X509_EXTENSION) * extensions;
} TBS_CERTIFICATE;

typedef struct {
    TBS_CERTIFICATE *tbs;
    X509_ALGOR *algorithm;
    ASN1_BIT_STRING *signature;
} CERTIFICATE;

/* clang-format off */
ASN1_SEQUENCE(TBS_CERTIFICATE) = {
    ASN1_EXP(TBS_CERTIFICATE, version, ASN1_INTEGER, 0),
    ASN1_SIMPLE(TBS_CERTIFICATE, serial, ASN1_INTEGER),
    ASN1_SIMPLE(TBS_CERTIFICATE, algorithm, X509_ALGOR),
    ASN1_SIMPLE(TBS_CERTIFICATE, issuer, X509_NAME),
    ASN1_SIMPLE(TBS_CERTIFICATE, validity, X509_VAL),
    ASN1_SIMPLE(TBS_CERTIFICATE, subject, X509_NAME),
    ASN1_SIMPLE(TBS_CERTIFICATE, key, X509_PUBKEY),
    ASN1_EXP_SEQUENCE_OF(TBS_CERTIFICATE, extensions, X509_EXTENSION, 3)
} static_ASN1_SEQUENCE_END(TBS_CERTIFICATE)

ASN1_SEQUENCE(CERTIFICATE) = {
    ASN1_SIMPLE(CERTIFICATE, tbs, TBS_CERTIFICATE),
    ASN1_SIMPLE(CERTIFICATE, algorithm, X509_ALGOR),
    ASN1_SIMPLE(CERTIFICATE, signature, ASN1_BIT_STRING)
} static_ASN1_SEQUENCE_END(CERTIFICATE)
    /* clang-format on */

    /* tcg-kp-AIKCertificate */
    static const char ak_usage[] = "2.23.133.8.3";

static bool set_serial(ASN1_INTEGER *serial, OSSL_LIB_CTX *libctx)
{
    uint8_t bytes[SERIAL];

    if (RAND_bytes_ex(libctx, bytes, sizeof bytes, 0) != 1)
        return false;
    bytes[0] = (uint8_t)((bytes[0] & 0x3f) | 0x40); /* positive, and of this length always */
    BIGNUM *number = BN_bin2bn(bytes, sizeof bytes, NULL);
    bool good = number != NULL && BN_to_ASN1_INTEGER(number, serial) != NULL;
    BN_free(number);
    return good;
}

/* Within the issuer's, since no chain is valid outside. */
static bool set_validity(X509_VAL *validity, const struct lct_issue *issue)
{
    const ASN1_TIME *from = X509_get0_notBefore(issue->certificate);
    const ASN1_TIME *until = X509_get0_notAfter(issue->certificate);

    if (ASN1_TIME_adj(validity->notBefore, issue->now, 0, -EARLIER) == NULL ||
        ASN1_TIME_adj(validity->notAfter, issue->now, (int)issue->days, 0) == NULL)
        return false;
    if (ASN1_TIME_compare(validity->notBefore, from) < 0 &&
        !ASN1_STRING_copy(validity->notBefore, from))
        return false;
    return ASN1_TIME_compare(validity->notAfter, until) <= 0 ||
           ASN1_STRING_copy(validity->notAfter, until);
}

static bool add_extension(TBS_CERTIFICATE *tbs, int nid, void *value, bool critical)
{
    return value != NULL &&
           X509V3_add1_i2d(&tbs->extensions, nid, value, critical, X509V3_ADD_DEFAULT) == 1;
}

static bool add_constraints(TBS_CERTIFICATE *tbs)
{
    BASIC_CONSTRAINTS *constraints = BASIC_CONSTRAINTS_new(); /* no CA's */
    bool good = add_extension(tbs, NID_basic_constraints, constraints, true);

    BASIC_CONSTRAINTS_free(constraints);
    return good;
}

static bool add_key_usage(TBS_CERTIFICATE *tbs)
{
    ASN1_BIT_STRING *usage = ASN1_BIT_STRING_new();
    bool good = usage != NULL && ASN1_BIT_STRING_set_bit(usage, DIGITAL_SIGNATURE, 1) == 1 &&
                add_extension(tbs, NID_key_usage, usage, true);

    ASN1_BIT_STRING_free(usage);
    return good;
}

static bool add_extended_usage(TBS_CERTIFICATE *tbs)
{
    EXTENDED_KEY_USAGE *usage = sk_ASN1_OBJECT_new_null();
    ASN1_OBJECT *ak = OBJ_txt2obj(ak_usage, 1);
    bool good = usage != NULL && ak != NULL && sk_ASN1_OBJECT_push(usage, ak) > 0;

    if (!good)
        ASN1_OBJECT_free(ak);
    good = good && add_extension(tbs, NID_ext_key_usage, usage, false);
    sk_ASN1_OBJECT_pop_free(usage, ASN1_OBJECT_free);
    return good;
}

/* RFC 5280, 4.2.1.1: the issuer's subjectKeyIdentifier; where it has none, what 4.2.1.2 (1) would
 * have it be. */
static bool set_key_id(ASN1_OCTET_STRING *id, OSSL_LIB_CTX *libctx, X509 *issuer)
{
    const ASN1_OCTET_STRING *of_issuer = X509_get0_subject_key_id(issuer);
    const ASN1_BIT_STRING *key = X509_get0_pubkey_bitstr(issuer);
    uint8_t digest[20];

    if (of_issuer != NULL)
        return ASN1_STRING_copy(id, of_issuer) == 1;
    return EVP_Q_digest(libctx, "SHA1", NULL, ASN1_STRING_get0_data(key),
                        (size_t)ASN1_STRING_length(key), digest, NULL) == 1 &&
           ASN1_OCTET_STRING_set(id, digest, sizeof digest) == 1;
}

static bool add_authority(TBS_CERTIFICATE *tbs, OSSL_LIB_CTX *libctx, X509 *issuer)
{
    AUTHORITY_KEYID *authority = AUTHORITY_KEYID_new();
    bool good = authority != NULL && (authority->keyid = ASN1_OCTET_STRING_new()) != NULL &&
                set_key_id(authority->keyid, libctx, issuer) &&
                add_extension(tbs, NID_authority_key_identifier, authority, false);

    AUTHORITY_KEYID_free(authority);
    return good;
}

/* A value in printable ASCII, as the TCG has them. */
static bool is_fit(const ASN1_STRING *value)
{
    const unsigned char *at = ASN1_STRING_get0_data(value);
    int type = ASN1_STRING_type(value), len = ASN1_STRING_length(value);

    for (int i = 0; i < len; i++)
        if (at[i] < ' ' || at[i] > '~')
            return false;
    return (type == V_ASN1_UTF8STRING || type == V_ASN1_PRINTABLESTRING) && len > 0 &&
           len <= MAX_TPM_VALUE;
}

/* The one value of this type in the directoryNames; NULL: there is none that is fit, or two. */
static const ASN1_STRING *find_value(const GENERAL_NAMES *names, const ASN1_OBJECT *type)
{
    const ASN1_STRING *value = NULL;

    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type != GEN_DIRNAME)
            continue;
        int at = X509_NAME_get_index_by_OBJ(name->d.directoryName, type, -1);
        if (at < 0)
            continue;
        if (value != NULL || X509_NAME_get_index_by_OBJ(name->d.directoryName, type, at) >= 0)
            return NULL;
        value = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name->d.directoryName, at));
    }
    return value != NULL && is_fit(value) ? value : NULL;
}

/* Maker, model and version (TCG EK Credential Profile 2.5, 3.1.2). */
static bool copy_values(X509_NAME *tpm, const GENERAL_NAMES *names)
{
    static const char *const types[] = {"2.23.133.2.1", "2.23.133.2.2", "2.23.133.2.3"};
    bool good = true;

    for (size_t i = 0; i < sizeof types / sizeof types[0] && good; i++) {
        ASN1_OBJECT *type = OBJ_txt2obj(types[i], 1);
        const ASN1_STRING *value = type != NULL ? find_value(names, type) : NULL;
        good = type != NULL;
        if (value != NULL)
            good = X509_NAME_add_entry_by_OBJ(tpm, type, V_ASN1_UTF8STRING,
                                              ASN1_STRING_get0_data(value),
                                              ASN1_STRING_length(value), -1, 0) == 1;
        ASN1_OBJECT_free(type);
    }
    return good;
}

/* What the EK's certificate says of the TPM, where that is why the EK is trusted: beside an EK that
 * is trusted by its key anybody can put any certificate. */
static bool name_tpm(X509_NAME *tpm, OSSL_LIB_CTX *libctx, const struct lct_evidence *evidence,
                     const struct lct_issue *issue)
{
    const struct lct_offered_ek *ek = lct_evidence_ek(evidence);
    const struct lct_ek_given given = {&ek->public_area.area, &ek->certificate,
                                       &evidence->challenge.offer->issuers};

    if (issue->trust == NULL || !lct_trust_certifies_ek(issue->trust, &given, issue->now))
        return true;
    X509 *certificate = lct_certificate_decode(libctx, ek->certificate.bytes, ek->certificate.len);
    GENERAL_NAMES *names = certificate != NULL
                               ? X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL)
                               : NULL;
    bool good = names != NULL && copy_values(tpm, names);
    GENERAL_NAMES_free(names);
    X509_free(certificate);
    return good;
}

static bool name_ek(X509_NAME *tpm, OSSL_LIB_CTX *libctx, const struct lct_offered_ek *ek)
{
    char fingerprint[65];
    EVP_PKEY *pkey = lct_public_pkey(&ek->public_area.area, libctx, NULL);
    bool good = pkey != NULL && lct_spki_fingerprint(fingerprint, pkey, libctx, NULL) == LCT_OK &&
                X509_NAME_add_entry_by_NID(tpm, NID_serialNumber, MBSTRING_ASC,
                                           (const unsigned char *)fingerprint, -1, -1, 0) == 1;

    EVP_PKEY_free(pkey);
    return good;
}

static bool add_tpm(TBS_CERTIFICATE *tbs, OSSL_LIB_CTX *libctx, const struct lct_evidence *evidence,
                    const struct lct_issue *issue)
{
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    GENERAL_NAME *name = GENERAL_NAME_new();
    X509_NAME *tpm = X509_NAME_new();
    bool good =
        names != NULL && name != NULL && tpm != NULL && name_tpm(tpm, libctx, evidence, issue) &&
        name_ek(tpm, libctx, lct_evidence_ek(evidence)) && sk_GENERAL_NAME_push(names, name) > 0;

    if (good) {
        GENERAL_NAME_set0_value(name, GEN_DIRNAME, tpm); /* names has both */
        good = add_extension(tbs, NID_subject_alt_name, names, true);
    } else {
        X509_NAME_free(tpm);
        GENERAL_NAME_free(name);
    }
    GENERAL_NAMES_free(names);
    return good;
}

static bool set_key(TBS_CERTIFICATE *tbs, OSSL_LIB_CTX *libctx, const struct lct_evidence *evidence)
{
    EVP_PKEY *ak = lct_public_pkey(&evidence->challenge.offer->ak.area, libctx, NULL);
    bool good = ak != NULL && X509_PUBKEY_set(&tbs->key, ak) == 1;

    EVP_PKEY_free(ak);
    return good;
}

static bool fill(TBS_CERTIFICATE *tbs, OSSL_LIB_CTX *libctx, const struct lct_evidence *evidence,
                 const struct lct_issue *issue)
{
    return ASN1_INTEGER_set(tbs->version, X509_VERSION_3) == 1 && set_serial(tbs->serial, libctx) &&
           X509_NAME_set(&tbs->issuer, X509_get_subject_name(issue->certificate)) == 1 &&
           set_validity(tbs->validity, issue) && set_key(tbs, libctx, evidence) &&
           add_constraints(tbs) && add_key_usage(tbs) && add_extended_usage(tbs) &&
           add_tpm(tbs, libctx, evidence, issue) && add_authority(tbs, libctx, issue->certificate);
}

static enum lct_code sign(CERTIFICATE *certificate, const struct lct_issue *issue,
                          struct lct_err *err)
{
    uint8_t *der = NULL;
    enum lct_code code = lct_signer_algorithm(certificate->tbs->algorithm, issue->signer, err);

    if (code == LCT_OK)
        code = lct_signer_algorithm(certificate->algorithm, issue->signer, err);
    if (code != LCT_OK)
        return code;
    int len =
        ASN1_item_i2d((const ASN1_VALUE *)certificate->tbs, &der, ASN1_ITEM_rptr(TBS_CERTIFICATE));
    code = len > 0 ? lct_signer_bits(certificate->signature, issue->signer, der, (size_t)len, err)
                   : LCT_FAIL(err, LCT_ERR_INTERNAL, "the certificate cannot be encoded");
    OPENSSL_free(der);
    return code;
}

/* Whether libcrypto takes it for what it is meant to be: a wrong signature tells of the key. */
static bool is_sound(const uint8_t *der, int len, OSSL_LIB_CTX *libctx,
                     const struct lct_issue *issue)
{
    X509 *certificate = X509_new_ex(libctx, NULL);
    const unsigned char *at = der;
    bool sound = certificate != NULL && d2i_X509(&certificate, &at, len) != NULL &&
                 X509_verify(certificate, X509_get0_pubkey(issue->certificate)) == 1;

    X509_free(certificate);
    return sound;
}

static enum lct_code make(uint8_t **der, size_t *der_len, OSSL_LIB_CTX *libctx,
                          const struct lct_evidence *evidence, const struct lct_issue *issue,
                          struct lct_err *err)
{
    CERTIFICATE *certificate = (CERTIFICATE *)ASN1_item_new(ASN1_ITEM_rptr(CERTIFICATE));
    enum lct_code code = LCT_OK;
    int len = 0;

    if (certificate == NULL || !fill(certificate->tbs, libctx, evidence, issue))
        code = LCT_FAIL(err, LCT_ERR_INTERNAL, "the certificate cannot be encoded");
    if (code == LCT_OK)
        code = sign(certificate, issue, err);
    if (code == LCT_OK)
        len = ASN1_item_i2d((const ASN1_VALUE *)certificate, der, ASN1_ITEM_rptr(CERTIFICATE));
    ASN1_item_free((ASN1_VALUE *)certificate, ASN1_ITEM_rptr(CERTIFICATE));
    if (code == LCT_OK && (len <= 0 || !is_sound(*der, len, libctx, issue))) {
        OPENSSL_free(*der);
        *der = NULL;
        code = LCT_FAIL(err, LCT_ERR_INTERNAL, "the certificate that was made does not verify");
    }
    *der_len = code == LCT_OK ? (size_t)len : 0;
    return code;
}

/* Why the certificate issues no others, in words that follow "the issuer's certificate ". */
static const char *issuer_fault(const struct lct_issue *issue)
{
    time_t now = issue->now;

    /* 1: by basicConstraints, not by some older way. */
    if (X509_check_ca(issue->certificate) != 1 ||
        (X509_get_key_usage(issue->certificate) & KU_KEY_CERT_SIGN) == 0 ||
        (X509_get_extension_flags(issue->certificate) & EXFLAG_INVALID) != 0)
        return "is not that of a certification authority that may sign certificates "
               "(basicConstraints CA:TRUE, keyUsage keyCertSign)";
    if (X509_cmp_time(X509_get0_notBefore(issue->certificate), &now) >= 0)
        return "is not valid yet";
    if (X509_cmp_time(X509_get0_notAfter(issue->certificate), &now) <= 0)
        return "is expired";
    if (X509_NAME_entry_count(X509_get_subject_name(issue->certificate)) == 0)
        return "has no subject";
    if (EVP_PKEY_eq(X509_get0_pubkey(issue->certificate), issue->signer->pkey) != 1)
        return "is not of the issuer's key";
    return NULL;
}

enum lct_code lct_issue_certificate(uint8_t **der, size_t *der_len, OSSL_LIB_CTX *libctx,
                                    const struct lct_evidence *evidence,
                                    const struct lct_issue *issue, struct lct_err *err)
{
    const struct lct_challenge *challenge = &evidence->challenge;

    *der = NULL;
    *der_len = 0;
    if (challenge->direct || !evidence->has_activation || lct_evidence_ek(evidence) == NULL)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                        "lct:%s: the evidence has no AK that its TPM activated, and no other is "
                        "given a certificate",
                        challenge->offer->id);
    if (issue->days == 0 || issue->days > LCT_MAX_ISSUE_DAYS)
        return LCT_FAIL(err, LCT_ERR_USAGE, "a certificate is for 1 to %d days",
                        (int)LCT_MAX_ISSUE_DAYS);
    (void)ERR_set_mark();
    const char *fault = issuer_fault(issue);
    enum lct_code code =
        fault == NULL ? make(der, der_len, libctx, evidence, issue, err)
                      : LCT_FAIL(err, LCT_ERR_UNSUPPORTED, "the issuer's certificate %s", fault);
    (void)ERR_pop_to_mark();
    return code;
}
