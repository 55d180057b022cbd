/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"

#include <errno.h>
#include <unistd.h>

bool lct_fd_read_all(int fd, uint8_t *bytes, size_t *bytes_len, size_t room)
{
    ssize_t n = 1;

    for (*bytes_len = 0; n != 0 && *bytes_len < room;) {
        n = read(fd, bytes + *bytes_len, room - *bytes_len);
        if (n < 0 && errno != EINTR)
            return false;
        *bytes_len += n > 0 ? (size_t)n : 0;
    }
    return true;
}

bool lct_fd_write_all(int fd, const uint8_t *bytes, size_t bytes_len)
{
    while (bytes_len > 0) {
        ssize_t n = write(fd, bytes, bytes_len);
        if (n < 0 && errno != EINTR)
            return false;
        if (n > 0) {
            bytes += n;
            bytes_len -= (size_t)n;
        }
    }
    return true;
}
