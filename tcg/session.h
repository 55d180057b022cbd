/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TCG_SESSION_H
#define LCT_TCG_SESSION_H

#include "base/error.h"
#include "base/secret.h"
#include "tcg/public.h"

#include <openssl/types.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The arithmetic of TPM sessions (TPM 2.0 Part 1, 17 to 21), over bytes: it speaks to no TPM. Its
 * sessions are salted and unbound, of SHA-256 and AES-128-CFB, HMAC or policy.
 *
 *  start    lct_session_roll; TPM2_StartAuthSession with nonce_caller and an encrypted seed
 *           (tcg/seed.h); lct_session_derive with the seed and the TPM's nonce
 *  command  lct_session_roll; lct_session_encrypt if the command's first parameter is to be;
 *           lct_session_cp_hash; lct_session_hmac
 *  response lct_session_rp_hash; lct_session_verify; lct_session_decrypt if the response's first
 *           parameter is encrypted. A response that is only a return code has none of that: the
 *           session is as it was, and the next command begins with lct_session_roll again
 *
 * `auth` is the authValue that a call mixes in, NULL or empty for none; zeros at its end do not
 * count (Part 1, 19.6.4.3). Which one, for the session that authorizes a handle:
 *  - HMAC session: the authValue of the handle's object, in each call;
 *  - policy session: that authValue in lct_session_encrypt and lct_session_decrypt always, in
 *    lct_session_hmac and lct_session_verify only after TPM2_PolicyAuthValue. Without that command
 *    nothing tells a wrong one: the TPM takes a garbled parameter for a good one. Encrypt with a
 *    session of its own there;
 *  - where the command changes the authValue itself: in the response, the new one.
 * For a session that only encrypts and authorizes nothing: none.
 *
 * All fail with LCT_ERR_INTERNAL: libcrypto failed, or the caller gave what cannot be (more than
 * three handles, a handle without a Name, an authValue over LCT_MAX_AUTH, keys not derived yet).
 * An output is then not to be used.
 */
enum {
    LCT_SESSION_HASH = TPM2_ALG_SHA256,
    LCT_SESSION_SYMMETRIC = TPM2_ALG_AES,
    LCT_SESSION_SYMMETRIC_BITS = 128,
    LCT_SESSION_SYMMETRIC_MODE = TPM2_ALG_CFB,
    LCT_SESSION_DIGEST = 32, /* bytes of a hash, an HMAC, a nonce and the session key */
};

/* What both ends of a session know. Its holder wipes it. */
struct lct_session_keys {
    struct lct_secret key; /* sessionKey; empty until derived */
    uint8_t nonce_caller[LCT_SESSION_DIGEST];
    uint8_t nonce_tpm[LCT_SESSION_DIGEST];
};

void lct_session_keys_wipe(struct lct_session_keys *keys);

/* A new nonceCaller, for the next command. */
enum lct_code lct_session_roll(struct lct_session_keys *keys, OSSL_LIB_CTX *libctx,
                               struct lct_err *err);

/*
 * The session key from the salt (Part 1, 19.6.8), which is not empty, and the nonce that
 * TPM2_StartAuthSession returned, which must be as long as ours.
 */
enum lct_code lct_session_derive(struct lct_session_keys *keys, OSSL_LIB_CTX *libctx,
                                 const struct lct_secret *salt, const uint8_t *nonce_tpm,
                                 size_t nonce_tpm_len, struct lct_err *err);

/*
 * cpHash (Part 1, 18.7): `names` are those of the command's handles, in order (lct_public_name or
 * lct_name_of_handle), `params` what follows the authorization area, encrypted as it is sent.
 */
enum lct_code lct_session_cp_hash(uint8_t digest[LCT_SESSION_DIGEST], OSSL_LIB_CTX *libctx,
                                  uint32_t command_code, const struct lct_name *names,
                                  size_t num_names, const uint8_t *params, size_t params_len,
                                  struct lct_err *err);

/* rpHash (Part 1, 18.8) of a response with TPM2_RC_SUCCESS: the only kind with an HMAC. `params` as
 * received, still encrypted. */
enum lct_code lct_session_rp_hash(uint8_t digest[LCT_SESSION_DIGEST], OSSL_LIB_CTX *libctx,
                                  uint32_t command_code, const uint8_t *params, size_t params_len,
                                  struct lct_err *err);

/*
 * The HMAC of a command's session (Part 1, 19.6.5), for `hmac` of its TPMS_AUTH_COMMAND.
 *
 * `decrypt` and `encrypt` are for the first session alone, and only if it authorizes a handle:
 * which *other* session of the command decrypts its first parameter, and which encrypts the
 * response's; the same twice, or NULL. So nobody between can leave that session out.
 */
enum lct_code lct_session_hmac(uint8_t hmac[LCT_SESSION_DIGEST],
                               const struct lct_session_keys *keys, OSSL_LIB_CTX *libctx,
                               const struct lct_secret *auth,
                               const uint8_t cp_hash[LCT_SESSION_DIGEST], uint8_t attributes,
                               const struct lct_session_keys *decrypt,
                               const struct lct_session_keys *encrypt, struct lct_err *err);

/* A response's TPMS_AUTH_RESPONSE (Part 2, 10.13.3), borrowed. */
struct lct_session_answer {
    const uint8_t *nonce_tpm;
    size_t nonce_tpm_len;
    uint8_t attributes;
    const uint8_t *hmac;
    size_t hmac_len;
};

/*
 * Whether the response is the TPM's: its HMAC, compared in constant time. Then keys->nonce_tpm is
 * the new one. LCT_ERR_NO_TPM: it is not, and nothing that came with it may be used; the session is
 * of no more use, flush it.
 */
enum lct_code lct_session_verify(struct lct_session_keys *keys, OSSL_LIB_CTX *libctx,
                                 const struct lct_secret *auth,
                                 const uint8_t rp_hash[LCT_SESSION_DIGEST],
                                 const struct lct_session_answer *answer, struct lct_err *err);

/*
 * Encrypts a command's first parameter or decrypts a response's, in place (Part 1, 21.3): the
 * contents of its TPM2B, not the size before it. A response's after lct_session_verify.
 */
enum lct_code lct_session_encrypt(const struct lct_session_keys *keys, OSSL_LIB_CTX *libctx,
                                  const struct lct_secret *auth, uint8_t *bytes, size_t bytes_len,
                                  struct lct_err *err);
enum lct_code lct_session_decrypt(const struct lct_session_keys *keys, OSSL_LIB_CTX *libctx,
                                  const struct lct_secret *auth, uint8_t *bytes, size_t bytes_len,
                                  struct lct_err *err);

#endif
