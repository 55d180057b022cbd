/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TOOLS_PRIVATE_FILE_H
#define LCT_TOOLS_PRIVATE_FILE_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

/* Files that hold a secret, 0600 whatever the umask; all on disk when these return, the entry in
 * the directory too. */

/* Makes a new one, following no link. LCT_ERR_IO: it cannot be written, or is there already. */
enum lct_code lct_private_file_make(const char *file, const uint8_t *bytes, size_t bytes_len,
                                    struct lct_err *err);

/* Puts another one in the place of one that the caller has locked, in one step: a crash leaves the
 * one or the other, and perhaps FILE.lct-new, which the next one removes, be it a link or a pipe.
 * LCT_ERR_IO: also while another is writing that, and where it is another user's who lets nobody
 * open it. */
enum lct_code lct_private_file_replace(const char *file, const uint8_t *bytes, size_t bytes_len,
                                       struct lct_err *err);

/* The same for one that holds no secret, or not there yet: a text, with the owner, group and mode
 * of `like`. The caller need have locked nothing. LCT_ERR_IO: also where a device, a pipe or a
 * directory is, or a link leads to one. */
enum lct_code lct_public_file_replace(const char *file, const char *text, const struct stat *like,
                                      struct lct_err *err);

/* Removes one, if it is there; on disk when it returns. LCT_ERR_IO. */
enum lct_code lct_public_file_remove(const char *file, struct lct_err *err);

#endif
