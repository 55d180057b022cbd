/* SPDX-License-Identifier: Apache-2.0 */
#include "tpm/stream.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

enum { HEADER = 10, FIRST_PAUSE = 1, MAX_PAUSE = 64 }; /* bytes; ms */

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

/* Reads what has come, behind the *len bytes that are there already. */
static enum lct_code take(const struct lct_stream *stream, uint8_t *bytes, size_t capacity,
                          size_t *len, struct lct_err *err)
{
    ssize_t n = recv(stream->descriptor.fd, bytes + *len, capacity - *len, MSG_DONTWAIT);

    if (n > 0)
        *len += (size_t)n;
    else if (n == 0)
        return LCT_FAIL(err, LCT_ERR_NO_TPM, "%s closed the connection", stream->peer);
    else if (errno != EAGAIN && errno != EINTR)
        return broke(stream, err);
    return LCT_OK;
}

enum lct_code lct_stream_read(const struct lct_stream *stream, void *bytes, size_t len,
                              const struct lct_deadline *deadline, struct lct_err *err)
{
    size_t done = 0;
    enum lct_code code = check_is_ours(stream, err);

    while (code == LCT_OK && done < len) {
        code = lct_stream_await(stream, POLLIN, deadline, err);
        if (code == LCT_OK)
            code = take(stream, bytes, len, &done, err);
    }
    return code;
}

static enum lct_code malformed(const struct lct_stream *stream, struct lct_err *err)
{
    return LCT_FAIL(err, LCT_ERR_NO_TPM, "the response of the TPM (%s) is malformed", stream->peer);
}

/* The length that a message gives itself; while that is not there, the header's. */
static size_t length_of(const uint8_t *message, size_t len)
{
    if (len < HEADER)
        return HEADER;
    return (size_t)message[2] << 24 | (size_t)message[3] << 16 | (size_t)message[4] << 8 |
           (size_t)message[5];
}

/* To one command there is one response, so whatever has come is read at once. */
enum lct_code lct_stream_receive(const struct lct_stream *stream, uint8_t *response,
                                 size_t *response_len, size_t capacity,
                                 const struct lct_deadline *deadline, struct lct_err *err)
{
    size_t len = 0, wanted = HEADER;
    enum lct_code code = check_is_ours(stream, err);

    while (code == LCT_OK && len < wanted) {
        code = lct_stream_await(stream, POLLIN, deadline, err);
        if (code == LCT_OK)
            code = take(stream, response, capacity, &len, err);
        wanted = length_of(response, len);
        if (code == LCT_OK && (wanted < HEADER || wanted > capacity || len > wanted))
            code = malformed(stream, err);
    }
    *response_len = len;
    return code;
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
