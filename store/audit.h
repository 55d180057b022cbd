/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_STORE_AUDIT_H
#define LCT_STORE_AUDIT_H

#include "base/error.h"
#include "store/key.h"
#include "tcg/signature.h"

#include <stddef.h>
#include <stdint.h>

/*
 * A line of the audit, for a key whose configuration asks for one, and nothing for others:
 *
 *     time=... event=sign identity=web generation=1 name=000b... digest=sha256:... result=ok
 *         status=0 pid=... uid=... euid=... program="..."
 *
 * A file of it is on disk when these return. LCT_ERR_IO: no line could be written, in a sentence;
 * then what it is about is not to be handed out.
 */

/* That a signature of `digest` was made, or with another `outcome` than LCT_OK was not. `hash` is
 * the digest's. */
enum lct_code lct_audit_signature(const struct lct_key *key, const struct lct_hash *hash,
                                  const uint8_t *digest, size_t digest_len, enum lct_code outcome,
                                  struct lct_err *err);

/* The same of a whole message, signed without a hash: the line has its SHA-256. */
enum lct_code lct_audit_message(const struct lct_key *key, const uint8_t *message,
                                size_t message_len, enum lct_code outcome, struct lct_err *err);

/* That a key in software is handed to the program, whose signatures nobody sees from then on. */
enum lct_code lct_audit_release(const struct lct_key *key, struct lct_err *err);

#endif
