/* SPDX-License-Identifier: Apache-2.0 */
#include "base/date.h"

#include <string.h>

/* In the order in which a text has them. */
enum part { YEAR, MONTH, DAY, HOUR, MINUTE, SECOND, NUM_PARTS };

/* A digit stands for one of the part with that number. */
static const char form[LCT_DATE_TEXT] = "0000-11-22T33:44:55Z";

static const int64_t earliest = -30610224000; /* 1000-01-01T00:00:00Z */
static const int64_t latest = 253402300799;   /* 9999-12-31T23:59:59Z */

/*
 * A year of this reckoning begins with March, so that the day that some years have comes last: its
 * months are 0 to 11, and each five of them have 153 days. Days are counted from 0000-03-01.
 */
enum { BEFORE_1970 = 719468, ERA = 146097 /* 400 years */, DAY_SECONDS = 86400 };

static int64_t first_day(int64_t year)
{
    return 365 * year + year / 4 - year / 100 + year / 400;
}

static int64_t day_of_month(int64_t month)
{
    return (153 * month + 2) / 5;
}

static void split_day(int64_t parts[NUM_PARTS], int64_t day)
{
    int64_t in_era = day % ERA;
    /* Each 4th year has a day more, but for each 100th, but for the last. */
    int64_t year =
        day / ERA * 400 + (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
    int64_t in_year = day - first_day(year);
    int64_t month = (5 * in_year + 2) / 153;

    parts[YEAR] = month < 10 ? year : year + 1;
    parts[MONTH] = month < 10 ? month + 3 : month - 9;
    parts[DAY] = in_year - day_of_month(month) + 1;
}

static int64_t join_day(const int64_t parts[NUM_PARTS])
{
    bool is_early = parts[MONTH] < 3;
    int64_t year = is_early ? parts[YEAR] - 1 : parts[YEAR];
    int64_t month = is_early ? parts[MONTH] + 9 : parts[MONTH] - 3;

    return first_day(year) + day_of_month(month) + parts[DAY] - 1;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static void write_parts(char text[LCT_DATE_TEXT], int64_t parts[NUM_PARTS])
{
    for (size_t i = LCT_DATE_TEXT; i-- > 0;) { /* of each part the last digit is the first */
        text[i] = form[i];
        if (!is_digit(form[i]))
            continue;
        int64_t *part = &parts[form[i] - '0'];
        text[i] = (char)('0' + *part % 10);
        *part /= 10;
    }
}

static bool read_parts(int64_t parts[NUM_PARTS], const char *text)
{
    static const struct {
        int64_t least, most;
    } ranges[NUM_PARTS] = {{0, 9999}, {1, 12}, {1, 31}, {0, 23}, {0, 59}, {0, 61}};

    if (strlen(text) != LCT_DATE_TEXT - 1)
        return false;
    memset(parts, 0, NUM_PARTS * sizeof parts[0]);
    for (size_t i = 0; form[i] != '\0'; i++) {
        if (is_digit(form[i]) ? !is_digit(text[i]) : text[i] != form[i])
            return false;
        if (is_digit(form[i]))
            parts[form[i] - '0'] = 10 * parts[form[i] - '0'] + text[i] - '0';
    }
    for (size_t i = 0; i < NUM_PARTS; i++)
        if (parts[i] < ranges[i].least || parts[i] > ranges[i].most)
            return false;
    return true;
}

bool lct_date_of_seconds(char text[LCT_DATE_TEXT], int64_t seconds)
{
    int64_t parts[NUM_PARTS];

    text[0] = '\0';
    if (seconds < earliest || seconds > latest)
        return false;
    seconds += (int64_t)BEFORE_1970 * DAY_SECONDS; /* so that it is no negative number */
    split_day(parts, seconds / DAY_SECONDS);
    parts[HOUR] = seconds / 3600 % 24;
    parts[MINUTE] = seconds / 60 % 60;
    parts[SECOND] = seconds % 60;
    write_parts(text, parts);
    return true;
}

bool lct_date_is_formed(const char *text)
{
    int64_t parts[NUM_PARTS];

    return read_parts(parts, text);
}

bool lct_date_to_seconds(int64_t *seconds, const char *text)
{
    char again[LCT_DATE_TEXT];
    int64_t parts[NUM_PARTS];

    if (!read_parts(parts, text))
        return false;
    *seconds = (join_day(parts) - BEFORE_1970) * DAY_SECONDS + parts[HOUR] * 3600 +
               parts[MINUTE] * 60 + parts[SECOND];
    return lct_date_of_seconds(again, *seconds) &&
           strcmp(again, text) == 0; /* no 30th of February */
}
