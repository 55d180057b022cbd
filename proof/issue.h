/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_PROOF_ISSUE_H
#define LCT_PROOF_ISSUE_H

#include "base/error.h"
#include "proof/evidence.h"
#include "proof/offer.h"
#include "proof/signer.h"
#include "proof/trust.h"
#include "proof/verdict.h"
#include "tcg/public.h"

#include <openssl/types.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

/*
 * What a verifier gives to others who trust it, once it has judged evidence and its claims held:
 * then these need not ask the TPM themselves.
 */

enum { LCT_MAX_ISSUE_DAYS = 3650 };

/* Who issues, and for how long. Borrowed. */
struct lct_issue {
    const struct lct_signer *signer;
    X509 *certificate; /* the issuer's, for AK certificates */
    /* What the evidence was judged by: only what it knows of a TPM goes into a certificate. NULL:
     * nothing does. */
    const struct lct_trust *trust;
    time_t now;
    unsigned days; /* 1 to LCT_MAX_ISSUE_DAYS */
};

/*
 * A certificate of the AK in `evidence`, as DER that the caller frees with OPENSSL_free: version 3,
 * random serial number of 16 bytes, empty subject, issuer and authorityKeyIdentifier of the
 * issuer's certificate, critical basicConstraints CA:FALSE, critical keyUsage digitalSignature,
 * extKeyUsage 2.23.133.8.3 (tcg-kp-AIKCertificate; TCG EK Credential Profile and Credential
 * Profiles for AK), and a critical subjectAltName with a directoryName: the maker, model and
 * version of the EK's certificate (2.23.133.2.1 to .3), if the EK is trusted by its certificate,
 * and as serialNumber SHA-256 of the EK's SubjectPublicKeyInfo in hexadecimal. Valid from now (a
 * minute before) for `days`, but no longer than the issuer's.
 *
 * LCT_ERR_UNSUPPORTED: the evidence has no AK that was activated (it is of the direct mode, or was
 * bound by another's certificate); the issuer's certificate is not a CA's that may issue now, or
 * not of the signer's key. LCT_ERR_USAGE: the days. LCT_ERR_INTERNAL; errors of the signer. That
 * the evidence holds is for the caller to know.
 */
enum lct_code lct_issue_certificate(uint8_t **der, size_t *der_len, OSSL_LIB_CTX *libctx,
                                    const struct lct_evidence *evidence,
                                    const struct lct_issue *issue, struct lct_err *err);

/*
 * A signed verdict: a JWS in the compact serialization (RFC 7515, 7.1), "alg" by the signer, "kid"
 * SHA-256 of its SubjectPublicKeyInfo in hexadecimal, "typ" "lct-verdict+jws", over
 *
 *     {"type": "lct-attestation-verdict", "version": 1, "issued": "...", "expires": "...",
 *      "id": "alice", "generation": 1, "key": "<TPM2B_PUBLIC>", "name": "<hex>",
 *      "ak": "<hex of its Name>" | null, "ek": "<SHA-256 of SubjectPublicKeyInfo, hex>" | null,
 *      "challenge": "<number>", "evidence": "<hex of lct_document_digest>",
 *      "claims": {...}}                                              -- lct_verdict_json
 *
 * "ak" is null in the direct mode, "ek" where nothing was activated. NUL-terminated; the caller
 * frees it. LCT_ERR_UNSUPPORTED: the signer's key is of no kind that lct_signer_of_pkey takes;
 * LCT_ERR_USAGE: the days; LCT_ERR_INTERNAL; errors of the signer.
 */
enum lct_code lct_issue_verdict(char **jws, OSSL_LIB_CTX *libctx,
                                const struct lct_evidence *evidence,
                                const struct lct_verdict *verdict, const struct lct_issue *issue,
                                struct lct_err *err);

/* A signed verdict of somebody else's, decoded. */
struct lct_issued_verdict {
    char id[LCT_MAX_OFFER_ID + 1];
    unsigned generation;
    struct lct_offered_public key;
    char issued[21], expires[21];
    char issuer[65];    /* "kid" */
    struct lct_name ak; /* empty: none */
    char ek[65];        /* "" : none */
    char challenge[33];
    char evidence[65];
    struct lct_verdict verdict; /* as its issuer says; or, judged, as it is to be taken now */
};

/*
 * Decodes one, strictly, and believes nothing: for whoever shows it. LCT_ERR_BAD_EVIDENCE: it is no
 * such JWS; LCT_ERR_UNSUPPORTED: a newer version; LCT_ERR_INTERNAL.
 */
enum lct_code lct_issued_verdict_read(struct lct_issued_verdict *issued, OSSL_LIB_CTX *libctx,
                                      const char *jws, size_t jws_len, struct lct_err *err);

/*
 * Decodes and judges one: verifies its signature by the one of `trust`'s issuers of verdicts whose
 * key it names. Then `verdict` has its claims, with who says so and when in each reason; fresh and
 * key_usable_now are LCT_NOT_CLAIMED, since they were of the time when it was issued. A signature
 * that does not verify, an issuer that is not trusted, or a time that is over or, by more than a
 * minute, not yet there is LCT_CLAIM_SIGNED failed and nothing else claimed. `key`, perhaps NULL,
 * is the key that it has to be of: of another, LCT_CLAIM_KEY_RESIDENT is failed and nothing but
 * LCT_CLAIM_SIGNED claimed. Errors as above.
 */
enum lct_code lct_issued_verdict_judge(struct lct_issued_verdict *issued, OSSL_LIB_CTX *libctx,
                                       const char *jws, size_t jws_len,
                                       const struct lct_trust *trust, EVP_PKEY *key, time_t now,
                                       struct lct_err *err);

/* The same by an issuer that was chosen: another's verdict is LCT_CLAIM_SIGNED failed. */
enum lct_code lct_issued_verdict_judge_by(struct lct_issued_verdict *issued, OSSL_LIB_CTX *libctx,
                                          const char *jws, size_t jws_len, EVP_PKEY *issuer,
                                          EVP_PKEY *key, time_t now, struct lct_err *err);

/* The claims that a signed verdict has to make, as bits 1 << LCT_CLAIM_*, beside that it is signed:
 * key_resident is of a key that was bound to a TPM. */
unsigned lct_issued_verdict_claims(void);

#endif
