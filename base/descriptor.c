/* SPDX-License-Identifier: Apache-2.0 */
#include "base/descriptor.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

bool lct_descriptor_take(struct lct_descriptor *descriptor, int fd)
{
    struct stat st;
    int high = fd > STDERR_FILENO ? fd : fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    int error = high < 0 || fstat(high, &st) != 0 ? errno : 0;

    if (high != fd)
        close(fd);
    if (error != 0) {
        if (high >= 0)
            close(high);
        errno = error;
        return false;
    }
    *descriptor = (struct lct_descriptor){.fd = high, .dev = st.st_dev, .ino = st.st_ino};
    return true;
}

/* No file has inode 0: "none" is never ours. */
bool lct_descriptor_is_ours(const struct lct_descriptor *descriptor)
{
    struct stat st;

    return descriptor->ino != 0 && fstat(descriptor->fd, &st) == 0 &&
           st.st_dev == descriptor->dev && st.st_ino == descriptor->ino;
}

void lct_descriptor_close(struct lct_descriptor *descriptor)
{
    if (lct_descriptor_is_ours(descriptor))
        close(descriptor->fd);
    *descriptor = (struct lct_descriptor){0};
}
