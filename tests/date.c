/* SPDX-License-Identifier: Apache-2.0 */
/*
 * base/date.h. `date days` prints "ok" if each day that there is begins as libc has it; `date`
 * reads lines, each a text or a number of seconds, and prints what the other one of it is, "formed"
 * for a text that is no time, or "none".
 */
#include "base/date.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { DAY = 86400, MAX_LINE = 64 };

static const char form[] = "%Y-%m-%dT%H:%M:%SZ";

static bool is_as_libc_has_it(time_t at)
{
    char text[LCT_DATE_TEXT], expected[LCT_DATE_TEXT];
    struct tm tm;
    int64_t back = 0;

    return gmtime_r(&at, &tm) != NULL && strftime(expected, sizeof expected, form, &tm) != 0 &&
           lct_date_of_seconds(text, at) && strcmp(text, expected) == 0 &&
           lct_date_to_seconds(&back, text) && back == at;
}

/* Each day's first and last second. */
static int compare_days(void)
{
    struct tm first = {.tm_year = 1000 - 1900, .tm_mday = 1};
    struct tm end = {.tm_year = 10000 - 1900, .tm_mday = 1};
    const time_t until = timegm(&end);

    for (time_t at = timegm(&first); at < until; at += DAY)
        if (!is_as_libc_has_it(at) || !is_as_libc_has_it(at + DAY - 1)) {
            printf("%jd is another\n", (intmax_t)at);
            return 1;
        }
    puts("ok");
    return 0;
}

static void answer(const char *line)
{
    char text[LCT_DATE_TEXT] = "?", *end;
    int64_t seconds = strtoll(line, &end, 10);

    if (*end == '\0' && end != line)
        puts(lct_date_of_seconds(text, seconds) ? text : text[0] == '\0' ? "none" : "not emptied");
    else if (lct_date_to_seconds(&seconds, line))
        printf("%" PRId64 "\n", seconds);
    else
        puts(lct_date_is_formed(line) ? "formed" : "none");
}

int main(int argc, char **argv)
{
    char line[MAX_LINE];

    if (argc > 1 && strcmp(argv[1], "days") == 0)
        return compare_days();
    while (fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        answer(line);
    }
    return 0;
}
