/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TOOLS_SHELL_H
#define LCT_TOOLS_SHELL_H

/* A command to type about a file, whose path is quoted for a shell where it needs to be. Returns
 * `command`. */
enum { LCT_SHELL_COMMAND = 4400 };
const char *lct_shell_command(char command[LCT_SHELL_COMMAND], const char *words, const char *path);

#endif
