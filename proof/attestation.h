/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_PROOF_ATTESTATION_H
#define LCT_PROOF_ATTESTATION_H

#include "base/error.h"
#include "proof/ak.h"
#include "proof/verdict.h"
#include "tcg/attest.h"
#include "tcg/pcr.h"

#include <openssl/types.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* One attestation as somebody made it, with whatever software, and what is expected of it. All is
 * borrowed; what is NULL is not given. */
struct lct_attestation {
    uint16_t type;         /* the kind expected: TPM2_ST_ATTEST_CERTIFY or TPM2_ST_ATTEST_QUOTE */
    const uint8_t *attest; /* TPMS_ATTEST */
    size_t attest_len;
    const uint8_t *signature; /* TPMT_SIGNATURE; or in OpenSSL's encoding, by the AK's scheme */
    size_t signature_len;
    const struct lct_ak *ak;
    const struct lct_hash *hash; /* that is signed; NULL: SHA-256, SHA-384 or SHA-512 */
    const uint8_t *nonce;        /* the extraData expected */
    size_t nonce_len;
    const uint8_t *key; /* certify: TPM2B_PUBLIC or TPMT_PUBLIC of the certified key */
    size_t key_len;
    const struct lct_pcr_values *values; /* quote: the PCRs expected, these and no other */
    time_t now;                          /* when certificates have to be valid */
};

/*
 * Judges it, claim by claim, in software. That the AK is one of a TPM is for the caller to know:
 * nothing here binds it to one, so ek_genuine and ak_bound are never passed. Where the signature or
 * the AK fails, nothing is claimed of what was signed.
 *
 * LCT_OK: there is a verdict, also where it is that nothing holds; `attest` is what was decoded.
 * LCT_ERR_BAD_EVIDENCE: an input is malformed. LCT_ERR_UNSUPPORTED: a hash or a key that we do not
 * know. LCT_ERR_INTERNAL.
 */
enum lct_code lct_attestation_judge(struct lct_verdict *verdict, struct lct_attest *attest,
                                    OSSL_LIB_CTX *libctx, const struct lct_attestation *attestation,
                                    struct lct_err *err);

/* Of a key's own attributes, which its Name covers, what they claim: non_extractable and key_fit;
 * and sealed as far as that is known without its policy. */
void lct_attestation_judge_attributes(struct lct_verdict *verdict, const struct lct_public *key);

#endif
