/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/private_file.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* That there is such a file is on disk too. */
static bool sync_dir_of(const char *file)
{
    char *copy = strdup(file);
    int fd = copy != NULL ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    bool good = fd < 0 || fsync(fd) == 0 || errno == EINVAL; /* not every file system can */

    if (fd >= 0)
        close(fd);
    free(copy);
    return good;
}

static int create(const char *file)
{
    return open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
}

/* Closes `fd`, on failure too; false with errno. */
static bool fill(int fd, const uint8_t *bytes, size_t bytes_len)
{
    bool good = fchmod(fd, 0600) == 0 && lct_fd_write_all(fd, bytes, bytes_len) && fsync(fd) == 0;
    int error = errno;

    if (close(fd) != 0 && good) {
        error = errno;
        good = false;
    }
    errno = error;
    return good;
}

static enum lct_code fail_write(const char *file, struct lct_err *err)
{
    return LCT_FAIL(err, LCT_ERR_IO, "%s cannot be written: %s", file, strerror(errno));
}

enum lct_code lct_private_file_make(const char *file, const uint8_t *bytes, size_t bytes_len,
                                    struct lct_err *err)
{
    int fd = create(file);

    if (fd < 0 && errno == EEXIST)
        return LCT_FAIL(err, LCT_ERR_IO,
                        "%s is there already, and is not replaced; name another file", file);
    if (fd < 0)
        return LCT_FAIL(err, LCT_ERR_IO, "%s cannot be made: %s", file, strerror(errno));
    if (fill(fd, bytes, bytes_len) && sync_dir_of(file))
        return LCT_OK;
    enum lct_code code = fail_write(file, err);
    (void)unlink(file);
    return code;
}

enum lct_code lct_private_file_replace(const char *file, const uint8_t *bytes, size_t bytes_len,
                                       struct lct_err *err)
{
    char *beside = NULL;

    if (asprintf(&beside, "%s.lct-new", file) < 0)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    int fd = unlink(beside) == 0 || errno == ENOENT ? create(beside) : -1;
    bool good = fd >= 0 && fill(fd, bytes, bytes_len) && rename(beside, file) == 0;
    enum lct_code code = good ? LCT_OK : fail_write(file, err);

    if (!good && fd >= 0)
        (void)unlink(beside);
    free(beside);
    return code == LCT_OK && !sync_dir_of(file) ? fail_write(file, err) : code;
}
