/* SPDX-License-Identifier: Apache-2.0 */
#include "store/change.h"

#include "base/fd.h"
#include "store/file.h"
#include "store/names.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum lct_code fail_lock(const char *what, struct lct_err *err)
{
    return LCT_FAIL(err, LCT_ERR_STORE, "%s: %s%s", what, strerror(errno),
                    errno == EACCES || errno == EPERM ? "; run as its owner" : "");
}

enum lct_code lct_change_wait(int dir, bool alone, struct lct_err *err)
{
    if (lct_fd_lock(dir, alone))
        return LCT_OK;
    if (errno != EWOULDBLOCK)
        return fail_lock("its directory cannot be locked", err);
    return LCT_FAIL(err, LCT_ERR_STORE,
                    "its directory is locked by another program for %d s; lslocks shows which",
                    LCT_LOCK_SECONDS);
}

/* Whether a directory that was locked is in the store still. */
static bool is_there(int dir, const char *where, const char *id)
{
    struct stat locked, now;
    int store = open(where, O_PATH | O_DIRECTORY | O_CLOEXEC);
    bool there = store >= 0 && fstat(dir, &locked) == 0 &&
                 fstatat(store, id, &now, AT_SYMLINK_NOFOLLOW) == 0 &&
                 locked.st_dev == now.st_dev && locked.st_ino == now.st_ino;

    if (store >= 0)
        close(store);
    return there;
}

enum lct_code lct_change_lock(int *dir, int fd, const char *where, const char *id,
                              struct lct_err *err)
{
    *dir = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*dir < 0)
        return fail_lock("its directory cannot be opened", err);
    enum lct_code code = lct_change_wait(*dir, true, err);
    if (code == LCT_OK && !is_there(*dir, where, id))
        code = LCT_FAIL(err, LCT_ERR_NOT_FOUND, "it was deleted meanwhile");
    return code;
}

enum lct_code lct_change_begin(struct lct_change *change, const struct lct_store *store,
                               const char *id, struct lct_err *err)
{
    struct lct_named named;

    *change = (struct lct_change){.id = id, .dir = -1};
    enum lct_code code = lct_store_find_identity(&named, store, id, err);
    if (code != LCT_OK)
        return code;
    change->where = named.dir;
    code = lct_change_lock(&change->dir, named.fd, named.dir, named.id, err);
    if (code == LCT_OK && faccessat(change->dir, ".", W_OK | X_OK, AT_EACCESS) != 0)
        code = fail_lock("its directory cannot be written", err);
    if (code == LCT_OK)
        code = lct_store_read_record(change->dir, named.id, &change->record, err);
    if (code == LCT_OK)
        change->id = change->record->id;
    if (code == LCT_OK && named.generation != 0 && change->record->active != named.generation)
        code =
            LCT_FAIL(err, LCT_ERR_WRONG_KEY,
                     "another generation has become the active one than lct:%s is the name of", id);
    close(named.fd);
    return lct_store_about(named.id, named.dir, code, err);
}

static enum lct_code put(const struct lct_change *change, const char *name, const uint8_t *bytes,
                         size_t bytes_len, struct lct_err *err)
{
    return lct_file_replace(change->dir, name, bytes, bytes_len, err);
}

enum lct_code lct_change_put(struct lct_change *change, const char *name, const uint8_t *bytes,
                             size_t bytes_len, struct lct_err *err)
{
    return lct_store_about(change->id, change->where, put(change, name, bytes, bytes_len, err),
                           err);
}

enum lct_code lct_change_commit(struct lct_change *change, struct lct_err *err)
{
    char *text = lct_record_write(change->record);
    enum lct_code code =
        text != NULL ? put(change, lct_record_file, (const uint8_t *)text, strlen(text), err)
                     : LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");

    free(text);
    /* Only the last generation can be one that was not there before. */
    if (code == LCT_OK)
        lct_names_note(change->where, change->id,
                       change->record->generations[change->record->num_generations - 1].number);
    return lct_store_about(change->id, change->where, code, err);
}

void lct_change_drop(struct lct_change *change, const char *name)
{
    (void)unlinkat(change->dir, name, 0);
}

void lct_change_end(struct lct_change *change)
{
    if (change->dir >= 0)
        close(change->dir);
    free(change->record);
    *change = (struct lct_change){.dir = -1};
}
