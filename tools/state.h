/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TOOLS_STATE_H
#define LCT_TOOLS_STATE_H

#include "base/error.h"
#include "proof/challenge.h"

#include <openssl/types.h>

/*
 * The file in which a verifier keeps what only it knows of a challenge (proof/challenge.h). It is
 * good for one judgement, of however many programs that begin at once.
 */
struct lct_state {
    const char *file; /* borrowed */
    int fd;           /* open and locked; -1: it is not open */
    struct lct_challenge_state content;
};

/* Makes the file, where there is none yet; it is on disk when this returns. LCT_ERR_IO. */
enum lct_code lct_state_make(const char *file, const struct lct_challenge_state *content,
                             struct lct_err *err);

/*
 * Opens, locks and reads it; waits for another program that has it open. LCT_ERR_IO: it cannot be
 * read, is a link or no file, or is not its user's alone, so that others may know the secret;
 * LCT_ERR_BAD_EVIDENCE, LCT_ERR_UNSUPPORTED: it is no state. lct_state_close, whatever comes back.
 */
enum lct_code lct_state_open(struct lct_state *state, OSSL_LIB_CTX *libctx, const char *file,
                             struct lct_err *err);

/* Writes an open state again, used and without its secret. A crash leaves it used, or as it was.
 * LCT_ERR_IO. */
enum lct_code lct_state_use_up(struct lct_state *state, struct lct_err *err);

void lct_state_close(struct lct_state *state);

#endif
