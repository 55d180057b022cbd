/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TCG_SEAL_H
#define LCT_TCG_SEAL_H

#include "tcg/policy.h"
#include "tcg/signature.h"

#include <stdbool.h>

/* What a key or a secret is sealed to. */
enum lct_seal_kind {
    LCT_SEAL_NONE,
    LCT_SEAL_AUTH,      /* PolicyAuthValue alone: of other tools' keys; we make none */
    LCT_SEAL_STRICT,    /* PolicyPCR(the values at the sealing) */
    LCT_SEAL_AUTHORITY, /* PolicyAuthorize(authority) */
    LCT_SEAL_EITHER     /* PolicyOR(PolicyPCR, PolicyAuthorize): the default */
};

enum { LCT_MAX_AUTHORITY = 600 }; /* bytes of the TPM2B_PUBLIC of an authority's key */

/*
 * A seal: plain data. The passphrase is not part of it: with one, PolicyAuthValue follows, so that
 * no approval can drop it.
 */
struct lct_seal {
    enum lct_seal_kind kind;
    /* The PCRs, and the values at the sealing. LCT_SEAL_AUTHORITY: the PCRs that are approved
     * unless others are asked for, and no values. */
    struct lct_pcr_values pcrs;
    bool has_values;                       /* false: only their digest is known */
    uint8_t pcr_digest[LCT_POLICY_DIGEST]; /* LCT_SEAL_STRICT, LCT_SEAL_EITHER */
    /* LCT_SEAL_AUTHORITY, LCT_SEAL_EITHER: */
    size_t authority_len; /* TPM2B_PUBLIC of lct_authority_public */
    uint8_t authority[LCT_MAX_AUTHORITY];
    size_t ref_len; /* policyRef: 0, or as lct_seal_bind makes it */
    uint8_t ref[LCT_MAX_POLICY_REF];
    struct lct_counter
        counter; /* LCT_SEAL_AUTHORITY: approvals are revoked by it; handle 0: none */
};

/* What an authority has approved: a state of the boot, under a policyRef. */
struct lct_approval {
    struct lct_pcrs pcrs;
    struct lct_counter counter; /* it holds while the counter is at most counter.value; handle 0:
                                   for ever */
    size_t ref_len;
    uint8_t ref[LCT_MAX_POLICY_REF];
    uint8_t policy[LCT_POLICY_DIGEST]; /* approvedPolicy, of the PCRs' values and the counter */
    struct lct_signature signature;    /* by the authority, of lct_policy_to_sign's, with SHA-256:
                                          ECDSA in DER, or RSA PKCS#1 v1.5 */
    char created[21];                  /* RFC 3339, UTC; empty: not known */
    /* What the policy has of the PCRs' values, which a key file for others says; not known of
     * approvals of systemd's. */
    bool has_pcr_digest;
    uint8_t pcr_digest[LCT_POLICY_DIGEST];
};

/* The seal of a default configuration. */
extern const char lct_seal_default[]; /* "sha256:0,1,2,3,7" */

/*
 * Kind and PCRs from what a user writes: "none", "sha256:7" (or the state that the authority
 * approves), "strict:sha256:7", "authority" (the PCRs are the default's), "authority:sha256:7". The
 * rest is zero. LCT_ERR_USAGE: also of lct_pcrs_parse and lct_pcrs_check_seal.
 */
enum lct_code lct_seal_parse(struct lct_seal *seal, const char *text, struct lct_err *err);

/* In that form, NUL-terminated. */
enum { LCT_SEAL_TEXT = LCT_PCRS_TEXT + 16 };
void lct_seal_text(char text[LCT_SEAL_TEXT], const struct lct_seal *seal);

/* policyRef of what is bound: SHA-256 of "lct:bound:" (or, with a counter, "lct:revocable:" and the
 * counter's Name), and the id. For an identity, its id; LCT_ERR_INTERNAL alone. */
enum lct_code lct_seal_bind(struct lct_seal *seal, OSSL_LIB_CTX *libctx, const char *id,
                            struct lct_err *err);

/* The authPolicy of what is sealed so; `passphrase`: and has one. LCT_ERR_INTERNAL;
 * LCT_ERR_BAD_RECORD: the authority's public area is none. */
enum lct_code lct_seal_policy(uint8_t digest[LCT_POLICY_DIGEST], OSSL_LIB_CTX *libctx,
                              const struct lct_seal *seal, bool passphrase, struct lct_err *err);

/* The branches of what LCT_SEAL_EITHER's PolicyOR is of, in its order: without a passphrase, whose
 * PolicyAuthValue follows it. Errors of lct_seal_policy. */
enum lct_code lct_seal_branches(uint8_t strict[LCT_POLICY_DIGEST],
                                uint8_t authority[LCT_POLICY_DIGEST], OSSL_LIB_CTX *libctx,
                                const struct lct_seal *seal, struct lct_err *err);

/* The policy of a state: PolicyPCR of the values and, if it has one, PolicyNV of the counter. */
enum lct_code lct_seal_state(uint8_t digest[LCT_POLICY_DIGEST], OSSL_LIB_CTX *libctx,
                             const struct lct_pcr_values *values, const struct lct_counter *counter,
                             struct lct_err *err);

/*
 * The TPM2B_PUBLIC that an authority's public key is loaded with (TPM2_LoadExternal), whose Name is
 * in the policy: the template that systemd uses too. P-256 or RSA of 2048 to 4096 bits.
 * LCT_ERR_UNSUPPORTED: another kind of key.
 */
enum lct_code lct_authority_public(uint8_t public_area[LCT_MAX_AUTHORITY], size_t *public_len,
                                   EVP_PKEY *pkey, struct lct_err *err);

/* Signs: fills approval->policy and ->signature from its pcrs (of `values`), counter and ref, with
 * the authority's private key. LCT_ERR_UNSUPPORTED; LCT_ERR_INTERNAL. */
enum lct_code lct_approval_sign(struct lct_approval *approval, OSSL_LIB_CTX *libctx,
                                const struct lct_pcr_values *values, EVP_PKEY *authority,
                                struct lct_err *err);

/* Whether the authority of this TPM2B_PUBLIC has signed it. LCT_ERR_WRONG_KEY: it has not. */
enum lct_code lct_approval_verify(const struct lct_approval *approval, OSSL_LIB_CTX *libctx,
                                  const uint8_t *authority, size_t authority_len,
                                  struct lct_err *err);

/* Whether the approval is for what has this seal: the same policyRef and counter. That goes by
 * its Name, which the handle is part of: what the approval itself says of the handle is neither
 * signed nor in the policy. Its signature is not looked at. */
bool lct_approval_fits(const struct lct_approval *approval, const struct lct_seal *seal);

#endif
