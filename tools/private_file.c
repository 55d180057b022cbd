/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/private_file.h"

#include "base/fd.h"
#include "base/temporary.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

/* On disk when it returns; false with errno. */
static bool fill(int fd, const uint8_t *bytes, size_t bytes_len, const struct stat *like)
{
    return set_attributes(fd, like) && lct_fd_write_all(fd, bytes, bytes_len) && fsync(fd) == 0;
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
    int error = fill(fd, bytes, bytes_len, NULL) ? 0 : errno;
    if (close(fd) != 0 && error == 0)
        error = errno;
    if (error == 0 && sync_dir_of(file))
        return LCT_OK;
    if (error != 0)
        errno = error;
    enum lct_code code = fail_write(file, err);
    (void)unlink(file);
    return code;
}

/* -1 with errno: EBUSY, another is replacing the file. */
static int create_beside(const char *beside)
{
    enum { ATTEMPTS = 100 }; /* each is lost to another that began at the same time */

    for (int i = 0; i < ATTEMPTS; i++) {
        int fd =
            lct_temporary_clear(AT_FDCWD, beside) ? lct_temporary_make(AT_FDCWD, beside, 0600) : -1;
        if (fd >= 0 || (errno != EEXIST && errno != EAGAIN))
            return fd;
    }
    errno = EBUSY;
    return -1;
}

/* Whoever else has made it may be writing it, which only who can open it knows. */
static enum lct_code fail_beside(const char *beside, struct lct_err *err)
{
    int error = errno;
    struct stat there;
    bool denied = error == EACCES && lstat(beside, &there) == 0;

    return LCT_FAIL(err, LCT_ERR_IO, "%s cannot be written: %s%s", beside, strerror(error),
                    denied ? "; remove it, unless a program is writing it" : "");
}

static enum lct_code replace(const char *file, const uint8_t *bytes, size_t bytes_len,
                             const struct stat *like, struct lct_err *err)
{
    char *beside = NULL;

    if (asprintf(&beside, "%s.lct-new", file) < 0)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    int fd = create_beside(beside);
    bool good = fd >= 0 && fill(fd, bytes, bytes_len, like) && rename(beside, file) == 0;
    enum lct_code code = good ? LCT_OK : fd < 0 ? fail_beside(beside, err) : fail_write(file, err);

    if (!good && fd >= 0)
        (void)unlink(beside);
    if (fd >= 0)
        close(fd); /* and with it the lock, now that the file has its name */
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
