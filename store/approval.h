/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_STORE_APPROVAL_H
#define LCT_STORE_APPROVAL_H

#include "base/error.h"
#include "tcg/seal.h"

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Approvals are files in <dir>/.approvals/, one each, 0644, that whoever has the authority's key
 * makes and anybody may copy: nothing in them is secret, and nothing is believed that the TPM does
 * not verify. One, version 1:
 *
 *     {"version": 1, "authority": "<fingerprint>", "pcrs": "sha256:0,1,2,3,7",
 *      "policy": "<hex>", "policy_ref": "<hex>", "signature": "<base64>", "created": "...",
 *      "counter": {"handle": "0x01ac6374", "name": "<hex>", "value": 3},       -- or null
 *      "pcr_digest": "<hex>"}               -- where it is known: what the policy has of the values
 *
 * "created" is null where it is not known.
 *
 * systemd's tpm2-pcr-signature.json is another source of them: {"sha256": [{"pcrs": [11], "pkfp":
 * "<hex>", "pol": "<hex>", "sig": "<base64>"}]}, RSA with an empty policyRef, pkfp being SHA-256 of
 * the key's RSAPublicKey (PKCS #1) in DER; it is not looked at, the signature says whose it is.
 */
struct lct_approvals {
    size_t num;
    struct lct_approval *all; /* the newest first */
    bool
        altered; /* one was left out: PCRs or counter, which are not signed, are not its policy's */
};

/* Frees what it holds. */
void lct_approvals_clear(struct lct_approvals *approvals);

/*
 * Those for what has this seal (lct_approval_fits) that its authority has signed: in the store
 * `dir`, and in `pcr_signature` (NULL: none), a file of systemd's that need not be there. What
 * cannot be read, is malformed or was altered is left out: it approves nothing. LCT_ERR_INTERNAL
 * alone.
 */
enum lct_code lct_approvals_find(struct lct_approvals *approvals, const char *dir,
                                 const char *pcr_signature, const struct lct_seal *seal,
                                 OSSL_LIB_CTX *libctx, struct lct_err *err);

/* The approvals that a text has, of either form, which the authority of this TPM2B_PUBLIC has
 * signed; none, if all that it has was altered, where "pcr_digest" lets that be said.
 * LCT_ERR_BAD_RECORD: neither form; LCT_ERR_WRONG_KEY: none is this authority's. */
enum lct_code lct_approvals_read(struct lct_approvals *approvals, const uint8_t *text,
                                 size_t text_len, const uint8_t *authority, size_t authority_len,
                                 OSSL_LIB_CTX *libctx, struct lct_err *err);

/* One as text, version 1; the caller frees it with free(). NULL if out of memory. `fingerprint` is
 * the authority's. */
char *lct_approval_write(const struct lct_approval *approval, const char *fingerprint);

/* Whether it is one of them. */
bool lct_approvals_have(const struct lct_approval *all, size_t num,
                        const struct lct_approval *approval);

/* Puts one into the store `dir`, instead of another of the same authority for the same policy and
 * policyRef or, if `replace` is false, only where there is none: LCT_ERR_EXISTS.
 * LCT_ERR_BAD_RECORD: it has no pcr_digest, and the other one says other PCRs or another counter.
 * LCT_ERR_STORE. */
enum lct_code lct_approval_put(const char *dir, const struct lct_approval *approval,
                               const char *fingerprint, bool replace, struct lct_err *err);

/* Removes it from the store `dir`, if it is there. Best effort. */
void lct_approval_drop(const char *dir, const struct lct_approval *approval,
                       const char *fingerprint);

/* The directory in a store that they are in, and whether a file in it is named as one. */
extern const char lct_approvals_dir[];
bool lct_is_approval_name(const char *name);

#endif
