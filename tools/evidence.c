/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/evidence.h"
#include "tools/json.h"

static enum lct_code read_evidence(void *evidence, OSSL_LIB_CTX *libctx, const json_t *document,
                                   struct lct_err *err)
{
    return lct_evidence_read(evidence, libctx, document, err);
}

enum lct_code lct_tool_evidence(struct lct_evidence **evidence, struct lct_tool *tool,
                                const char *file, struct lct_err *err)
{
    OSSL_LIB_CTX *libctx = lct_crypto_get(tool->crypto, err);

    if (libctx == NULL)
        return LCT_ERR_INTERNAL;
    return lct_tool_document_into(evidence, libctx, file, LCT_MAX_EVIDENCE, read_evidence, err);
}
