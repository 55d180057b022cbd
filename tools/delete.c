/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/tool.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Whether the user means it: by --yes, or asked on the terminal. */
static enum lct_code confirm(const char *id, bool yes, struct lct_err *err)
{
    char answer[16];

    if (yes)
        return LCT_OK;
    if (!isatty(STDIN_FILENO))
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "lct:%s: its key would be gone for ever; to delete it without being asked, "
                        "say --yes",
                        id);
    (void)fprintf(stderr, "Delete lct:%s? Its key will be gone for ever. [y/N] ", id);
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
    enum lct_code code = lct_tool_begin(tool, argc, argv, options, 1, &id, err);

    if (code == LCT_OK)
        code = lct_store_exists(&tool->store, id, err);
    if (code == LCT_OK)
        code = confirm(id, yes, err);
    if (code == LCT_OK)
        code = lct_store_delete(&tool->store, id, err);
    return code == LCT_OK ? lct_tool_print(err, "deleted lct:%s\n", id) : code;
}
