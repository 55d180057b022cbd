/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TPM_STREAM_H
#define LCT_TPM_STREAM_H

#include "base/descriptor.h"
#include "base/error.h"
#include "tpm/deadline.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/*
 * A connected stream socket that carries commands and responses of a TPM as they are, one after the
 * other. Close-on-exec, silent, never SIGPIPE; every wait ends with its deadline. Zero: closed.
 */
struct lct_stream {
    struct lct_descriptor descriptor;
    const char *peer; /* for messages: "swtpm" */
};

/*
 * Connects, where the other side has no room for a further connection as soon as it has some.
 * Returns 0 or the errno of the failure, ETIMEDOUT at the deadline.
 */
int lct_stream_connect(struct lct_stream *stream, const struct sockaddr *address,
                       socklen_t address_len, const struct lct_deadline *deadline);

/* Takes a socket over that is connected already. False: it is none, and closed. */
bool lct_stream_adopt(struct lct_stream *stream, int fd);

/* Sends all of it, receives exactly that many bytes. LCT_ERR_NO_TPM; LCT_ERR_TIMEOUT. After a
 * failure nothing more can be said on the stream but lct_stream_close. */
enum lct_code lct_stream_send(const struct lct_stream *stream, const void *bytes, size_t len,
                              const struct lct_deadline *deadline, struct lct_err *err);
enum lct_code lct_stream_read(const struct lct_stream *stream, void *bytes, size_t len,
                              const struct lct_deadline *deadline, struct lct_err *err);

/* Waits for events of poll(2) on it. Errors as above. */
enum lct_code lct_stream_await(const struct lct_stream *stream, short events,
                               const struct lct_deadline *deadline, struct lct_err *err);

/* Receives one response, whose length is in its header (TPM 2.0 Part 1, 18.1). Errors as above. */
enum lct_code lct_stream_receive(const struct lct_stream *stream, uint8_t *response,
                                 size_t *response_len, size_t capacity,
                                 const struct lct_deadline *deadline, struct lct_err *err);

/* Ends the connection, also where a child of fork holds a copy of it. */
void lct_stream_close(struct lct_stream *stream);
/* In a child of fork: closes its copy; the parent's connection goes on. */
void lct_stream_abandon(struct lct_stream *stream);

#endif
