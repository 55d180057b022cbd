/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_PROOF_SEALED_H
#define LCT_PROOF_SEALED_H

#include "base/error.h"
#include "proof/offer.h"
#include "proof/trust.h"
#include "proof/verdict.h"
#include "tcg/pcr.h"

#include <openssl/types.h>

/*
 * Whether an offer's key signs in accepted states of the boot alone: the policy that the offer
 * discloses is computed anew (TPM 2.0 Part 1, 19.7) and has to be the key's, there may be no way
 * around it (userWithAuth), and each branch of it has to be one of
 *
 *     PolicyPCR of a selection that is not empty, of no PCR that may be reset (16, 23) and not of
 *     SHA-1, that covers the trust file's "pcrs", with none in it that tells no boot from another
 *     (lct_pcr_values_blank). Where values are `expected` (NULL: none are) those of the same PCRs
 *     are the same, in some bank at least one of each of "pcrs", or without "pcrs" of each that is
 *     expected;
 *     PolicyAuthorize by an authority of the trust file's, with a Name that is not of SHA-1;
 *
 * perhaps with PolicyAuthValue after it. *finding says in words what the key is sealed to.
 * `expected` alone says which values are good: without it the prover has chosen them, "pcrs" or
 * not, and any that are not blank are taken. LCT_NOT_CLAIMED: it is not sealed, or nothing was
 * measured into the PCRs, or their values are not shown, not expected or not compared, or an
 * authority may approve other states of which the trust says nothing. That the TPM vouches for the
 * key's public area is for the caller to know. LCT_ERR_INTERNAL alone.
 */
enum lct_code lct_sealed_judge(struct lct_finding *finding, OSSL_LIB_CTX *libctx,
                               const struct lct_offer *offer, const struct lct_trust *trust,
                               const struct lct_pcr_values *expected, struct lct_err *err);

#endif
