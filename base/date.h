/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_BASE_DATE_H
#define LCT_BASE_DATE_H

#include <stdbool.h>
#include <stdint.h>

enum { LCT_DATE_TEXT = sizeof "2026-11-23T20:00:00Z" };

/*
 * Times as texts of that form (RFC 3339, UTC) and as seconds since 1970, in the Gregorian calendar.
 * libc's functions for that take the lock of its time zone, which a child of fork finds held if
 * another thread of its parent had it, and then waits for ever.
 */

/* False, and an empty text: of no year from 1000 to 9999. */
bool lct_date_of_seconds(char text[LCT_DATE_TEXT], int64_t seconds);

/* Whether a text has the form, and each part of it may be one in some date: as with strptime(3),
 * there is a 31st in each month, and a minute may have 62 seconds. */
bool lct_date_is_formed(const char *text);

/* False: it is not in that form, no time at all, or of no year from 1000 on. */
bool lct_date_to_seconds(int64_t *seconds, const char *text);

#endif
