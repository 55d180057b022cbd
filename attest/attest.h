/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_ATTEST_ATTEST_H
#define LCT_ATTEST_ATTEST_H

#include "base/error.h"
#include "base/secret.h"
#include "proof/evidence.h"
#include "proof/offer.h"
#include "store/key.h"
#include "tpm/tpm.h"

#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* The side of an attestation that has the TPM: what it shows of a key, and how it answers. */

/* What both take: values, borrowed. */
struct lct_attest_request {
    struct lct_tpm *tpm;
    const struct lct_key *key; /* of an identity, with its passphrase if it takes one */
    /* The hierarchies'; NULL or empty: none. */
    const struct lct_secret *endorsement_auth, *owner_auth;
};

/* Whether there can be anything to show of a key, before a TPM is asked. LCT_ERR_UNSUPPORTED: it is
 * in software. */
enum lct_code lct_attest_check(const struct lct_key *key, struct lct_err *err);

/*
 * Shows what there is: the key and its seal, its parent's public area, the AK, the EKs that could
 * be read and their certificates. Of a key at a persistent handle no parent is known, and of an EK
 * no certificate that is of another key. `ak_chain`, perhaps NULL, is the AK's certificate and its
 * issuers'. lct_offer_free frees it. LCT_ERR_UNSUPPORTED: the TPM has no EK at all;
 * LCT_ERR_WRONG_KEY: the AK's certificate is of another key; LCT_ERR_OTHER_TPM: the parent is not
 * the key's; errors of lct_tpm_find_parent, lct_tpm_read_eks and lct_tpm_read_ak; where no EK could
 * be read, the first of theirs.
 */
enum lct_code lct_attest_offer(struct lct_offer **offer, const struct lct_attest_request *request,
                               const struct lct_der_chain *ak_chain, struct lct_err *err);

/*
 * Answers a challenge; `eventlog`, perhaps NULL, is sent with a quote. Before anything is done the
 * offer in the challenge is compared with what this machine would say of the key now.
 * LCT_ERR_WRONG_KEY: it is of another key, seal or AK; LCT_ERR_REFUSED: the challenge is expired at
 * `now`, or its EK is not of this TPM; LCT_ERR_OTHER_TPM: its credential is spoiled; errors of
 * lct_tpm_attest and lct_key_sign (LCT_ERR_SEALED: the key cannot show that it signs in this state
 * of the boot). The caller frees *evidence with lct_evidence_free; the challenge becomes part of
 * it, on failure too, and is empty then.
 */
enum lct_code lct_attest_respond(struct lct_evidence **evidence,
                                 const struct lct_attest_request *request,
                                 struct lct_challenge *challenge, const uint8_t *eventlog,
                                 size_t eventlog_len, time_t now, struct lct_err *err);

#endif
