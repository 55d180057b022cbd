/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preloaded before a program, it counts the steps that change the file system below a directory and
 * stops the program, or its steps, where a test says so, in the environment:
 *
 * LCT_FS_BELOW: the directory, absolute.
 *
 * LCT_FS_STEP: the step to stop at, from 1; 0 or unset: none.
 *
 * LCT_FS_ACTION: "kill", SIGKILL before the step, or "kill-after"; "stop", SIGSTOP before it, or
 * "stop-after", and after SIGCONT it goes on; or a loss of power before it:
 * "lose", all that was not synced is lost, or "tear", of that content alone (preload_fs_journal.h),
 * and at the program's end if there is no such step; or the errno with which it fails, "ENOSPC",
 * "EDQUOT", "EIO", "EROFS" or "EINTR", with a "+" after it that step and all later ones; or
 * "parts": whatever the step, each write takes half of what it is given.
 *
 * LCT_FS_SPARE: for "lose" and "tear", a directory on the same file system.
 *
 * LCT_FS_LOG: a file to which each step's name is appended.
 *
 * LCT_FS_BLIND: a file; while it is there no record can be opened or seen, as on a disk that fails.
 *
 * LCT_FS_HALT: a path; each time that it is to be opened, the program stops (SIGSTOP) before that.
 *
 * LCT_FS_UNREAD: a pattern (fnmatch(3)) of directories, absolute, whose entries cannot be read:
 * readdir fails with EIO, after LCT_FS_ENTRIES of them, "." and ".." among these; unset: at once.
 */
#include "preload_fs_journal.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static struct {
    const char *below;
    size_t below_len;
    const char *log, *blind, *halt, *unread;
    long entries; /* that can be read of `unread` */
    long at;
    int error; /* 0: kill */
    bool onwards;
    bool in_parts;
    bool after;
    bool stops;
    bool loses, tears;
    long steps;
    pthread_mutex_t mutex;
} plan = {.mutex = PTHREAD_MUTEX_INITIALIZER};

__attribute__((constructor)) static void read_plan(void)
{
    static const struct {
        const char *name;
        int error;
    } errors[] = {
        {"ENOSPC", ENOSPC}, {"EDQUOT", EDQUOT}, {"EIO", EIO}, {"EROFS", EROFS}, {"EINTR", EINTR}};
    const char *at = getenv("LCT_FS_STEP");
    const char *action = getenv("LCT_FS_ACTION");

    plan.below = getenv("LCT_FS_BELOW");
    plan.below_len = plan.below != NULL ? strlen(plan.below) : 0;
    plan.log = getenv("LCT_FS_LOG");
    plan.blind = getenv("LCT_FS_BLIND");
    plan.halt = getenv("LCT_FS_HALT");
    plan.unread = getenv("LCT_FS_UNREAD");
    plan.entries =
        getenv("LCT_FS_ENTRIES") != NULL ? strtol(getenv("LCT_FS_ENTRIES"), NULL, 10) : 0;
    plan.in_parts = action != NULL && strcmp(action, "parts") == 0;
    plan.at = at != NULL && !plan.in_parts ? strtol(at, NULL, 10) : 0;
    for (size_t i = 0; action != NULL && i < sizeof errors / sizeof *errors; i++)
        if (strncmp(action, errors[i].name, strlen(errors[i].name)) == 0)
            plan.error = errors[i].error;
    plan.stops = action != NULL && strncmp(action, "stop", strlen("stop")) == 0;
    plan.after = action != NULL && strstr(action, "-after") != NULL;
    plan.loses = action != NULL && strcmp(action, "lose") == 0;
    plan.tears = action != NULL && strcmp(action, "tear") == 0;
    if (plan.loses || plan.tears)
        journal_begin(getenv("LCT_FS_SPARE"));
    plan.onwards = action != NULL && strchr(action, '+') != NULL;
}

/* What was not synced when the program ended well is lost, too. */
__attribute__((destructor)) static void lose_power(void)
{
    if (plan.loses || plan.tears)
        journal_lose(plan.loses);
}

static bool is_below(const char *path)
{
    return plan.below != NULL && strncmp(path, plan.below, plan.below_len) == 0 &&
           (path[plan.below_len] == '\0' || path[plan.below_len] == '/');
}

/* The path that an open descriptor stands for. */
static bool descriptor_path(char path[PATH_MAX], int fd)
{
    char link[64];

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, PATH_MAX - 1);
    if (len < 0)
        return false;
    path[len] = '\0';
    return true;
}

static bool concerns_path(int dir, const char *name)
{
    char base[PATH_MAX];
    char path[2 * PATH_MAX];

    if (name[0] == '/')
        return is_below(name);
    if (dir == AT_FDCWD ? getcwd(base, sizeof base) == NULL : !descriptor_path(base, dir))
        return false;
    snprintf(path, sizeof path, "%s/%s", base, name);
    return is_below(path);
}

static bool concerns_descriptor(int fd)
{
    char path[PATH_MAX];

    return descriptor_path(path, fd) && is_below(path);
}

static void note(const char *step)
{
    char line[64];

    if (plan.log == NULL)
        return;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, plan.log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (fd < 0)
        abort();
    int len = snprintf(line, sizeof line, "%s\n", step);
    if (syscall(SYS_write, fd, line, (size_t)len) != len)
        abort();
    syscall(SYS_close, fd);
}

/* Counts one step. False: it fails, with errno set. */
static bool may_go_on(const char *step)
{
    pthread_mutex_lock(&plan.mutex);
    long number = ++plan.steps;
    note(step);
    pthread_mutex_unlock(&plan.mutex);
    if (plan.at == 0 || (plan.onwards ? number < plan.at : number != plan.at))
        return true;
    if (plan.stops && !plan.after)
        (void)raise(SIGSTOP);
    if (plan.after || plan.stops)
        return true;
    if (plan.error == 0) {
        lose_power();
        kill(getpid(), SIGKILL);
    }
    errno = plan.error;
    return false;
}

/* After each step; its result is handed on. */
static int done(int result)
{
    if (plan.after && plan.steps == plan.at)
        kill(getpid(), plan.stops ? SIGSTOP : SIGKILL);
    return result;
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

/* Whether it is a record that cannot be seen now, to be told with errno. */
static bool is_blind(const char *name)
{
    static const char record[] = "identity.json";
    size_t len = strlen(name), before = len - (sizeof record - 1);

    if (plan.blind == NULL || len < sizeof record - 1 || strcmp(name + before, record) != 0 ||
        (before > 0 && name[before - 1] != '/') || access(plan.blind, F_OK) != 0)
        return false;
    errno = EIO;
    return true;
}

static int open_at(int dir, const char *name, int flags, mode_t mode)
{
    bool changes = (flags & (O_CREAT | O_TRUNC)) != 0 || (flags & O_TMPFILE) == O_TMPFILE;
    bool concerns = changes && concerns_path(dir, name);

    if (plan.halt != NULL && strcmp(name, plan.halt) == 0)
        (void)raise(SIGSTOP);
    if (concerns && !may_go_on("open"))
        return -1;
    if ((flags & O_PATH) == 0 && is_blind(name))
        return -1;
    if (!concerns)
        return (int)syscall(SYS_openat, dir, name, flags, mode);
    journal_before(dir, name);
    int fd = (int)syscall(SYS_openat, dir, name, flags, mode);
    if (fd >= 0)
        journal_made(dir, name);
    return done(fd);
}

static mode_t mode_of(int flags, va_list arguments)
{
    bool creates = (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE;

    return creates ? va_arg(arguments, mode_t) : 0;
}

#define OPEN(function)                                                                             \
    int function(const char *name, int flags, ...)                                                 \
    {                                                                                              \
        va_list arguments;                                                                         \
        va_start(arguments, flags);                                                                \
        mode_t mode = mode_of(flags, arguments);                                                   \
        va_end(arguments);                                                                         \
        return open_at(AT_FDCWD, name, flags, mode);                                               \
    }
#define OPENAT(function)                                                                           \
    int function(int dir, const char *name, int flags, ...)                                        \
    {                                                                                              \
        va_list arguments;                                                                         \
        va_start(arguments, flags);                                                                \
        mode_t mode = mode_of(flags, arguments);                                                   \
        va_end(arguments);                                                                         \
        return open_at(dir, name, flags, mode);                                                    \
    }

int open64(const char *name, int flags, ...);
int openat64(int dir, const char *name, int flags, ...);
FILE *fopen64(const char *name, const char *mode);

OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

#define FOPEN(function)                                                                            \
    FILE *function(const char *name, const char *mode)                                             \
    {                                                                                              \
        REAL(function);                                                                            \
        if (strpbrk(mode, "wa+") != NULL && concerns_path(AT_FDCWD, name) && !may_go_on("open"))   \
            return NULL;                                                                           \
        return real(name, mode);                                                                   \
    }
FOPEN(fopen)
FOPEN(fopen64)

int faccessat(int dir, const char *name, int mode, int flags)
{
    REAL(faccessat);
    return is_blind(name) ? -1 : real(dir, name, mode, flags);
}

/* Whether the next entry of a directory can be read; false with errno. */
static bool can_be_read(DIR *entries)
{
    char path[PATH_MAX];

    if (plan.unread == NULL || !descriptor_path(path, dirfd(entries)) ||
        fnmatch(plan.unread, path, 0) != 0 || plan.entries-- > 0)
        return true;
    plan.entries = 0;
    errno = EIO;
    return false;
}

#define READDIR(function, type)                                                                    \
    struct type *function(DIR *entries)                                                            \
    {                                                                                              \
        REAL(function);                                                                            \
        return can_be_read(entries) ? real(entries) : NULL;                                        \
    }
READDIR(readdir, dirent)
READDIR(readdir64, dirent64)

ssize_t write(int fd, const void *bytes, size_t len)
{
    REAL(write);
    if (!concerns_descriptor(fd))
        return real(fd, bytes, len);
    if (!may_go_on("write"))
        return -1;
    journal_write(fd);
    return done((int)real(fd, bytes, plan.in_parts && len > 1 ? len / 2 : len));
}

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t offset)
{
    REAL(pwrite);
    if (concerns_descriptor(fd) && !may_go_on("write"))
        return -1;
    return real(fd, bytes, len, offset);
}

/* stdio writes inside libc, past our write(): a stream's steps are seen where it is flushed. */
int fflush(FILE *stream)
{
    REAL(fflush);
    if (stream != NULL && concerns_descriptor(fileno(stream)) && !may_go_on("write"))
        return EOF;
    return real(stream);
}

int fclose(FILE *stream)
{
    REAL(fclose);
    if (concerns_descriptor(fileno(stream)) && !may_go_on("write")) {
        int error = errno;
        real(stream);
        errno = error;
        return EOF;
    }
    return real(stream);
}

/* `before` and `synced` are what the journal is told. */
#define ON_DESCRIPTOR(function, step, before, synced, parameters, ...)                             \
    int function parameters                                                                        \
    {                                                                                              \
        REAL(function);                                                                            \
        if (!concerns_descriptor(fd))                                                              \
            return real(__VA_ARGS__);                                                              \
        if (!may_go_on(step))                                                                      \
            return -1;                                                                             \
        before;                                                                                    \
        int result = real(__VA_ARGS__);                                                            \
        if (result == 0)                                                                           \
            synced;                                                                                \
        return done(result);                                                                       \
    }
#define ON_PATH(function, step, dir, name, before, made, parameters, ...)                          \
    int function parameters                                                                        \
    {                                                                                              \
        REAL(function);                                                                            \
        if (!concerns_path((dir), (name)))                                                         \
            return real(__VA_ARGS__);                                                              \
        if (!may_go_on(step))                                                                      \
            return -1;                                                                             \
        before;                                                                                    \
        int result = real(__VA_ARGS__);                                                            \
        if (result == 0)                                                                           \
            made;                                                                                  \
        return done(result);                                                                       \
    }
#define NOTHING (void)0
#define MAKES(function, step, dir, name, parameters, ...)                                          \
    ON_PATH(function, step, dir, name, journal_before((dir), (name)), journal_made((dir), (name)), \
            parameters, __VA_ARGS__)
#define REMOVES(function, dir, name, parameters, ...)                                              \
    ON_PATH(function, "unlink", dir, name, journal_unlink((dir), (name)), NOTHING, parameters,     \
            __VA_ARGS__)
#define RENAMES(function, from_dir, from, to_dir, to, parameters, ...)                             \
    ON_PATH(function, "rename", to_dir, to, journal_before((to_dir), (to)),                        \
            journal_renamed((from_dir), (from), (to_dir), (to)), parameters, __VA_ARGS__)

ON_DESCRIPTOR(fsync, "fsync", NOTHING, journal_synced(fd, false), (int fd), fd)
ON_DESCRIPTOR(fdatasync, "fsync", NOTHING, journal_synced(fd, false), (int fd), fd)
ON_DESCRIPTOR(syncfs, "fsync", NOTHING, journal_synced(fd, true), (int fd), fd)
ON_DESCRIPTOR(ftruncate, "truncate", NOTHING, NOTHING, (int fd, off_t len), fd, len)
ON_DESCRIPTOR(fchmod, "chmod", journal_attributes(fd), NOTHING, (int fd, mode_t mode), fd, mode)
ON_DESCRIPTOR(fchown, "chown", journal_attributes(fd), NOTHING, (int fd, uid_t uid, gid_t gid), fd,
              uid, gid)

MAKES(mkdir, "mkdir", AT_FDCWD, name, (const char *name, mode_t mode), name, mode)
MAKES(mkdirat, "mkdir", dir, name, (int dir, const char *name, mode_t mode), dir, name, mode)
REMOVES(rmdir, AT_FDCWD, name, (const char *name), name)
REMOVES(unlink, AT_FDCWD, name, (const char *name), name)
REMOVES(unlinkat, dir, name, (int dir, const char *name, int flags), dir, name, flags)
REMOVES(remove, AT_FDCWD, name, (const char *name), name)
ON_PATH(chmod, "chmod", AT_FDCWD, name, NOTHING, NOTHING, (const char *name, mode_t mode), name,
        mode)
ON_PATH(fchmodat, "chmod", dir, name, NOTHING, NOTHING,
        (int dir, const char *name, mode_t mode, int flags), dir, name, mode, flags)
ON_PATH(chown, "chown", AT_FDCWD, name, NOTHING, NOTHING, (const char *name, uid_t uid, gid_t gid),
        name, uid, gid)
ON_PATH(lchown, "chown", AT_FDCWD, name, NOTHING, NOTHING, (const char *name, uid_t uid, gid_t gid),
        name, uid, gid)
ON_PATH(fchownat, "chown", dir, name, NOTHING, NOTHING,
        (int dir, const char *name, uid_t uid, gid_t gid, int flags), dir, name, uid, gid, flags)
MAKES(link, "link", AT_FDCWD, to, (const char *from, const char *to), from, to)
MAKES(linkat, "link", to_dir, to,
      (int from_dir, const char *from, int to_dir, const char *to, int flags), from_dir, from,
      to_dir, to, flags)
MAKES(symlink, "link", AT_FDCWD, name, (const char *target, const char *name), target, name)
MAKES(symlinkat, "link", dir, name, (const char *target, int dir, const char *name), target, dir,
      name)
RENAMES(rename, AT_FDCWD, from, AT_FDCWD, to, (const char *from, const char *to), from, to)
RENAMES(renameat, from_dir, from, to_dir, to,
        (int from_dir, const char *from, int to_dir, const char *to), from_dir, from, to_dir, to)
RENAMES(renameat2, from_dir, from, to_dir, to,
        (int from_dir, const char *from, int to_dir, const char *to, unsigned int flags), from_dir,
        from, to_dir, to, flags)

char *mkdtemp(char *name)
{
    REAL(mkdtemp);
    if (concerns_path(AT_FDCWD, name) && !may_go_on("mkdir"))
        return NULL;
    return real(name);
}

int mkostemp(char *name, int flags)
{
    REAL(mkostemp);
    if (concerns_path(AT_FDCWD, name) && !may_go_on("open"))
        return -1;
    return real(name, flags);
}
