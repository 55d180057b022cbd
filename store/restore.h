/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_STORE_RESTORE_H
#define LCT_STORE_RESTORE_H

#include "base/error.h"
#include "store/backup.h"
#include "store/record.h"
#include "store/store.h"

#include <stdbool.h>

/* How an identity of a backup stands to the store. */
enum lct_standing {
    LCT_STANDING_NEW,     /* it is not there */
    LCT_STANDING_SAME,    /* it is there, each file of it the same */
    LCT_STANDING_NEWER,   /* the store has an older record */
    LCT_STANDING_DIFFERS, /* the records are of one moment, some file is not the same */
    LCT_STANDING_DAMAGED, /* what is in the store cannot be read: which is newer is not known */
    LCT_STANDING_OLDER,   /* the store has a newer record, which stays */
    LCT_STANDING_OTHER,   /* the store has an identity of that id with another first key, or with
                           * another one since: what it has stays */
    LCT_STANDING_ENDED    /* it was retired or revoked since, and deleted, which stays */
};

struct lct_found {
    enum lct_standing standing;
    /* Of the record that is in the store, or of the tombstone, where there is one. */
    unsigned counter, active;
    enum lct_ending ending;
    char ended[21];
    unsigned parting; /* of LCT_STANDING_OTHER: the first generation whose key is another */
    char file[64];    /* of LCT_STANDING_DIFFERS: one that does */
    char why[sizeof((struct lct_err *)0)->text]; /* of LCT_STANDING_DAMAGED */
};

/* Compares. The store has one directory. LCT_ERR_STORE: it cannot be read; LCT_ERR_BAD_RECORD: its
 * tombstone cannot. */
enum lct_code lct_restore_look(struct lct_found *found, const struct lct_store *store,
                               const struct lct_backup_identity *identity, struct lct_err *err);

/*
 * Puts it into the store: a new one in one step, with `owner`; one that is there file by file under
 * its lock, its record last, as a change of it would. It stands to the store as `seen` says, or
 * LCT_ERR_STORE: somebody has changed it since. LCT_ERR_STORE, LCT_ERR_EXISTS.
 */
enum lct_code lct_restore_put(const struct lct_store *store,
                              const struct lct_backup_identity *identity,
                              const struct lct_owner *owner, const struct lct_found *seen,
                              struct lct_err *err);

/* What else is in it goes where there is none of it: the authority, of which *authority tells,
 * approvals of that, tombstones unless there is a newer one. LCT_ERR_EXISTS: the store has another
 * authority, which stays, and approvals are left out; LCT_ERR_STORE. */
enum lct_code lct_restore_store(const struct lct_store *store, struct lct_crypto *crypto,
                                const struct lct_backup *backup, struct lct_err *err);

/* Whether a file of the backup's store tells of the end of an identity that the store has from
 * before it, after all else was put back: LCT_ERR_ENDED, with what ends it here. LCT_OK: also what
 * is no tombstone. A backup is not signed, so it ends nobody by itself. LCT_ERR_STORE. */
enum lct_code lct_restore_check_end(const struct lct_store *store, const struct lct_backup *backup,
                                    const struct lct_backup_file *file, struct lct_err *err);

#endif
