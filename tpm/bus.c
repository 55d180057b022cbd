/* SPDX-License-Identifier: Apache-2.0 */
#include "tpm/bus.h"

#include "tpm/bus_message.h"
#include "tpm/stream.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

enum { MAX_FDS = 4, MAX_LINE = 256 };
enum { HELLO = 1, CALL = 2 }; /* serials of our messages */

struct talk {
    struct lct_stream stream;
    struct lct_deadline deadline;
    struct lct_err err;
    int fd; /* what the last message brought, or -1 */
    struct lct_bus_message message;
};

/* Of the descriptors that come with a message the first is kept. */
static void keep_fd(struct talk *talk, struct msghdr *header)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c != NULL; c = CMSG_NXTHDR(header, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t at = 0; at + sizeof(int) <= c->cmsg_len - CMSG_LEN(0); at += sizeof(int)) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + at, sizeof fd);
            if (talk->fd < 0)
                talk->fd = fd;
            else
                close(fd);
        }
    }
}

/* Receives exactly `len` bytes behind what is there of the message. */
static enum lct_code receive(struct talk *talk, size_t len)
{
    union {
        char bytes[CMSG_SPACE(MAX_FDS * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct lct_bus_message *message = &talk->message;

    while (len > 0) {
        struct iovec part = {message->bytes + message->len, len};
        struct msghdr header = {.msg_iov = &part,
                                .msg_iovlen = 1,
                                .msg_control = &control,
                                .msg_controllen = sizeof control};
        ssize_t n = recvmsg(talk->stream.descriptor.fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (n > 0) {
            keep_fd(talk, &header);
            message->len += (size_t)n;
            len -= (size_t)n;
        } else if (n == 0) {
            return LCT_FAIL(&talk->err, LCT_ERR_NO_TPM, "the D-Bus ends the connection");
        } else if (errno == EAGAIN) {
            enum lct_code code =
                lct_stream_await(&talk->stream, POLLIN, &talk->deadline, &talk->err);
            if (code != LCT_OK)
                return code;
        } else if (errno != EINTR) {
            return LCT_FAIL(&talk->err, LCT_ERR_NO_TPM, "%s", strerror(errno));
        }
    }
    return LCT_OK;
}

static void drop_fd(struct talk *talk)
{
    if (talk->fd >= 0)
        close(talk->fd);
    talk->fd = -1;
}

/* One whole message. */
static enum lct_code next_message(struct talk *talk, struct lct_bus_reply *reply)
{
    struct lct_bus_message *message = &talk->message;
    size_t rest;

    drop_fd(talk);
    *message = (struct lct_bus_message){.len = 0};
    enum lct_code code = receive(talk, LCT_BUS_FIXED);
    if (code != LCT_OK)
        return code;
    if (!lct_bus_message_measure(message, &rest))
        return LCT_FAIL(&talk->err, LCT_ERR_NO_TPM, "the D-Bus's message is malformed");
    code = receive(talk, rest);
    if (code == LCT_OK && !lct_bus_message_parse(message, reply))
        return LCT_FAIL(&talk->err, LCT_ERR_NO_TPM, "the D-Bus's message is malformed");
    return code;
}

/* A line of the conversation before messages: the authentication protocol. */
static enum lct_code next_line(struct talk *talk, char line[MAX_LINE])
{
    enum lct_code code = LCT_OK;
    size_t len = 0;

    while (code == LCT_OK && len < MAX_LINE - 1) {
        code = lct_stream_read(&talk->stream, &line[len++], 1, &talk->deadline, &talk->err);
        if (code == LCT_OK && line[len - 1] == '\n') {
            line[len] = '\0';
            return LCT_OK;
        }
    }
    if (code != LCT_OK)
        return code;
    return LCT_FAIL(&talk->err, LCT_ERR_NO_TPM, "the D-Bus's line is malformed");
}

/* LCT_ERR_AUTH: refused to this user. */
static enum lct_code say(struct talk *talk, const char *words, size_t words_len,
                         const char *expected)
{
    char line[MAX_LINE] = "";
    enum lct_code code =
        lct_stream_send(&talk->stream, words, words_len, &talk->deadline, &talk->err);

    if (code == LCT_OK)
        code = next_line(talk, line);
    if (code != LCT_OK || strncmp(line, expected, strlen(expected)) == 0)
        return code;
    line[strcspn(line, "\r\n")] = '\0';
    return LCT_FAIL(&talk->err, strncmp(line, "REJECTED", 8) == 0 ? LCT_ERR_AUTH : LCT_ERR_NO_TPM,
                    "the D-Bus says %s", line);
}

/* As the user that the kernel knows us to be, whose number is told in hexadecimal digits of its
 * decimal ones. */
static enum lct_code authenticate(struct talk *talk)
{
    static const char negotiate[] = "NEGOTIATE_UNIX_FD\r\n", begin[] = "BEGIN\r\n";
    char user[24], words[96];

    (void)snprintf(user, sizeof user, "%lu", (unsigned long)geteuid());
    words[0] = '\0'; /* the protocol begins with a zero byte */
    size_t len = 1 + (size_t)snprintf(words + 1, sizeof words - 1, "AUTH EXTERNAL ");
    for (const char *digit = user; *digit != '\0'; digit++)
        len += (size_t)snprintf(words + len, sizeof words - len, "%02x", (unsigned)*digit);
    len += (size_t)snprintf(words + len, sizeof words - len, "\r\n");
    enum lct_code code = say(talk, words, len, "OK ");
    if (code == LCT_OK)
        code = say(talk, negotiate, sizeof negotiate - 1, "AGREE_UNIX_FD");
    if (code == LCT_OK)
        code = lct_stream_send(&talk->stream, begin, sizeof begin - 1, &talk->deadline, &talk->err);
    return code;
}

/* Who does not greet is thrown out. Signals, and the greeting's answer, are of no interest. */
static enum lct_code exchange(struct talk *talk, const struct lct_bus_call *call,
                              struct lct_bus_reply *reply)
{
    static const struct lct_bus_call hello = {.name = "org.freedesktop.DBus",
                                              .path = "/org/freedesktop/DBus",
                                              .interface = "org.freedesktop.DBus",
                                              .member = "Hello"};
    struct lct_bus_message *message = &talk->message;
    enum lct_code code;

    *message = (struct lct_bus_message){.len = 0};
    lct_bus_message_put_call(message, HELLO, &hello);
    lct_bus_message_put_call(message, CALL, call);
    if (message->bad)
        return LCT_FAIL(&talk->err, LCT_ERR_NO_TPM, "the call is too long");
    code =
        lct_stream_send(&talk->stream, message->bytes, message->len, &talk->deadline, &talk->err);
    while (code == LCT_OK) {
        if (lct_deadline_left(&talk->deadline) == 0) /* also of a bus that never pauses */
            return LCT_FAIL(&talk->err, LCT_ERR_TIMEOUT, "the D-Bus did not answer in time");
        code = next_message(talk, reply);
        if (code == LCT_OK && (reply->type == LCT_BUS_ERROR ||
                               (reply->type == LCT_BUS_RETURN && reply->serial == CALL)))
            break;
    }
    return code;
}

/* What an error's name means. */
static enum lct_bus_outcome outcome_of(const char *error_name)
{
    static const struct {
        const char *name;
        enum lct_bus_outcome outcome;
    } errors[] = {
        {"ServiceUnknown", LCT_BUS_NO_NAME}, {"NameHasNoOwner", LCT_BUS_NO_NAME},
        {"AccessDenied", LCT_BUS_DENIED},    {"AuthFailed", LCT_BUS_DENIED},
        {"NoReply", LCT_BUS_SILENT},         {"TimedOut", LCT_BUS_SILENT},
        {"Timeout", LCT_BUS_SILENT},         {"UnknownObject", LCT_BUS_NOTHING},
        {"UnknownMethod", LCT_BUS_NOTHING},
    };
    static const char prefix[] = "org.freedesktop.DBus.Error.";

    if (error_name == NULL || strncmp(error_name, prefix, sizeof prefix - 1) != 0)
        return LCT_BUS_FAILED;
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++)
        if (strcmp(error_name + sizeof prefix - 1, errors[i].name) == 0)
            return errors[i].outcome;
    return LCT_BUS_FAILED;
}

/* What others say, as part of a sentence of ours: one line, no full stop. */
static void quote(char *text, size_t text_size, const char *words)
{
    (void)snprintf(text, text_size, "%s", words);
    for (char *c = text; *c != '\0'; c++)
        if (iscntrl((unsigned char)*c))
            *c = ' ';
    for (size_t len = strlen(text); len > 0 && strchr(". ", text[len - 1]) != NULL; len--)
        text[len - 1] = '\0';
}

static enum lct_bus_outcome converse(struct talk *talk, const struct lct_bus_call *call, char *text,
                                     size_t text_size)
{
    struct lct_bus_reply reply = {0};
    enum lct_code code = authenticate(talk);

    if (code == LCT_OK)
        code = exchange(talk, call, &reply);
    if (code == LCT_OK && reply.type == LCT_BUS_RETURN)
        return LCT_BUS_ANSWERED;
    if (code == LCT_OK) {
        const char *name = reply.error_name != NULL ? reply.error_name : "";
        quote(text, text_size, reply.text != NULL ? reply.text : name);
        return outcome_of(reply.error_name);
    }
    quote(text, text_size, talk->err.text);
    return code == LCT_ERR_TIMEOUT ? LCT_BUS_SILENT
           : code == LCT_ERR_AUTH  ? LCT_BUS_DENIED
                                   : LCT_BUS_FAILED;
}

static enum lct_bus_outcome explain_connect(int error, char *text, size_t text_size)
{
    (void)snprintf(text, text_size, "%s", strerror(error));
    switch (error) {
    case ENOENT:
    case ENOTDIR:
    case ECONNREFUSED:
        return LCT_BUS_ABSENT;
    case EACCES:
    case EPERM:
        return LCT_BUS_DENIED;
    case ETIMEDOUT:
        return LCT_BUS_SILENT;
    default:
        return LCT_BUS_FAILED;
    }
}

enum lct_bus_outcome lct_bus_call(int *fd, const struct lct_endpoint *bus,
                                  const struct lct_bus_call *call,
                                  const struct lct_deadline *deadline, char *text, size_t text_size)
{
    struct talk *talk = calloc(1, sizeof *talk);

    *fd = -1;
    text[0] = '\0';
    if (talk == NULL)
        return LCT_BUS_FAILED;
    talk->fd = -1;
    talk->stream.peer = "the D-Bus";
    talk->deadline = *deadline;
    int error = lct_stream_connect(&talk->stream, (const struct sockaddr *)&bus->address,
                                   bus->address_len, &talk->deadline);
    enum lct_bus_outcome outcome = error == 0 ? converse(talk, call, text, text_size)
                                              : explain_connect(error, text, text_size);
    if (outcome == LCT_BUS_ANSWERED) {
        *fd = talk->fd;
        talk->fd = -1;
    }
    drop_fd(talk);
    lct_stream_close(&talk->stream);
    free(talk);
    return outcome;
}

/* D-Bus Specification, "Server Addresses": %XX stands for a byte. */
static void unescape(char *to, size_t size, const char *from, size_t from_len)
{
    size_t len = 0;

    for (size_t i = 0; i < from_len && len + 1 < size; i++) {
        char digits[3] = "", byte = from[i];
        if (byte == '%' && from_len - i > 2 && isxdigit((unsigned char)from[i + 1]) &&
            isxdigit((unsigned char)from[i + 2])) {
            memcpy(digits, from + i + 1, 2);
            byte = (char)strtoul(digits, NULL, 16);
        }
        to[len++] = byte;
        i += strlen(digits);
    }
    to[len] = '\0';
}

/* Names that are no files begin with a zero byte: unix(7). */
static bool set_abstract(struct lct_endpoint *endpoint, const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (strlen(name) + 1 > sizeof address.sun_path)
        return false;
    memcpy(address.sun_path + 1, name, strlen(name));
    memcpy(&endpoint->address, &address, sizeof address);
    endpoint->address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
    return true;
}

/* The first of "unix:path=...,guid=...;unix:abstract=..." that is one of these two. */
static bool set_address(struct lct_endpoint *endpoint, const char *addresses)
{
    static const char path[] = "unix:path=", abstract[] = "unix:abstract=";
    char name[256];

    (void)snprintf(endpoint->label, sizeof endpoint->label, "%.150s", addresses);
    for (const char *at = addresses; *at != '\0'; at += at[0] == ';') {
        size_t len = strcspn(at, ",;");
        bool is_path = strncmp(at, path, sizeof path - 1) == 0;
        bool is_abstract = strncmp(at, abstract, sizeof abstract - 1) == 0;
        size_t skip = is_path ? sizeof path - 1 : is_abstract ? sizeof abstract - 1 : len;
        unescape(name, sizeof name, at + skip, len - skip);
        if ((is_path && lct_endpoint_set_path(endpoint, name)) ||
            (is_abstract && set_abstract(endpoint, name)))
            return true;
        at += strcspn(at, ";");
    }
    return false;
}

bool lct_bus_find(struct lct_endpoint *endpoint, enum lct_bus_type type, const char *root)
{
    bool session = type == LCT_BUS_SESSION;
    const char *addresses =
        secure_getenv(session ? "DBUS_SESSION_BUS_ADDRESS" : "DBUS_SYSTEM_BUS_ADDRESS");
    char path[512];

    *endpoint = (struct lct_endpoint){.address_len = 0};
    if (addresses != NULL)
        return set_address(endpoint, addresses);
    if (session)
        (void)snprintf(path, sizeof path, "/run/user/%lu/bus", (unsigned long)geteuid());
    else
        (void)snprintf(path, sizeof path, "%s/run/dbus/system_bus_socket", root);
    (void)snprintf(endpoint->label, sizeof endpoint->label, "%.150s", path);
    return lct_endpoint_set_path(endpoint, path);
}
