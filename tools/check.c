/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/json.h"
#include "tools/terminal.h"
#include "tools/tool.h"
#include "tools/unlock.h"

#include "store/identity.h"
#include "store/record.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

/* One run over identities. */
struct checking {
    struct lct_tool *tool;
    bool bound;  /* --hardware-bound */
    bool named;  /* they were named: an end is a failure */
    json_t *all; /* --json: an object for each, else NULL */
};

static const char *outcome_of(const struct lct_check_finding *finding)
{
    return !finding->good ? "FAILED" : finding->note ? "note" : "ok";
}

static enum lct_code print(const char *id, const struct lct_check_finding *findings,
                           size_t num_findings, struct lct_err *err)
{
    enum lct_code code = num_findings > 0 ? lct_tool_print(err, "lct:%s\n", id) : LCT_OK;
    char word[LCT_TERMINAL_WORD], text[sizeof findings->why + 256];

    for (size_t i = 0; i < num_findings && code == LCT_OK; i++) {
        const struct lct_check_finding *finding = &findings[i];
        (void)snprintf(text, sizeof text, "%s%s%s", finding->what, finding->good ? "" : ": ",
                       finding->why);
        code = lct_tool_print(err, "  %s  ", lct_terminal_word(word, outcome_of(finding), 6));
        if (code == LCT_OK)
            code = lct_terminal_print(err, 10, text);
    }
    return code;
}

static json_t *findings_json(const struct lct_check_finding *findings, size_t num_findings)
{
    json_t *array = json_array();

    for (size_t i = 0; i < num_findings; i++)
        (void)json_array_append_new(
            array, json_pack("{s:s, s:s, s:o}", "outcome",
                             findings[i].good ? outcome_of(&findings[i]) : "failed", "what",
                             findings[i].what, "why",
                             lct_tool_json_text(findings[i].good ? NULL : findings[i].why)));
    if (json_array_size(array) == num_findings)
        return array;
    json_decref(array);
    return NULL;
}

/* An identity with what came of its check; `err` NULL: it is good. Takes the findings over, NULL if
 * out of memory: then the identity is not among the others, which result_json sees. */
static void add(const struct checking *checking, const char *id, const char *state,
                json_t *findings, const struct lct_err *err)
{
    (void)json_array_append_new(
        checking->all,
        json_pack("{s:o, s:s?, s:b, s:o, s:o}", "id", lct_tool_json_text(id), "state", state,
                  "good", err == NULL, "error", lct_tool_json_text(err != NULL ? err->text : NULL),
                  "findings", findings));
}

static enum lct_code check(const struct checking *checking, const char *id, const char *state,
                           struct lct_err *err)
{
    struct lct_tool *tool = checking->tool;
    struct lct_check_finding findings[LCT_MAX_CHECK_FINDINGS];
    size_t num_findings = 0;
    const struct lct_unlocker unlocker = lct_tool_unlocker(tool);
    const struct lct_check_request request = {id, checking->bound, &unlocker, false};
    enum lct_code code = lct_identity_check(&tool->store, tool->tpm, tool->crypto, &request,
                                            findings, &num_findings, err);

    if (checking->all != NULL) {
        add(checking, id, state, findings_json(findings, num_findings),
            code != LCT_OK ? err : NULL);
        return code;
    }
    const enum lct_code printed = print(id, findings, num_findings, err);
    return printed == LCT_OK ? code : printed;
}

/* Says so of an identity that has ended, of which there is nothing to check. */
static enum lct_code note_end(const struct checking *checking, const struct lct_record *record,
                              struct lct_err *err)
{
    char word[LCT_TERMINAL_WORD];

    if (checking->all != NULL) {
        add(checking, record->id, lct_ending_name(record->ending), json_array(), NULL);
        return LCT_OK;
    }
    return lct_tool_print(err, "lct:%s\n  %s  it was %s at %s, and signs no more\n", record->id,
                          lct_terminal_word(word, "note", 6), lct_ending_name(record->ending),
                          record->ended);
}

static enum lct_code check_one(const struct checking *checking, const char *operand,
                               struct lct_err *err)
{
    struct lct_record *record = NULL;
    const char *id = NULL, *state = NULL;
    enum lct_code code = lct_tool_id(checking->tool, &id, operand, err);

    if (code != LCT_OK) {
        add(checking, operand, NULL, json_array(), err);
        return code;
    }
    code = lct_store_get_record(&checking->tool->store, id, &record, NULL, err);
    if (code == LCT_ERR_INTERNAL) { /* memory: the check might have enough, and not its state */
        add(checking, id, NULL, json_array(), err);
        return code;
    }
    if (code == LCT_OK)
        state = lct_ending_name(record->ending);
    code = record != NULL && record->ending != LCT_NOT_ENDED && !checking->named
               ? note_end(checking, record, err)
               : check(checking, id, state, err);
    free(record);
    return code;
}

/* Of `num_ids` that were checked; NULL: one is not there, since there was no memory for it. */
static json_t *result_json(const struct checking *checking, size_t num_ids, bool good)
{
    if (json_array_size(checking->all) == num_ids)
        return json_pack("{s:i, s:b, s:o}", "version", 1, "good", good, "identities",
                         checking->all);
    json_decref(checking->all);
    return NULL;
}

/* Each of them; what fails is told as it comes, and the last failure is the result. */
static enum lct_code check_each(struct checking *checking, char *const *ids, size_t num_ids,
                                struct lct_err *err)
{
    struct lct_err worst = {.code = LCT_OK}, one;

    checking->all = checking->tool->json ? json_array() : NULL;
    if (checking->tool->json && checking->all == NULL)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    for (size_t i = 0; i < num_ids; i++)
        if (check_one(checking, ids[i], &one) != LCT_OK)
            lct_tool_fail_later(&worst, &one);
    enum lct_code code = LCT_OK;
    if (checking->all != NULL)
        code = lct_tool_print_json(result_json(checking, num_ids, worst.code == LCT_OK), err);
    if (code != LCT_OK)
        return code;
    *err = worst;
    return worst.code;
}

enum lct_code lct_check_run(struct lct_tool *tool, int argc, char **argv, struct lct_err *err)
{
    struct checking checking = {.tool = tool};
    const struct lct_option options[] = {{"hardware-bound", NULL, &checking.bound},
                                         {"json", NULL, &tool->json}};
    char **operands, **ids = NULL;
    size_t num_ids = 0;
    int num_operands;
    enum lct_code code =
        lct_options_parse(tool, argc, argv, options, 2, 0, -1, &operands, &num_operands, err);

    if (code == LCT_OK)
        code = lct_tool_open(tool, err);
    if (code != LCT_OK)
        return code;
    checking.named = num_operands > 0;
    if (checking.named)
        return check_each(&checking, operands, (size_t)num_operands, err);
    code = lct_store_list(&tool->store, &ids, &num_ids, err);
    if (code == LCT_OK)
        code = check_each(&checking, ids, num_ids, err);
    lct_store_free_ids(ids, num_ids);
    return code;
}
