/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TOOLS_EXPLAIN_TEXT_H
#define LCT_TOOLS_EXPLAIN_TEXT_H

#include "base/error.h"

#include <jansson.h>

/*
 * What `lct attest show --json` prints, for people, a line for each thing. Whatever is in it,
 * nothing but printable ASCII and ends of lines reaches the terminal, and no text can make a line
 * of its own. LCT_ERR_IO.
 */
enum lct_code lct_explain_print(const json_t *json, struct lct_err *err);

#endif
