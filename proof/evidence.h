/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_PROOF_EVIDENCE_H
#define LCT_PROOF_EVIDENCE_H

#include "base/error.h"
#include "proof/challenge.h"
#include "proof/offer.h"
#include "proof/trust.h"
#include "proof/verdict.h"
#include "tcg/pcr.h"
#include "tcg/signature.h"

#include <jansson.h>
#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

/*
 * The third file: the answer to a challenge, which is in it with the offer. JSON, version 1:
 *
 *     {"type": "lct-attestation-evidence", "version": 1, "challenge": {...},
 *      "activation": "<64 hex>" | null,
 *      "certify": {"attest": "<TPMS_ATTEST>", "signature": "<TPMT_SIGNATURE>"} | null,
 *      "quote": {"attest": "...", "signature": "...", "values": {"sha256": {"0": "<hex>"}}} | null,
 *      "possession": {"scheme": "ecdsa" | "rsassa" | "rsapss", "hash": "sha256",
 *                     "signature": "<in OpenSSL's encoding>"},
 *      "eventlog": "<bytes>" | null}
 */
enum {
    LCT_MAX_EVIDENCE = 8 << 20, /* bytes of the text */
    LCT_MAX_EVIDENCE_ATTEST = 1024,
    LCT_MAX_EVIDENCE_SIGNATURE = 1024
};

struct lct_evidence_attested {
    size_t attest_len, signature_len; /* 0: none */
    uint8_t attest[LCT_MAX_EVIDENCE_ATTEST];
    uint8_t signature[LCT_MAX_EVIDENCE_SIGNATURE];
};

struct lct_evidence {
    struct lct_challenge challenge;
    bool has_activation;
    uint8_t activation[32];
    struct lct_evidence_attested certify, quote;
    struct lct_pcr_values values; /* of the quote */
    struct lct_scheme scheme;     /* of the possession */
    struct lct_signature possession;
    uint8_t *eventlog; /* NULL: none */
    size_t eventlog_len;
};

/* NULL if out of memory. */
struct lct_evidence *lct_evidence_new(void);
void lct_evidence_free(struct lct_evidence *evidence);

/* The EK of the offer that the challenge is for; NULL: there is none. */
const struct lct_offered_ek *lct_evidence_ek(const struct lct_evidence *evidence);

json_t *lct_evidence_json(const struct lct_evidence *evidence);

/* Strict, and whole: a part that the challenge asks for is there, and no other. Errors of
 * lct_challenge_read. lct_evidence_free frees it. */
enum lct_code lct_evidence_read(struct lct_evidence **evidence, OSSL_LIB_CTX *libctx,
                                const json_t *json, struct lct_err *err);

/* What evidence is judged by. All is borrowed. */
struct lct_evidence_request {
    const struct lct_trust *trust;
    /* The verifier's own, of the challenge that is answered. NULL: offline, where nobody knows of
     * the challenge: then nothing is fresh, and only an AK certificate by a trusted issuer binds.
     */
    const struct lct_challenge_state *state;
    const struct lct_pcr_values *expected; /* reference values; NULL: none */
    EVP_PKEY *key;                         /* the key that it has to be of; NULL: any */
    time_t now;
};

/*
 * Judges it, claim by claim: notes of each in proof/verdict.h. What is not bound to a TPM claims
 * nothing: without activation, and without an AK certificate by a trusted issuer, every claim about
 * hardware is LCT_NOT_CLAIMED.
 *
 * LCT_OK: there is a verdict, also where it is that nothing holds. LCT_ERR_BAD_EVIDENCE: an
 * attestation in it is malformed; LCT_ERR_UNSUPPORTED; LCT_ERR_INTERNAL.
 */
enum lct_code lct_evidence_judge(struct lct_verdict *verdict, OSSL_LIB_CTX *libctx,
                                 const struct lct_evidence *evidence,
                                 const struct lct_evidence_request *request, struct lct_err *err);

/* The claims that have to pass unless others are asked for, as bits 1 << LCT_CLAIM_*: those of the
 * key and its TPM; offline, those that an AK certificate bears out. */
unsigned lct_evidence_claims(const struct lct_evidence *evidence,
                             const struct lct_evidence_request *request);

#endif
