/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/trust.h"

#include "base/encode.h"
#include "proof/ak.h"
#include "proof/chain.h"
#include "proof/json.h"
#include "proof/spki.h"
#include "proof/trusted.h"
#include "proof/vendor.h"
#include "tcg/ekcert.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

/* An EK while it is judged. */
struct candidate {
    const struct lct_trust *trust;
    const struct lct_ek_given *given;
    time_t now;
    EVP_PKEY *pkey;
    struct lct_ekcert cert;
};

/* Of those hashes and ciphers that a credential can be made for. */
static bool is_of_known_kind(const struct lct_public *ek)
{
    return lct_hash_is_trusted(lct_hash_by_id(ek->name_alg)) && ek->symmetric == TPM2_ALG_AES &&
           ek->symmetric_mode == TPM2_ALG_CFB &&
           (ek->symmetric_bits == 128 || ek->symmetric_bits == 192 || ek->symmetric_bits == 256) &&
           ek->scheme == TPM2_ALG_NULL;
}

/* Why a public area is not that of an EK, in words that follow "the EK "; TCG EK Credential Profile
 * 2.5, B.3.1 and B.4.1. */
static const char *public_fault(const struct lct_public *ek)
{
    if (ek->type != TPM2_ALG_RSA && ek->type != TPM2_ALG_ECC)
        return "is no RSA or ECC key";
    if ((ek->attributes & TPMA_OBJECT_RESTRICTED) == 0)
        return "is not restricted: it decrypts for anybody";
    if ((ek->attributes & TPMA_OBJECT_DECRYPT) == 0)
        return "does not decrypt";
    if ((ek->attributes & TPMA_OBJECT_SIGN_ENCRYPT) != 0)
        return "signs, too";
    if ((ek->attributes & TPMA_OBJECT_ENCRYPTEDDUPLICATION) != 0)
        return "is one that may be duplicated";
    if (!lct_public_is_bound(ek))
        return "was not made in its TPM or can leave it (fixedTPM, fixedParent, "
               "sensitiveDataOrigin)";
    if (!is_of_known_kind(ek))
        return "is of a kind that is not taken: its Name is to be of SHA-256, SHA-384 or SHA-512, "
               "and its cipher AES in CFB mode";
    return NULL;
}

/* False, with what was found: it is no public area of an EK. */
static bool take_public(struct candidate *candidate, struct lct_finding *finding)
{
    const char *fault = public_fault(candidate->given->public_area);
    struct lct_err why = {.code = LCT_OK};

    if (fault != NULL) {
        lct_finding_set(finding, LCT_FAILED, "the EK %s", fault);
        return false;
    }
    candidate->pkey =
        lct_public_pkey(candidate->given->public_area, candidate->trust->libctx, &why);
    if (candidate->pkey != NULL && lct_ak_check_kind(candidate->pkey, &why) == LCT_OK)
        return true;
    lct_finding_set(finding, LCT_FAILED, "the EK is not taken: %s", why.text);
    return false;
}

static bool fingerprint_of(struct lct_fingerprint *fingerprint, const struct candidate *candidate)
{
    char text[2 * sizeof fingerprint->bytes + 1];

    return lct_spki_fingerprint(text, candidate->pkey, candidate->trust->libctx, NULL) == LCT_OK &&
           lct_json_bytes(fingerprint->bytes, sizeof fingerprint->bytes, text);
}

/* False: that it has no certificate, or one that is not its own, is what was found. */
static bool take_certificate(struct candidate *candidate, const struct lct_fingerprint *own,
                             struct lct_finding *finding)
{
    const struct lct_ek_given *given = candidate->given;
    char text[2 * sizeof own->bytes + 1];

    lct_hex_encode(text, own->bytes, sizeof own->bytes);
    if (given->certificate == NULL || given->certificate->len == 0)
        lct_finding_set(finding, LCT_FAILED,
                        "the EK has no certificate, and its fingerprint %s is none of "
                        "\"ek_keys\"",
                        text);
    else if (lct_ekcert_take(&candidate->cert, given->certificate->bytes, given->certificate->len,
                             candidate->trust->libctx, NULL) != LCT_OK ||
             candidate->cert.der_len != given->certificate->len)
        lct_finding_set(finding, LCT_FAILED,
                        "what is given as the EK's certificate is not one, whole and "
                        "alone");
    else if (!lct_ekcert_is_of(&candidate->cert, candidate->pkey))
        lct_finding_set(finding, LCT_FAILED, "the certificate is of another key than the EK");
    else
        return true;
    return false;
}

/* Why a certificate is not one of an EK of this type, in words that follow "the certificate ". */
static const char *certificate_fault(const X509 *certificate, uint16_t type)
{
    enum lct_key_use needed = type == TPM2_ALG_RSA ? LCT_USE_ENCIPHER : LCT_USE_AGREE;

    if (X509_get_version(certificate) != X509_VERSION_3)
        return "is not of version 3";
    if (!lct_certificate_is_no_ca(certificate))
        return "is that of a certification authority";
    if (!lct_certificate_has_usage(certificate, "2.23.133.8.1"))
        return "is not of an EK (extended key usage 2.23.133.8.1)";
    if (lct_certificate_has_usage(certificate, "2.23.133.8.3"))
        return "is of an attestation key, too (extended key usage 2.23.133.8.3)";
    if (lct_certificate_allows(certificate, LCT_USE_SIGN))
        return "is of a key that may sign, which no EK does";
    if (!lct_certificate_allows(certificate, needed))
        return type == TPM2_ALG_RSA
                   ? "is of a key that may not do what an RSA EK does (keyEncipherment)"
                   : "is of a key that may not do what an ECC EK does (keyAgreement)";
    return NULL;
}

static bool is_accepted(const struct lct_trust *trust, uint32_t vendor)
{
    for (size_t i = 0; i < trust->num_vendors; i++)
        if (trust->vendors[i] == vendor)
            return true;
    return trust->num_vendors == 0 && lct_vendor_is_registered(vendor);
}

static void judge_chain(struct lct_finding *finding, const struct candidate *candidate,
                        uint32_t vendor)
{
    const struct lct_ek_given *given = candidate->given;
    const struct lct_trust *trust = candidate->trust;
    struct lct_chain chain;
    char maker[LCT_VENDOR_TEXT];

    lct_vendor_text(maker, vendor);
    if (trust->ek_roots == NULL) {
        lct_finding_set(finding, LCT_FAILED,
                        "no root of a TPM maker is trusted (\"ek_roots\"); the certificate "
                        "is that of a TPM of %s",
                        maker);
        return;
    }
    lct_chain_find(&chain, trust->libctx, candidate->cert.x509, candidate->pkey, trust->ek_roots,
                   given->issuers, candidate->now);
    if (chain.holds)
        lct_finding_set(finding, LCT_PASSED,
                        "the EK is that of a TPM of %s, by its certificate under %s", maker,
                        chain.anchor);
    else
        lct_finding_set(finding, LCT_FAILED,
                        "the certificate %s; it says that the EK is that of a TPM of %s",
                        chain.fault, maker);
}

static void judge_certificate(struct lct_finding *finding, const struct candidate *candidate)
{
    uint32_t vendor = 0;
    char maker[LCT_VENDOR_TEXT];
    const char *fault =
        certificate_fault(candidate->cert.x509, candidate->given->public_area->type);

    if (fault == NULL)
        fault = lct_certificate_maker(&vendor, candidate->cert.x509);
    lct_vendor_text(maker, vendor);
    if (fault != NULL)
        lct_finding_set(finding, LCT_FAILED, "the certificate %s", fault);
    else if (is_accepted(candidate->trust, vendor))
        judge_chain(finding, candidate, vendor);
    else if (candidate->trust->num_vendors == 0)
        lct_finding_set(finding, LCT_FAILED,
                        "the maker of the TPM is %s; to take it nevertheless, as that of a "
                        "software TPM, name it in \"vendors\" of a trust file",
                        maker);
    else
        lct_finding_set(finding, LCT_FAILED, "the maker of the TPM is %s, and none of \"vendors\"",
                        maker);
}

/* By "ek_keys" too if `known`, else by its certificate alone. */
static void judge_ek(struct lct_finding *finding, const struct lct_trust *trust,
                     const struct lct_ek_given *ek, time_t now, bool known)
{
    struct candidate candidate = {.trust = trust, .given = ek, .now = now};
    struct lct_fingerprint own;

    (void)ERR_set_mark();
    if (!take_public(&candidate, finding))
        goto out;
    if (!fingerprint_of(&own, &candidate))
        lct_finding_set(finding, LCT_FAILED, "libcrypto cannot encode the EK");
    else if (known && lct_fingerprints_have(&trust->ek_keys, &own))
        lct_finding_set(finding, LCT_PASSED, "the EK is one of those that are known (\"ek_keys\")");
    else if (take_certificate(&candidate, &own, finding))
        judge_certificate(finding, &candidate);
out:
    EVP_PKEY_free(candidate.pkey);
    lct_ekcert_clear(&candidate.cert);
    (void)ERR_pop_to_mark();
}

void lct_trust_judge_ek(struct lct_finding *finding, const struct lct_trust *trust,
                        const struct lct_ek_given *ek, time_t now)
{
    judge_ek(finding, trust, ek, now, true);
}

bool lct_trust_certifies_ek(const struct lct_trust *trust, const struct lct_ek_given *ek,
                            time_t now)
{
    struct lct_finding finding = {.outcome = LCT_FAILED};

    judge_ek(&finding, trust, ek, now, false);
    return finding.outcome == LCT_PASSED;
}

static void judge_ak(struct lct_finding *finding, const struct lct_trust *trust,
                     const struct lct_ak_given *ak, X509 *certificate, time_t now)
{
    const EVP_PKEY *certified = X509_get0_pubkey(certificate);
    const char *fault = lct_ak_certificate_fault(certificate, now);
    struct lct_chain chain;

    if (certified == NULL || EVP_PKEY_eq(certified, ak->pkey) != 1) {
        lct_finding_set(finding, LCT_FAILED, "the certificate is of another key than the AK");
        return;
    }
    if (fault != NULL) {
        lct_finding_set(finding, LCT_FAILED, "the AK's certificate is not taken: it %s", fault);
        return;
    }
    lct_chain_find(&chain, trust->libctx, certificate, ak->pkey, trust->ak_issuers, ak->issuers,
                   now);
    if (chain.holds)
        lct_finding_set(finding, LCT_PASSED, "%s issued the AK's certificate", chain.anchor);
    else
        lct_finding_set(finding, LCT_FAILED, "the AK's certificate %s", chain.fault);
}

void lct_trust_judge_ak(struct lct_finding *finding, const struct lct_trust *trust,
                        const struct lct_ak_given *ak, time_t now)
{
    if (trust->ak_issuers == NULL) {
        lct_finding_set(finding, LCT_NOT_CLAIMED,
                        "no issuer of AK certificates is trusted (\"ak_issuers\")");
        return;
    }
    if (ak->certificate == NULL || ak->certificate->len == 0) {
        lct_finding_set(finding, LCT_NOT_CLAIMED, "the AK has no certificate");
        return;
    }
    (void)ERR_set_mark();
    X509 *certificate =
        lct_certificate_decode(trust->libctx, ak->certificate->bytes, ak->certificate->len);
    if (certificate == NULL)
        lct_finding_set(finding, LCT_FAILED,
                        "what is given as the AK's certificate is not one, whole and "
                        "alone");
    else
        judge_ak(finding, trust, ak, certificate, now);
    X509_free(certificate);
    (void)ERR_pop_to_mark();
}
