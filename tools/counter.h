/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TOOLS_COUNTER_H
#define LCT_TOOLS_COUNTER_H

#include "tools/tool.h"

/* lct_tpm_counter_remove, with the authorization of the TPM's owner as it is configured or, where
 * it takes one, asked for. */
enum lct_code lct_tool_counter_remove(struct lct_tool *tool, const struct lct_counter *counter,
                                      const char *label, struct lct_err *err);

#endif
