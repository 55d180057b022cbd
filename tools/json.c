/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/json.h"
#include "tools/tool.h"

#include "proof/document.h"

#include <stdlib.h>

enum lct_code lct_tool_read_sent(uint8_t **bytes, size_t *bytes_len, const char *file, size_t max,
                                 struct lct_err *err)
{
    struct lct_err why = {.code = LCT_OK};
    enum lct_code code = lct_tool_read(bytes, bytes_len, file, max, &why);

    if (code == LCT_ERR_USAGE)
        return LCT_FAIL(err, LCT_ERR_BAD_EVIDENCE, "%s", why.text);
    if (code != LCT_OK && err != NULL)
        *err = why;
    return code;
}

enum lct_code lct_tool_document(json_t **document, const char *file, size_t max,
                                struct lct_err *err)
{
    const char *type = NULL;
    uint8_t *text = NULL;
    size_t text_len = 0;
    enum lct_code code = lct_tool_read_sent(&text, &text_len, file, max, err);

    *document = NULL;
    if (code != LCT_OK)
        return code;
    code = lct_document_read(document, &type, text, text_len, err);
    free(text);
    return code == LCT_OK ? LCT_OK : lct_err_prefix(err, lct_tool_file(file));
}

enum lct_code lct_tool_document_into(void *into, OSSL_LIB_CTX *libctx, const char *file, size_t max,
                                     enum lct_code (*read)(void *into, OSSL_LIB_CTX *libctx,
                                                           const json_t *document,
                                                           struct lct_err *err),
                                     struct lct_err *err)
{
    json_t *document = NULL;
    enum lct_code code = lct_tool_document(&document, file, max, err);

    if (code != LCT_OK)
        return code;
    code = read(into, libctx, document, err);
    json_decref(document);
    return code == LCT_OK ? LCT_OK : lct_err_prefix(err, lct_tool_file(file));
}

enum lct_code lct_tool_print_json(json_t *json, struct lct_err *err)
{
    char *text = json != NULL ? json_dumps(json, JSON_INDENT(2) | JSON_ENCODE_ANY) : NULL;
    enum lct_code code = text != NULL ? lct_tool_print(err, "%s\n", text)
                                      : LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");

    free(text);
    json_decref(json);
    return code;
}
