/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/counter.h"
#include "tools/tool.h"

#include "store/record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What an identity has in the TPM. */
struct in_tpm {
    uint32_t handle; /* at which its key stays; 0: the key goes with it, or is not known */
    struct lct_counter counter;
};

static struct in_tpm find_in_tpm(const struct lct_tool *tool, const char *id)
{
    struct lct_record *record = NULL;
    const char *dir = NULL;
    struct in_tpm found = {0};

    if (lct_store_get_record(&tool->store, id, &record, &dir, NULL) == LCT_OK) {
        found.handle = lct_record_generation(record, 0)->handle;
        found.counter = lct_record_generation(record, 0)->seal.counter;
    }
    free(record);
    return found;
}

static enum lct_code remove_command(struct lct_tpm *tpm, struct lct_counter *counter,
                                    const struct lct_tpm_counter_request *request,
                                    struct lct_err *err)
{
    return lct_tpm_counter_remove(tpm, counter, request, err);
}

/* Once the identity is gone: a counter that cannot go is told, and harms nobody. */
static enum lct_code remove_counter(struct lct_tool *tool, const char *id,
                                    struct lct_counter *counter, struct lct_err *err)
{
    char label[sizeof "lct:" + LCT_MAX_ID];
    struct lct_err why = {.code = LCT_OK};

    (void)snprintf(label, sizeof label, "lct:%s", id);
    enum lct_code code = lct_tool_counter(tool, counter, label, remove_command, &why);
    if (code == LCT_OK)
        return LCT_OK;
    (void)fprintf(stderr, "lct: warning: %s\n", why.text);
    if (code == LCT_ERR_OTHER_TPM) /* what is at its index, if anything, is not ours to name */
        return LCT_OK;
    return lct_tool_print(err, "its counter stays in the TPM, until: tpm2_nvundefine 0x%08x\n",
                          counter->handle);
}

/* Whether the user means it: by --yes, or asked on the terminal. */
static enum lct_code confirm(const char *id, uint32_t handle, bool yes, struct lct_err *err)
{
    const char *loss = handle == 0 ? "its key" : "what is known of its key";
    char answer[16];

    if (yes)
        return LCT_OK;
    if (!isatty(STDIN_FILENO))
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "lct:%s: %s would be gone for ever; to delete it without being asked, "
                        "say --yes",
                        id, loss);
    (void)fprintf(stderr, "Delete lct:%s, and %s for ever? [y/N] ", id, loss);
    if (fgets(answer, sizeof answer, stdin) != NULL &&
        (strcmp(answer, "y\n") == 0 || strcmp(answer, "yes\n") == 0))
        return LCT_OK;
    return LCT_FAIL(err, LCT_ERR_USAGE, "lct:%s: not deleted", id);
}

enum lct_code lct_delete_run(struct lct_tool *tool, int argc, char **argv, struct lct_err *err)
{
    bool yes = false;
    const struct lct_option options[] = {{"yes", NULL, &yes}};
    const char *id = NULL;
    struct in_tpm in_tpm = {0};
    enum lct_code code = lct_tool_begin(tool, argc, argv, options, 1, &id, err);

    if (code == LCT_OK)
        code = lct_store_exists(&tool->store, id, err);
    if (code == LCT_OK)
        in_tpm = find_in_tpm(tool, id);
    if (code == LCT_OK)
        code = confirm(id, in_tpm.handle, yes, err);
    if (code == LCT_OK)
        code = lct_store_delete(&tool->store, id, err);
    if (code == LCT_OK)
        code = lct_tool_print(err, "deleted lct:%s\n", id);
    if (code == LCT_OK && in_tpm.handle != 0)
        code = lct_tool_print(err, "its key stays in the TPM, until: tpm2_evictcontrol -c 0x%08x\n",
                              in_tpm.handle);
    if (code == LCT_OK && in_tpm.counter.handle != 0)
        code = remove_counter(tool, id, &in_tpm.counter, err);
    return code;
}
