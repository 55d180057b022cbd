/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_PROOF_WEB4_H
#define LCT_PROOF_WEB4_H

#include "base/error.h"

#include <openssl/types.h>

/*
 * The name of an identity that follows from its key, as Web4's registries want it: "lct:web4:mb32:"
 * and in multibase's base32 (RFC 4648, 6, lower case, without padding, after a "b") SHA-256 of the
 * public key. Web4 defines it for the 32 bytes of an Ed25519 key; for P-256, which TPMs have, it is
 * of the 33 bytes of the compressed point (SEC 1, 2.3.3): our extension.
 *
 * LCT_ERR_UNSUPPORTED: the key is of another kind; LCT_ERR_INTERNAL.
 */
enum { LCT_WEB4_NAME = 68 };
enum lct_code lct_web4_name(char name[LCT_WEB4_NAME], OSSL_LIB_CTX *libctx, const EVP_PKEY *pkey,
                            struct lct_err *err);

#endif
