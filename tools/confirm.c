/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/tool.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum lct_code lct_tool_confirm(const char *label, const char *question, const char *loss, bool yes,
                               struct lct_err *err)
{
    char answer[16];

    if (yes)
        return LCT_OK;
    if (!isatty(STDIN_FILENO))
        return LCT_FAIL(err, LCT_ERR_USAGE, "%s: %s; to do it without being asked, say --yes",
                        label, loss);
    (void)fprintf(stderr, "%s [y/N] ", question);
    if (fgets(answer, sizeof answer, stdin) != NULL &&
        (strcmp(answer, "y\n") == 0 || strcmp(answer, "yes\n") == 0))
        return LCT_OK;
    return LCT_FAIL(err, LCT_ERR_USAGE, "%s: not done", label);
}
