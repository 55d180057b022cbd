/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/certificate.h"
#include "tools/describe.h"
#include "tools/json.h"
#include "tools/terminal.h"
#include "tools/tool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* How wide the columns are that vary. */
struct widths {
    int id, custody, seal;
};

/* Of a key that cannot be read nothing more is said than its record has. */
static enum lct_code print_row(const struct lct_tool *tool, const struct lct_record *record,
                               const char *certificate, const struct widths *widths,
                               struct lct_err *err)
{
    const struct lct_generation *generation = lct_record_generation(record, 0);
    struct lct_key *key = NULL;
    char seal[LCT_SEAL_TEXT], cut[LCT_TERMINAL_CUT], custody[LCT_TERMINAL_CUT];
    char state[LCT_TERMINAL_WORD], until[LCT_TERMINAL_WORD];

    lct_seal_text(seal, &generation->seal);
    (void)lct_store_get_key(&tool->store, tool->crypto, record->id, 0, &key, NULL);
    enum lct_code code = lct_tool_print(
        err, "%-*s  %-9s  %-*s  %-*s  %s  %s\n", widths->id, record->id,
        generation->algorithm->name, widths->custody,
        lct_terminal_cut(custody, lct_describe_custody(generation, key), (size_t)widths->custody),
        widths->seal, lct_terminal_cut(cut, seal, (size_t)widths->seal),
        lct_terminal_word(state, lct_ending_name(record->ending), sizeof "retired" - 1),
        lct_terminal_word(until, certificate, 0));
    lct_key_free(key);
    return code;
}

/* An entry of `array`, which takes over `certificate`: what the key's attributes say takes the key.
 */
static enum lct_code add_json(json_t *array, const struct lct_tool *tool,
                              const struct lct_record *record, const char *dir, json_t *certificate,
                              struct lct_err *err)
{
    struct lct_key *key = NULL;
    enum lct_code code = lct_store_get_key(&tool->store, tool->crypto, record->id, 0, &key, err);

    if (code != LCT_OK) {
        json_decref(certificate);
        return code;
    }
    json_t *row = lct_describe_json(record, key, dir);
    (void)json_object_set_new(row, "certificate", certificate);
    lct_key_free(key);
    return json_array_append_new(array, row) == 0
               ? LCT_OK
               : LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
}

/* What is wrong with its certificate is told, and the identity is listed all the same. */
static enum lct_code list_record(const struct lct_tool *tool, const struct lct_record *record,
                                 const char *dir, const struct widths *widths, json_t *array,
                                 struct lct_err *err)
{
    struct lct_certificate certificate = {.validity = LCT_VALIDITY_NOW};
    struct lct_err wrong;
    char expiry[LCT_CERTIFICATE_EXPIRY] = "none";
    size_t num = 0;
    enum lct_code code = lct_describe_certificate(&certificate, &num, tool, record->id,
                                                  record->active, NULL, &wrong);

    if (code != LCT_OK)
        lct_tool_warn(NULL, "%s", wrong.text);
    if (code == LCT_OK && num > 0)
        (void)lct_certificate_expiry(expiry, &certificate);
    if (array == NULL)
        return print_row(tool, record, code == LCT_OK ? expiry : "damaged", widths, err);
    return add_json(array, tool, record, dir,
                    lct_certificate_json(&certificate, num, code == LCT_OK ? NULL : wrong.text),
                    err);
}

static void widen(int *width, const char *text)
{
    if (strlen(text) > (size_t)*width)
        *width = (int)strlen(text);
}

/* Of what is in the row of one identity. */
static void widen_row(struct widths *widths, const struct lct_tool *tool,
                      const struct lct_record *record)
{
    const struct lct_generation *generation = lct_record_generation(record, 0);
    struct lct_key *key = NULL;
    char seal[LCT_SEAL_TEXT];

    lct_seal_text(seal, &generation->seal);
    widen(&widths->seal, seal);
    (void)lct_store_get_key(&tool->store, tool->crypto, record->id, 0, &key, NULL);
    widen(&widths->custody, lct_describe_custody(generation, key));
    lct_key_free(key);
}

static struct widths find_widths(const struct lct_tool *tool, char *const *ids, size_t num_ids)
{
    struct widths widths = {sizeof "ID" - 1, sizeof "CUSTODY" - 1, sizeof "SEAL" - 1};

    for (size_t i = 0; i < num_ids; i++) {
        struct lct_record *record = NULL;
        widen(&widths.id, ids[i]);
        if (lct_store_get_record(&tool->store, ids[i], &record, NULL, NULL) == LCT_OK)
            widen_row(&widths, tool, record);
        free(record);
    }
    return widths;
}

/* Takes from a column what there is too much of, and leaves it `least`. */
static void narrow(int *width, int *excess, int least)
{
    int part = *width - least < *excess ? *width - least : *excess;

    if (part <= 0)
        return;
    *width -= part;
    *excess -= part;
}

/* A terminal's columns are for what names an identity first: ids are not cut. */
static void fit(struct widths *widths)
{
    enum { OTHERS = 5 * 2 + 9 + 7 + sizeof "expired 2026-11-30" - 1 };
    const int columns = (int)lct_terminal_columns();
    int excess = widths->id + widths->custody + widths->seal + (int)OTHERS - columns;

    if (columns == 0)
        return;
    narrow(&widths->seal, &excess, sizeof "sha256:7.." - 1);
    narrow(&widths->custody, &excess, sizeof "CUSTODY" - 1);
}

/* One identity: a row, or an entry of `array`. A damaged one is told on stderr; the others are
 * listed all the same. */
static enum lct_code list_one(const struct lct_tool *tool, const char *id,
                              const struct widths *widths, json_t *array, struct lct_err *err)
{
    struct lct_record *record = NULL;
    const char *dir = NULL;
    enum lct_code code = lct_store_get_record(&tool->store, id, &record, &dir, err);

    if (code == LCT_OK)
        code = list_record(tool, record, dir, widths, array, err);
    free(record);
    return code;
}

static enum lct_code list(const struct lct_tool *tool, struct lct_err *err)
{
    const bool json = tool->json;
    json_t *array = json ? json_array() : NULL;
    struct lct_err pending = {.code = LCT_OK};
    char **ids = NULL;
    size_t num_ids = 0;
    enum lct_code code = lct_store_list(&tool->store, &ids, &num_ids, err);
    struct widths widths = {0};

    if (!json) {
        widths = find_widths(tool, ids, num_ids);
        fit(&widths);
    }
    if (code == LCT_OK && !json)
        code =
            lct_tool_print(err, "%-*s  %-9s  %-*s  %-*s  %-7s  %s\n", widths.id, "ID", "ALGORITHM",
                           widths.custody, "CUSTODY", widths.seal, "SEAL", "STATE", "CERTIFICATE");
    for (size_t i = 0; i < num_ids && code == LCT_OK; i++) {
        struct lct_err one;
        if (list_one(tool, ids[i], &widths, array, &one) == LCT_OK)
            continue;
        lct_tool_fail_later(&pending, &one);
    }
    lct_store_free_ids(ids, num_ids);
    if (code == LCT_OK && json)
        code = lct_tool_print_json(json_incref(array), err);
    json_decref(array);
    if (code == LCT_OK && pending.code != LCT_OK)
        *err = pending;
    return code == LCT_OK ? pending.code : code;
}

/* A path that was mistyped looks like a store without identities. */
static void note_absence(const struct lct_tool *tool)
{
    if (tool->config.store != NULL && access(tool->config.store, F_OK) != 0 && errno == ENOENT)
        lct_tool_note(tool, "there is no store %s yet; lct create would make it",
                      tool->config.store);
}

enum lct_code lct_list_run(struct lct_tool *tool, int argc, char **argv, struct lct_err *err)
{
    const struct lct_option options[] = {{"json", NULL, &tool->json}};
    char **operands;
    int num_operands;
    enum lct_code code =
        lct_options_parse(tool, argc, argv, options, 1, 0, 0, &operands, &num_operands, err);

    if (code == LCT_OK)
        code = lct_tool_open(tool, err);
    if (code != LCT_OK)
        return code;
    note_absence(tool);
    return list(tool, err);
}
