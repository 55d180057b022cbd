/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Event logs, replayed and foretold.
 *
 *     eventlog BANK:PCR[,PCR...][+...] [MODE] [CHANGE...]
 *
 * reads a log from standard input and prints a line for each PCR, "BANK PCR VALUE", or "error", the
 * code's number and the sentence. With CHANGEs, "variable NAME CONTENT", "cmdline OLD NEW", "digest
 * BANK OLD NEW" (bytes in hexadecimal, "-" for none), it is what they will hold; what they hold now
 * is what the log says, but for MODE "wrong BANK PCR". MODE "mutate STEP": each of the log's bytes,
 * STEP apart, is changed in four ways and is its end, and the number of those taken is printed.
 */
#include "base/encode.h"
#include "tcg/eventlog.h"
#include "tcg/forecast.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_CHANGES = LCT_FORECAST_MAX_CHANGES + 1 };

static struct lct_forecast_change changes[MAX_CHANGES];
static size_t num_changes;
static uint8_t *blocks[2 * MAX_CHANGES];
static size_t num_blocks;

/* Bytes in a block of their own, so that a sanitizer sees a byte too many. */
static uint8_t *copy(const void *bytes, size_t len)
{
    uint8_t *block = malloc(len > 0 ? len : 1);

    if (block == NULL)
        abort();
    memcpy(block, bytes, len);
    return block;
}

static const uint8_t *keep(uint8_t *block)
{
    if (num_blocks == sizeof blocks / sizeof blocks[0])
        abort();
    blocks[num_blocks++] = block;
    return block;
}

static const uint8_t *parse_hex(size_t *len, const char *text)
{
    size_t capacity = strlen(text) / 2;
    uint8_t *bytes = malloc(capacity > 0 ? capacity : 1);

    *len = 0;
    if (bytes == NULL || (strcmp(text, "-") != 0 && !lct_hex_decode(bytes, len, capacity, text)))
        abort();
    return keep(bytes);
}

static void parse_pcrs(struct lct_pcrs *pcrs, char *text)
{
    char *banks = NULL, *numbers = NULL;

    for (char *bank = strtok_r(text, "+", &banks); bank != NULL;
         bank = strtok_r(NULL, "+", &banks)) {
        struct lct_pcr_bank *row = &pcrs->banks[pcrs->num_banks++];
        row->hash = lct_hash_by_name(strtok_r(bank, ":", &numbers));
        for (char *pcr = strtok_r(NULL, ",", &numbers); pcr != NULL;
             pcr = strtok_r(NULL, ",", &numbers))
            row->pcrs |= (uint32_t)1 << strtoul(pcr, NULL, 10);
        if (row->hash == NULL || row->pcrs == 0 || pcrs->num_banks == LCT_MAX_BANKS)
            abort();
    }
}

static int parse_variable(struct lct_forecast_change *change, char **words)
{
    change->kind = LCT_FORECAST_VARIABLE;
    change->name = words[1];
    change->after = parse_hex(&change->after_len, words[2]);
    return 3;
}

static int parse_cmdline(struct lct_forecast_change *change, char **words)
{
    change->kind = LCT_FORECAST_CMDLINE;
    change->before_len = strlen(words[1]);
    change->before = keep(copy(words[1], change->before_len));
    change->after_len = strlen(words[2]);
    change->after = keep(copy(words[2], change->after_len));
    return 3;
}

static int parse_digest(struct lct_forecast_change *change, char **words)
{
    change->kind = LCT_FORECAST_DIGEST;
    change->hash = lct_hash_by_name(words[1]);
    change->before = parse_hex(&change->before_len, words[2]);
    change->after = parse_hex(&change->after_len, words[3]);
    return 4;
}

static void parse_changes(char **words)
{
    static const struct {
        const char *word;
        int (*parse)(struct lct_forecast_change *change, char **words);
    } rows[] = {{"variable", parse_variable}, {"cmdline", parse_cmdline}, {"digest", parse_digest}};

    while (*words != NULL) {
        size_t i = 0;
        while (i < sizeof rows / sizeof rows[0] && strcmp(rows[i].word, *words) != 0)
            i++;
        if (i == sizeof rows / sizeof rows[0] || num_changes == MAX_CHANGES)
            abort();
        words += rows[i].parse(&changes[num_changes++], words);
    }
}

static enum lct_code work(struct lct_pcr_values *values, char **wrong, const uint8_t *log,
                          size_t log_len, struct lct_err *err)
{
    enum lct_code code = lct_eventlog_replay(values, NULL, log, log_len, NULL, err);

    if (wrong != NULL)
        for (size_t i = 0; i < values->pcrs.num_banks; i++)
            if (strcmp(values->pcrs.banks[i].hash->name, wrong[0]) == 0)
                values->values[i][strtoul(wrong[1], NULL, 10)][3] ^= 1;
    if (code == LCT_OK && num_changes > 0)
        code = lct_forecast(values, NULL, log, log_len, changes, num_changes, err);
    return code;
}

static void print(const struct lct_pcr_values *values)
{
    char hex[2 * LCT_MAX_HASH + 1];

    for (size_t i = 0; i < values->pcrs.num_banks; i++)
        for (unsigned pcr = 0; pcr < LCT_NUM_PCRS; pcr++)
            if ((values->pcrs.banks[i].pcrs >> pcr & 1) != 0) {
                const struct lct_hash *hash = values->pcrs.banks[i].hash;
                lct_hex_encode(hex, values->values[i][pcr], hash->size);
                printf("%s %u %s\n", hash->name, pcr, hex);
            }
}

static size_t try_one(const struct lct_pcrs *pcrs, const uint8_t *log, size_t log_len)
{
    struct lct_pcr_values values = {.pcrs = *pcrs};
    struct lct_err err = {0};
    uint8_t *block = copy(log, log_len);
    enum lct_code code = work(&values, NULL, block, log_len, &err);

    free(block);
    if (code != LCT_OK && (code != err.code || err.text[0] == '\0'))
        abort();
    if (code != LCT_OK && code != LCT_ERR_BAD_RECORD && code != LCT_ERR_UNSUPPORTED)
        abort();
    return code == LCT_OK ? 1 : 0;
}

static void mutate(const struct lct_pcrs *pcrs, uint8_t *log, size_t log_len, size_t step)
{
    static const uint8_t flips[] = {0x01, 0x80, 0xff, 0x10};
    size_t cut = 0, changed = 0, tried = 0;

    for (size_t i = 0; i < log_len; i++)
        cut += try_one(pcrs, log, i);
    for (size_t i = 0; i < log_len; i += step)
        for (size_t flip = 0; flip < sizeof flips; flip++, tried++) {
            log[i] ^= flips[flip];
            changed += try_one(pcrs, log, log_len);
            log[i] ^= flips[flip];
        }
    printf("%zu %zu %zu\n", cut, changed, tried);
}

int main(int argc, char **argv)
{
    static uint8_t bytes[LCT_EVENTLOG_MAX_LEN + 2];
    struct lct_pcr_values values = {0};
    struct lct_err err = {0};
    size_t len = fread(bytes, 1, sizeof bytes, stdin);
    uint8_t *log = copy(bytes, len);
    bool wrong = argc > 4 && strcmp(argv[2], "wrong") == 0;
    bool mutates = argc > 3 && strcmp(argv[2], "mutate") == 0;

    if (argc < 2)
        return 2;
    parse_pcrs(&values.pcrs, argv[1]);
    parse_changes(argv + 2 + (wrong ? 3 : 0) + (mutates ? 2 : 0));
    if (mutates)
        mutate(&values.pcrs, log, len, strtoul(argv[3], NULL, 10));
    else if (work(&values, wrong ? argv + 3 : NULL, log, len, &err) == LCT_OK)
        print(&values);
    else
        printf("error %d %s\n", (int)err.code, err.text);
    while (num_blocks > 0)
        free(blocks[--num_blocks]);
    free(log);
    return 0;
}
