/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_PROOF_JWS_H
#define LCT_PROOF_JWS_H

#include "base/error.h"
#include "proof/jose.h"
#include "proof/signer.h"

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A JWS in the compact serialization (RFC 7515, 7.1) over `payload`, NUL-terminated; the caller
 * frees it. The protected header holds "alg" by the signer, `kid`, and `typ` unless it is NULL; the
 * signature is in JOSE's form (RFC 7518, 3.3 and 3.4: for ECDSA r || s). LCT_ERR_UNSUPPORTED: JOSE
 * has no name for what the signer makes; errors of the signer; LCT_ERR_INTERNAL.
 */
enum lct_code lct_jws_compact(char **jws, const struct lct_signer *signer, const char *kid,
                              const char *typ, const uint8_t *payload, size_t payload_len,
                              struct lct_err *err);

enum { LCT_MAX_JWS = 64 << 10 /* characters */ };

/* One of somebody's, taken apart; nothing of it is believed yet. Zero is none. */
struct lct_jws {
    char alg[16], kid[129], typ[65];
    const char *message; /* what is signed: header, dot and payload as they were sent; borrowed */
    size_t message_len;
    uint8_t *payload; /* decoded */
    size_t payload_len;
    struct lct_jose_signature signature;
};

/*
 * Takes one apart, strictly: three parts in canonical base64url, with a header of exactly "alg",
 * "kid" and "typ" in printable ASCII: one with "crit", "jwk" or the like is not ours. One line
 * break behind it is no part of it. LCT_ERR_BAD_EVIDENCE: it is none, or is longer than
 * LCT_MAX_JWS; LCT_ERR_INTERNAL. The caller clears it, whatever comes back; `text` has to live as
 * long.
 */
enum lct_code lct_jws_read(struct lct_jws *jws, const char *text, size_t text_len,
                           struct lct_err *err);
void lct_jws_clear(struct lct_jws *jws);

/* Whether it is signed by this key, as lct_jose_is_by. */
bool lct_jws_is_by(const struct lct_jws *jws, EVP_PKEY *pkey, OSSL_LIB_CTX *libctx);

#endif
