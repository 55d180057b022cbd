/* SPDX-License-Identifier: Apache-2.0 */
#include "tpm/stream.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <time.h>

enum { HEADER = 10, FIRST_PAUSE = 1, MAX_PAUSE = 64 }; /* bytes; ms */

int64_t lct_now_ms(void)
{
    struct timespec now = {0};

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

struct lct_deadline lct_deadline_in(int timeout)
{
    return (struct lct_deadline){lct_now_ms() + timeout, timeout};
}

int lct_deadline_left(const struct lct_deadline *deadline)
{
    int64_t left = deadline->at - lct_now_ms();

    if (deadline->timeout < 0)
        return -1;
    return left < 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
}

/* Returns 0 or an errno. */
static int wait_for(int fd, short events, const struct lct_deadline *deadline)
{
    struct pollfd pollfd = {.fd = fd, .events = events};
    int ready;

    do
        ready = poll(&pollfd, 1, lct_deadline_left(deadline));
    while (ready < 0 && errno == EINTR);
    return ready < 0 ? errno : ready == 0 ? ETIMEDOUT : 0;
}

/* What connect(2) began in the background. */
static int finish_connect(int fd, const struct lct_deadline *deadline)
{
    int error = wait_for(fd, POLLOUT, deadline);
    socklen_t len = sizeof error;

    if (error == 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        error = errno;
    return error;
}

/* A UNIX socket whose queue is full says EAGAIN, and nothing can be polled for. */
static int try_connect(int fd, const struct sockaddr *address, socklen_t address_len,
                       const struct lct_deadline *deadline)
{
    for (int pause = FIRST_PAUSE;; pause = pause < MAX_PAUSE ? 2 * pause : pause) {
        int error = connect(fd, address, address_len) == 0 ? 0 : errno;
        if (error == EINPROGRESS || error == EINTR)
            return finish_connect(fd, deadline);
        if (error != EAGAIN)
            return error;
        int left = lct_deadline_left(deadline);
        if (left == 0)
            return ETIMEDOUT;
        (void)poll(NULL, 0, left > 0 && left < pause ? left : pause);
    }
}

int lct_stream_connect(struct lct_stream *stream, const struct sockaddr *address,
                       socklen_t address_len, const struct lct_deadline *deadline)
{
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0 || !lct_descriptor_take(&stream->descriptor, fd))
        return errno;
    int error = try_connect(stream->descriptor.fd, address, address_len, deadline);
    if (error != 0)
        lct_descriptor_close(&stream->descriptor);
    return error;
}

bool lct_stream_adopt(struct lct_stream *stream, int fd)
{
    int type = 0;
    socklen_t len = sizeof type;

    if (fd < 0 || !lct_descriptor_take(&stream->descriptor, fd))
        return false;
    if (getsockopt(stream->descriptor.fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 &&
        type == SOCK_STREAM)
        return true;
    lct_descriptor_close(&stream->descriptor);
    return false;
}

static enum lct_code check_is_ours(const struct lct_stream *stream, struct lct_err *err)
{
    if (stream->descriptor.ino == 0)
        return LCT_FAIL(err, LCT_ERR_NO_TPM, "there is no connection to %s", stream->peer);
    if (!lct_descriptor_is_ours(&stream->descriptor))
        return LCT_FAIL(err, LCT_ERR_NO_TPM, "the program closed the connection to %s",
                        stream->peer);
    return LCT_OK;
}

enum lct_code lct_stream_await(const struct lct_stream *stream, short events,
                               const struct lct_deadline *deadline, struct lct_err *err)
{
    int error = wait_for(stream->descriptor.fd, events, deadline);

    if (error == ETIMEDOUT)
        return LCT_FAIL(err, LCT_ERR_TIMEOUT, "the TPM (%s) did not answer within %d s",
                        stream->peer, deadline->timeout / 1000);
    return check_is_ours(stream, err);
}

static enum lct_code broke(const struct lct_stream *stream, struct lct_err *err)
{
    return LCT_FAIL(err, LCT_ERR_NO_TPM, "the connection to %s broke: %s", stream->peer,
                    strerror(errno));
}

enum lct_code lct_stream_send(const struct lct_stream *stream, const void *bytes, size_t len,
                              const struct lct_deadline *deadline, struct lct_err *err)
{
    const uint8_t *at = bytes;
    enum lct_code code = check_is_ours(stream, err);

    while (code == LCT_OK && len > 0) {
        ssize_t n = send(stream->descriptor.fd, at, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n >= 0) {
            at += n;
            len -= (size_t)n;
        } else if (errno == EAGAIN) {
            code = lct_stream_await(stream, POLLOUT, deadline, err);
        } else if (errno != EINTR) {
            code = broke(stream, err);
        }
    }
    return code;
}

enum lct_code lct_stream_read(const struct lct_stream *stream, void *bytes, size_t len,
                              const struct lct_deadline *deadline, struct lct_err *err)
{
    uint8_t *at = bytes;
    enum lct_code code = check_is_ours(stream, err);

    while (code == LCT_OK && len > 0) {
        ssize_t n = recv(stream->descriptor.fd, at, len, MSG_DONTWAIT);
        if (n > 0) {
            at += n;
            len -= (size_t)n;
        } else if (n == 0) {
            code = LCT_FAIL(err, LCT_ERR_NO_TPM, "%s closed the connection", stream->peer);
        } else if (errno == EAGAIN) {
            code = lct_stream_await(stream, POLLIN, deadline, err);
        } else if (errno != EINTR) {
            code = broke(stream, err);
        }
    }
    return code;
}

enum lct_code lct_stream_receive(const struct lct_stream *stream, uint8_t *response,
                                 size_t *response_len, size_t capacity,
                                 const struct lct_deadline *deadline, struct lct_err *err)
{
    uint8_t header[HEADER];
    enum lct_code code = lct_stream_read(stream, header, sizeof header, deadline, err);

    if (code != LCT_OK)
        return code;
    size_t len = (size_t)header[2] << 24 | (size_t)header[3] << 16 | (size_t)header[4] << 8 |
                 (size_t)header[5];
    if (len < HEADER || len > capacity)
        return LCT_FAIL(err, LCT_ERR_NO_TPM, "the response of the TPM (%s) is malformed",
                        stream->peer);
    memcpy(response, header, HEADER);
    *response_len = len;
    return lct_stream_read(stream, response + HEADER, len - HEADER, deadline, err);
}

void lct_stream_close(struct lct_stream *stream)
{
    if (lct_descriptor_is_ours(&stream->descriptor))
        (void)shutdown(stream->descriptor.fd, SHUT_RDWR);
    lct_descriptor_close(&stream->descriptor);
}

void lct_stream_abandon(struct lct_stream *stream)
{
    lct_descriptor_close(&stream->descriptor);
}
