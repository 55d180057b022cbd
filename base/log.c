/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

void lct_log_line(struct lct_lines *log, const char *format, ...)
{
    char line[LCT_LINE], now[LCT_LINE_TIME];
    va_list args;

    if (log == NULL)
        return;
    int len = snprintf(line, sizeof line, "%s lct[%d] ", lct_lines_time(now), getpid());
    va_start(args, format);
    (void)vsnprintf(line + len, sizeof line - (size_t)len, format, args);
    va_end(args);
    (void)lct_lines_write(log, line, false);
}

int64_t lct_log_clock(const struct lct_lines *log)
{
    struct timespec now = {0};

    if (log != NULL)
        (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

double lct_log_since(int64_t started)
{
    struct timespec now = {0};

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return ((double)now.tv_sec * 1e9 + (double)now.tv_nsec - (double)started * 1e3) / 1e6;
}
