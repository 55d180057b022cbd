/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TOOLS_EVIDENCE_H
#define LCT_TOOLS_EVIDENCE_H

#include "proof/evidence.h"
#include "tools/tool.h"

/* Evidence from a file, or with "-" from standard input, for who uses it and does not judge it.
 * lct_evidence_free frees it. Errors of lct_tool_read, lct_document_read and lct_evidence_read. */
enum lct_code lct_tool_evidence(struct lct_evidence **evidence, struct lct_tool *tool,
                                const char *file, struct lct_err *err);

#endif
