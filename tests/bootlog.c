/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Event logs for people.
 *
 *     bootlog VALUES judge   whether a log explains values: "OUTCOME REASON"
 *     bootlog VALUES events  its events: "NUMBER PCR TYPE TEXT"
 *     bootlog VALUES mutate  each of its bytes is its end, "cut N", and is changed in four ways,
 *                            "flip N": those that explain the values
 *
 * The log is read from standard input; VALUES is a file as `lct pcrs` writes it.
 */
#include "proof/bootlog.h"
#include "proof/json.h"
#include "tcg/event_text.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bytes in a block of their own, so that a sanitizer sees a byte too many. */
static uint8_t *copy(const void *bytes, size_t len)
{
    uint8_t *block = malloc(len > 0 ? len : 1);

    if (block == NULL)
        abort();
    if (len > 0)
        memcpy(block, bytes, len);
    return block;
}

static void read_values(struct lct_pcr_values *values, const char *path)
{
    uint8_t bytes[65536];
    struct lct_err err = {0};
    FILE *file = fopen(path, "re");
    size_t len = file != NULL ? fread(bytes, 1, sizeof bytes, file) : 0;

    if (file == NULL || lct_json_pcrs_file(values, bytes, len, &err) != LCT_OK)
        abort();
    fclose(file);
}

static void tell(struct lct_event event, bool print)
{
    char name[LCT_EVENT_NAME], text[LCT_EVENT_TEXT];
    uint8_t *own = copy(event.bytes, event.bytes_len);

    event.bytes = own;
    lct_event_text(text, &event);
    free(own);
    if (memchr(text, '\0', sizeof text) == NULL)
        abort();
    for (const char *c = text; *c != '\0'; c++)
        if (*c < ' ' || *c > '~')
            abort();
    if (print)
        printf("%zu %u %s %s\n", event.number, (unsigned)event.pcr,
               lct_event_name(name, event.type), text);
}

static void tell_all(const uint8_t *log, size_t log_len, bool print)
{
    struct lct_eventlog reading;
    struct lct_event event;
    enum lct_code code = lct_eventlog_begin(&reading, log, log_len, NULL);

    while (code == LCT_OK && !lct_eventlog_at_end(&reading)) {
        code = lct_eventlog_next(&event, &reading, NULL);
        if (code == LCT_OK)
            tell(event, print);
    }
}

static bool passes(const struct lct_pcr_values *values, const uint8_t *log, size_t log_len)
{
    struct lct_finding finding = {.reason = ""};
    uint8_t *own = copy(log, log_len);

    lct_bootlog_judge(&finding, NULL, NULL, values, own, log_len);
    tell_all(own, log_len, false);
    free(own);
    if (finding.reason[0] == '\0')
        abort();
    return finding.outcome == LCT_PASSED;
}

static void mutate(const struct lct_pcr_values *values, uint8_t *log, size_t log_len)
{
    static const uint8_t flips[] = {0x01, 0x80, 0xff, 0x10};

    for (size_t i = 0; i < log_len; i++)
        if (passes(values, log, i))
            printf("cut %zu\n", i);
    for (size_t i = 0; i < log_len; i++)
        for (size_t flip = 0; flip < sizeof flips; flip++) {
            log[i] ^= flips[flip];
            if (passes(values, log, log_len))
                printf("flip %zu\n", i);
            log[i] ^= flips[flip];
        }
}

int main(int argc, char **argv)
{
    static uint8_t bytes[LCT_EVENTLOG_MAX_LEN + 2];
    struct lct_pcr_values values = {0};
    struct lct_finding finding;
    size_t len = fread(bytes, 1, sizeof bytes, stdin);
    uint8_t *log = copy(bytes, len);

    if (argc != 3)
        return 2;
    read_values(&values, argv[1]);
    if (strcmp(argv[2], "mutate") == 0) {
        mutate(&values, log, len);
    } else if (strcmp(argv[2], "events") == 0) {
        tell_all(log, len, true);
    } else {
        lct_bootlog_judge(&finding, NULL, NULL, &values, log, len);
        printf("%s %s\n", lct_outcome_name(finding.outcome), finding.reason);
    }
    free(log);
    return 0;
}
