/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_BASE_TEMPORARY_H
#define LCT_BASE_TEMPORARY_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * Temporary files in a directory that is not locked. Each is locked by who writes it, so one that
 * nobody has locked was left by a crash, or is so new that its maker, who looks whether it is there
 * once it is locked, makes another. Nobody renames or removes one without its lock; what has its
 * name and cannot be opened is removed by who has the directory's.
 */

/* Removes one that nobody has locked, or a link, a pipe or a socket that has its name. True: it is
 * not there; false with errno, EBUSY: somebody writes it, or has its directory locked where it is
 * none; EACCES: who has it locked cannot be known. */
bool lct_temporary_clear(int dir, const char *name);

/* Makes one: its descriptor, to write to, which has the lock until it is closed. -1 with errno,
 * EEXIST: it is there; EAGAIN: it was cleared away before it was locked, and may be made again. */
int lct_temporary_make(int dir, const char *name, mode_t mode);

#endif
