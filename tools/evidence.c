/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/evidence.h"
#include "tools/json.h"

enum lct_code lct_tool_evidence(struct lct_evidence **evidence, struct lct_tool *tool,
                                const char *file, struct lct_err *err)
{
    json_t *document = NULL;
    OSSL_LIB_CTX *libctx = lct_crypto_get(tool->crypto, err);

    if (libctx == NULL)
        return LCT_ERR_INTERNAL;
    enum lct_code code = lct_tool_document(&document, file, LCT_MAX_EVIDENCE, err);
    if (code != LCT_OK)
        return code;
    code = lct_evidence_read(evidence, libctx, document, err);
    json_decref(document);
    return code == LCT_OK ? LCT_OK : lct_err_prefix(err, lct_tool_file(file));
}
