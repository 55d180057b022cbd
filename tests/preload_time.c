/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preloaded before a program, it sets that one's clock: time(2) is LCT_TIME_SHIFT seconds, from the
 * environment, later than it is, or if that is negative earlier.
 */
#include <stdlib.h>
#include <time.h>

time_t time(time_t *seconds)
{
    const char *shift = getenv("LCT_TIME_SHIFT");
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    now.tv_sec += shift != NULL ? strtol(shift, NULL, 10) : 0;
    if (seconds != NULL)
        *seconds = now.tv_sec;
    return now.tv_sec;
}
