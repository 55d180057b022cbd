/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/tool.h"

#include "store/record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The handle at which its key stays; 0: the key goes with it, or is not known. */
static uint32_t find_handle(const struct lct_tool *tool, const char *id)
{
    struct lct_record *record = NULL;
    const char *dir = NULL;
    uint32_t handle = 0;

    if (lct_store_get_record(&tool->store, id, &record, &dir, NULL) == LCT_OK)
        handle = lct_record_generation(record, 0)->handle;
    free(record);
    return handle;
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
    uint32_t handle = 0;
    enum lct_code code = lct_tool_begin(tool, argc, argv, options, 1, &id, err);

    if (code == LCT_OK)
        code = lct_store_exists(&tool->store, id, err);
    if (code == LCT_OK)
        handle = find_handle(tool, id);
    if (code == LCT_OK)
        code = confirm(id, handle, yes, err);
    if (code == LCT_OK)
        code = lct_store_delete(&tool->store, id, err);
    if (code == LCT_OK)
        code = lct_tool_print(err, "deleted lct:%s\n", id);
    if (code == LCT_OK && handle != 0)
        code = lct_tool_print(err, "its key stays in the TPM, until: tpm2_evictcontrol -c 0x%08x\n",
                              handle);
    return code;
}
