/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_BASE_FD_H
#define LCT_BASE_FD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Reads until the end, or until there is no room; false with errno. *bytes_len is what was read, in
 * each case. */
bool lct_fd_read_all(int fd, uint8_t *bytes, size_t *bytes_len, size_t room);

/* write(2) without the signals of a pipe that nobody reads, EPIPE, and of a file that may not grow,
 * EFBIG: a program that has no idea of them would end. */
ssize_t lct_fd_write(int fd, const void *bytes, size_t bytes_len);

/* Writes all of it to a descriptor by lct_fd_write, or false with errno. */
bool lct_fd_write_all(int fd, const uint8_t *bytes, size_t bytes_len);

/* How long lct_fd_lock waits: whoever may read a file may lock it, too. */
enum { LCT_LOCK_SECONDS = 10 };

/* flock(2), LOCK_EX or LOCK_SH, however many signals come; false with errno: EWOULDBLOCK, another
 * has it still. */
bool lct_fd_lock(int fd, bool alone);

#endif
