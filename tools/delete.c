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
 * TPM is added to `left`. */
static enum lct_code remove_counter(struct lct_tool *tool, const char *label,
                                    const struct lct_counter *recorded, json_t *left,
                                    struct lct_err *err)
{
    struct lct_err why = {.code = LCT_OK};
    enum lct_code code = lct_tool_counter_remove(tool, recorded, label, &why);

    if (code == LCT_OK)
        return LCT_OK;
    lct_tool_warn(NULL, "%s", why.text);
    if (code == LCT_ERR_OTHER_TPM) /* what is at its index, if anything, is not ours to name */
        return LCT_OK;
    (void)json_array_append_new(left, json_sprintf("0x%08x", recorded->handle));
    return lct_tool_say(tool, err,
                        "its counter stays in the TPM, until: tpm2_nvundefine 0x%08x%s\n",
                        recorded->handle, lct_tool_owner_option(tool));
}

/* All that is ours at persistent handles; what stays is added to `left`. */
static void evict_each(struct lct_tool *tool, const struct lct_record *record, json_t *left)
{
    struct lct_secret owner_auth = {0};

    for (size_t i = 0; i < record->num_generations; i++) {
        const struct lct_generation *generation = &record->generations[i];
        if (lct_tool_evict(tool, &owner_auth, record->id, generation))
            (void)json_array_append_new(left, json_sprintf("0x%08x", generation->persistent));
    }
    lct_secret_wipe(&owner_auth);
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
static enum lct_code remove_from_tpm(struct lct_tool *tool, const struct lct_record *record,
                                     const char *label, json_t *left, struct lct_err *err)
{
    enum lct_code code = LCT_OK;

    for (size_t i = 0; i < record->num_generations && code == LCT_OK; i++) {
        const struct lct_generation *generation = &record->generations[i];
        if (generation->handle != 0) { /* it was imported from there */
            (void)json_array_append_new(left, json_sprintf("0x%08x", generation->handle));
            code = lct_tool_say(tool, err,
                                "its key stays in the TPM, until: tpm2_evictcontrol -c 0x%08x%s\n",
                                generation->handle, lct_tool_owner_option(tool));
        }
        if (code == LCT_OK && generation->seal.counter.handle != 0 &&
            !is_counter_of_earlier(record, i))
            code = remove_counter(tool, label, &generation->seal.counter, left, err);
    }
    return code;
}

static enum lct_code confirm(const char *id, uint32_t handle, bool yes, struct lct_err *err)
{
    const char *what = handle == 0 ? "its key" : "what is known of its key";
    char label[sizeof "lct:" + LCT_MAX_ID], loss[64], question[sizeof label + 64];

    (void)snprintf(label, sizeof label, "lct:%s", id);
    (void)snprintf(loss, sizeof loss, "%s would be gone for ever", what);
    (void)snprintf(question, sizeof question, "Delete %s, and %s for ever?", label, what);
    return lct_tool_confirm(label, question, loss, yes, err);
}

/* `record` is NULL if it cannot be read: then what it has in the TPM is not known. */
static enum lct_code delete_it(struct lct_tool *tool, const char *id,
                               const struct lct_record *record, bool shred, struct lct_err *err)
{
    char label[sizeof "lct:" + LCT_MAX_ID];
    json_t *left = record != NULL ? json_array() : json_null();

    (void)snprintf(label, sizeof label, "lct:%s", id);
    if (record != NULL)
        evict_each(tool, record, left);
    enum lct_code code = lct_store_delete(&tool->store, id, shred, err);
    if (code == LCT_OK)
        code = lct_tool_say(tool, err, "deleted %s\n", label);
    if (code == LCT_OK && record != NULL)
        code = remove_from_tpm(tool, record, label, left, err);
    if (code == LCT_OK && tool->json)
        return lct_tool_print_json(
            json_pack("{s:i, s:s, s:o}", "version", 1, "id", id, "left_in_tpm", left), err);
    json_decref(left);
    return code;
}

enum lct_code lct_delete_run(struct lct_tool *tool, int argc, char **argv, struct lct_err *err)
{
    bool yes = false, shred = false;
    const struct lct_option options[] = {
        {"yes", NULL, &yes}, {"shred", NULL, &shred}, {"json", NULL, &tool->json}};
    const char *id = NULL;
    struct lct_record *record = NULL;
    uint32_t handle = 0;
    enum lct_code code = lct_tool_begin(tool, argc, argv, options, 3, &id, err);

    if (code == LCT_OK)
        code = lct_store_check_delete(&tool->store, id, err);
    if (code == LCT_OK && lct_store_get_record(&tool->store, id, &record, NULL, NULL) == LCT_OK)
        handle = lct_record_generation(record, 0)->handle;
    if (code == LCT_OK)
        code = confirm(id, handle, yes, err);
    if (code == LCT_OK)
        code = delete_it(tool, id, record, shred, err);
    free(record);
    return code;
}
