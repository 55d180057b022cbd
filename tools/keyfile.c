/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/tool.h"

#include "store/life.h"
#include "store/reference.h"

#include <openssl/crypto.h>

static enum lct_code write_keyfile(uint8_t **text, size_t *text_len, const struct lct_key *key,
                                   struct lct_err *err)
{
    /* What has ended signs no more: other tools would not know. */
    enum lct_code code = lct_life_check_key(key, err);

    if (code == LCT_OK)
        code = lct_key_export(text, text_len, key, err);
    /* The format has no field for alternatives, nor an approval that it can be held to. */
    if (code == LCT_OK && key->seal == LCT_SEAL_EITHER)
        lct_tool_warn(key->label,
                      "other tools cannot sign with this file: its seal has two ways, which the "
                      "format cannot say; lct pem %s stands for it here",
                      key->id);
    return code;
}

/* `write` makes a form of key file, as PEM. */
static enum lct_code print_key(struct lct_tool *tool, int argc, char **argv,
                               enum lct_code (*write)(uint8_t **text, size_t *text_len,
                                                      const struct lct_key *key,
                                                      struct lct_err *err),
                               struct lct_err *err)
{
    const char *id = NULL;
    struct lct_key *key = NULL;
    uint8_t *text = NULL;
    size_t text_len = 0;
    enum lct_code code = lct_tool_begin(tool, argc, argv, NULL, 0, &id, err);

    if (code == LCT_OK)
        code = lct_store_get_key(&tool->store, tool->crypto, id, 0, &key, err);
    if (code == LCT_OK)
        code = write(&text, &text_len, key, err);
    if (code == LCT_OK)
        code = lct_tool_print(err, "%.*s", (int)text_len, (const char *)text);
    OPENSSL_free(text);
    lct_key_free(key);
    return code;
}

enum lct_code lct_pem_run(struct lct_tool *tool, int argc, char **argv, struct lct_err *err)
{
    return print_key(tool, argc, argv, lct_reference_write, err);
}

enum lct_code lct_export_run(struct lct_tool *tool, int argc, char **argv, struct lct_err *err)
{
    return print_key(tool, argc, argv, write_keyfile, err);
}
