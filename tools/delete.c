/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/as_owner.h"
#include "tools/counter.h"
#include "tools/json.h"
#include "tools/tool.h"

#include "store/record.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

/* Once the identity is gone: a counter that cannot go is told, and harms nobody. What stays in the
 * TPM, and is no other's as far as is known, is added to `left`; if the owner alone refused, nobody
 * else has it. */
static enum lct_code remove_counter(struct lct_tool *tool, const char *dir, const char *label,
                                    const struct lct_counter *recorded, json_t *left,
                                    struct lct_err *err)
{
    struct lct_err why = {.code = LCT_OK};
    enum lct_code code = lct_tool_counter_remove(tool, dir, recorded, label, &why);

    if (code == LCT_OK)
        return LCT_OK;
    lct_tool_warn(NULL, "%s", why.text);
    if (code == LCT_ERR_OTHER_TPM || code == LCT_ERR_EXISTS) /* not ours to name */
        return LCT_OK;
    (void)json_array_append_new(left, json_sprintf("0x%08x", recorded->handle));
    return lct_tool_say(tool, err, "its counter stays in the TPM%s: tpm2_nvundefine 0x%08x%s\n",
                        code == LCT_ERR_AUTH ? ", until"
                                             : "; what removes it, if no other identity has it",
                        recorded->handle, lct_tool_owner_option(tool));
}

/* A deletion under way. */
struct deleting {
    struct lct_tool *tool;
    json_t *left; /* what stays in the TPM */
};

/* All that is ours at persistent handles; what stays is added to `left`. */
static enum lct_code evict_each(void *arg, const struct lct_record *record, struct lct_err *err)
{
    const struct deleting *deleting = arg;
    struct lct_secret owner_auth = {0};

    (void)err;
    for (size_t i = 0; record != NULL && i < record->num_generations; i++) {
        const struct lct_generation *generation = &record->generations[i];
        if (lct_tool_evict(deleting->tool, &owner_auth, record->id, generation))
            (void)json_array_append_new(deleting->left,
                                        json_sprintf("0x%08x", generation->persistent));
    }
    lct_secret_wipe(&owner_auth);
    return LCT_OK;
}

/* A generation may seal to the counter of the one before it. */
static bool is_counter_of_earlier(const struct lct_record *record, size_t i)
{
    for (size_t earlier = 0; earlier < i; earlier++)
        if (record->generations[earlier].seal.counter.handle ==
            record->generations[i].seal.counter.handle)
            return true;
    return false;
}

/* What its generations have in the TPM besides goes where that is ours, else it is told. */
static enum lct_code remove_from_tpm(struct lct_tool *tool, const struct lct_deleted *deleted,
                                     const char *label, json_t *left, struct lct_err *err)
{
    const struct lct_record *record = deleted->record;
    enum lct_code code = LCT_OK;

    for (size_t i = 0; record != NULL && i < record->num_generations && code == LCT_OK; i++) {
        const struct lct_generation *generation = &record->generations[i];
        if (generation->handle != 0) { /* it was imported from there */
            (void)json_array_append_new(left, json_sprintf("0x%08x", generation->handle));
            code = lct_tool_say(tool, err,
                                "its key stays in the TPM, until: tpm2_evictcontrol -c 0x%08x%s\n",
                                generation->handle, lct_tool_owner_option(tool));
        }
        if (code == LCT_OK && generation->seal.counter.handle != 0 &&
            !is_counter_of_earlier(record, i))
            code = remove_counter(tool, deleted->dir, label, &generation->seal.counter, left, err);
    }
    return code;
}

/* `record` is NULL if it cannot be read. */
static enum lct_code confirm(const char *id, const struct lct_record *record, struct lct_err *err)
{
    static const char final[] = "no backup brings it back, since its NV counter goes, too";
    const bool imported = record != NULL && lct_record_generation(record, 0)->handle != 0;
    const bool counted = record != NULL && lct_record_has_counter(record);
    const char *what = imported ? "what is known of its key" : "its key";
    char label[sizeof "lct:" + LCT_MAX_ID], loss[64 + sizeof final];
    char question[sizeof label + 64 + sizeof final];

    (void)snprintf(label, sizeof label, "lct:%s", id);
    (void)snprintf(loss, sizeof loss, "%s would be gone for ever%s%s", what,
                   counted ? ", and " : "", counted ? final : "");
    (void)snprintf(question, sizeof question, "Delete %s, and %s for ever%s%s%s?", label, what,
                   counted ? " (" : "", counted ? final : "", counted ? ")" : "");
    return lct_tool_confirm(label, question, loss, false, err);
}

/* Of one whose record cannot be read it is not known what it has in the TPM. `seen` is NULL if
 * nobody was asked, or that cannot be read. */
static enum lct_code delete_it(struct lct_tool *tool, const char *id, const struct lct_record *seen,
                               bool shred, struct lct_err *err)
{
    char label[sizeof "lct:" + LCT_MAX_ID];
    struct deleting deleting = {tool, json_array()};
    const struct lct_deletion deletion = {shred, seen, evict_each, &deleting};
    struct lct_deleted deleted = {0};

    (void)snprintf(label, sizeof label, "lct:%s", id);
    enum lct_code code = lct_store_delete(&deleted, &tool->store, id, &deletion, err);
    if (code == LCT_OK)
        code = lct_tool_say(tool, err, "deleted %s\n", label);
    if (code == LCT_OK)
        code = remove_from_tpm(tool, &deleted, label, deleting.left, err);
    if (code == LCT_OK && tool->json)
        code = lct_tool_print_json(
            json_pack("{s:i, s:s, s:o}", "version", 1, "id", id, "left_in_tpm",
                      deleted.record != NULL ? json_incref(deleting.left) : json_null()),
            err);
    json_decref(deleting.left);
    free(deleted.record);
    return code;
}

enum lct_code lct_delete_run(struct lct_tool *tool, int argc, char **argv, struct lct_err *err)
{
    bool yes = false, shred = false;
    const struct lct_option options[] = {
        {"yes", NULL, &yes}, {"shred", NULL, &shred}, {"json", NULL, &tool->json}};
    const char *id = NULL;
    struct lct_record *seen = NULL;
    enum lct_code code = lct_tool_begin(tool, argc, argv, options, 3, &id, err);

    if (code == LCT_OK)
        code = lct_store_check_delete(&tool->store, id, err);
    if (code == LCT_OK && !yes) {
        (void)lct_store_get_record(&tool->store, id, &seen, NULL, NULL);
        code = confirm(id, seen, err);
    }
    if (code == LCT_OK)
        code = delete_it(tool, id, seen, shred, err);
    free(seen);
    return code;
}
