/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TOOLS_MAKING_H
#define LCT_TOOLS_MAKING_H

#include "base/secret.h"
#include "tools/tool.h"

/* The secrets that making something in the TPM takes. lct_making_end wipes them. */
struct lct_making {
    struct lct_secret passphrase; /* of what is made; empty: none */
    struct lct_secret owner_auth; /* of the TPM's owner; empty: none, or not known */
    const char *algorithm;        /* of the key, for who waits for it; NULL: it is none */
    const struct lct_tool *tool;
};

/* Finds them: the passphrase in --passphrase-file or, with `passphrase`, asked for. Errors of
 * lct_secret_read and lct_ask_secret. */
enum lct_code lct_making_begin(struct lct_making *making, const struct lct_tool *tool,
                               bool passphrase, struct lct_err *err);

/* The same where --passphrase-file is of a key that is there: the new one is in `file`, which is of
 * --new-passphrase-file. */
enum lct_code lct_making_begin_from(struct lct_making *making, const struct lct_tool *tool,
                                    const char *file, bool passphrase, struct lct_err *err);
void lct_making_end(struct lct_making *making);

/*
 * Makes it: with `make`, once more with the owner's authorization if that is what it takes and
 * there is somebody to ask. Says so if a storage root key was made. Errors of `make`.
 */
enum lct_code lct_making_run(struct lct_making *making,
                             enum lct_code (*make)(void *arg, bool *made_srk, struct lct_err *err),
                             void *arg, struct lct_err *err);

#endif
