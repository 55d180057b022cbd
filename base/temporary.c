/* SPDX-License-Identifier: Apache-2.0 */
#include "base/temporary.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
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

/* The directory that it is in; -1 with errno. */
static int open_dir_of(int dir, const char *name)
{
    const char *slash = strrchr(name, '/');
    char *path = slash != NULL ? strndup(name, (size_t)(slash - name) + 1) : strdup(".");
    int fd = path != NULL ? openat(dir, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    int error = errno;

    free(path);
    errno = error;
    return fd;
}

/* Of a link, a pipe or a socket, which nobody makes here or has locked. While it is there none is
 * made in its place; that no other takes it away meanwhile is what the directory's lock is for. */
static bool remove_odd(int dir, const char *name)
{
    struct stat there;
    int fd = open_dir_of(dir, name);

    if (fd < 0)
        return false;
    bool gone = false;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        errno = errno == EWOULDBLOCK ? EBUSY : EACCES; /* NFS locks only what may be written to */
    else if (fstatat(dir, name, &there, AT_SYMLINK_NOFOLLOW) != 0)
        gone = errno == ENOENT;
    else if (S_ISREG(there.st_mode))
        errno = EBUSY;
    else
        gone = unlinkat(dir, name, 0) == 0;
    int error = errno;
    close(fd);
    errno = error;
    return gone;
}

bool lct_temporary_clear(int dir, const char *name)
{
    int fd = open_left(dir, name);

    if (fd < 0 && (errno == ELOOP || errno == ENXIO))
        return remove_odd(dir, name);
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
