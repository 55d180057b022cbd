/* SPDX-License-Identifier: Apache-2.0 */
#include "base/lines.h"

#include "base/clock.h"
#include "base/date.h"
#include "base/descriptor.h"
#include "base/fd.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum kind { TO_STDERR, TO_SYSLOG, TO_FILE };

struct lct_lines {
    atomic_uint references;
    atomic_bool torn; /* the last line has no end */
    enum kind kind;
    int error; /* why it could not be opened; 0: it could */
    struct lct_descriptor to;
    const char *path; /* in `where` */
    char where[];
};

/* A FIFO would hold the program up, and a device is no record; a terminal would become the one that
 * controls a daemon. */
static int open_file(const char *path)
{
    int fd = open(
        path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0600);
    struct stat st;

    if (fd >= 0 && (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))) {
        close(fd);
        errno = EINVAL;
        return -1;
    }
    return fd;
}

enum { PATIENCE = 2 /* s, with a system's log */ };

static int open_socket(const char *path)
{
    const struct timeval patience = {.tv_sec = PATIENCE};
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (strlen(path) >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(address.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) == 0 &&
        connect(fd, (const struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* A descriptor of the caller's, or -1 with errno. */
static int open_place(const struct lct_lines *lines)
{
    if (lines->kind == TO_STDERR)
        return fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    return lines->kind == TO_SYSLOG ? open_socket(lines->path) : open_file(lines->path);
}

static bool parse(struct lct_lines *lines)
{
    static const char prefix[] = "syslog:";

    lines->path = lines->where;
    if (strcmp(lines->where, "stderr") == 0) {
        lines->kind = TO_STDERR;
        return true;
    }
    if (strcmp(lines->where, "syslog") == 0) {
        lines->kind = TO_SYSLOG;
        lines->path = "/dev/log";
        return true;
    }
    bool is_syslog = strncmp(lines->where, prefix, sizeof prefix - 1) == 0;
    lines->kind = is_syslog ? TO_SYSLOG : TO_FILE;
    if (is_syslog)
        lines->path += sizeof prefix - 1;
    return *lines->path == '/';
}

enum lct_code lct_lines_open(struct lct_lines **lines, const char *where, struct lct_err *err)
{
    size_t size = strlen(where) + 1;
    struct lct_lines *opened = calloc(1, sizeof *opened + size);

    *lines = NULL;
    if (opened == NULL)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    memcpy(opened->where, where, size);
    atomic_init(&opened->references, 1);
    if (!parse(opened)) {
        free(opened);
        return LCT_FAIL(err, LCT_ERR_CONFIG, "\"%s\" is no absolute path", where);
    }
    int fd = open_place(opened);
    if (fd < 0 || !lct_descriptor_take(&opened->to, fd))
        opened->error = errno;
    *lines = opened;
    return LCT_OK;
}

struct lct_lines *lct_lines_up_ref(struct lct_lines *lines)
{
    if (lines != NULL)
        (void)atomic_fetch_add(&lines->references, 1);
    return lines;
}

void lct_lines_free(struct lct_lines *lines)
{
    if (lines == NULL || atomic_fetch_sub(&lines->references, 1) != 1)
        return;
    lct_descriptor_close(&lines->to);
    free(lines);
}

const char *lct_lines_where(const struct lct_lines *lines)
{
    return lines->where;
}

static const char *reason(int error)
{
    if (error == ELOOP) /* open(2), O_NOFOLLOW */
        return "it is a link";
    /* Of a FIFO that nobody reads open(2) says ENXIO. */
    return error == EINVAL || error == ENXIO ? "it is no regular file" : strerror(error);
}

enum lct_code lct_lines_check(const struct lct_lines *lines, struct lct_err *err)
{
    if (lines->error == 0)
        return LCT_OK;
    return LCT_FAIL(err, LCT_ERR_CONFIG, "%s cannot be opened to append to it: %s", lines->path,
                    reason(lines->error));
}

/* send(2), whose patience each signal begins anew. */
static ssize_t send_in_time(int fd, const char *line, size_t len)
{
    const int64_t until = lct_now_ms() + PATIENCE * INT64_C(1000);
    ssize_t n;

    do
        n = send(fd, line, len, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR && lct_now_ms() < until);
    return n;
}

static ssize_t write_whatever_interrupts(int fd, const char *line, size_t len)
{
    ssize_t n;

    do
        n = lct_fd_write(fd, line, len);
    while (n < 0 && errno == EINTR);
    return n;
}

/* The whole of it or an errno; EMSGSIZE: a part of it. */
static int put(const struct lct_lines *lines, int fd, const char *line, size_t len, bool on_disk)
{
    ssize_t n = lines->kind == TO_SYSLOG ? send_in_time(fd, line, len)
                                         : write_whatever_interrupts(fd, line, len);

    if (n < 0)
        return errno;
    if ((size_t)n < len)
        return EMSGSIZE;
    return on_disk && lines->kind == TO_FILE && fdatasync(fd) != 0 ? errno : 0;
}

/* By a descriptor that is opened for it. */
static int put_anew(const struct lct_lines *lines, const char *line, size_t len, bool on_disk)
{
    int fd = open_place(lines);

    if (fd < 0)
        return errno;
    int error = put(lines, fd, line, len, on_disk);
    close(fd);
    return error;
}

/* Of standard error nobody knows any more what it was. A system's log that was started again does
 * not take what comes by the old socket. */
static int deliver(const struct lct_lines *lines, const char *line, size_t len, bool on_disk)
{
    bool ours = lct_descriptor_is_ours(&lines->to);

    if (!ours)
        return lines->kind == TO_STDERR ? EBADF : put_anew(lines, line, len, on_disk);
    int error = put(lines, lines->to.fd, line, len, on_disk);
    bool gone = error == ECONNREFUSED || error == ENOTCONN || error == ECONNRESET || error == EPIPE;
    return lines->kind == TO_SYSLOG && gone ? put_anew(lines, line, len, on_disk) : error;
}

int lct_lines_write(struct lct_lines *lines, const char *text, bool on_disk)
{
    enum { FACILITY = 10 << 3, INFO = 6 }; /* RFC 5424, 6.2.1: authpriv */
    char line[1 + 32 + LCT_LINE + 1] = "\n";
    bool torn = lines->kind != TO_SYSLOG && atomic_exchange(&lines->torn, false);
    int kept = errno;

    /* Of RFC 3164, 4.1, what the system's log does not know by itself. */
    size_t prefix_len = 1;
    if (lines->kind == TO_SYSLOG)
        prefix_len += (size_t)snprintf(line + 1, 32, "<%d>lct[%d]: ", FACILITY + INFO, getpid());
    (void)snprintf(line + prefix_len, LCT_LINE, "%s", text);
    lct_text_disarm(line + 1);
    size_t len = strlen(line);
    if (lines->kind != TO_SYSLOG)
        line[len++] = '\n';
    int error = deliver(lines, torn ? line : line + 1, torn ? len : len - 1, on_disk);
    if (error == EMSGSIZE || (torn && error != 0))
        atomic_store(&lines->torn, true);
    errno = kept;
    return error == EMSGSIZE && lines->kind != TO_SYSLOG ? ENOSPC : error;
}

const char *lct_lines_time(char text[LCT_LINE_TIME])
{
    struct timespec now = {0};
    char date[LCT_DATE_TEXT];

    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)lct_date_of_seconds(date, now.tv_sec);
    (void)snprintf(text, LCT_LINE_TIME, "%.19s.%06dZ", date, (int)(now.tv_nsec / 1000));
    return text;
}

const char *lct_lines_program(char text[LCT_LINE_PROGRAM])
{
    int kept = errno;
    ssize_t len = readlink("/proc/self/exe", text, LCT_LINE_PROGRAM - 1);

    if (len > 0)
        text[len] = '\0';
    else
        (void)snprintf(text, LCT_LINE_PROGRAM, "%s", program_invocation_name);
    errno = kept;
    return text;
}
