/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TOOLS_PROTOTYPE_H
#define LCT_TOOLS_PROTOTYPE_H

#include "store/prototype.h"
#include "tools/tool.h"

/* A file that Web4's Python prototype wrote of a key. Errors of lct_tool_read and
 * lct_prototype_read, which then name the file; LCT_ERR_BAD_RECORD: it is too long to be one. The
 * caller clears it, whatever comes back. */
enum lct_code lct_tool_prototype(struct lct_prototype *prototype, struct lct_tool *tool,
                                 const char *file, struct lct_err *err);

/* Adds to the error of an import that the key is lost, and which of the files beside `file` the
 * key is of that lies in its place, if it is one of theirs. Asks the TPM. */
void lct_prototype_explain(struct lct_err *err, struct lct_tool *tool,
                           const struct lct_prototype *prototype, const char *file);

#endif
