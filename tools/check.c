/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/tool.h"
#include "tools/unlock.h"

#include "store/identity.h"
#include "store/record.h"

#include <stdio.h>
#include <stdlib.h>

static enum lct_code check(struct lct_tool *tool, const char *id, bool bound, struct lct_err *err)
{
    struct lct_check_finding findings[LCT_MAX_CHECK_FINDINGS];
    size_t num_findings = 0;
    const struct lct_unlocker unlocker = lct_tool_unlocker(tool);
    const struct lct_check_request request = {id, bound, &unlocker};
    enum lct_code code = lct_identity_check(&tool->store, tool->tpm, tool->crypto, &request,
                                            findings, &num_findings, err);
    enum lct_code printed = num_findings > 0 ? lct_tool_print(err, "lct:%s\n", id) : LCT_OK;

    for (size_t i = 0; i < num_findings && printed == LCT_OK; i++)
        printed = lct_tool_print(err, "  %-6s  %s%s%s\n",
                                 !findings[i].good  ? "FAILED"
                                 : findings[i].note ? "note"
                                                    : "ok",
                                 findings[i].what, findings[i].good ? "" : ": ", findings[i].why);
    return printed == LCT_OK ? code : printed;
}

/* Says so of an identity that has ended, of which there is nothing to check. */
static enum lct_code note_end(struct lct_tool *tool, const char *id, bool *ended,
                              struct lct_err *err)
{
    struct lct_record *record = NULL;
    enum lct_code code = LCT_OK;

    *ended = lct_store_get_record(&tool->store, id, &record, NULL, NULL) == LCT_OK &&
             record->ending != LCT_NOT_ENDED;
    if (*ended)
        code = lct_tool_print(err, "lct:%s\n  note    it was %s at %s, and signs no more\n", id,
                              lct_ending_name(record->ending), record->ended);
    free(record);
    return code;
}

/* One of all of them. */
static enum lct_code check_any(struct lct_tool *tool, const char *id, bool bound,
                               struct lct_err *err)
{
    bool ended = false;
    enum lct_code code = note_end(tool, id, &ended, err);

    return ended || code != LCT_OK ? code : check(tool, id, bound, err);
}

/* Each of them, that were named or not; what fails is told as it comes, and the last failure is the
 * result. */
static enum lct_code check_each(struct lct_tool *tool, char *const *ids, size_t num_ids, bool bound,
                                bool named, struct lct_err *err)
{
    struct lct_err worst = {.code = LCT_OK};

    for (size_t i = 0; i < num_ids; i++) {
        struct lct_err one;
        const char *id = NULL;
        enum lct_code code = lct_tool_id(tool, &id, ids[i], &one);
        if (code == LCT_OK)
            code = named ? check(tool, id, bound, &one) : check_any(tool, id, bound, &one);
        if (code == LCT_OK)
            continue;
        lct_tool_fail_later(&worst, &one);
    }
    *err = worst;
    return worst.code;
}

enum lct_code lct_check_run(struct lct_tool *tool, int argc, char **argv, struct lct_err *err)
{
    bool bound = false;
    const struct lct_option options[] = {{"hardware-bound", NULL, &bound}};
    char **operands, **ids = NULL;
    size_t num_ids = 0;
    int num_operands;
    enum lct_code code =
        lct_options_parse(tool, argc, argv, options, 1, 0, -1, &operands, &num_operands, err);

    if (code == LCT_OK)
        code = lct_tool_open(tool, err);
    if (code != LCT_OK)
        return code;
    if (num_operands > 0)
        return check_each(tool, operands, (size_t)num_operands, bound, true, err);
    code = lct_store_list(&tool->store, &ids, &num_ids, err);
    if (code == LCT_OK)
        code = check_each(tool, ids, num_ids, bound, false, err);
    lct_store_free_ids(ids, num_ids);
    return code;
}
