/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TOOLS_PREDICT_H
#define LCT_TOOLS_PREDICT_H

#include "tcg/pcr.h"
#include "tools/tool.h"

/* What will be otherwise at the next boot, as the options say: --predict, --eventlog, --cmdline. */
struct lct_prediction {
    const char *changes[LCT_MAX_VALUES + 1]; /* "dbx=FILE", "cmdline=TEXT", "digest=OLD:NEW" */
    bool asked;                              /* for any */
    const char *eventlog;                    /* NULL: the kernel's */
    const char *cmdline;                     /* the file of this boot's; NULL: /proc/cmdline */
};

/* LCT_ERR_USAGE: --eventlog or --cmdline without --predict, or a change that is none. */
enum lct_code lct_prediction_check(const struct lct_prediction *prediction, struct lct_err *err);

/* What the PCRs hold now becomes what they will hold; nothing happens if it is not asked. Errors of
 * lct_forecast; LCT_ERR_IO: a file cannot be read. */
enum lct_code lct_prediction_apply(struct lct_pcr_values *values, struct lct_tool *tool,
                                   const struct lct_prediction *prediction, struct lct_err *err);

#endif
