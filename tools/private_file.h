/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TOOLS_PRIVATE_FILE_H
#define LCT_TOOLS_PRIVATE_FILE_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

/* Files that hold a secret, 0600 whatever the umask; all on disk when these return, the entry in
 * the directory too. */

/* Makes a new one, following no link. LCT_ERR_IO: it cannot be written, or is there already. */
enum lct_code lct_private_file_make(const char *file, const uint8_t *bytes, size_t bytes_len,
                                    struct lct_err *err);

/* Puts another one in the place of one that the caller has locked, in one step: a crash leaves the
 * one or the other, and perhaps FILE.lct-new, which the next one removes. LCT_ERR_IO. */
enum lct_code lct_private_file_replace(const char *file, const uint8_t *bytes, size_t bytes_len,
                                       struct lct_err *err);

#endif
