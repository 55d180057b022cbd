/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TOOLS_TAR_H
#define LCT_TOOLS_TAR_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

/*
 * Archives. They are read by tar(1), which every system has: a library that reads them would bring
 * a dozen others into each start of the program. One is written in memory: tar would take the files
 * from a directory, which would stay behind if somebody killed us.
 */

/* A file of an archive; borrowed. */
struct lct_tar_file {
    const char *dir, *name; /* "alice", or "": none; "key-1.pem", ".approvals/NAME" */
    const uint8_t *bytes;
    size_t bytes_len;
};

/*
 * The archive (pax) of these files, in their order, and of their directories, below the directory
 * `top`; files of one directory are beside each other. The caller frees *tar. LCT_ERR_INTERNAL.
 */
enum lct_code lct_tar_make(uint8_t **tar, size_t *tar_len, const char *top,
                           const struct lct_tar_file *files, size_t num_files, struct lct_err *err);

/*
 * The contents of all files in an archive, one after another, at most `max` bytes; the caller frees
 * *bytes. What they are called and all that is no file (links, devices) is passed over, and nothing
 * is unpacked: there is no path in an archive that could lead somewhere. `fd` is open for reading.
 * LCT_ERR_BAD_RECORD: it is no archive, or has more; LCT_ERR_IO; LCT_ERR_INTERNAL.
 */
enum lct_code lct_tar_read(uint8_t **bytes, size_t *bytes_len, size_t max, int fd,
                           struct lct_err *err);

#endif
