/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/tool.h"

#include "store/reference.h"

#include <openssl/crypto.h>

static enum lct_code write_keyfile(uint8_t **text, size_t *text_len, const struct lct_key *key,
                                   struct lct_err *err)
{
    const struct lct_keyfile *keyfile = NULL;
    enum lct_code code = lct_key_file(&keyfile, key, err);

    return code == LCT_OK ? lct_keyfile_write_pem(text, text_len, keyfile, err) : code;
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
