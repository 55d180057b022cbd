/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/private_file.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* That there is such a file is on disk too. */
static bool sync_dir_of(const char *file)
{
    char *copy = strdup(file);
    int fd = copy != NULL ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    bool good = fd < 0 || fsync(fd) == 0 || errno == EINVAL; /* not every file system can */

    if (fd >= 0)
        close(fd);
    free(copy);
    return good;
}

static int create(const char *file)
{
    return open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
}

/* As another file, or private. The owner first: a change of it takes bits of the mode away. */
static bool set_attributes(int fd, const struct stat *like)
{
    struct stat made;

    if (like == NULL)
        return fchmod(fd, 0600) == 0;
    if (fstat(fd, &made) != 0 || ((made.st_uid != like->st_uid || made.st_gid != like->st_gid) &&
                                  fchown(fd, like->st_uid, like->st_gid) != 0))
        return false;
    return fchmod(fd, like->st_mode & 07777) == 0;
}

/* Closes `fd`, on failure too; false with errno. */
static bool fill(int fd, const uint8_t *bytes, size_t bytes_len, const struct stat *like)
{
    bool good =
        set_attributes(fd, like) && lct_fd_write_all(fd, bytes, bytes_len) && fsync(fd) == 0;
    int error = errno;

    if (close(fd) != 0 && good) {
        error = errno;
        good = false;
    }
    errno = error;
    return good;
}

static enum lct_code fail_write(const char *file, struct lct_err *err)
{
    return LCT_FAIL(err, LCT_ERR_IO, "%s cannot be written: %s", file, strerror(errno));
}

enum lct_code lct_private_file_make(const char *file, const uint8_t *bytes, size_t bytes_len,
                                    struct lct_err *err)
{
    int fd = create(file);

    if (fd < 0 && errno == EEXIST)
        return LCT_FAIL(err, LCT_ERR_IO,
                        "%s is there already, and is not replaced; name another file", file);
    if (fd < 0)
        return LCT_FAIL(err, LCT_ERR_IO, "%s cannot be made: %s", file, strerror(errno));
    if (fill(fd, bytes, bytes_len, NULL) && sync_dir_of(file))
        return LCT_OK;
    enum lct_code code = fail_write(file, err);
    (void)unlink(file);
    return code;
}

/* Locked by who fills it: what nobody has locked was left by a crash. -1 with errno: EBUSY,
 * another is replacing the file. */
static int create_beside(const char *beside)
{
    int left = open(beside, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    bool locked = left >= 0 && flock(left, LOCK_EX | LOCK_NB) != 0;

    if (left >= 0)
        close(left);
    if (locked) {
        errno = EBUSY;
        return -1;
    }
    int fd = unlink(beside) == 0 || errno == ENOENT ? create(beside) : -1;
    if (fd >= 0)
        (void)flock(fd, LOCK_EX | LOCK_NB);
    return fd;
}

static enum lct_code replace(const char *file, const uint8_t *bytes, size_t bytes_len,
                             const struct stat *like, struct lct_err *err)
{
    char *beside = NULL;

    if (asprintf(&beside, "%s.lct-new", file) < 0)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    int fd = create_beside(beside);
    int lock = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1; /* until it has its name */
    bool good = fd >= 0 && fill(fd, bytes, bytes_len, like) && rename(beside, file) == 0;
    enum lct_code code = good ? LCT_OK : fail_write(file, err);

    if (!good && fd >= 0)
        (void)unlink(beside);
    if (lock >= 0)
        close(lock);
    free(beside);
    return code == LCT_OK && !sync_dir_of(file) ? fail_write(file, err) : code;
}

enum lct_code lct_private_file_replace(const char *file, const uint8_t *bytes, size_t bytes_len,
                                       struct lct_err *err)
{
    return replace(file, bytes, bytes_len, NULL, err);
}

/* A root's /dev/null would be a file from then on. */
enum lct_code lct_public_file_replace(const char *file, const char *text, const struct stat *like,
                                      struct lct_err *err)
{
    struct stat there;

    if (stat(file, &there) == 0 && !S_ISREG(there.st_mode))
        return LCT_FAIL(err, LCT_ERR_IO, "%s is no file, and is not replaced by one", file);
    return replace(file, (const uint8_t *)text, strlen(text), like, err);
}

enum lct_code lct_public_file_remove(const char *file, struct lct_err *err)
{
    if (unlink(file) != 0 && errno != ENOENT)
        return LCT_FAIL(err, LCT_ERR_IO, "%s cannot be removed: %s", file, strerror(errno));
    return sync_dir_of(file) ? LCT_OK : fail_write(file, err);
}
