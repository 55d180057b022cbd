/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TOOLS_EXPLAIN_H
#define LCT_TOOLS_EXPLAIN_H

#include "proof/evidence.h"
#include "proof/issue.h"
#include "proof/offer.h"
#include "tcg/crypto.h"

#include <jansson.h>

/*
 * What the documents of an attestation say, decoded, in JSON for programs: nothing of it is
 * verified. What cannot be decoded is an object with the one member "error", a sentence. NULL if
 * out of memory.
 */

/* {"algorithm", "name", "attributes", "hardware_bound", "sha256", "public_key"}, null for none. */
json_t *lct_explain_public(struct lct_crypto *crypto, const struct lct_offered_public *offered);

/* With each certificate as `lct show --json` has one, and what it says of a TPM: "maker", "model"
 * and "version". */
json_t *lct_explain_offer(struct lct_crypto *crypto, const struct lct_offer *offer);

/* Without the offer that is in it. */
json_t *lct_explain_challenge(const struct lct_challenge *challenge);

/* Without the challenge that is in it; the event log is event by event. */
json_t *lct_explain_evidence(struct lct_crypto *crypto, const struct lct_evidence *evidence);

json_t *lct_explain_verdict(struct lct_crypto *crypto, const struct lct_issued_verdict *issued);

#endif
