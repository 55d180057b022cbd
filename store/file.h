/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_STORE_FILE_H
#define LCT_STORE_FILE_H

#include "base/error.h"

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Who owns what is made; (uid_t)-1 and (gid_t)-1: whoever makes it. */
struct lct_owner {
    uid_t user;
    gid_t group;
};

/*
 * Reads the regular file `name` in the directory `dir`, following no link, at most `max` bytes. The
 * caller frees *bytes, which a NUL follows. LCT_ERR_NOT_FOUND; LCT_ERR_BAD_RECORD (not a regular
 * file, too long); LCT_ERR_STORE.
 */
enum lct_code lct_file_read(int dir, const char *name, uint8_t **bytes, size_t *bytes_len,
                            size_t max, struct lct_err *err);

/* Makes the file `name`, 0640, with `owner`, all on disk when it returns. LCT_ERR_STORE. */
enum lct_code lct_file_write(int dir, const char *name, const uint8_t *bytes, size_t bytes_len,
                             const struct lct_owner *owner, struct lct_err *err);

/*
 * Puts the file `name` in place in one step, with `mode` and, if root does it, the owner and group
 * of the directory, all on disk when it returns: instead of one that is there, or, if `replace` is
 * false, only where there is none: LCT_ERR_EXISTS. LCT_ERR_STORE; a crash leaves a file whose name
 * begins with ".new-", which the next one in that directory removes.
 */
enum lct_code lct_file_put(int dir, const char *name, const uint8_t *bytes, size_t bytes_len,
                           mode_t mode, bool replace, struct lct_err *err);

/*
 * The same in a directory that the caller has locked: in place of what is there, 0640, always with
 * the owner and group of the directory, so that whoever reads it goes on to. LCT_ERR_STORE: also
 * where the user is not in that group. A crash leaves ".new", which the next one replaces.
 */
enum lct_code lct_file_replace(int dir, const char *name, const uint8_t *bytes, size_t bytes_len,
                               struct lct_err *err);

/*
 * The directory `name` in `dir`, made if need be with `mode` and, if root does it, the owner and
 * group of `dir`: its descriptor, or -1 with errno. It is on disk. An empty one may have been left
 * so by a crash before it had these, and is given them.
 */
int lct_file_make_dir(int dir, const char *name, mode_t mode);

/* The entries of the directory `name` in `dir`, which is no link; closedir when done. NULL with
 * errno. */
DIR *lct_file_open_dir(int dir, const char *name);

/*
 * The next of its entries, good until the next call; NULL: there is no more, or with *error, which
 * else is 0, it cannot be read. A part is not the whole.
 */
const struct dirent *lct_file_next(DIR *entries, int *error);

/* Overwrites the regular file `name` in `dir`, as far as its file system does that in place, on
 * disk when it returns. LCT_ERR_STORE. */
enum lct_code lct_file_shred(int dir, const char *name, struct lct_err *err);

/* Removes the directory `name` in `dir` and the files in it. Best effort. */
void lct_file_remove_dir(int dir, const char *name);

#endif
