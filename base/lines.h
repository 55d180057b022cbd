/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_BASE_LINES_H
#define LCT_BASE_LINES_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

enum { LCT_LINE = 1024, LCT_LINE_TIME = 28, LCT_LINE_PROGRAM = 256 }; /* bytes, NUL included */

/*
 * A place that lines are appended to, for as long as the process lives: in its children too, in a
 * chroot and after its privileges are gone, since the descriptor is opened once and kept. Where a
 * host has closed that (base/descriptor.h), the place is opened again for each line. Counted,
 * immutable for who holds it, and safe in threads: there is no lock that a fork could leave held.
 */
struct lct_lines;

/*
 * `where`:
 *   stderr         what standard error is now
 *   syslog         the system's log, by a datagram to /dev/log, as facility authpriv and level info
 *   syslog:PATH    the same by another socket
 *   PATH           absolute: a regular file, made with mode 0600; a link as its last part is not
 *                  followed
 * A place that cannot be opened is one all the same: lct_lines_check says so. LCT_ERR_CONFIG: it is
 * none of these; LCT_ERR_INTERNAL.
 */
enum lct_code lct_lines_open(struct lct_lines **lines, const char *where, struct lct_err *err);
struct lct_lines *lct_lines_up_ref(struct lct_lines *lines); /* of NULL: NULL */
void lct_lines_free(struct lct_lines *lines);

/* What was given as `where`. */
const char *lct_lines_where(const struct lct_lines *lines);

/* Whether it could be opened: LCT_ERR_CONFIG, in a sentence. */
enum lct_code lct_lines_check(const struct lct_lines *lines, struct lct_err *err);

/*
 * Appends one line, given without its end, and cut at LCT_LINE; control characters become '?'. One
 * write(2), so lines of several processes do not mix. `on_disk`: of a file, when this returns it is
 * there. 0, or an errno: then it was not written, or was cut short and the next line begins a new
 * one. A system's log that takes nothing is given up on after two seconds.
 */
int lct_lines_write(struct lct_lines *lines, const char *text, bool on_disk);

/* Now, as RFC 3339 has it, UTC, to the microsecond. Returns `text`. */
const char *lct_lines_time(char text[LCT_LINE_TIME]);

/* The program's file as /proc has it, or what the program is called. Returns `text`. */
const char *lct_lines_program(char text[LCT_LINE_PROGRAM]);

#endif
