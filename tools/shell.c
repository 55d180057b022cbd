/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/shell.h"

#include <stdio.h>
#include <string.h>

const char *lct_shell_command(char command[LCT_SHELL_COMMAND], const char *words, const char *path)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "/._-+:@,=%";
    size_t len = (size_t)snprintf(command, LCT_SHELL_COMMAND, "%s ", words);

    if (path[strspn(path, plain)] == '\0') {
        (void)snprintf(command + len, LCT_SHELL_COMMAND - len, "%s", path);
        return command;
    }
    len += (size_t)snprintf(command + len, LCT_SHELL_COMMAND - len, "'");
    for (; *path != '\0' && len + 6 < LCT_SHELL_COMMAND; path++) /* closed, escaped, opened again */
        len += (size_t)snprintf(command + len, LCT_SHELL_COMMAND - len, "%s%c",
                                *path == '\'' ? "'\\'" : "", *path);
    (void)snprintf(command + len, LCT_SHELL_COMMAND - len, "'");
    return command;
}
