/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_STORE_NAMES_H
#define LCT_STORE_NAMES_H

#include "base/error.h"
#include "store/id.h"
#include "store/store.h"
#include "tcg/crypto.h"

#include <stdbool.h>

/*
 * The names that follow from keys (proof/web4.h), without their scheme: "web4:mb32:b" and 52 digits
 * of base32. A name stands where an id may, and means that one key: one generation of one identity,
 * whatever comes after it. Keys that Web4 has no name for, P-384 and RSA, have none.
 *
 *     <dir>/.index/<the 52 digits>    "alice 2\n": the identity, the generation
 *
 * is where to look first, and no more than that: what a key's name is, the key says. What is not
 * there, or wrong, is searched for in all records, and put right where the store can be written.
 */

/* Whether an id is a name, well-formed or not. */
bool lct_names_is(const char *id);

/* What a name, or an id, is of. */
struct lct_named {
    int fd;          /* the directory of the identity, opened with O_PATH; the caller closes it */
    const char *dir; /* the store it is in, borrowed */
    char id[LCT_MAX_ID + 1];
    unsigned generation; /* 0: an id was looked for */
    bool active;         /* that generation is the active one */
};

/*
 * Finds what a name is of. `crypto` may be NULL: then a private context is made for it alone.
 * LCT_ERR_BAD_ID: it is no name; LCT_ERR_NOT_FOUND: no key in the store has it; LCT_ERR_STORE: none
 * of those that may be read has, and some may not; LCT_ERR_INTERNAL. Where it fails, there is
 * nothing to close.
 */
enum lct_code lct_names_find(struct lct_named *named, const struct lct_store *store,
                             struct lct_crypto *crypto, const char *name, struct lct_err *err);

/* Notes the names of an identity in the store `dir`, of generation `number` or with 0 of all, or
 * takes them out again. Best effort: a name that is not noted is found all the same, slowly. */
void lct_names_note(const char *dir, const char *id, unsigned number);
void lct_names_forget(const char *dir, const char *id, unsigned number);

#endif
