/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_PROOF_VERDICT_H
#define LCT_PROOF_VERDICT_H

#include "base/attribute.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdbool.h>

/* What evidence can claim of a key and its machine. */
enum lct_claim {
    LCT_CLAIM_SIGNED,          /* the structure is of the kind expected, and the AK signed it */
    LCT_CLAIM_AK_FIT,          /* the AK signs nothing but what its TPM attests */
    LCT_CLAIM_AK_BOUND,        /* the AK is in the TPM of the EK */
    LCT_CLAIM_EK_GENUINE,      /* the EK is that of a TPM of a known maker */
    LCT_CLAIM_FRESH,           /* it was made for this nonce */
    LCT_CLAIM_KEY_RESIDENT,    /* the key is in the AK's TPM */
    LCT_CLAIM_NON_EXTRACTABLE, /* it was made there and cannot leave it */
    LCT_CLAIM_KEY_FIT,         /* it signs, and does nothing else */
    LCT_CLAIM_SEALED,          /* alone in states of the boot that are accepted: sealed.h */
    LCT_CLAIM_BOOT_STATE,      /* the PCRs hold the expected values */
    LCT_CLAIM_KEY_USABLE_NOW,  /* who sent this can sign with the key */
    LCT_NUM_CLAIMS
};

enum lct_outcome { LCT_NOT_CLAIMED, LCT_PASSED, LCT_FAILED };

/* One claim: what came out, and why, in a sentence. */
struct lct_finding {
    enum lct_outcome outcome;
    char reason[256];
};

void lct_finding_set(struct lct_finding *finding, enum lct_outcome outcome, const char *format, ...)
    LCT_PRINTF(3, 4);
void lct_finding_set_args(struct lct_finding *finding, enum lct_outcome outcome, const char *format,
                          va_list args) LCT_PRINTF(3, 0);

/* A verdict is plain data; zero claims nothing. */
struct lct_verdict {
    struct lct_finding findings[LCT_NUM_CLAIMS];
};

void lct_verdict_set(struct lct_verdict *verdict, enum lct_claim claim, enum lct_outcome outcome,
                     const char *format, ...) LCT_PRINTF(4, 5);

/* Whether something is claimed, and all that is passed. */
bool lct_verdict_holds(const struct lct_verdict *verdict);

/* "key_resident" */
const char *lct_claim_name(enum lct_claim claim);

/* "pass", "fail", "not_claimed" */
const char *lct_outcome_name(enum lct_outcome outcome);

/* {"signed": {"outcome": "pass", "reason": "..."}, ...}; NULL if out of memory. */
json_t *lct_verdict_json(const struct lct_verdict *verdict);

/* The same read back, strictly: every claim and no other, outcomes that are known, reasons in
 * printable ASCII. False: it is another. */
bool lct_verdict_from_json(struct lct_verdict *verdict, const json_t *json);

#endif
