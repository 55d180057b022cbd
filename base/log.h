/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_BASE_LOG_H
#define LCT_BASE_LOG_H

#include "base/attribute.h"
#include "base/lines.h"

#include <stdint.h>

/*
 * The trace that LCT_LOG asks for: a line with the time and the process. `log` is NULL where nobody
 * asked, and then nothing is done; what costs something to find out is found out only after a look
 * at that. Never for secrets, nor for what is signed. A line that cannot be written is lost.
 */
void lct_log_line(struct lct_lines *log, const char *format, ...) LCT_PRINTF(2, 3);

/* Microseconds of CLOCK_MONOTONIC; 0 where there is no log. */
int64_t lct_log_clock(const struct lct_lines *log);

/* Milliseconds since then. */
double lct_log_since(int64_t started);

#endif
