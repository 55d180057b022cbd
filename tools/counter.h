/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TOOLS_COUNTER_H
#define LCT_TOOLS_COUNTER_H

#include "tools/tool.h"

/* Runs a command about an NV counter, lct_tpm_counter_increment say, with the authorization of the
 * TPM's owner as it is configured or, where it takes one, asked for. */
enum lct_code
lct_tool_counter(struct lct_tool *tool, struct lct_counter *counter, const char *label,
                 enum lct_code (*command)(struct lct_tpm *, struct lct_counter *,
                                          const struct lct_tpm_counter_request *, struct lct_err *),
                 struct lct_err *err);

/* So lct_tpm_counter_remove. */
enum lct_code lct_tool_counter_remove(struct lct_tool *tool, const struct lct_counter *counter,
                                      const char *label, struct lct_err *err);

#endif
