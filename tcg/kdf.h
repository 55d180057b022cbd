/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TCG_KDF_H
#define LCT_TCG_KDF_H

#include "base/error.h"
#include "tcg/algorithm.h"

#include <openssl/types.h>
#include <stddef.h>
#include <stdint.h>

enum { LCT_MAX_KDF_CONTEXT = 256 }; /* bytes of label, contextU and contextV together */

/*
 * What a key is derived from. `label` is a C string whose NUL is part of the input. `u` and `v` are
 * the TPM's contextU and contextV (KDFe: PartyUInfo and PartyVInfo); a length of 0: none.
 */
struct lct_kdf {
    const struct lct_hash *hash;
    const uint8_t *key; /* KDFa: the HMAC key; KDFe: Z. Secret, never empty */
    size_t key_len;
    const char *label;
    const uint8_t *u;
    size_t u_len;
    const uint8_t *v;
    size_t v_len;
};

/*
 * KDFa: SP 800-108 in counter mode with HMAC (TPM 2.0 Part 1, 11.4.10.2). KDFe: the one-step
 * derivation of SP 800-56A with a hash (Part 1, 11.4.10.3). `bits` is 8 * out_len.
 *
 * `out` is a secret: the caller wipes it. LCT_ERR_INTERNAL, and zeros in `out`: an empty key or
 * output, a context of more than LCT_MAX_KDF_CONTEXT bytes, a hash that libcrypto does not have.
 */
enum lct_code lct_kdfa(uint8_t *out, size_t out_len, OSSL_LIB_CTX *libctx,
                       const struct lct_kdf *from, struct lct_err *err);
enum lct_code lct_kdfe(uint8_t *out, size_t out_len, OSSL_LIB_CTX *libctx,
                       const struct lct_kdf *from, struct lct_err *err);

#endif
