/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TOOLS_COUNTER_H
#define LCT_TOOLS_COUNTER_H

#include "tools/tool.h"

/*
 * Removes the counter that a record in the store `dir`, one of the tool's, spoke of and does not
 * any more, if nobody else may need it (lct_counters_check): with the authorization of the TPM's
 * owner as it is configured or, where it takes one, asked for. LCT_ERR_OTHER_TPM: it is not there
 * any more; errors of lct_counters_lock, lct_counters_check and lct_tpm_counter_remove: it stays.
 */
enum lct_code lct_tool_counter_remove(struct lct_tool *tool, const char *dir,
                                      const struct lct_counter *counter, const char *label,
                                      struct lct_err *err);

#endif
