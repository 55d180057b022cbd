/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TCG_WRAPPER_H
#define LCT_TCG_WRAPPER_H

#include "base/error.h"
#include "base/secret.h"
#include "tcg/public.h"

#include <openssl/types.h>
#include <stddef.h>
#include <stdint.h>

/*
 * How what only one TPM may read is wrapped: encrypted and authenticated with keys derived from a
 * seed (tcg/seed.h) that only the holder of `key` learns. The same for keys that are imported
 * (TPM 2.0 Part 1, 23.3.2.4) and for credentials (Part 1, 24.4 and 24.5).
 */
struct lct_wrapper {
    OSSL_LIB_CTX *libctx;
    const struct lct_public *key;
    const struct lct_secret *seed;
    const struct lct_name *name; /* of the object that it is bound to */
};

/* LCT_ERR_UNSUPPORTED: `key` has a hash that we do not know, or another cipher than AES in CFB
 * mode. The seed and the Name may be filled in afterwards. */
enum lct_code lct_wrapper_check(const struct lct_wrapper *wrapper, struct lct_err *err);

/* Bytes of the HMAC; of a wrapper that lct_wrapper_check took. */
size_t lct_wrapper_size(const struct lct_wrapper *wrapper);

/* Encrypts `bytes` in place, 1024 at most, and writes the HMAC of what came out and of the Name.
 * In software. LCT_ERR_INTERNAL. */
enum lct_code lct_wrapper_apply(const struct lct_wrapper *wrapper, uint8_t *hmac, uint8_t *bytes,
                                size_t bytes_len, struct lct_err *err);

#endif
