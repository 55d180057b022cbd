/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"

#include "base/clock.h"

#include <errno.h>
#include <signal.h>
#include <sys/file.h>
#include <time.h>
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

ssize_t lct_fd_write(int fd, const void *bytes, size_t bytes_len)
{
    const struct timespec at_once = {0};
    sigset_t ours, before, waiting;

    (void)sigemptyset(&ours);
    (void)sigaddset(&ours, SIGPIPE);
    (void)sigaddset(&ours, SIGXFSZ);
    (void)sigpending(&waiting);
    (void)pthread_sigmask(SIG_BLOCK, &ours, &before);
    ssize_t n = write(fd, bytes, bytes_len);
    int error = errno, raised = error == EPIPE ? SIGPIPE : SIGXFSZ;
    if (n < 0 && (error == EPIPE || error == EFBIG) && sigismember(&waiting, raised) != 1) {
        (void)sigdelset(&ours, error == EPIPE ? SIGXFSZ : SIGPIPE);
        (void)sigtimedwait(&ours, NULL, &at_once);
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return n;
}

bool lct_fd_write_all(int fd, const uint8_t *bytes, size_t bytes_len)
{
    while (bytes_len > 0) {
        ssize_t n = lct_fd_write(fd, bytes, bytes_len);
        if (n < 0 && errno != EINTR)
            return false;
        if (n > 0) {
            bytes += n;
            bytes_len -= (size_t)n;
        }
    }
    return true;
}

bool lct_fd_lock(int fd, bool alone)
{
    enum { EACH_MS = 20 };
    const int64_t end = lct_now_ms() + LCT_LOCK_SECONDS * INT64_C(1000);

    while (flock(fd, (alone ? LOCK_EX : LOCK_SH) | LOCK_NB) != 0) {
        if ((errno != EINTR && errno != EWOULDBLOCK) || lct_now_ms() >= end)
            return false;
        lct_wait_ms(EACH_MS);
    }
    return true;
}
