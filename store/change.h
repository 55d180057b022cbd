/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_STORE_CHANGE_H
#define LCT_STORE_CHANGE_H

#include "base/error.h"
#include "store/record.h"
#include "store/store.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A change of an identity that is there. Who changes holds a lock on its directory, one at a time;
 * who reads holds none, and sees the record of before or the new one: files that the new record
 * needs are put beside it first, under names that the old one does not know, and replacing
 * identity.json is the one step that makes the change.
 */
struct lct_change {
    const char *id;    /* the record's; borrowed, as long as there is none, from the caller */
    const char *where; /* the store it is in, borrowed from it */
    int dir;           /* its directory, locked; -1: none */
    struct lct_record *record; /* owned; the caller alters it. With room for one generation more */
};

/*
 * Locks the identity, waiting for others at most 10 s, and reads its record. lct_change_end,
 * whatever comes back. Errors of lct_store_get_record; LCT_ERR_STORE: it is locked by others, or
 * not ours to write.
 */
enum lct_code lct_change_begin(struct lct_change *change, const struct lct_store *store,
                               const char *id, struct lct_err *err);

/* Puts a file into the directory in one step, by lct_file_replace. LCT_ERR_STORE. */
enum lct_code lct_change_put(struct lct_change *change, const char *name, const uint8_t *bytes,
                             size_t bytes_len, struct lct_err *err);

/* Makes the record as it is now the identity's; on disk when it returns. LCT_ERR_STORE. */
enum lct_code lct_change_commit(struct lct_change *change, struct lct_err *err);

/* Removes a file that no record speaks of any more, if it is there. Best effort. */
void lct_change_drop(struct lct_change *change, const char *name);

/* Lets the identity go. What was not committed did not happen. */
void lct_change_end(struct lct_change *change);

/* The lock alone, for what changes no record: the directory of `id` in the store `where`, opened by
 * the one that is open with O_PATH, to be closed. Errors in a sentence without the id:
 * LCT_ERR_STORE; LCT_ERR_NOT_FOUND: while others were waited for it was deleted, and what has its
 * place now, if anything, is another. */
enum lct_code lct_change_lock(int *dir, int fd, const char *where, const char *id,
                              struct lct_err *err);

/* A lock on an open directory, `alone` or with others that do not want it alone; they are waited
 * for, LCT_LOCK_SECONDS at most. LCT_ERR_STORE, in a sentence of "its directory". */
enum lct_code lct_change_wait(int dir, bool alone, struct lct_err *err);

#endif
