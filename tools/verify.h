/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TOOLS_VERIFY_H
#define LCT_TOOLS_VERIFY_H

#include "base/error.h"
#include "tools/tool.h"

/* The subcommand that two programs have: lct, and lct-verify for machines without TSS. Their help
 * is the same. */
extern const char lct_verify_arguments[], lct_verify_summary[], lct_verify_details[];

enum lct_code lct_verify_run(struct lct_tool *tool, int argc, char **argv, struct lct_err *err);

#endif
