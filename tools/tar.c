/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/tar.h"

#include "base/fd.h"
#include "base/unconst.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
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
                 const posix_spawn_file_actions_t *actions)
{
    static const char *const programs[] = {"/usr/bin/tar", "/bin/tar"};
    char *copies[MAX_ARGUMENTS] = {NULL};
    int error = ENOENT;

    for (size_t i = 0; arguments[i] != NULL && i + 1 < MAX_ARGUMENTS; i++)
        copies[i] = lct_unconst(arguments[i]);
    for (size_t i = 0; i < sizeof programs / sizeof programs[0] && error == ENOENT; i++)
        error = posix_spawn(pid, programs[i], actions, NULL, copies, environment);
    return error;
}

/* Starts it with `input` as its standard input. */
static enum lct_code start(struct child *child, const char *const arguments[], int input,
                           struct lct_err *err)
{
    posix_spawn_file_actions_t actions;
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) != 0)
        return LCT_FAIL(err, LCT_ERR_IO, "tar cannot be run: %s", strerror(errno));
    (void)posix_spawn_file_actions_init(&actions);
    int error = posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
    if (error == 0)
        error = posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    if (error == 0) /* what it says may have names of others in it */
        error = posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    if (error == 0)
        error = spawn(&child->pid, arguments, &actions);
    (void)posix_spawn_file_actions_destroy(&actions);
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
                         const char *const arguments[], int input, struct lct_err *err)
{
    struct child child;

    *bytes = NULL;
    *bytes_len = 0;
    enum lct_code code = start(&child, arguments, input, err);
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

    return run(bytes, bytes_len, max, arguments, fd, err);
}

enum { BLOCK = 512, DIRECTORY = '5', REGULAR = '0', EXTENDED = 'x' };

/* POSIX.1-2017, pax, ustar Header Block. All numbers are octal, and end with a NUL. */
struct header {
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type;
    char linked[100], magic[6], version[2], user[32], group[32], major[8], minor[8];
    char prefix[155], unused[12];
};

_Static_assert(sizeof(struct header) == BLOCK, "a header is a block");

/* The checksum is of a header that has spaces in its place. */
static void set_checksum(struct header *header)
{
    uint8_t bytes[BLOCK];
    unsigned sum = 0;

    memset(header->checksum, ' ', sizeof header->checksum);
    memcpy(bytes, header, sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++)
        sum += bytes[i];
    (void)snprintf(header->checksum, sizeof header->checksum - 1, "%06o", sum);
}

/* What is not of the file says nothing of this machine. */
static bool write_header(FILE *out, const char *name, char type, size_t size)
{
    struct header header = {.type = type,
                            .mode = "0000600",
                            .uid = "0000000",
                            .gid = "0000000",
                            .magic = "ustar",
                            .version = {'0', '0'},
                            .user = "root",
                            .group = "root",
                            .major = "0000000",
                            .minor = "0000000"};

    if (type == DIRECTORY)
        memcpy(header.mode, "0000700", sizeof header.mode);
    memcpy(header.name, name, strnlen(name, sizeof header.name));
    (void)snprintf(header.size, sizeof header.size, "%011zo", size);
    (void)snprintf(header.mtime, sizeof header.mtime, "%011llo", (unsigned long long)time(NULL));
    set_checksum(&header);
    return fwrite(&header, sizeof header, 1, out) == 1;
}

static bool write_content(FILE *out, const void *bytes, size_t len)
{
    static const char zeros[BLOCK];
    size_t padding = (BLOCK - len % BLOCK) % BLOCK;

    return fwrite(bytes, 1, len, out) == len && fwrite(zeros, 1, padding, out) == padding;
}

/* POSIX.1-2017, pax Extended Header: "LENGTH path=PATH\n", where the length is of all of that. */
static bool write_long_path(FILE *out, const char *path)
{
    char *record = NULL;
    int len = (int)(sizeof " path=\n" - 1 + strlen(path)), digits = 1;

    for (int limit = 10; len + digits >= limit; limit *= 10)
        digits++;
    bool good = asprintf(&record, "%d path=%s\n", len + digits, path) == len + digits &&
                write_header(out, "path", EXTENDED, strlen(record)) &&
                write_content(out, record, strlen(record));
    free(record);
    return good;
}

static bool write_entry(FILE *out, const char *path, char type, const uint8_t *bytes, size_t len)
{
    if (strlen(path) > sizeof((struct header *)0)->name && !write_long_path(out, path))
        return false;
    return write_header(out, path, type, len) && (len == 0 || write_content(out, bytes, len));
}

/* The directories that a path leads through, but for those of the path before. */
static bool write_dirs(FILE *out, const char *path, const char *before)
{
    bool good = true;

    for (const char *slash = strchr(path, '/'); good && slash != NULL;
         slash = strchr(slash + 1, '/')) {
        size_t len = (size_t)(slash - path) + 1;
        if (strncmp(path, before, len) == 0)
            continue;
        char *dir = strndup(path, len);
        good = dir != NULL && write_entry(out, dir, DIRECTORY, NULL, 0);
        free(dir);
    }
    return good;
}

/* One after another; the two blocks of zeros that end it are another's. */
static bool write_files(FILE *out, const char *top, const struct lct_tar_file *files,
                        size_t num_files)
{
    char *path = NULL, *before = strdup("");
    bool good = before != NULL;

    for (size_t i = 0; i < num_files && good; i++) {
        const struct lct_tar_file *file = &files[i];
        if (asprintf(&path, "%s/%s%s%s", top, file->dir, *file->dir != '\0' ? "/" : "",
                     file->name) < 0)
            path = NULL;
        good = path != NULL && write_dirs(out, path, before) &&
               write_entry(out, path, REGULAR, file->bytes, file->bytes_len);
        free(before);
        before = path;
        path = NULL;
    }
    free(before);
    return good;
}

enum lct_code lct_tar_make(uint8_t **tar, size_t *tar_len, const char *top,
                           const struct lct_tar_file *files, size_t num_files, struct lct_err *err)
{
    static const char end[2 * BLOCK];
    char *bytes = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&bytes, &len);
    bool good = out != NULL && write_files(out, top, files, num_files) &&
                fwrite(end, sizeof end, 1, out) == 1;

    if (out != NULL && fclose(out) != 0)
        good = false;
    *tar = (uint8_t *)bytes;
    *tar_len = len;
    if (good)
        return LCT_OK;
    free(bytes);
    *tar = NULL;
    return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
}
