/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/as_owner.h"
#include "tools/json.h"
#include "tools/tool.h"

#include "base/encode.h"
#include "store/counters.h"
#include "store/persist.h"

#include <stdio.h>

static const char label[] = "the TPM";

/* One run over what is found, which goes on after a failure and ends with the last one. */
struct collecting {
    struct lct_tool *tool;
    bool evict;
    struct lct_secret owner_auth;
    struct lct_persist_findings keys;
    struct lct_counter_findings counters;
    const struct lct_persist_finding *key; /* that is being evicted */
    const struct lct_counter *counter;     /* that is being removed */
    struct lct_err worst;
    json_t *result; /* --json; else NULL */
};

static enum lct_code find_keys(struct collecting *collecting, struct lct_err *err)
{
    struct lct_objects objects;
    enum lct_code code = lct_tpm_list_persistent(collecting->tool->tpm, &objects, label, err);

    return code == LCT_OK
               ? lct_persist_sort(&collecting->keys, &collecting->tool->store, &objects, err)
               : code;
}

static enum lct_code find_counters(struct collecting *collecting, struct lct_err *err)
{
    struct lct_tool *tool = collecting->tool;
    struct lct_tpm_counters there;
    OSSL_LIB_CTX *libctx = lct_crypto_get(tool->crypto, err);
    enum lct_code code =
        libctx != NULL ? lct_tpm_list_counters(tool->tpm, &there, label, err) : LCT_ERR_INTERNAL;

    return code == LCT_OK
               ? lct_counters_sort(&collecting->counters, &tool->store, &there, libctx, err)
               : code;
}

static bool can_go(const struct lct_persist_finding *finding)
{
    return finding->state == LCT_PERSIST_ORPHAN || finding->state == LCT_PERSIST_SPARE;
}

/* Whether the user means it: by --yes, or asked on the terminal. */
static enum lct_code confirm(const struct collecting *collecting, bool yes, struct lct_err *err)
{
    size_t num_keys = 0, num_counters;
    char loss[96], question[128];

    for (size_t i = 0; i < collecting->keys.num; i++)
        num_keys += can_go(&collecting->keys.all[i]);
    num_counters = lct_counters_ours(&collecting->counters);
    if (num_keys + num_counters == 0)
        return LCT_OK;
    (void)snprintf(loss, sizeof loss, "%zu keys would be evicted, and %zu NV counters removed",
                   num_keys, num_counters);
    (void)snprintf(question, sizeof question,
                   "Keys to evict from persistent handles: %zu, NV counters to remove: %zu. Do "
                   "that?",
                   num_keys, num_counters);
    return lct_tool_confirm("what is in the TPM", question, loss, yes, err);
}

static enum lct_code evict(void *arg, const struct lct_tpm_auths *auths, struct lct_err *err)
{
    struct collecting *collecting = arg;
    struct lct_tool *tool = collecting->tool;

    return lct_persist_evict(&tool->store, tool->tpm, tool->crypto, collecting->key, auths, err);
}

/* Does to a finding what there is to do, and says what came of it. */
static enum lct_code collect(struct collecting *collecting,
                             const struct lct_persist_finding *finding, const char **outcome,
                             struct lct_err *err)
{
    bool orphan = finding->state == LCT_PERSIST_ORPHAN;

    if (collecting->evict) {
        collecting->key = finding;
        *outcome = "evicted";
        return lct_tool_with_auths(collecting->tool, &collecting->owner_auth, finding->id,
                                   finding->generation, evict, collecting, err);
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
    case LCT_PERSIST_FOREIGN:
        return "of no identity here, and left";
    default:
        return finding->taken
                   ? "something else is there, and its key file is used; lct persist puts it "
                     "elsewhere"
                   : "nothing is there, and its key file is used; lct persist puts it there again";
    }
}

static enum lct_code print(const struct lct_persist_finding *finding, const char *outcome,
                           struct lct_err *err)
{
    char name[2 * sizeof finding->name.data + 1];

    if (finding->state != LCT_PERSIST_FOREIGN)
        return lct_tool_print(err, "0x%08x  lct:%s, generation %u: %s\n", finding->handle,
                              finding->id, finding->generation, outcome);
    lct_hex_encode(name, finding->name.data, finding->name.len);
    return lct_tool_print(err, "0x%08x  %s: Name %s\n", finding->handle, outcome, name);
}

static json_t *json_of(const struct lct_persist_finding *finding, const char *outcome, bool failed)
{
    static const char *const states[] = {
        [LCT_PERSIST_RECORDED] = "recorded", [LCT_PERSIST_IMPORTED] = "imported",
        [LCT_PERSIST_ORPHAN] = "orphan",     [LCT_PERSIST_SPARE] = "spare",
        [LCT_PERSIST_FOREIGN] = "foreign",   [LCT_PERSIST_LOST] = "lost"};
    const bool foreign = finding->state == LCT_PERSIST_FOREIGN;
    char name[2 * sizeof finding->name.data + 1];

    lct_hex_encode(name, finding->name.data, finding->name.len);
    return json_pack("{s:o, s:s, s:s?, s:o, s:s, s:s, s:b}", "handle",
                     json_sprintf("0x%08x", finding->handle), "state", states[finding->state], "id",
                     foreign ? NULL : finding->id, "generation",
                     foreign ? json_null() : json_integer((json_int_t)finding->generation), "name",
                     name, "outcome", outcome, "failed", failed);
}

/* A failure to write the report ends it; one of a key is told, and others may go better. */
static enum lct_code report_key(struct collecting *collecting,
                                const struct lct_persist_finding *finding, struct lct_err *err)
{
    struct lct_err why = {.code = LCT_OK};
    const char *outcome = NULL;
    enum lct_code code = LCT_OK;

    if (can_go(finding))
        code = collect(collecting, finding, &outcome, &why);
    else
        outcome = words_for(finding);
    if (code != LCT_OK) {
        outcome = "left, since that failed";
        lct_tool_fail_later(&collecting->worst, &why);
    }
    if (collecting->result == NULL)
        return print(finding, outcome, err);
    (void)json_array_append_new(json_object_get(collecting->result, "handles"),
                                json_of(finding, outcome, code != LCT_OK));
    return LCT_OK;
}

static enum lct_code remove_counter(void *arg, const struct lct_secret *owner_auth,
                                    struct lct_err *err)
{
    struct collecting *collecting = arg;
    const struct lct_tpm_counter_request request = {
        .label = label,
        .owner_auth = owner_auth,
        .libctx = lct_crypto_get(collecting->tool->crypto, err)};

    return request.libctx != NULL
               ? lct_tpm_counter_remove(collecting->tool->tpm, collecting->counter, &request, err)
               : LCT_ERR_INTERNAL;
}

static enum lct_code report_counter(struct collecting *collecting,
                                    const struct lct_counter_finding *finding, struct lct_err *err)
{
    struct lct_err why = {.code = LCT_OK};
    const bool unread = collecting->counters.unread;
    const char *outcome = "left: another store's";

    if (unread)
        outcome = "left: another store's, or of an identity here that cannot be read";
    if (finding->ours)
        outcome = "not needed; lct gc --evict removes it";
    if (finding->ours && collecting->evict) {
        collecting->counter = &finding->counter;
        outcome = "removed";
        if (lct_tool_as_owner(collecting->tool, &collecting->owner_auth, remove_counter, collecting,
                              &why) != LCT_OK) {
            outcome = "left, since that failed";
            lct_tool_fail_later(&collecting->worst, &why);
        }
    }
    (void)json_array_append_new(
        json_object_get(collecting->result, "counters"),
        json_pack("{s:o, s:b, s:s, s:b}", "handle", json_sprintf("0x%08x", finding->counter.handle),
                  "ours", finding->ours, "outcome", outcome, "failed", why.code != LCT_OK));
    if (collecting->result != NULL)
        return LCT_OK;
    return lct_tool_print(err, "0x%08x  an NV counter%s: %s\n", finding->counter.handle,
                          unread ? "" : " of no identity here", outcome);
}

/* Counters that cannot be told from those of a damaged record stay, and the keys are seen to. */
static enum lct_code find(struct collecting *collecting, struct lct_err *err)
{
    struct lct_err why = {.code = LCT_OK};
    enum lct_code code = find_keys(collecting, err);

    if (code != LCT_OK || find_counters(collecting, &why) == LCT_OK)
        return code;
    collecting->counters.num = 0;
    lct_tool_fail_later(&collecting->worst, &why);
    return LCT_OK;
}

/* What is to be removed is looked for once more while none can be made: a key that was being made
 * has its record then. */
static enum lct_code report_counters(struct collecting *collecting, struct lct_err *err)
{
    struct lct_descriptor alone = {0};
    enum lct_code code = LCT_OK;

    if (collecting->evict && lct_counters_ours(&collecting->counters) > 0) {
        code = lct_counters_lock(&alone, &collecting->tool->store, true, err);
        if (code == LCT_OK)
            code = find_counters(collecting, err);
    }
    for (size_t i = 0; i < collecting->counters.num && code == LCT_OK; i++)
        code = report_counter(collecting, &collecting->counters.all[i], err);
    lct_descriptor_close(&alone);
    return code;
}

static enum lct_code report(struct collecting *collecting, struct lct_err *err)
{
    enum lct_code code = LCT_OK;

    for (size_t i = 0; i < collecting->keys.num && code == LCT_OK; i++)
        code = report_key(collecting, &collecting->keys.all[i], err);
    return code == LCT_OK ? report_counters(collecting, err) : code;
}

enum lct_code lct_gc_run(struct lct_tool *tool, int argc, char **argv, struct lct_err *err)
{
    bool yes = false;
    struct collecting collecting = {.tool = tool};
    const struct lct_option options[] = {
        {"evict", NULL, &collecting.evict}, {"yes", NULL, &yes}, {"json", NULL, &tool->json}};
    char **operands;
    int num_operands;
    enum lct_code code =
        lct_options_parse(tool, argc, argv, options, 3, 0, 0, &operands, &num_operands, err);

    if (code == LCT_OK)
        code = lct_tool_open(tool, err);
    if (code == LCT_OK)
        code = find(&collecting, err);
    if (code == LCT_OK && collecting.evict)
        code = confirm(&collecting, yes, err);
    if (tool->json)
        collecting.result = json_pack("{s:i, s:[], s:[]}", "version", 1, "handles", "counters");
    if (code == LCT_OK)
        code = report(&collecting, err);
    if (code == LCT_OK && tool->json)
        code = lct_tool_print_json(json_incref(collecting.result), err);
    json_decref(collecting.result);
    if (code == LCT_OK && collecting.worst.code != LCT_OK) {
        *err = collecting.worst;
        code = err->code;
    }
    lct_secret_wipe(&collecting.owner_auth);
    lct_persist_clear(&collecting.keys);
    return code;
}
