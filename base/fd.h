/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_BASE_FD_H
#define LCT_BASE_FD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Reads until the end, or until there is no room; false with errno. *bytes_len is what was read, in
 * each case. */
bool lct_fd_read_all(int fd, uint8_t *bytes, size_t *bytes_len, size_t room);

/* Writes all of it to a descriptor, or false with errno. */
bool lct_fd_write_all(int fd, const uint8_t *bytes, size_t bytes_len);

#endif
