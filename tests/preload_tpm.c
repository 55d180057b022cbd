/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preloaded before any program, it recognises TPM commands by their bytes, whatever descriptor they
 * are written to (the kernel's device, a socket of swtpm's or of tpm2-abrmd's), writes them down,
 * and lets the way in fail where a test says so:
 *
 * LCT_TPM_LOG    a file to which each command's code is appended, as 0x15d
 * LCT_TPM_CODE   the code of the commands that count, as 0x15d; unset: all
 * LCT_TPM_AT     the command of this process to spoil, of those that count, from 1
 * LCT_TPM_FAULT  how; with a "+" after it that command and all later ones:
 *     drop-before     not sent: the write fails, with EPIPE on a socket, EIO on a device
 *     drop-after      executed; then the socket's end is read, or EIO on a device
 *     truncate        half of the response; then the socket's end
 *     header          the response's first 10 bytes, its size field unchanged; then the end
 *     garble          a bit in the middle of the response flipped, or in its code if that is all
 *     garble-header   the response has a wrong tag
 *     garble-size     the size field says 16 bytes more than there are; then the end
 *     code=0xNNN      not sent: this return code is the response
 *     code-after=0xNNN  executed, but this return code is the response
 *     delay=MS        executed; the response is there that much later
 *     stall           executed; no response ever, until the descriptor is closed
 *     kill-before, kill-after  SIGKILL before it is sent; when it was executed
 *
 * Of a command to be spoiled the response is fetched whole before the write returns, so that it
 * does not matter how the program reads it. A command is taken to be written at once.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { MAX_MESSAGE = 4096, HEADER = 10, MAX_DESCRIPTORS = 1024, PATIENCE_MS = 60000 };

enum fault {
    NONE,
    DROP_BEFORE,
    DROP_AFTER,
    TRUNCATE,
    HEADER_ONLY,
    GARBLE,
    GARBLE_HEADER,
    GARBLE_SIZE,
    CODE,
    CODE_AFTER,
    DELAY,
    STALL,
    KILL_BEFORE,
    KILL_AFTER,
};

/* What the program is to read from a descriptor instead of what is there. */
struct answer {
    bool stalls;
    bool ends;   /* after the bytes: a socket's end */
    bool fails;  /* instead of bytes: EIO, once */
    long due_ms; /* not before */
    size_t len;
    size_t read;
    uint8_t bytes[MAX_MESSAGE];
};

static struct {
    const char *log;
    unsigned long code;
    long at;
    enum fault fault;
    unsigned long number; /* a return code, or milliseconds */
    bool onwards;
    long commands;
    pthread_mutex_t mutex;
    struct answer *answers[MAX_DESCRIPTORS];
} plan = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void lock(void)
{
    pthread_mutex_lock(&plan.mutex);
}

static void unlock(void)
{
    pthread_mutex_unlock(&plan.mutex);
}

static void read_fault(const char *fault)
{
    static const char *const names[] = {
        [DROP_BEFORE] = "drop-before",
        [DROP_AFTER] = "drop-after",
        [TRUNCATE] = "truncate",
        [HEADER_ONLY] = "header",
        [GARBLE] = "garble",
        [CODE] = "code",
        [CODE_AFTER] = "code-after",
        [GARBLE_HEADER] = "garble-header",
        [DELAY] = "delay",
        [GARBLE_SIZE] = "garble-size",
        [KILL_BEFORE] = "kill-before",
        [STALL] = "stall",
        [KILL_AFTER] = "kill-after",
    };
    size_t len = strcspn(fault, "=+");

    for (size_t i = 1; i < sizeof names / sizeof *names; i++)
        if (strlen(names[i]) == len && strncmp(fault, names[i], len) == 0)
            plan.fault = (enum fault)i;
    if (plan.fault == NONE)
        abort();
    if (fault[len] == '=')
        plan.number = strtoul(fault + len + 1, NULL, 0);
    plan.onwards = strchr(fault, '+') != NULL;
}

__attribute__((constructor)) static void read_plan(void)
{
    const char *code = getenv("LCT_TPM_CODE");
    const char *at = getenv("LCT_TPM_AT");
    const char *fault = getenv("LCT_TPM_FAULT");

    plan.log = getenv("LCT_TPM_LOG");
    plan.code = code != NULL ? strtoul(code, NULL, 16) : 0;
    plan.at = at != NULL ? strtol(at, NULL, 10) : 0;
    if (fault != NULL)
        read_fault(fault);
    if (pthread_atfork(lock, unlock, unlock) != 0)
        abort();
}

static void *next(const char *name)
{
    void *symbol = dlsym(RTLD_NEXT, name);

    if (symbol == NULL)
        abort();
    return symbol;
}

/* The function behind ours, in a variable `real` of its type. */
#define REAL(name)                                                                                 \
    __typeof__(&(name)) real;                                                                      \
    *(void **)&real = next(#name)

static long now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static unsigned long get32(const uint8_t *bytes)
{
    return (unsigned long)bytes[0] << 24 | (unsigned long)bytes[1] << 16 |
           (unsigned long)bytes[2] << 8 | bytes[3];
}

static void put32(uint8_t *bytes, unsigned long number)
{
    for (int i = 0; i < 4; i++)
        bytes[i] = (uint8_t)(number >> (24 - 8 * i));
}

static bool is_socket(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
}

/* TPM 2.0 Part 1, 18: tag, size, code. */
static bool is_command(const uint8_t *bytes, size_t len)
{
    return len >= HEADER && len <= MAX_MESSAGE && bytes[0] == 0x80 &&
           (bytes[1] == 1 || bytes[1] == 2) && get32(bytes + 2) == len &&
           get32(bytes + 6) >= 0x11f && get32(bytes + 6) <= 0x1ff;
}

static void note(unsigned long code)
{
    char line[32];

    if (plan.log == NULL)
        return;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, plan.log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (fd < 0)
        abort();
    int len = snprintf(line, sizeof line, "0x%lx\n", code);
    if (syscall(SYS_write, fd, line, (size_t)len) != len)
        abort();
    syscall(SYS_close, fd);
}

/* Counts a command: how to spoil it. */
static enum fault next_command(unsigned long code)
{
    note(code);
    if (plan.code != 0 && plan.code != code)
        return NONE;
    lock();
    long number = ++plan.commands;
    unlock();
    if (plan.at == 0 || (plan.onwards ? number < plan.at : number != plan.at))
        return NONE;
    return plan.fault;
}

static void forget(int fd)
{
    if (fd < 0 || fd >= MAX_DESCRIPTORS)
        return;
    lock();
    free(plan.answers[fd]);
    plan.answers[fd] = NULL;
    unlock();
}

static void remember(int fd, const struct answer *answer)
{
    struct answer *copy = malloc(sizeof *copy);

    if (copy == NULL || fd >= MAX_DESCRIPTORS)
        abort();
    *copy = *answer;
    lock();
    free(plan.answers[fd]);
    plan.answers[fd] = copy;
    unlock();
}

/* The program may see a descriptor's answer: 1 now, 0 never, else in that many ms. With the lock.
 * -1: it has none. */
static long wait_of(int fd)
{
    const struct answer *answer = fd >= 0 && fd < MAX_DESCRIPTORS ? plan.answers[fd] : NULL;

    if (answer == NULL)
        return -1;
    if (answer->stalls)
        return 0;
    long rest = answer->due_ms - now_ms();
    return rest > 0 ? rest + 1 : 1;
}

static bool is_stalled(int fd)
{
    lock();
    bool stalled = wait_of(fd) == 0;
    unlock();
    return stalled;
}

static ssize_t transport(int fd, const uint8_t *command, size_t len)
{
    if (is_socket(fd)) {
        REAL(send);
        return real(fd, command, len, MSG_NOSIGNAL);
    }
    REAL(write);
    return real(fd, command, len);
}

/* Reads the whole response. Nothing: the peer has ended, or the device fails. */
static size_t fetch(int fd, uint8_t *bytes)
{
    __typeof__(&poll) real_poll;
    size_t len = 0;
    REAL(read);

    *(void **)&real_poll = next("poll");
    while (len < 6 || len < get32(bytes + 2)) {
        struct pollfd pollfd = {.fd = fd, .events = POLLIN};
        if (real_poll(&pollfd, 1, PATIENCE_MS) == 0)
            abort();
        ssize_t n = real(fd, bytes + len, MAX_MESSAGE - len);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n <= 0)
            return 0;
        len += (size_t)n;
    }
    return len;
}

static void say_code(struct answer *answer)
{
    static const uint8_t start[6] = {0x80, 1, 0, 0, 0, HEADER};

    memcpy(answer->bytes, start, sizeof start);
    put32(answer->bytes + 6, plan.number);
    answer->len = HEADER;
}

/* Makes of a whole response what the program is to see. */
static void spoil(struct answer *answer, enum fault fault, bool socket)
{
    switch (fault) {
    case DROP_AFTER:
        answer->len = 0;
        answer->ends = socket;
        answer->fails = !socket;
        break;
    case TRUNCATE:
        answer->len /= 2;
        answer->ends = socket;
        break;
    case HEADER_ONLY:
        answer->len = answer->len < HEADER ? answer->len : HEADER;
        answer->ends = socket;
        break;
    case GARBLE:
        answer->bytes[answer->len > HEADER ? answer->len / 2 : HEADER - 1] ^= 0x10;
        break;
    case GARBLE_HEADER:
        answer->bytes[0] ^= 0x40;
        break;
    case GARBLE_SIZE:
        put32(answer->bytes + 2, answer->len + 16);
        answer->ends = socket;
        break;
    case CODE_AFTER:
        say_code(answer);
        break;
    case DELAY:
        answer->due_ms = now_ms() + (long)plan.number;
        break;
    case STALL:
        answer->stalls = true;
        break;
    case KILL_AFTER:
        kill(getpid(), SIGKILL);
        break;
    default:
        abort();
    }
}

/* Writes a command that is to be spoiled. What write() would return. */
static ssize_t write_spoiled(int fd, const uint8_t *command, size_t len, enum fault fault)
{
    struct answer answer = {.len = 0};
    bool socket = is_socket(fd);

    if (fault == KILL_BEFORE)
        kill(getpid(), SIGKILL);
    if (fault == DROP_BEFORE) {
        errno = socket ? EPIPE : EIO;
        return -1;
    }
    if (fault == CODE) {
        say_code(&answer);
    } else {
        ssize_t n = transport(fd, command, len);
        if (n != (ssize_t)len)
            return n;
        answer.len = fetch(fd, answer.bytes);
        answer.ends = socket && answer.len == 0;
        answer.fails = !socket && answer.len == 0;
        if (answer.len > 0 || fault == KILL_AFTER)
            spoil(&answer, fault, socket);
    }
    remember(fd, &answer);
    return (ssize_t)len;
}

/* The bytes of a message in pieces, if they may be a command. */
static size_t gather(uint8_t bytes[MAX_MESSAGE], const struct iovec *parts, size_t num_parts)
{
    size_t len = 0;

    for (size_t i = 0; i < num_parts; i++) {
        if (parts[i].iov_len > MAX_MESSAGE - len)
            return 0;
        if (parts[i].iov_len > 0)
            memcpy(bytes + len, parts[i].iov_base, parts[i].iov_len);
        len += parts[i].iov_len;
    }
    return len;
}

/* Whether a write is ours to do: then its result is in `result`. */
static bool takes(ssize_t *result, int fd, const struct iovec *parts, size_t num_parts)
{
    uint8_t bytes[MAX_MESSAGE];
    size_t len = gather(bytes, parts, num_parts);

    if (!is_command(bytes, len))
        return false;
    if (is_stalled(fd)) { /* it still executes the one before */
        note(get32(bytes + 6));
        *result = (ssize_t)len;
        if (!is_socket(fd)) {
            *result = -1;
            errno = EBUSY;
        }
        return true;
    }
    enum fault fault = next_command(get32(bytes + 6));
    if (fault == NONE)
        return false;
    *result = write_spoiled(fd, bytes, len, fault);
    return true;
}

static bool takes_one(ssize_t *result, int fd, const void *bytes, size_t len)
{
    struct iovec part = {.iov_len = len};

    memcpy(&part.iov_base, &bytes, sizeof bytes);
    return takes(result, fd, &part, 1);
}

static size_t scatter(const struct iovec *parts, size_t num_parts, const uint8_t *bytes, size_t len)
{
    size_t done = 0;

    for (size_t i = 0; i < num_parts && done < len; i++) {
        size_t n = parts[i].iov_len < len - done ? parts[i].iov_len : len - done;
        memcpy(parts[i].iov_base, bytes + done, n);
        done += n;
    }
    return done;
}

/* With the lock. What read() returns of an answer that is due. */
static ssize_t take_answer(int fd, const struct iovec *parts, size_t num_parts, bool peeks)
{
    struct answer *answer = plan.answers[fd];
    bool fails = answer->fails;
    bool last = !answer->ends;
    size_t n = 0;

    if (!fails)
        n = scatter(parts, num_parts, answer->bytes + answer->read, answer->len - answer->read);
    if (!peeks) {
        answer->read += n;
        if (last && answer->read == answer->len) {
            free(answer);
            plan.answers[fd] = NULL;
        }
    }
    if (!fails)
        return (ssize_t)n;
    errno = EIO;
    return -1;
}

static bool does_not_wait(int fd, int flags)
{
    return (flags & MSG_DONTWAIT) != 0 || (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0;
}

/* Whether a read is ours to do: then its result is in `result`. */
static bool gives(ssize_t *result, int fd, const struct iovec *parts, size_t num_parts, int flags)
{
    for (;;) {
        lock();
        long wait = wait_of(fd);
        if (wait == 1)
            *result = take_answer(fd, parts, num_parts, (flags & MSG_PEEK) != 0);
        unlock();
        if (wait == -1)
            return false;
        if (wait == 1)
            return true;
        if (does_not_wait(fd, flags)) {
            errno = EAGAIN;
            *result = -1;
            return true;
        }
        (void)poll(NULL, 0, wait == 0 ? PATIENCE_MS : (int)wait);
    }
}

static bool gives_one(ssize_t *result, int fd, void *bytes, size_t len, int flags)
{
    struct iovec part = {.iov_base = bytes, .iov_len = len};

    return gives(result, fd, &part, 1, flags);
}

ssize_t write(int fd, const void *bytes, size_t len)
{
    ssize_t result;
    REAL(write);

    return takes_one(&result, fd, bytes, len) ? result : real(fd, bytes, len);
}

ssize_t writev(int fd, const struct iovec *parts, int num_parts)
{
    ssize_t result;
    REAL(writev);

    return num_parts > 0 && takes(&result, fd, parts, (size_t)num_parts)
               ? result
               : real(fd, parts, num_parts);
}

ssize_t send(int fd, const void *bytes, size_t len, int flags)
{
    ssize_t result;
    REAL(send);

    return takes_one(&result, fd, bytes, len) ? result : real(fd, bytes, len, flags);
}

ssize_t sendto(int fd, const void *bytes, size_t len, int flags, __CONST_SOCKADDR_ARG to,
               socklen_t to_len)
{
    ssize_t result;
    REAL(sendto);

    return takes_one(&result, fd, bytes, len) ? result : real(fd, bytes, len, flags, to, to_len);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    ssize_t result;
    REAL(sendmsg);

    return takes(&result, fd, message->msg_iov, message->msg_iovlen) ? result
                                                                     : real(fd, message, flags);
}

ssize_t read(int fd, void *bytes, size_t len)
{
    ssize_t result;
    REAL(read);

    return gives_one(&result, fd, bytes, len, 0) ? result : real(fd, bytes, len);
}

ssize_t readv(int fd, const struct iovec *parts, int num_parts)
{
    ssize_t result;
    REAL(readv);

    return num_parts > 0 && gives(&result, fd, parts, (size_t)num_parts, 0)
               ? result
               : real(fd, parts, num_parts);
}

ssize_t recv(int fd, void *bytes, size_t len, int flags)
{
    ssize_t result;
    REAL(recv);

    return gives_one(&result, fd, bytes, len, flags) ? result : real(fd, bytes, len, flags);
}

ssize_t recvfrom(int fd, void *restrict bytes, size_t len, int flags, __SOCKADDR_ARG from,
                 socklen_t *restrict from_len)
{
    ssize_t result;
    REAL(recvfrom);

    if (!gives_one(&result, fd, bytes, len, flags))
        return real(fd, bytes, len, flags, from, from_len);
    if (from_len != NULL)
        *from_len = 0;
    return result;
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    ssize_t result;
    REAL(recvmsg);

    if (!gives(&result, fd, message->msg_iov, message->msg_iovlen, flags))
        return real(fd, message, flags);
    message->msg_namelen = 0;
    message->msg_controllen = 0;
    message->msg_flags = 0;
    return result;
}

/* What fortified callers call, whose buffers have a known size. */
ssize_t __read_chk(int fd, void *bytes, size_t len, size_t size);
ssize_t __recv_chk(int fd, void *bytes, size_t len, size_t size, int flags);
ssize_t __recvfrom_chk(int fd, void *bytes, size_t len, size_t size, int flags, __SOCKADDR_ARG from,
                       socklen_t *from_len);
int __poll_chk(struct pollfd *fds, nfds_t num_fds, int timeout, size_t size);

ssize_t __read_chk(int fd, void *bytes, size_t len, size_t size)
{
    if (len > size)
        abort();
    return read(fd, bytes, len);
}

ssize_t __recv_chk(int fd, void *bytes, size_t len, size_t size, int flags)
{
    if (len > size)
        abort();
    return recv(fd, bytes, len, flags);
}

ssize_t __recvfrom_chk(int fd, void *bytes, size_t len, size_t size, int flags, __SOCKADDR_ARG from,
                       socklen_t *from_len)
{
    if (len > size)
        abort();
    return recvfrom(fd, bytes, len, flags, from, from_len);
}

/*
 * Copies what is polled for, without the descriptors whose answer is ours, and says in `ours` which
 * are those. The number of those that are ready; in `wait`, in how many ms one will be, if that is
 * sooner.
 */
static int set_apart(struct pollfd *others, bool *ours, struct pollfd *fds, nfds_t num_fds,
                     long *wait)
{
    int ready = 0;

    lock();
    for (nfds_t i = 0; i < num_fds; i++) {
        long due = wait_of(fds[i].fd);
        others[i] = fds[i];
        ours[i] = due != -1;
        if (!ours[i])
            continue;
        others[i].fd = -1;
        fds[i].revents = due == 1 ? (short)(fds[i].events & (POLLIN | POLLRDNORM)) : 0;
        if (fds[i].revents != 0)
            ready++;
        else if (due > 1 && (*wait < 0 || due < *wait))
            *wait = due;
    }
    unlock();
    return ready;
}

static int poll_apart(struct pollfd *others, bool *ours, struct pollfd *fds, nfds_t num_fds,
                      int timeout)
{
    long end = now_ms() + timeout;
    REAL(poll);

    for (;;) {
        long rest = timeout < 0 ? -1 : end > now_ms() ? end - now_ms() : 0;
        long wait = rest;
        int ready = set_apart(others, ours, fds, num_fds, &wait);
        int found = real(others, num_fds, ready > 0 ? 0 : (int)wait);
        if (found < 0)
            return found;
        for (nfds_t i = 0; i < num_fds; i++)
            if (!ours[i])
                fds[i].revents = others[i].revents;
        if (found + ready > 0 || rest == 0)
            return found + ready;
    }
}

int poll(struct pollfd *fds, nfds_t num_fds, int timeout)
{
    bool any = false;
    REAL(poll);

    lock();
    for (nfds_t i = 0; i < num_fds; i++)
        any = any || wait_of(fds[i].fd) != -1;
    unlock();
    if (!any)
        return real(fds, num_fds, timeout);
    struct pollfd *others = calloc(num_fds, sizeof *others);
    bool *ours = calloc(num_fds, sizeof *ours);
    if (others == NULL || ours == NULL)
        abort();
    int ready = poll_apart(others, ours, fds, num_fds, timeout);
    int error = errno;
    free(others);
    free(ours);
    errno = error;
    return ready;
}

int __poll_chk(struct pollfd *fds, nfds_t num_fds, int timeout, size_t size)
{
    if (num_fds > size / sizeof *fds)
        abort();
    return poll(fds, num_fds, timeout);
}

int ppoll(struct pollfd *fds, nfds_t num_fds, const struct timespec *timeout, const sigset_t *mask)
{
    bool any = false;
    REAL(ppoll);

    lock();
    for (nfds_t i = 0; i < num_fds; i++)
        any = any || wait_of(fds[i].fd) != -1;
    unlock();
    if (!any)
        return real(fds, num_fds, timeout, mask);
    return poll(fds, num_fds,
                timeout != NULL ? (int)(timeout->tv_sec * 1000 + timeout->tv_nsec / 1000000) : -1);
}

int close(int fd)
{
    REAL(close);
    forget(fd);
    return real(fd);
}
