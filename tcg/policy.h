/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TCG_POLICY_H
#define LCT_TCG_POLICY_H

#include "base/error.h"
#include "tcg/pcr.h"
#include "tcg/public.h"

#include <openssl/types.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The arithmetic of policies (TPM 2.0 Part 1, 19.7; Part 3, 23), in SHA-256 and without a TPM: each
 * call extends `digest`, which begins as zeros, as the command of that name extends a policy
 * session's policyDigest. All fail with LCT_ERR_INTERNAL alone.
 */
enum {
    LCT_POLICY_DIGEST = 32, /* bytes */
    LCT_MAX_POLICY_REF = 32 /* bytes of a policyRef of ours */
};

/* An NV index that counts up: TPM 2.0 Part 2, 13.4 (TPM2_NT_COUNTER). */
struct lct_counter {
    uint32_t handle;      /* 0: there is none */
    struct lct_name name; /* of the index once it is written */
    uint64_t value;
};

/* TPM2_PolicyPCR; `pcr_digest` is lct_pcr_digest's. */
enum lct_code lct_policy_pcr(uint8_t digest[LCT_POLICY_DIGEST], OSSL_LIB_CTX *libctx,
                             const struct lct_pcrs *pcrs,
                             const uint8_t pcr_digest[LCT_POLICY_DIGEST], struct lct_err *err);

/* TPM2_PolicyNV that holds while the counter is at most counter->value (TPM2_EO_UNSIGNED_LE). */
enum lct_code lct_policy_counter(uint8_t digest[LCT_POLICY_DIGEST], OSSL_LIB_CTX *libctx,
                                 const struct lct_counter *counter, struct lct_err *err);

/* TPM2_PolicyAuthorize: what `key` approves under `ref`. It forgets what was in `digest`. */
enum lct_code lct_policy_authorize(uint8_t digest[LCT_POLICY_DIGEST], OSSL_LIB_CTX *libctx,
                                   const struct lct_name *key, const uint8_t *ref, size_t ref_len,
                                   struct lct_err *err);

/* TPM2_PolicyOR of two branches. It forgets what was in `digest`. */
enum lct_code lct_policy_or(uint8_t digest[LCT_POLICY_DIGEST], OSSL_LIB_CTX *libctx,
                            const uint8_t first[LCT_POLICY_DIGEST],
                            const uint8_t second[LCT_POLICY_DIGEST], struct lct_err *err);

/* TPM2_PolicyAuthValue. */
enum lct_code lct_policy_auth_value(uint8_t digest[LCT_POLICY_DIGEST], OSSL_LIB_CTX *libctx,
                                    struct lct_err *err);

/* aHash of TPM2_PolicyAuthorize (Part 3, 23.16): what an authority signs to approve `policy`. */
enum lct_code lct_policy_to_sign(uint8_t digest[LCT_POLICY_DIGEST], OSSL_LIB_CTX *libctx,
                                 const uint8_t policy[LCT_POLICY_DIGEST], const uint8_t *ref,
                                 size_t ref_len, struct lct_err *err);

#endif
