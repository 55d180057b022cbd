/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_BASE_SECRET_H
#define LCT_BASE_SECRET_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

/*
 * An authorization value, a passphrase, a session's key: what must not stay behind in memory.
 * Zero is the empty one. Whoever holds one wipes it, on every path.
 */
struct lct_secret {
    size_t len;
    uint8_t data[64];
};

void lct_secret_wipe(struct lct_secret *secret);

/* Bytes of an authorization value at most: those of the nameAlg of our keys and hierarchies,
 * SHA-256 (TPM 2.0 Part 1, 11.6.3: the size of authValue). */
enum { LCT_MAX_AUTH = 32 };

/*
 * Takes an authorization value from `text`, without the end of its line. LCT_ERR_AUTH: it is
 * empty, longer than LCT_MAX_AUTH, or has a zero byte; `what` says whose it is, for the message.
 */
enum lct_code lct_secret_take(struct lct_secret *secret, const char *what, const uint8_t *text,
                              size_t text_len, struct lct_err *err);

/* The same from the file at `path`. LCT_ERR_IO: it cannot be read. */
enum lct_code lct_secret_read(struct lct_secret *secret, const char *what, const char *path,
                              struct lct_err *err);

#endif
