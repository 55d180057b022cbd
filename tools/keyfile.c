/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/tool.h"

#include "store/reference.h"

#include <openssl/crypto.h>
#include <stdio.h>

static enum lct_code print_text(uint8_t *text, size_t text_len, struct lct_err *err)
{
    enum lct_code code = lct_tool_print(err, "%.*s", (int)text_len, (const char *)text);

    OPENSSL_free(text);
    return code;
}

enum lct_code lct_pem_run(struct lct_tool *tool, int argc, char **argv, struct lct_err *err)
{
    const char *id = NULL;
    struct lct_key *key = NULL;
    uint8_t *text = NULL;
    size_t text_len = 0;
    enum lct_code code = lct_tool_begin(tool, argc, argv, NULL, 0, &id, err);

    if (code == LCT_OK)
        code = lct_store_get_key(&tool->store, tool->crypto, id, 0, &key, err);
    if (code == LCT_OK)
        code = lct_reference_write(&text, &text_len, id, key, err);
    if (code == LCT_OK)
        code = print_text(text, text_len, err);
    lct_key_free(key);
    return code;
}

enum lct_code lct_export_run(struct lct_tool *tool, int argc, char **argv, struct lct_err *err)
{
    const char *id = NULL;
    struct lct_key *key = NULL;
    uint8_t *text = NULL;
    size_t text_len = 0;
    enum lct_code code = lct_tool_begin(tool, argc, argv, NULL, 0, &id, err);

    if (code == LCT_OK)
        code = lct_store_get_key(&tool->store, tool->crypto, id, 0, &key, err);
    if (code == LCT_OK)
        code = lct_keyfile_write_pem(&text, &text_len, &key->keyfile, err);
    if (code == LCT_OK)
        code = print_text(text, text_len, err);
    lct_key_free(key);
    return code;
}
