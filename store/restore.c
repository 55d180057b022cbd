/* SPDX-License-Identifier: Apache-2.0 */
#include "store/restore.h"

#include "store/approval.h"
#include "store/authority.h"
#include "store/change.h"
#include "store/names.h"
#include "store/tombstone.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void describe(struct lct_found *found, const struct lct_record *record)
{
    found->counter = record->counter;
    found->active = record->active;
    found->ending = record->ending;
    memcpy(found->ended, record->ended, sizeof found->ended);
}

/* Whether the file is in the directory as it is in the backup. */
static bool is_same_file(int dir, const struct lct_backup_file *file)
{
    uint8_t *bytes = NULL;
    size_t bytes_len = 0;
    bool same =
        lct_file_read(dir, file->name, &bytes, &bytes_len, file->bytes_len, NULL) == LCT_OK &&
        bytes_len == file->bytes_len && memcmp(bytes, file->bytes, bytes_len) == 0;

    free(bytes);
    return same;
}

/* One whose record is of the same moment. */
static void compare_files(struct lct_found *found, int dir,
                          const struct lct_backup_identity *identity)
{
    found->standing = LCT_STANDING_SAME;
    for (size_t i = 0; i < identity->files.num; i++)
        if (!is_same_file(dir, &identity->files.all[i])) {
            found->standing = LCT_STANDING_DIFFERS;
            (void)snprintf(found->file, sizeof found->file, "%s", identity->files.all[i].name);
            return;
        }
}

/* The first number under which both have had an active key, and not the same one: whichever is
 * newer, it does not follow from the other. A pending one may be withdrawn, and its number used
 * again. 0: there is none. */
static unsigned find_parting(const struct lct_record *ours, const struct lct_record *theirs)
{
    for (size_t i = 0; i < theirs->num_generations; i++) {
        const struct lct_generation *their = &theirs->generations[i];
        const struct lct_generation *our = lct_record_generation(ours, their->number);
        if (their->number <= theirs->active && their->number <= ours->active &&
            (our == NULL || !lct_generation_is_of_key(our, their)))
            return their->number;
    }
    return 0;
}

/* With the one whose directory is open. */
static enum lct_code compare(struct lct_found *found, int dir,
                             const struct lct_backup_identity *identity, struct lct_err *err)
{
    const struct lct_record *ours = identity->record;
    struct lct_record *theirs = NULL;
    enum lct_code code = lct_store_read_record(dir, ours->id, &theirs, err);

    *found = (struct lct_found){.standing = LCT_STANDING_DAMAGED};
    if (code != LCT_OK || theirs == NULL) {
        (void)snprintf(found->why, sizeof found->why, "%s", err->text);
        return code == LCT_ERR_BAD_RECORD ? LCT_OK : code;
    }
    describe(found, theirs);
    found->parting = lct_is_same_identity(ours, theirs) ? find_parting(ours, theirs) : 1;
    if (found->parting != 0)
        found->standing = LCT_STANDING_OTHER;
    else if (lct_is_older(ours, theirs))
        found->standing = LCT_STANDING_OLDER;
    else if (lct_is_older(theirs, ours))
        found->standing = LCT_STANDING_NEWER;
    else
        compare_files(found, dir, identity);
    free(theirs);
    return LCT_OK;
}

/* One that is not there may have been. */
static enum lct_code look_for_tombstone(struct lct_found *found, const char *where,
                                        const struct lct_record *ours, struct lct_err *err)
{
    struct lct_record *ended = NULL;
    int store = open(where, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    *found = (struct lct_found){.standing = LCT_STANDING_NEW};
    if (store < 0)
        return errno == ENOENT
                   ? LCT_OK
                   : LCT_FAIL(err, LCT_ERR_STORE, "the store cannot be read: %s", strerror(errno));
    enum lct_code code = lct_tombstone_find(&ended, store, ours, err);
    close(store);
    if (ended != NULL && lct_is_older(ours, ended)) {
        describe(found, ended);
        found->standing = LCT_STANDING_ENDED;
    }
    free(ended);
    return code;
}

enum lct_code lct_restore_look(struct lct_found *found, const struct lct_store *store,
                               const struct lct_backup_identity *identity, struct lct_err *err)
{
    const char *id = identity->record->id, *where = NULL;
    int fd = -1;
    enum lct_code code = lct_store_open_identity(store, id, &fd, &where, err);

    if (code == LCT_ERR_NOT_FOUND) {
        where = store->dirs[store->create_in];
        return lct_store_about(id, where, look_for_tombstone(found, where, identity->record, err),
                               err);
    }
    if (code != LCT_OK)
        return code;
    code = compare(found, fd, identity, err);
    close(fd);
    return lct_store_about(id, where, code, err);
}

static enum lct_code put_new(const struct lct_store *store,
                             const struct lct_backup_identity *identity,
                             const struct lct_owner *owner, struct lct_err *err)
{
    struct lct_store_file *files = calloc(identity->files.num + 1, sizeof *files);

    if (files == NULL)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    for (size_t i = 0; i < identity->files.num; i++) {
        const struct lct_backup_file *file = &identity->files.all[i];
        files[i] = (struct lct_store_file){file->name, file->bytes, file->bytes_len};
    }
    enum lct_code code =
        lct_store_put(store, identity->record->id, files, identity->files.num, owner, err);
    free(files);
    return code;
}

/*
 * The record is what makes the change: until it is there, the one of before is. Its key files are
 * of the same keys, if it can be read, as far as both records have had them active: compare has
 * seen that. A pending one may give way to another key of its number, though. A crash in between
 * leaves its generation with a file that is not of its Name, and is refused; the same restore once
 * more ends it.
 */
static enum lct_code put_files(int dir, const struct lct_backup_identity *identity,
                               struct lct_err *err)
{
    const struct lct_backup_file *record = lct_backup_find(&identity->files, lct_record_file);
    enum lct_code code = LCT_OK;

    for (size_t i = 0; i < identity->files.num && code == LCT_OK; i++) {
        const struct lct_backup_file *file = &identity->files.all[i];
        if (file != record && !is_same_file(dir, file))
            code = lct_file_replace(dir, file->name, file->bytes, file->bytes_len, err);
    }
    if (code == LCT_OK)
        code = lct_file_replace(dir, record->name, record->bytes, record->bytes_len, err);
    return code;
}

static enum lct_code put_over(int fd, const char *where, const struct lct_backup_identity *identity,
                              const struct lct_found *seen, struct lct_err *err)
{
    struct lct_found now = {.standing = LCT_STANDING_NEW};
    int dir = -1;
    enum lct_code code = lct_change_lock(&dir, fd, where, identity->record->id, err);

    if (code == LCT_OK)
        code = compare(&now, dir, identity, err);
    if (code == LCT_OK && (now.standing != seen->standing || now.counter != seen->counter ||
                           now.active != seen->active || now.ending != seen->ending))
        code = LCT_FAIL(err, LCT_ERR_STORE, "somebody has changed it now; restore it again");
    if (code == LCT_OK)
        code = put_files(dir, identity, err);
    if (dir >= 0)
        close(dir);
    return code;
}

enum lct_code lct_restore_put(const struct lct_store *store,
                              const struct lct_backup_identity *identity,
                              const struct lct_owner *owner, const struct lct_found *seen,
                              struct lct_err *err)
{
    const char *id = identity->record->id, *where = NULL;
    int fd = -1;

    if (seen->standing == LCT_STANDING_NEW)
        return put_new(store, identity, owner, err);
    enum lct_code code = lct_store_open_identity(store, id, &fd, &where, err);
    if (code != LCT_OK)
        return code;
    code = put_over(fd, where, identity, seen, err);
    close(fd);
    if (code == LCT_OK)
        lct_names_note(where, id, 0);
    return lct_store_about(id, where, code, err);
}

/* The approvals that are not there yet. One that was altered approves nothing, and is left out. */
static enum lct_code put_approvals(const char *where, const struct lct_authority *authority,
                                   const struct lct_backup *backup, OSSL_LIB_CTX *libctx,
                                   struct lct_err *err)
{
    enum lct_code code = LCT_OK;
    size_t dir_len = strlen(lct_approvals_dir);

    for (size_t i = 0; i < backup->store.num && code == LCT_OK; i++) {
        const struct lct_backup_file *file = &backup->store.all[i];
        struct lct_approvals approvals = {0};
        if (strncmp(file->name, lct_approvals_dir, dir_len) != 0)
            continue;
        code = lct_approvals_read(&approvals, file->bytes, file->bytes_len, authority->public_area,
                                  authority->public_len, libctx, err);
        for (size_t n = 0; n < approvals.num && code == LCT_OK; n++) {
            code = lct_approval_put(where, &approvals.all[n], authority->fingerprint, false, err);
            if (code == LCT_ERR_EXISTS)
                code = LCT_OK;
        }
        lct_approvals_clear(&approvals);
    }
    return code;
}

static enum lct_code put_tombstone(int store, const struct lct_backup_file *file,
                                   struct lct_err *err)
{
    struct lct_record *record = NULL, *there = NULL;
    enum lct_code code = lct_record_read(&record, file->bytes, file->bytes_len, err);

    if (code == LCT_OK)
        code = lct_tombstone_find(&there, store, record, err);
    if (code == LCT_OK && (there == NULL || lct_is_older(there, record)))
        code = there == NULL || !lct_is_older(record, there)
                   ? lct_tombstone_leave(store, record, err)
                   : LCT_OK;
    free(record);
    free(there);
    return code;
}

/* Whether the backup has this identity as well, and not from before its end: it is put back first,
 * and stands for itself. */
static bool brings_back(const struct lct_backup *backup, const struct lct_record *ended)
{
    for (size_t i = 0; i < backup->num_identities; i++) {
        const struct lct_record *record = backup->identities[i].record;
        if (lct_is_same_identity(record, ended) && !lct_is_older(record, ended))
            return true;
    }
    return false;
}

static enum lct_code check_end(const struct lct_store *store, const struct lct_record *ended,
                               struct lct_err *err)
{
    struct lct_record *there = NULL;
    struct lct_err here; /* one that is not there, or damaged, signs nothing: that is no error */
    enum lct_code code = lct_store_get_record(store, ended->id, &there, NULL, &here);

    if (code == LCT_ERR_NOT_FOUND || code == LCT_ERR_BAD_RECORD)
        return LCT_OK;
    if (code != LCT_OK) {
        *err = here;
        return code;
    }
    if (lct_is_same_identity(there, ended) && lct_is_older(there, ended))
        code = LCT_FAIL(err, LCT_ERR_ENDED,
                        "lct:%s: the backup says that it was %s on %s, and the store has it from "
                        "before that, %s; lct delete %s ends it here, too",
                        ended->id, lct_ending_name(ended->ending), ended->ended,
                        lct_ending_name(there->ending), ended->id);
    free(there);
    return code;
}

enum lct_code lct_restore_check_end(const struct lct_store *store, const struct lct_backup *backup,
                                    const struct lct_backup_file *file, struct lct_err *err)
{
    struct lct_record *ended = NULL;

    if (strncmp(file->name, lct_tombstone_dir, strlen(lct_tombstone_dir)) != 0)
        return LCT_OK;
    enum lct_code code = lct_record_read(&ended, file->bytes, file->bytes_len, err);
    if (code == LCT_OK && !brings_back(backup, ended))
        code = check_end(store, ended, err);
    free(ended);
    return code;
}

static enum lct_code put_tombstones(const char *where, const struct lct_backup *backup,
                                    struct lct_err *err)
{
    int store = open(where, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum lct_code code = LCT_OK;
    size_t dir_len = strlen(lct_tombstone_dir);

    if (store < 0)
        return LCT_FAIL(err, LCT_ERR_STORE, "%s cannot be opened: %s", where, strerror(errno));
    for (size_t i = 0; i < backup->store.num && code == LCT_OK; i++)
        if (strncmp(backup->store.all[i].name, lct_tombstone_dir, dir_len) == 0)
            code = put_tombstone(store, &backup->store.all[i], err);
    close(store);
    return code;
}

/* The authority, where there is none; another one stays. */
static enum lct_code put_authority(const struct lct_store *store, struct lct_crypto *crypto,
                                   const struct lct_backup *backup, struct lct_err *err)
{
    const struct lct_backup_file *file = lct_backup_find(&backup->store, lct_authority_file);
    struct lct_authority authority = {0};
    OSSL_LIB_CTX *libctx = lct_crypto_get(crypto, err);

    if (libctx == NULL)
        return LCT_ERR_INTERNAL;
    if (file == NULL)
        return LCT_OK;
    enum lct_code code =
        lct_authority_parse(&authority, libctx, (const char *)file->bytes, file->bytes_len, err);
    if (code == LCT_OK)
        code = lct_authority_put(store, crypto, authority.pkey, authority.private_key, err);
    if (code == LCT_OK)
        code = put_approvals(store->dirs[store->create_in], &authority, backup, libctx, err);
    lct_authority_clear(&authority);
    return code;
}

enum lct_code lct_restore_store(const struct lct_store *store, struct lct_crypto *crypto,
                                const struct lct_backup *backup, struct lct_err *err)
{
    if (backup->store.num == 0)
        return LCT_OK;
    enum lct_code code = lct_store_check_writable(store, err);
    if (code == LCT_OK)
        code = put_tombstones(store->dirs[store->create_in], backup, err);
    return code == LCT_OK ? put_authority(store, crypto, backup, err) : code;
}
