/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_PROOF_JWS_H
#define LCT_PROOF_JWS_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

/*
 * A JWS in the compact serialization (RFC 7515, 7.1) over `payload`, NUL-terminated; the caller
 * frees it. The protected header holds `alg` and `kid`. `sign` is whoever holds the key: it hashes
 * the message as `alg` says and writes the signature in JOSE's form (RFC 7518, 3.3 and 3.4: for
 * ECDSA r || s); on entry *signature_len is the room in `signature`. Errors of `sign`, and
 * LCT_ERR_INTERNAL.
 */
enum lct_code lct_jws_compact(char **jws, const char *alg, const char *kid, const uint8_t *payload,
                              size_t payload_len,
                              enum lct_code (*sign)(void *arg, uint8_t *signature,
                                                    size_t *signature_len, const uint8_t *message,
                                                    size_t message_len, struct lct_err *err),
                              void *arg, struct lct_err *err);

#endif
