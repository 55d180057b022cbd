/* SPDX-License-Identifier: Apache-2.0 */
#include "base/temporary.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Whether that is still what is open: another may be there, or this one have its own name. */
static bool is_named(int fd, int dir, const char *name)
{
    struct stat own, there;

    return fstat(fd, &own) == 0 && fstatat(dir, name, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
           own.st_dev == there.st_dev && own.st_ino == there.st_ino;
}

/* NFS locks only what may be written to; one may have a mode already by which it may not. */
static int open_left(int dir, const char *name)
{
    const int flags = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
    int fd = openat(dir, name, O_WRONLY | flags);

    return fd >= 0 || errno != EACCES ? fd : openat(dir, name, O_RDONLY | flags);
}

bool lct_temporary_clear(int dir, const char *name)
{
    int fd = open_left(dir, name);

    if (fd < 0)
        return errno == ENOENT;
    bool gone = flock(fd, LOCK_EX | LOCK_NB) == 0 &&
                (!is_named(fd, dir, name) || unlinkat(dir, name, 0) == 0);
    int error = errno == EWOULDBLOCK ? EBUSY : errno;
    close(fd);
    errno = error;
    return gone;
}

int lct_temporary_make(int dir, const char *name, mode_t mode)
{
    int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);

    if (fd < 0)
        return -1;
    /* Not every file system can lock; then whoever clears cannot either. */
    if ((flock(fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) && is_named(fd, dir, name))
        return fd;
    close(fd);
    errno = EAGAIN;
    return -1;
}
