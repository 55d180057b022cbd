/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_STORE_TOMBSTONE_H
#define LCT_STORE_TOMBSTONE_H

#include "base/error.h"
#include "store/record.h"

#include <stdbool.h>
#include <stddef.h>

/*
 * What stays of a retired or revoked identity that was deleted: its record, in <dir>/.ended/, so
 * that an older one, from a backup, does not bring its keys back to life. It is found by id and
 * first key: another identity of that id is not held back.
 */
extern const char lct_tombstone_dir[];

enum { LCT_TOMBSTONE_NAME = LCT_MAX_ID + 48, LCT_MAX_RECORD = 1 << 20 };
void lct_tombstone_name(char name[LCT_TOMBSTONE_NAME], const struct lct_record *record);

/* Whether two records are of one identity: of one id, and with one first key. */
bool lct_is_same_identity(const struct lct_record *a, const struct lct_record *b);

/* Whether, of two records of one identity, `old` is older than `record` in any way: it has a lower
 * counter, an earlier active generation, a longer overlap, or has not come as far to its end. What
 * else a record has, the handles of persistent keys, turns nothing back. */
bool lct_is_older(const struct lct_record *old, const struct lct_record *record);

/* Leaves the text of a record, which has ended, in the store that is open as `store`; that of the
 * same identity is replaced. LCT_ERR_STORE. */
enum lct_code lct_tombstone_leave(int store, const struct lct_record *record, struct lct_err *err);

/* The one of the identity of `record` into *found, to be freed with free(), NULL: there is none.
 * LCT_ERR_BAD_RECORD, LCT_ERR_STORE: there is one, and it cannot be read. */
enum lct_code lct_tombstone_find(struct lct_record **found, int store,
                                 const struct lct_record *record, struct lct_err *err);

#endif
