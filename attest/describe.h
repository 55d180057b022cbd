/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_ATTEST_DESCRIBE_H
#define LCT_ATTEST_DESCRIBE_H

#include "attest/attest.h"
#include "tpm/ek.h"

/* Inside of the room: what this machine says now, for an offer, and for a challenge of one. */

/* The part of an empty offer that is about the key: what it is, its seal, its parent, its TPM's AK.
 * Errors of lct_attest_offer. */
enum lct_code lct_attest_describe_key(struct lct_offer *offer,
                                      const struct lct_attest_request *request,
                                      struct lct_err *err);

/* The TPM's EKs, which lct_attest_free_eks frees. Errors of lct_tpm_read_eks. */
enum lct_code lct_attest_read_eks(struct lct_eks **eks, const struct lct_attest_request *request,
                                  struct lct_err *err);
void lct_attest_free_eks(struct lct_eks *eks);

/* What is known of the first EK that could not be read, into *err: its code; LCT_OK: none. */
enum lct_code lct_attest_ek_fault(const struct lct_eks *eks, struct lct_err *err);

#endif
