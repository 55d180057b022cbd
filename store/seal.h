/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_STORE_SEAL_H
#define LCT_STORE_SEAL_H

#include "base/error.h"
#include "store/authority.h"
#include "tcg/seal.h"
#include "tpm/tpm.h"

/* How a new seal is made. */
struct lct_seal_request {
    const char *label; /* "lct:alice" */
    const char *id;    /* to bind it to; NULL: an empty policyRef */
    bool revocable;    /* LCT_SEAL_AUTHORITY alone: with an NV counter, made now; the caller has
                          lct_counters_lock until its record is in place */
    const struct lct_secret *owner_auth; /* for that; NULL: not known */
};

/*
 * Completes a seal of lct_seal_parse: reads the PCRs, takes the store's authority, binds it, to the
 * counter of another seal if the caller has put one in: approvals for that are for this one, too.
 * *blank: the PCRs of it that nothing is measured into here, lct_pcr_values_blank.
 * LCT_ERR_NO_AUTHORITY, naming the ways on: an authority, --seal strict:..., --seal none;
 * LCT_ERR_UNSUPPORTED: a bank that the TPM does not keep, or an authority whose key it does not
 * take; LCT_ERR_USAGE: revocable, and not for the authority alone. After a failure later on, what
 * it has made in the TPM goes with lct_seal_abandon.
 */
enum lct_code lct_seal_prepare(struct lct_seal *seal, struct lct_pcrs *blank,
                               const struct lct_store *store, struct lct_tpm *tpm,
                               struct lct_crypto *crypto, const struct lct_seal_request *request,
                               struct lct_err *err);
void lct_seal_abandon(const struct lct_seal *seal, struct lct_tpm *tpm, struct lct_crypto *crypto,
                      const struct lct_seal_request *request);

/* PCR values as a text for `lct approve --pcrs`, JSON: {"version": 1, "pcrs": "...", "values":
 * {...}} and of whom they are: "id", "policy_ref", "counter", each perhaps null. The caller frees
 * it. NULL if out of memory. `id` may be NULL. */
char *lct_pcrs_write(const struct lct_pcr_values *values, const char *id,
                     const struct lct_seal *seal);

/* From such a text: ref and counter go into `approval`. `id`, of LCT_MAX_ID + 1 bytes, is "" if it
 * has none. LCT_ERR_BAD_RECORD; LCT_ERR_USAGE: it is of an identity, and has no policyRef, not even
 * an empty one, since no authority can approve for that. */
enum lct_code lct_pcrs_read(struct lct_pcr_values *values, struct lct_approval *approval, char *id,
                            const uint8_t *text, size_t text_len, struct lct_err *err);

#endif
