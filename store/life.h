/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_STORE_LIFE_H
#define LCT_STORE_LIFE_H

#include "base/error.h"
#include "proof/subject.h"
#include "store/change.h"
#include "store/key.h"
#include "store/record.h"
#include "store/store.h"

#include <openssl/types.h>
#include <time.h>

/* Where a generation is in its life. The first three sign. */
enum lct_stage {
    LCT_STAGE_PENDING,    /* it is to follow the active one */
    LCT_STAGE_ACTIVE,     /* */
    LCT_STAGE_OVERLAP,    /* another one has followed it, and it signs a while yet */
    LCT_STAGE_SUPERSEDED, /* that time is over */
    LCT_STAGE_RETIRED,    /* the identity is */
    LCT_STAGE_REVOKED     /* the identity is */
};

enum lct_stage lct_life_stage(const struct lct_life *life, time_t now);

/* Whether a generation of a record signs now: it is pending, the active one or in its overlap, and
 * the identity has not ended. */
bool lct_life_signs(const struct lct_record *record, const struct lct_generation *generation);

/* "pending", "active", "overlap", "superseded", "retired", "revoked" */
const char *lct_stage_name(enum lct_stage stage);

/* Whether, of two lives of one generation, `old` is older than `life` in any way: of a lower
 * counter or an earlier active generation, not as far to its end, or with a longer overlap. */
bool lct_life_is_older(const struct lct_life *old, const struct lct_life *life);

/* Whether it signs: LCT_ERR_ENDED, in a sentence that says since when, why, and what to do. `label`
 * is the key's: "lct:alice". */
enum lct_code lct_life_check(const struct lct_life *life, const char *label, time_t now,
                             struct lct_err *err);

/*
 * The same for a key that was loaded, before each signature: by its record as it is in the store
 * now, which is read again only if it has changed (lstat(2) tells), or by what was known last,
 * where the store cannot be reached (in a chroot, say). What was seen only grows: a record that is
 * older than one before is not believed, LCT_ERR_BAD_RECORD. Threads may do so at once. Signing
 * asks for it, and beginning to sign does not: libssl begins to find out what a key can do, and
 * drops the error of one that refuses. LCT_ERR_ENDED: also where the identity has been deleted, or
 * made anew with another key.
 */
enum lct_code lct_life_check_key(const struct lct_key *key, struct lct_err *err);

enum {
    LCT_OVERLAP_DEFAULT = 24 * 3600, /* seconds that a generation goes on signing */
    LCT_OVERLAP_MAX = 48 * 3600      /* Web4's LCT specification, 7.3 */
};

/* Whether an identity can get a pending generation. LCT_ERR_EXISTS: there is one; LCT_ERR_ENDED:
 * the identity is retired or revoked; LCT_ERR_STORE: it has LCT_MAX_GENERATIONS. */
enum lct_code lct_life_check_room(const struct lct_record *record, struct lct_err *err);

/*
 * Adds the pending generation to the record of a change: `generation` without number, and its key
 * file, instead of all that a withdrawn one of that number may have left. The caller commits, or
 * calls lct_life_forget. Errors of lct_life_check_room and lct_change_put.
 */
enum lct_code lct_life_add(struct lct_change *change, const struct lct_generation *generation,
                           const uint8_t *pem, size_t pem_len, struct lct_err *err);

/* Makes the pending generation the active one in the record of a change; that of before signs for
 * `overlap` seconds more, LCT_OVERLAP_MAX at most. LCT_ERR_NOT_FOUND: there is none;
 * LCT_ERR_ENDED. */
enum lct_code lct_life_advance(struct lct_change *change, unsigned overlap, struct lct_err *err);

/* Ends the overlaps in the record of a change that would last longer than `overlap` seconds from
 * now then, *until; none becomes longer. It is counted, so that no restore turns it back.
 * LCT_ERR_NOT_FOUND: there is no such one; LCT_ERR_ENDED; as lct_life_count. */
enum lct_code lct_life_shorten(struct lct_change *change, char until[21], unsigned overlap,
                               struct lct_err *err);

/* Takes the pending generation out of the record of a change, which is counted as above, unless the
 * identity has ended. Its files go after the commit, with lct_life_forget: those of a number that
 * the record does not have. LCT_ERR_NOT_FOUND: there is none; as lct_life_count. */
enum lct_code lct_life_withdraw(struct lct_change *change, unsigned *number, struct lct_err *err);
void lct_life_forget(struct lct_change *change, unsigned number);

/* Ends the identity in the record of a change: `ending` is not LCT_NOT_ENDED, `reason` one of
 * lct_end_reasons for LCT_REVOKED, else NULL. A retired one can be revoked; LCT_ERR_ENDED: it is
 * retired, or revoked, already. */
enum lct_code lct_life_end(struct lct_change *change, enum lct_ending ending, const char *reason,
                           struct lct_err *err);

/* Whether a key that was loaded before the change began is the active one still. LCT_ERR_STORE: it
 * is not. */
enum lct_code lct_life_check_active(const struct lct_change *change, const struct lct_key *key,
                                    struct lct_err *err);

/* A generation as statements on its life have it. Errors of lct_subject_set_key. */
enum lct_code lct_life_subject(struct lct_subject *subject, const struct lct_generation *generation,
                               const EVP_PKEY *pkey, struct lct_err *err);

/* The number of the next statement on its life, or of a change that none tells of and that a
 * restore must not turn back, in the record of a change: it grows by one. LCT_ERR_STORE: it cannot
 * grow further. */
enum lct_code lct_life_count(struct lct_change *change, unsigned *counter, struct lct_err *err);

#endif
