/* SPDX-License-Identifier: Apache-2.0 */
#include "store/file.h"

#include "base/fd.h"
#include "base/temporary.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum lct_code fail_open(const char *name, int error, struct lct_err *err)
{
    if (error == ENOENT || error == ENOTDIR)
        return LCT_FAIL(err, LCT_ERR_NOT_FOUND, "there is no %s", name);
    if (error == EACCES)
        return LCT_FAIL(err, LCT_ERR_STORE,
                        "%s: permission denied: it belongs to another user; run as that one, or "
                        "have root give the identity's directory away with chown -R",
                        name);
    if (error == ELOOP)
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD, "%s is a symbolic link", name);
    return LCT_FAIL(err, LCT_ERR_STORE, "%s cannot be read: %s", name, strerror(error));
}

enum lct_code lct_file_read(int dir, const char *name, uint8_t **bytes, size_t *bytes_len,
                            size_t max, struct lct_err *err)
{
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    enum lct_code code = LCT_OK;
    struct stat st;

    *bytes = NULL;
    *bytes_len = 0;
    if (fd < 0)
        return fail_open(name, errno, err);
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size < 0 || (size_t)st.st_size > max) {
        code =
            LCT_FAIL(err, LCT_ERR_BAD_RECORD, "%s is not a file of at most %zu bytes", name, max);
        goto out;
    }
    *bytes = malloc((size_t)st.st_size + 1);
    if (*bytes == NULL || !lct_fd_read_all(fd, *bytes, bytes_len, (size_t)st.st_size)) {
        code = LCT_FAIL(err, LCT_ERR_STORE, "%s cannot be read: %s", name, strerror(errno));
        free(*bytes);
        *bytes = NULL;
        goto out;
    }
    (*bytes)[*bytes_len] = '\0';
out:
    close(fd);
    return code;
}

/* `what` is how messages call it. */
static enum lct_code fail_write(const char *what, int error, struct lct_err *err)
{
    return LCT_FAIL(err, LCT_ERR_STORE, "%s cannot be written: %s%s", what, strerror(error),
                    error == EPERM ? "; root alone may give it that owner and group" : "");
}

static int create(int dir, const char *name, mode_t mode)
{
    return openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
}

/* On disk when it returns; false with errno. */
static bool fill(int fd, const uint8_t *bytes, size_t bytes_len, const struct lct_owner *owner,
                 mode_t mode)
{
    /* fchmod as well: the caller's umask is not ours to rely on. */
    return lct_fd_write_all(fd, bytes, bytes_len) && fchmod(fd, mode) == 0 &&
           fchown(fd, owner->user, owner->group) == 0 && fsync(fd) == 0;
}

enum lct_code lct_file_write(int dir, const char *name, const uint8_t *bytes, size_t bytes_len,
                             const struct lct_owner *owner, struct lct_err *err)
{
    enum { MODE = 0640 };
    int fd = create(dir, name, MODE);

    if (fd < 0)
        return LCT_FAIL(err, LCT_ERR_STORE, "%s cannot be made: %s", name, strerror(errno));
    int error = fill(fd, bytes, bytes_len, owner, MODE) ? 0 : errno;
    if (close(fd) != 0 && error == 0)
        error = errno;
    return error == 0 ? LCT_OK : fail_write(name, error, err);
}

/* 0, or -1 with errno: EEXIST. */
static int rename_new(int dir, const char *from, const char *to)
{
    int failed = renameat2(dir, from, dir, to, RENAME_NOREPLACE);

    if (failed && (errno == EINVAL || errno == ENOSYS)) { /* of the file system, of the kernel */
        failed = linkat(dir, from, dir, to, 0);
        if (!failed)
            (void)unlinkat(dir, from, 0);
    }
    return failed;
}

/* Makes a file that is open in `fd`, new and empty, and named `temporary`, the one named `name`. */
static enum lct_code put(int dir, int fd, const char *temporary, const char *name,
                         const uint8_t *bytes, size_t bytes_len, const struct lct_owner *owner,
                         mode_t mode, bool replace, struct lct_err *err)
{
    enum lct_code code = LCT_OK;

    if (!fill(fd, bytes, bytes_len, owner, mode))
        code = fail_write(name, errno, err);
    else if ((replace ? renameat(dir, temporary, dir, name) : rename_new(dir, temporary, name)) !=
             0)
        code = errno == EEXIST ? LCT_FAIL(err, LCT_ERR_EXISTS, "%s exists already", name)
                               : fail_write(name, errno, err);
    if (code != LCT_OK) {
        (void)unlinkat(dir, temporary, 0);
        return code;
    }
    if (fsync(dir) == 0)
        return LCT_OK;
    code = LCT_FAIL(err, LCT_ERR_STORE, "%s cannot be written to disk: %s", name, strerror(errno));
    if (!replace) /* what was not there before is not there after a failure */
        (void)unlinkat(dir, name, 0);
    return code;
}

static const char temporary_prefix[] = ".new-";

static void clear_temporaries(int dir)
{
    DIR *entries = lct_file_open_dir(dir, ".");

    if (entries == NULL)
        return;
    for (const struct dirent *entry = readdir(entries); entry != NULL; entry = readdir(entries))
        if (strncmp(entry->d_name, temporary_prefix, sizeof temporary_prefix - 1) == 0)
            (void)lct_temporary_clear(dir, entry->d_name);
    closedir(entries);
}

/* A new one: its name, and its descriptor or -1 with errno. */
static int create_temporary(char name[64], int dir, mode_t mode)
{
    enum { ATTEMPTS = 100 };

    for (int i = 0; i < ATTEMPTS; i++) {
        (void)snprintf(name, 64, "%s%d-%d", temporary_prefix, (int)gettid(), i);
        int fd = lct_temporary_make(dir, name, mode);
        if (fd >= 0 || (errno != EEXIST && errno != EAGAIN))
            return fd;
    }
    errno = EEXIST;
    return -1;
}

enum lct_code lct_file_put(int dir, const char *name, const uint8_t *bytes, size_t bytes_len,
                           mode_t mode, bool replace, struct lct_err *err)
{
    char temporary[64];
    struct stat st;

    clear_temporaries(dir);
    int fd = fstat(dir, &st) == 0 ? create_temporary(temporary, dir, mode) : -1;
    if (fd < 0)
        return LCT_FAIL(err, LCT_ERR_STORE, "%s cannot be made: %s", name, strerror(errno));
    const struct lct_owner own = {(uid_t)-1, (gid_t)-1}, theirs = {st.st_uid, st.st_gid};
    enum lct_code code = put(dir, fd, temporary, name, bytes, bytes_len,
                             geteuid() == 0 ? &theirs : &own, mode, replace, err);
    close(fd);
    return code;
}

enum lct_code lct_file_replace(int dir, const char *name, const uint8_t *bytes, size_t bytes_len,
                               struct lct_err *err)
{
    enum { MODE = 0640 };
    static const char temporary[] = ".new";
    struct stat st;
    int fd = -1;

    if (fstat(dir, &st) == 0 && (unlinkat(dir, temporary, 0) == 0 || errno == ENOENT))
        fd = create(dir, temporary, MODE);
    if (fd < 0)
        return LCT_FAIL(err, LCT_ERR_STORE, "%s cannot be made: %s", name, strerror(errno));
    const struct lct_owner owner = {st.st_uid, st.st_gid};
    enum lct_code code = put(dir, fd, temporary, name, bytes, bytes_len, &owner, MODE, true, err);
    close(fd);
    return code;
}

static bool is_empty(int fd)
{
    DIR *entries = lct_file_open_dir(fd, ".");
    size_t num = 0;
    int error = 0;

    while (entries != NULL && lct_file_next(entries, &error) != NULL)
        num++;
    if (entries != NULL)
        closedir(entries);
    return error == 0 && num == 2; /* itself, and the one above */
}

/* Gives a directory its mode, and the owner of the one it is in if root makes it. */
static bool settle(int fd, int dir, mode_t mode)
{
    struct stat above, st;

    if (fstat(dir, &above) != 0 || fstat(fd, &st) != 0 ||
        ((st.st_mode & 07777) != mode && fchmod(fd, mode) != 0))
        return false;
    return geteuid() != 0 || (st.st_uid == above.st_uid && st.st_gid == above.st_gid) ||
           fchown(fd, above.st_uid, above.st_gid) == 0;
}

int lct_file_make_dir(int dir, const char *name, mode_t mode)
{
    bool made = mkdirat(dir, name, mode) == 0;
    int error = errno;
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0) {
        if (errno == ENOENT && !made)
            errno = error;
        return -1;
    }
    /* One that is there may be another command's of this moment, and not on disk yet. */
    if ((made ? settle(fd, dir, mode)
              : !is_empty(fd) || settle(fd, dir, mode) || errno == EPERM || errno == EROFS) &&
        fsync(dir) == 0)
        return fd;
    error = errno;
    close(fd);
    errno = error;
    return -1;
}

DIR *lct_file_open_dir(int dir, const char *name)
{
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *entries = fd >= 0 ? fdopendir(fd) : NULL;

    if (entries == NULL && fd >= 0)
        close(fd);
    return entries;
}

/* Only errno tells an error from the end, and the end leaves it as it was: readdir(3). */
const struct dirent *lct_file_next(DIR *entries, int *error)
{
    errno = 0;
    const struct dirent *entry = readdir(entries);
    *error = entry == NULL ? errno : 0;
    return entry;
}

/* False with errno. */
static bool overwrite(int fd)
{
    static const uint8_t zeros[4096] = {0};
    struct stat st;

    if (fstat(fd, &st) != 0)
        return false;
    for (off_t left = st.st_size; left > 0; left -= (off_t)sizeof zeros)
        if (!lct_fd_write_all(fd, zeros, left < (off_t)sizeof zeros ? (size_t)left : sizeof zeros))
            return false;
    return fsync(fd) == 0;
}

enum lct_code lct_file_shred(int dir, const char *name, struct lct_err *err)
{
    int fd = openat(dir, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    bool good = fd >= 0 && overwrite(fd);
    int error = errno;

    if (fd >= 0)
        close(fd);
    return good ? LCT_OK
                : LCT_FAIL(err, LCT_ERR_STORE, "%s could not be overwritten: %s", name,
                           strerror(error));
}

void lct_file_remove_dir(int dir, const char *name)
{
    DIR *entries = lct_file_open_dir(dir, name);

    if (entries == NULL)
        return;
    for (const struct dirent *entry = readdir(entries); entry != NULL; entry = readdir(entries))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            (void)unlinkat(dirfd(entries), entry->d_name, 0);
    closedir(entries);
    (void)unlinkat(dir, name, AT_REMOVEDIR);
}
