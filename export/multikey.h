/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_EXPORT_MULTIKEY_H
#define LCT_EXPORT_MULTIKEY_H

#include "base/error.h"

#include <openssl/types.h>

/*
 * A public key as one word (W3C Controlled Identifiers 1.0, 2.2.2: Multikey): "z" and in base58btc
 * the key's kind in multicodec and its bytes, 0x8024 and the compressed point of P-256 ("zDn..."),
 * or 0xed01 and the 32 bytes of Ed25519 ("z6Mk..."). LCT_ERR_UNSUPPORTED: another kind of key;
 * LCT_ERR_INTERNAL.
 */
enum { LCT_MULTIKEY = 64 };
enum lct_code lct_multikey_encode(char text[LCT_MULTIKEY], const EVP_PKEY *pkey,
                                  struct lct_err *err);

/* The key in such a word, in its one form; the caller frees it. NULL: LCT_ERR_BAD_EVIDENCE. */
EVP_PKEY *lct_multikey_decode(OSSL_LIB_CTX *libctx, const char *text, struct lct_err *err);

#endif
