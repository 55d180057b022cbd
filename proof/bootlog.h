/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_PROOF_BOOTLOG_H
#define LCT_PROOF_BOOTLOG_H

#include "proof/verdict.h"
#include "tcg/pcr.h"

#include <openssl/types.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Whether an event log (tcg/eventlog.h) explains the values of PCRs, by being replayed; *finding
 * says so and why, for people, and *explained, unless NULL, has those whose value it leads to. That
 * the values are those of a TPM is for the caller to know.
 *
 * LCT_FAILED: the log is malformed, or of the older form; it has no digests of a bank of the
 * values; or it leads to another value of one of the PCRs 0 to 7, the first of which is named.
 * Nothing is measured into these once the operating system runs (PFP, 3.3.4), so that the log is of
 * another boot, or was changed. What differs from PCR 8 on is told and is no failure, since the
 * running system goes on to extend some of those; but it may as well be that the log was changed.
 *
 * LCT_PASSED: otherwise, if events lead to at least one of the values. That bears out the digests
 * in the log, and of what it says besides only that which a digest is of.
 *
 * LCT_NOT_CLAIMED: nothing contradicts the log, and no value is explained by an event.
 */
void lct_bootlog_judge(struct lct_finding *finding, struct lct_pcrs *explained,
                       OSSL_LIB_CTX *libctx, const struct lct_pcr_values *values,
                       const uint8_t *log, size_t log_len);

#endif
