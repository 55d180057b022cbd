/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/as_owner.h"
#include "tools/tool.h"

#include "base/encode.h"
#include "store/persist.h"

#include <stdio.h>

/* One run over what is found, which goes on after a failure and ends with the last one. */
struct collecting {
    struct lct_tool *tool;
    bool evict;
    struct lct_secret owner_auth;
    const struct lct_persist_finding *finding; /* that is being evicted */
    struct lct_err worst;
};

static enum lct_code find(struct lct_tool *tool, struct lct_persist_findings *findings,
                          struct lct_err *err)
{
    struct lct_objects objects;
    enum lct_code code = lct_tpm_list_persistent(tool->tpm, &objects, "the TPM", err);

    *findings = (struct lct_persist_findings){0};
    return code == LCT_OK ? lct_persist_sort(findings, &tool->store, &objects, err) : code;
}

static bool can_go(const struct lct_persist_finding *finding)
{
    return finding->state == LCT_PERSIST_ORPHAN || finding->state == LCT_PERSIST_SPARE;
}

/* Whether the user means it: by --yes, or asked on the terminal. */
static enum lct_code confirm(const struct lct_persist_findings *findings, bool yes,
                             struct lct_err *err)
{
    size_t num = 0;
    char loss[64], question[96];

    for (size_t i = 0; i < findings->num; i++)
        num += can_go(&findings->all[i]);
    if (num == 0)
        return LCT_OK;
    (void)snprintf(loss, sizeof loss, "as many as %zu would be evicted", num);
    (void)snprintf(question, sizeof question,
                   "Keys to evict from persistent handles: %zu. Do that?", num);
    return lct_tool_confirm("keys at persistent handles", question, loss, yes, err);
}

static enum lct_code evict(void *arg, const struct lct_secret *owner_auth, struct lct_err *err)
{
    struct collecting *collecting = arg;
    struct lct_tool *tool = collecting->tool;

    return lct_persist_evict(&tool->store, tool->tpm, tool->crypto, collecting->finding, owner_auth,
                             err);
}

/* Does to a finding what there is to do, and says what came of it. */
static enum lct_code collect(struct collecting *collecting,
                             const struct lct_persist_finding *finding, const char **outcome,
                             struct lct_err *err)
{
    bool orphan = finding->state == LCT_PERSIST_ORPHAN;

    if (collecting->evict) {
        collecting->finding = finding;
        *outcome = "evicted";
        return lct_tool_as_owner(collecting->tool, &collecting->owner_auth, evict, collecting, err);
    }
    *outcome = orphan ? "recorded again" : "not needed; lct gc --evict removes it";
    return orphan ? lct_persist_adopt(&collecting->tool->store, finding, err) : LCT_OK;
}

static const char *words_for(const struct lct_persist_finding *finding)
{
    switch (finding->state) {
    case LCT_PERSIST_RECORDED:
        return "recorded";
    case LCT_PERSIST_IMPORTED:
        return "imported from there, and left";
    default:
        return finding->taken
                   ? "something else is there, and its key file is used; lct persist puts it "
                     "elsewhere"
                   : "nothing is there, and its key file is used; lct persist puts it there again";
    }
}

static enum lct_code print_foreign(const struct lct_persist_finding *finding, struct lct_err *err)
{
    char name[2 * sizeof finding->name.data + 1];

    lct_hex_encode(name, finding->name.data, finding->name.len);
    return lct_tool_print(err, "0x%08x  of no identity here, and left: Name %s\n", finding->handle,
                          name);
}

/* A failure to write the report ends it; one of a key is told, and others may go better. */
static enum lct_code report(struct collecting *collecting,
                            const struct lct_persist_finding *finding, struct lct_err *err)
{
    struct lct_err why = {.code = LCT_OK};
    const char *outcome = NULL;
    enum lct_code code = LCT_OK;

    if (finding->state == LCT_PERSIST_FOREIGN)
        return print_foreign(finding, err);
    if (can_go(finding))
        code = collect(collecting, finding, &outcome, &why);
    else
        outcome = words_for(finding);
    if (code != LCT_OK) {
        outcome = "left, since that failed";
        lct_tool_fail_later(&collecting->worst, &why);
    }
    return lct_tool_print(err, "0x%08x  lct:%s, generation %u: %s\n", finding->handle, finding->id,
                          finding->generation, outcome);
}

enum lct_code lct_gc_run(struct lct_tool *tool, int argc, char **argv, struct lct_err *err)
{
    bool yes = false;
    struct collecting collecting = {.tool = tool};
    const struct lct_option options[] = {{"evict", NULL, &collecting.evict}, {"yes", NULL, &yes}};
    struct lct_persist_findings findings = {0};
    char **operands;
    int num_operands;
    enum lct_code code =
        lct_options_parse(tool, argc, argv, options, 2, 0, 0, &operands, &num_operands, err);

    if (code == LCT_OK)
        code = lct_tool_open(tool, err);
    if (code == LCT_OK)
        code = find(tool, &findings, err);
    if (code == LCT_OK && collecting.evict)
        code = confirm(&findings, yes, err);
    for (size_t i = 0; i < findings.num && code == LCT_OK; i++)
        code = report(&collecting, &findings.all[i], err);
    if (code == LCT_OK && collecting.worst.code != LCT_OK) {
        *err = collecting.worst;
        code = err->code;
    }
    lct_secret_wipe(&collecting.owner_auth);
    lct_persist_clear(&findings);
    return code;
}
