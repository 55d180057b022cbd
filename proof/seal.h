/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_PROOF_SEAL_H
#define LCT_PROOF_SEAL_H

#include "tcg/seal.h"

#include <jansson.h>
#include <stdbool.h>

/*
 * A seal as records and evidence have it, in JSON; null for none:
 *
 *     {"kind": "either", "pcrs": "sha256:0,1,2,3,7", "values": {"sha256": {"0": "<hex>", ...}},
 *      "pcr_digest": "<hex>", "authority": "<hex of TPM2B_PUBLIC>", "policy_ref": "<hex>",
 *      "counter": {"handle": "0x01ac6374", "name": "<hex>", "value": 3}}
 *
 * kind is auth, strict, authority or either; what a kind has not is not there. The counter is where
 * approvals can be revoked, values are where they are known, and a key that was imported may have
 * an authority and no PCRs.
 */

/* NULL if out of memory. */
json_t *lct_seal_json(const struct lct_seal *seal);

/* Strict; false: it is none. */
bool lct_seal_from_json(struct lct_seal *seal, const json_t *json);

#endif
