/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_STORE_STEP_H
#define LCT_STORE_STEP_H

#include "tcg/seal.h"

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Policies as the standard for key files says them, a command after the other
 * (draft-bottomley-tpm2-keys, 4): of PolicyPCR the TPML_PCR_SELECTION and the digest, which has no
 * size before it; of PolicyAuthValue nothing; of PolicyAuthorize the key's TPM2B_PUBLIC, policyRef
 * and a TPMT_SIGNATURE, which is empty where the policy says what is sealed (as TPM2_ALG_NULL, or
 * not there at all).
 */
enum { LCT_MAX_STEP = 2 + LCT_MAX_AUTHORITY + 2 + LCT_MAX_POLICY_REF + 6 + LCT_MAX_SIGNATURE };

struct lct_step {
    uint32_t command; /* TPM2_CC_* */
    size_t len;
    uint8_t body[LCT_MAX_STEP];
};

enum { LCT_MAX_STEPS = 2 };

struct lct_steps {
    size_t num;
    struct lct_step steps[LCT_MAX_STEPS];
};

/* What is sealed, and whether its PolicyAuthValue is there: PolicyPCR or PolicyAuthorize, perhaps
 * with PolicyAuthValue after it, or that alone. False: it is another policy; then *seal is none. */
bool lct_steps_to_seal(struct lct_seal *seal, bool *auth_value, const struct lct_steps *steps);

/* False: no standard field can say it, or there is nothing to say. */
bool lct_steps_of_seal(struct lct_steps *steps, const struct lct_seal *seal, bool auth_value);

/* An approval for what has this seal: PolicyPCR, and PolicyAuthorize of the seal's authority and
 * policyRef with its signature, which is not verified. False: it is none. */
bool lct_steps_to_approval(struct lct_approval *approval, OSSL_LIB_CTX *libctx,
                           const struct lct_seal *seal, const struct lct_steps *steps);

/* False: it is not known well enough, or is for something else. */
bool lct_steps_of_approval(struct lct_steps *steps, const struct lct_approval *approval,
                           const struct lct_seal *seal);

#endif
