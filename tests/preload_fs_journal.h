/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TESTS_PRELOAD_FS_JOURNAL_H
#define LCT_TESTS_PRELOAD_FS_JOURNAL_H

#include <stdbool.h>

/*
 * What a program has done to a file system and not synced, in order, to be taken back as a loss of
 * power would. On disk for sure is content, mode and owner after fsync of the file or directory,
 * and a name after fsync of the directory that it is in; of one that was renamed, of either. What
 * is written over old content is left as it is. Makes its own system calls, leaves errno alone, and
 * does nothing until it has begun. One thread.
 */

/* `spare`: a directory on the same file system, for what is unlinked and replaced. */
void journal_begin(const char *spare);

/* Before the step. */
void journal_write(int fd);
void journal_attributes(int fd);
void journal_unlink(int dir, const char *name);

/* Before a step that makes the name or renames to it, and after it, if it was done. */
void journal_before(int dir, const char *name);
void journal_made(int dir, const char *name);
void journal_renamed(int from_dir, const char *from, int dir, const char *name);

/* After fsync of `fd`; `all`: of the file system. */
void journal_synced(int fd, bool all);

/* The power is lost, and with `names` what happened to names, too; without, as on a file system
 * that writes those early, content alone. */
void journal_lose(bool names);

#endif
