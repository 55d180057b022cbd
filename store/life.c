/* SPDX-License-Identifier: Apache-2.0 */
#include "store/life.h"

#include "base/unconst.h"
#include "proof/json.h"
#include "store/names.h"
#include "store/part.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *lct_stage_name(enum lct_stage stage)
{
    static const char *const names[] = {
        [LCT_STAGE_PENDING] = "pending", [LCT_STAGE_ACTIVE] = "active",
        [LCT_STAGE_OVERLAP] = "overlap", [LCT_STAGE_SUPERSEDED] = "superseded",
        [LCT_STAGE_RETIRED] = "retired", [LCT_STAGE_REVOKED] = "revoked"};

    return names[stage];
}

enum lct_stage lct_life_stage(const struct lct_life *life, time_t now)
{
    time_t until = 0;

    if (life->ending != LCT_NOT_ENDED)
        return life->ending == LCT_REVOKED ? LCT_STAGE_REVOKED : LCT_STAGE_RETIRED;
    if (life->number == life->active)
        return LCT_STAGE_ACTIVE;
    if (life->number > life->active)
        return LCT_STAGE_PENDING;
    return lct_json_seconds(&until, life->until) && now < until ? LCT_STAGE_OVERLAP
                                                                : LCT_STAGE_SUPERSEDED;
}

bool lct_life_signs(const struct lct_record *record, const struct lct_generation *generation)
{
    const struct lct_life life = lct_record_life(record, generation);

    return lct_life_stage(&life, time(NULL)) <= LCT_STAGE_OVERLAP;
}

bool lct_life_is_older(const struct lct_life *old, const struct lct_life *life)
{
    bool ends_later = old->active == life->active && life->until[0] != '\0' &&
                      (old->until[0] == '\0' || strcmp(old->until, life->until) > 0);

    return old->counter < life->counter || old->active < life->active ||
           old->ending < life->ending || ends_later;
}

enum lct_code lct_life_check(const struct lct_life *life, const char *label, time_t now,
                             struct lct_err *err)
{
    switch (lct_life_stage(life, now)) {
    case LCT_STAGE_SUPERSEDED:
        return LCT_FAIL(err, LCT_ERR_ENDED,
                        "%s: its generation %u was followed by another and signs no more since %s; "
                        "generation %u does: %s",
                        label, life->number, life->until, life->active, label);
    case LCT_STAGE_RETIRED:
        return LCT_FAIL(err, LCT_ERR_ENDED,
                        "%s: it was retired at %s and signs no more; make another identity: lct "
                        "create",
                        label, life->ended);
    case LCT_STAGE_REVOKED:
        return LCT_FAIL(err, LCT_ERR_ENDED,
                        "%s: it was revoked at %s (%s) and signs no more; make another identity: "
                        "lct create",
                        label, life->ended, life->reason);
    default:
        return LCT_OK;
    }
}

static struct lct_key_seen seen_by(const struct stat *st)
{
    return (struct lct_key_seen){st->st_dev, st->st_ino, st->st_size, st->st_mtim, st->st_ctim};
}

static bool is_same(const struct stat *st, const struct lct_key_seen *seen)
{
    return st->st_dev == seen->device && st->st_ino == seen->inode && st->st_size == seen->size &&
           st->st_mtim.tv_sec == seen->modified.tv_sec &&
           st->st_mtim.tv_nsec == seen->modified.tv_nsec &&
           st->st_ctim.tv_sec == seen->changed.tv_sec &&
           st->st_ctim.tv_nsec == seen->changed.tv_nsec;
}

/* The newest knowledge is put before all that others may still look at. What another thread has
 * learned meanwhile may be newer: then it stands. */
static const struct lct_key_life *publish(const struct lct_key *key, struct lct_key_life *news)
{
    struct lct_key *shared = lct_unconst(key);

    while (!atomic_compare_exchange_weak(&shared->life, &news->older, news)) {
        const struct lct_key_life *newer = news->older;
        if (!lct_life_is_older(&news->life, &newer->life))
            continue;
        free(news);
        return newer;
    }
    return news;
}

/* What the record says now, which is in the open directory, unless it is older than what is known:
 * that was read before it. False: it cannot be read. */
static bool read_news(const struct lct_key *key, int dir, struct lct_key_life *news)
{
    struct lct_record *record = NULL;
    struct lct_generation *own = malloc(sizeof *own);

    if (own == NULL || lct_store_read_record(dir, key->id, &record, NULL) != LCT_OK) {
        free(own);
        return false;
    }
    const struct lct_generation *generation = lct_record_generation(record, key->number);
    lct_key_generation(own, key);
    news->gone = generation == NULL || !lct_generation_is_of_key(generation, own);
    free(own);
    if (!news->gone) {
        const struct lct_life life = lct_record_life(record, generation);
        news->back = lct_life_is_older(&life, &news->life);
        if (!news->back)
            news->life = life;
    }
    free(record);
    return true;
}

/* The directory of its identity; -1 with errno: ENOENT only if the store is there without it. */
static int open_dir(const struct lct_key *key)
{
    int store = open(key->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (store < 0) {
        errno = EACCES;
        return -1;
    }
    int dir = openat(store, key->id, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    int error = errno;
    close(store);
    errno = error;
    return dir;
}

/* What has changed since it was seen as it is known, in the directory, or -1: that is gone. What
 * cannot be read now changes nothing, and is looked at again: it may say the end. */
static const struct lct_key_life *learn(const struct lct_key *key, int dir, const struct stat *now,
                                        const struct lct_key_life *known)
{
    bool gone = dir < 0;

    if (known->gone == gone && is_same(now, &known->seen))
        return known;
    struct lct_key_life *news = calloc(1, sizeof *news);
    if (news == NULL)
        return known;
    *news = (struct lct_key_life){
        .older = lct_unconst(known), .life = known->life, .gone = gone, .seen = seen_by(now)};
    if (!gone && !read_news(key, dir, news)) {
        free(news);
        return known;
    }
    return publish(key, news);
}

/* Whether its record is the one that was seen, by one system call: it is asked at each signature.
 */
static bool is_unchanged(const struct lct_key *key, const struct lct_key_life *known)
{
    char path[PATH_MAX];
    struct stat now;
    int len = snprintf(path, sizeof path, "%s/%s/%s", key->dir, key->id, lct_record_file);

    return len > 0 && (size_t)len < sizeof path && !known->gone && lstat(path, &now) == 0 &&
           is_same(&now, &known->seen);
}

/* What is known of its life now: the newest of what the key keeps, looked after. */
static const struct lct_key_life *look(const struct lct_key *key)
{
    const struct lct_key_life *known = atomic_load(&key->life);
    struct stat now = {0};

    if (is_unchanged(key, known))
        return known;
    int dir = open_dir(key);
    if (dir < 0)
        return errno == ENOENT ? learn(key, -1, &now, known) : known;
    if (fstatat(dir, lct_record_file, &now, AT_SYMLINK_NOFOLLOW) == 0)
        known = learn(key, dir, &now, known);
    close(dir);
    return known;
}

enum lct_code lct_life_check_key(const struct lct_key *key, struct lct_err *err)
{
    const struct lct_key_life *known = atomic_load(&key->life);

    if (known == NULL)
        return LCT_OK;
    if (key->dir != NULL)
        known = look(key);
    if (known->gone)
        return LCT_FAIL(err, LCT_ERR_ENDED,
                        "%s: the identity was deleted, or made anew with another key, after this "
                        "program had loaded it; load it again",
                        key->label);
    if (known->back)
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD,
                        "%s: its record is older than one that this program has seen, and is not "
                        "believed; find out who put it back, and put the newer one in its place",
                        key->label);
    return lct_life_check(&known->life, key->label, time(NULL), err);
}

/* Says of whom a failure is. */
static enum lct_code about(const struct lct_change *change, enum lct_code code, struct lct_err *err)
{
    return lct_store_about(change->id, NULL, code, err);
}

static enum lct_code check_alive(const struct lct_record *record, struct lct_err *err)
{
    const struct lct_life life = lct_record_life(record, lct_record_generation(record, 0));
    char label[4 + LCT_MAX_ID + 1];

    (void)snprintf(label, sizeof label, "lct:%s", record->id);
    return lct_life_check(&life, label, time(NULL), err);
}

enum lct_code lct_life_check_room(const struct lct_record *record, struct lct_err *err)
{
    const struct lct_generation *last = &record->generations[record->num_generations - 1];
    enum lct_code code = check_alive(record, err);

    if (code != LCT_OK)
        return code;
    if (lct_record_pending(record) != NULL)
        return LCT_FAIL(err, LCT_ERR_EXISTS,
                        "lct:%s: its generation %u is pending already; lct rotate %s --commit "
                        "makes it the active one, --withdraw takes it back",
                        record->id, last->number, record->id);
    if (record->num_generations == LCT_MAX_GENERATIONS || last->number == LCT_MAX_NUMBER)
        return LCT_FAIL(err, LCT_ERR_STORE,
                        "lct:%s: it has had %zu generations, and can have no more", record->id,
                        record->num_generations);
    return LCT_OK;
}

enum lct_code lct_life_add(struct lct_change *change, const struct lct_generation *generation,
                           const uint8_t *pem, size_t pem_len, struct lct_err *err)
{
    struct lct_record *record = change->record;
    char name[LCT_PART_NAME];
    enum lct_code code = lct_life_check_room(record, err);

    if (code != LCT_OK)
        return code;
    struct lct_generation *added = &record->generations[record->num_generations];
    *added = *generation;
    added->number = record->generations[record->num_generations - 1].number + 1;
    added->until[0] = '\0';
    lct_json_now(added->created);
    lct_life_forget(change, added->number);
    lct_part_name(name, LCT_PART_KEY, added->number);
    code = lct_change_put(change, name, pem, pem_len, err);
    if (code == LCT_OK)
        record->num_generations++;
    return code;
}

enum lct_code lct_life_advance(struct lct_change *change, unsigned overlap, struct lct_err *err)
{
    struct lct_record *record = change->record;
    const struct lct_generation *pending = lct_record_pending(record);
    enum lct_code code = check_alive(change->record, err);

    if (code != LCT_OK)
        return code;
    if (pending == NULL)
        return about(change,
                     LCT_FAIL(err, LCT_ERR_NOT_FOUND,
                              "it has no pending generation; lct rotate %s makes one", change->id),
                     err);
    struct lct_generation *active = lct_unconst(lct_record_generation(record, 0));
    if (!lct_json_of_time(active->until, time(NULL) + (time_t)overlap))
        return about(change, LCT_FAIL(err, LCT_ERR_INTERNAL, "the clock is wrong"), err);
    record->active = pending->number;
    return LCT_OK;
}

static bool ends_later(const struct lct_generation *generation, unsigned active, time_t end)
{
    time_t until = 0;

    return generation->number < active && lct_json_seconds(&until, generation->until) &&
           until > end;
}

enum lct_code lct_life_shorten(struct lct_change *change, char until[21], unsigned overlap,
                               struct lct_err *err)
{
    struct lct_record *record = change->record;
    const time_t now = time(NULL), end = now + (time_t)overlap;
    size_t num_running = 0, num_shortened = 0;
    unsigned counter = 0;
    enum lct_code code = check_alive(record, err);

    if (code != LCT_OK)
        return code;
    if (!lct_json_of_time(until, end))
        return about(change, LCT_FAIL(err, LCT_ERR_INTERNAL, "the clock is wrong"), err);
    for (size_t i = 0; i < record->num_generations; i++) {
        struct lct_generation *generation = &record->generations[i];
        num_running += ends_later(generation, record->active, now);
        if (!ends_later(generation, record->active, end))
            continue;
        memcpy(generation->until, until, sizeof generation->until);
        num_shortened++;
    }
    if (num_shortened > 0)
        return lct_life_count(change, &counter, err);
    return about(change,
                 LCT_FAIL(err, LCT_ERR_NOT_FOUND,
                          num_running > 0
                              ? "its overlap ends before that already, and does not become longer"
                              : "no earlier key of it signs; --overlap alone is for a key that "
                                "another one has followed"),
                 err);
}

enum lct_code lct_life_withdraw(struct lct_change *change, unsigned *number, struct lct_err *err)
{
    const struct lct_generation *pending = lct_record_pending(change->record);
    unsigned counter = 0;
    enum lct_code code = LCT_OK;

    if (pending == NULL)
        return about(change,
                     LCT_FAIL(err, LCT_ERR_NOT_FOUND, "it has no pending generation to withdraw"),
                     err);
    /* The counter of a record that has ended is that of its statement, and none of its keys can
     * become the active one. */
    if (change->record->ending == LCT_NOT_ENDED)
        code = lct_life_count(change, &counter, err);
    if (code != LCT_OK)
        return code;
    *number = pending->number;
    lct_names_forget(change->where, change->id, *number);
    change->record->num_generations--;
    return LCT_OK;
}

void lct_life_forget(struct lct_change *change, unsigned number)
{
    char name[LCT_PART_NAME];

    for (enum lct_part part = 0; part < LCT_NUM_PARTS; part++) {
        lct_part_name(name, part, number);
        lct_change_drop(change, name);
    }
}

enum lct_code lct_life_end(struct lct_change *change, enum lct_ending ending, const char *reason,
                           struct lct_err *err)
{
    struct lct_record *record = change->record;
    enum lct_code code = LCT_OK;

    if (record->ending != LCT_RETIRED || ending != LCT_REVOKED)
        code = check_alive(change->record, err);
    if (code != LCT_OK)
        return code;
    record->ending = ending;
    record->reason[0] = '\0';
    if (reason != NULL)
        (void)snprintf(record->reason, sizeof record->reason, "%s", reason);
    lct_json_now(record->ended);
    return LCT_OK;
}

enum lct_code lct_life_check_active(const struct lct_change *change, const struct lct_key *key,
                                    struct lct_err *err)
{
    const struct lct_generation *active = lct_record_generation(change->record, 0);
    struct lct_generation own;

    lct_key_generation(&own, key);
    if (active->number == key->number && lct_generation_is_of_key(active, &own))
        return LCT_OK;
    return about(
        change,
        LCT_FAIL(err, LCT_ERR_STORE, "another command has changed it meanwhile; do it again"), err);
}

enum lct_code lct_life_subject(struct lct_subject *subject, const struct lct_generation *generation,
                               const EVP_PKEY *pkey, struct lct_err *err)
{
    *subject = (struct lct_subject){.generation = generation->number,
                                    .software = generation->custody == LCT_CUSTODY_SOFTWARE,
                                    .name = generation->name};
    return lct_subject_set_key(subject, pkey, err);
}

enum lct_code lct_life_count(struct lct_change *change, unsigned *counter, struct lct_err *err)
{
    if (change->record->counter >= LCT_MAX_NUMBER)
        return about(change,
                     LCT_FAIL(err, LCT_ERR_STORE, "its life has had too many changes to count"),
                     err);
    *counter = ++change->record->counter;
    return LCT_OK;
}
