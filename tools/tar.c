/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/tar.h"

#include "base/fd.h"
#include "base/unconst.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Neither TAR_OPTIONS nor another PATH. */
static char *const environment[] = {(char[]){"PATH=/usr/bin:/bin"}, (char[]){"LC_ALL=C"}, NULL};

enum { FIRST = 1 << 16, MAX_ARGUMENTS = 16 };

/* A tar(1) that runs. */
struct child {
    pid_t pid;
    int output; /* what it writes */
};

static int spawn(pid_t *pid, const char *const arguments[],
                 const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attributes)
{
    static const char *const programs[] = {"/usr/bin/tar", "/bin/tar"};
    char *copies[MAX_ARGUMENTS] = {NULL};
    int error = ENOENT;

    for (size_t i = 0; arguments[i] != NULL && i + 1 < MAX_ARGUMENTS; i++)
        copies[i] = lct_unconst(arguments[i]);
    for (size_t i = 0; i < sizeof programs / sizeof programs[0] && error == ENOENT; i++)
        error = posix_spawn(pid, programs[i], actions, attributes, copies, environment);
    return error;
}

/* Starts it with `input` (-1: nothing) as its standard input, and the signals that `mask` lets
 * through. */
static enum lct_code start(struct child *child, const char *const arguments[], int input,
                           const sigset_t *mask, struct lct_err *err)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) != 0)
        return LCT_FAIL(err, LCT_ERR_IO, "tar cannot be run: %s", strerror(errno));
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawnattr_init(&attributes);
    int error = input >= 0 ? posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO)
                           : posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null",
                                                              O_RDONLY, 0);
    if (error == 0)
        error = posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    if (error == 0) /* what it says may have names of others in it */
        error = posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    if (error == 0)
        error = posix_spawnattr_setsigmask(&attributes, mask);
    if (error == 0)
        error = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    if (error == 0)
        error = spawn(&child->pid, arguments, &actions, &attributes);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)posix_spawnattr_destroy(&attributes);
    close(ends[1]);
    child->output = ends[0];
    if (error == 0)
        return LCT_OK;
    close(ends[0]);
    return LCT_FAIL(err, LCT_ERR_IO, "tar cannot be run: %s", strerror(error));
}

/* All that it writes, at most `max` bytes; *more: there would have been more. */
static bool drain(uint8_t **bytes, size_t *bytes_len, size_t max, int fd, bool *more)
{
    size_t room = 0, got;

    *more = false;
    do {
        size_t grown = room == 0 ? FIRST : 2 * room;
        if (grown > max + 1)
            grown = max + 1;
        uint8_t *all = realloc(*bytes, grown);
        if (all == NULL)
            return false;
        *bytes = all;
        if (!lct_fd_read_all(fd, all + *bytes_len, &got, grown - *bytes_len))
            return false;
        room = grown;
        *bytes_len += got;
    } while (*bytes_len == room && room <= max);
    *more = *bytes_len > max;
    return true;
}

/* Its output and its end. */
static enum lct_code finish(struct child *child, uint8_t **bytes, size_t *bytes_len, size_t max,
                            struct lct_err *err)
{
    bool more;
    int status = -1;
    bool good = drain(bytes, bytes_len, max, child->output, &more);

    close(child->output);
    if (!good || more)
        (void)kill(child->pid, SIGKILL);
    while (waitpid(child->pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (!good)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    if (more)
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD, "it has more than %zu MiB", max >> 20);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD,
                        "tar cannot read it: it is no archive, or "
                        "damaged");
    return LCT_OK;
}

static enum lct_code run(uint8_t **bytes, size_t *bytes_len, size_t max,
                         const char *const arguments[], int input, const sigset_t *mask,
                         struct lct_err *err)
{
    struct child child;

    *bytes = NULL;
    *bytes_len = 0;
    enum lct_code code = start(&child, arguments, input, mask, err);
    if (code == LCT_OK)
        code = finish(&child, bytes, bytes_len, max, err);
    if (code != LCT_OK) {
        free(*bytes);
        *bytes = NULL;
    }
    return code;
}

enum lct_code lct_tar_read(uint8_t **bytes, size_t *bytes_len, size_t max, int fd,
                           struct lct_err *err)
{
    static const char *const arguments[] = {"tar", "--extract", "--to-stdout", "--file=-", NULL};
    sigset_t mask;

    (void)sigprocmask(SIG_SETMASK, NULL, &mask);
    return run(bytes, bytes_len, max, arguments, fd, &mask, err);
}

/* Files that wait to be packed: below `path` what is packed, and in `names` the order. */
struct staging {
    char *path;
    int fd;
    FILE *names;
};

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    (void)remove(path);
    return 0;
}

static void staging_close(struct staging *staging)
{
    enum { OPEN_DIRS = 8 };

    if (staging->names != NULL)
        (void)fclose(staging->names);
    if (staging->fd >= 0)
        close(staging->fd);
    if (staging->fd >= 0 && staging->path != NULL)
        (void)nftw(staging->path, remove_one, OPEN_DIRS, FTW_DEPTH | FTW_PHYS);
    free(staging->path);
}

static enum lct_code fail_staging(const struct staging *staging, struct lct_err *err)
{
    return LCT_FAIL(err, LCT_ERR_IO, "%s cannot be written: %s; name another directory in TMPDIR",
                    staging->path, strerror(errno));
}

static enum lct_code staging_open(struct staging *staging, struct lct_err *err)
{
    const char *tmp = secure_getenv("TMPDIR");

    *staging = (struct staging){.fd = -1};
    if (asprintf(&staging->path, "%s/lct.XXXXXX", tmp != NULL && *tmp == '/' ? tmp : "/tmp") < 0)
        staging->path = NULL;
    if (staging->path == NULL)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    if (mkdtemp(staging->path) == NULL)
        return fail_staging(staging, err);
    staging->fd = open(staging->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    int names = staging->fd >= 0
                    ? openat(staging->fd, "names", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)
                    : -1;
    staging->names = names >= 0 ? fdopen(names, "w") : NULL;
    return staging->names != NULL ? LCT_OK : fail_staging(staging, err);
}

/* The directories that a path leads through, each of which is named once. */
static bool stage_dirs(struct staging *staging, char *path)
{
    for (char *slash = strchr(path, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        bool made = mkdirat(staging->fd, path, 0700) == 0;
        bool good =
            (made && fprintf(staging->names, "%s\n", path) > 0) || (!made && errno == EEXIST);
        *slash = '/';
        if (!good)
            return false;
    }
    return true;
}

static bool stage_file(struct staging *staging, const char *top, const struct lct_tar_file *file)
{
    char *path = NULL;

    if (asprintf(&path, "%s/%s%s%s", top, file->dir, *file->dir != '\0' ? "/" : "", file->name) < 0)
        return false;
    int fd = stage_dirs(staging, path)
                 ? openat(staging->fd, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)
                 : -1;
    bool good = fd >= 0 && lct_fd_write_all(fd, file->bytes, file->bytes_len) &&
                fprintf(staging->names, "%s\n", path) > 0;
    if (fd >= 0 && close(fd) != 0)
        good = false;
    free(path);
    return good;
}

/* What is staged, as tar packs it: what it does not say of the files, it says of no machine. */
static enum lct_code pack(uint8_t **tar, size_t *tar_len, const struct staging *staging,
                          const sigset_t *mask, struct lct_err *err)
{
    char *directory = NULL, *names = NULL;
    enum lct_code code;

    if (asprintf(&directory, "--directory=%s", staging->path) < 0)
        directory = NULL;
    if (asprintf(&names, "--files-from=%s/names", staging->path) < 0)
        names = NULL;
    if (directory != NULL && names != NULL) {
        const char *const arguments[] = {"tar",
                                         "--create",
                                         "--file=-",
                                         "--format=pax",
                                         "--pax-option=delete=atime,delete=ctime,delete=mtime",
                                         "--owner=root:0",
                                         "--group=root:0",
                                         "--no-recursion",
                                         "--verbatim-files-from",
                                         directory,
                                         names,
                                         NULL};
        code = run(tar, tar_len, SIZE_MAX / 4, arguments, -1, mask, err);
    } else {
        code = LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    }
    if (code == LCT_ERR_BAD_RECORD)
        code = LCT_FAIL(err, LCT_ERR_IO, "tar has failed; GNU tar is needed");
    free(directory);
    free(names);
    return code;
}

enum lct_code lct_tar_make(uint8_t **tar, size_t *tar_len, const char *top,
                           const struct lct_tar_file *files, size_t num_files, struct lct_err *err)
{
    struct staging staging;
    sigset_t all, mask;

    *tar = NULL;
    /* Whoever ends us meanwhile ends us when the directory is gone again; tar itself is ended. */
    (void)sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, &mask);
    enum lct_code code = staging_open(&staging, err);
    for (size_t i = 0; i < num_files && code == LCT_OK; i++)
        if (!stage_file(&staging, top, &files[i]))
            code = fail_staging(&staging, err);
    if (code == LCT_OK && fflush(staging.names) != 0)
        code = fail_staging(&staging, err);
    if (code == LCT_OK)
        code = pack(tar, tar_len, &staging, &mask, err);
    staging_close(&staging);
    (void)sigprocmask(SIG_SETMASK, &mask, NULL);
    return code;
}
