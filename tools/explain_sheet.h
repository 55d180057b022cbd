/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TOOLS_EXPLAIN_SHEET_H
#define LCT_TOOLS_EXPLAIN_SHEET_H

#include "tools/sheet.h"

#include <jansson.h>

/*
 * What `lct attest show --json` prints, for people, a line for each thing, on a sheet of strangers'
 * values: whatever is in it, nothing but printable ASCII and ends of lines reaches the terminal,
 * and no text can make a line of its own.
 */
void lct_explain_say(struct lct_sheet *sheet, const json_t *json);

#endif
