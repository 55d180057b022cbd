/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/json.h"
#include "tools/tool.h"

#include "proof/document.h"
#include "proof/json.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

bool lct_tool_wants_json(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strlen(argv[i]) > 2 && strncmp("--json", argv[i], strlen(argv[i])) == 0)
            return true;
    return false;
}

/* "not_found" of LCT_ERR_NOT_FOUND. */
static void name_error(char name[32], enum lct_code code)
{
    static const char prefix[] = "LCT_ERR_";
    const char *constant = "LCT_ERR_INTERNAL";
    size_t i = 0;

#define LCT_CODE_NAME(known, status, text) constant = code == (known) ? #known : constant;
    LCT_CODES(LCT_CODE_NAME)
#undef LCT_CODE_NAME
    for (constant += sizeof prefix - 1; i < 31 && constant[i] != '\0'; i++)
        name[i] = (char)tolower((unsigned char)constant[i]);
    name[i] = '\0';
}

void lct_tool_make_utf8(char *text)
{
    json_t *valid = json_string(text);

    for (; valid == NULL && *text != '\0'; text++)
        if ((unsigned char)*text >= 0x80)
            *text = '?';
    json_decref(valid);
}

json_t *lct_tool_json_text(const char *text)
{
    json_t *json = text != NULL ? json_string(text) : json_null();
    char *copy = json == NULL ? strdup(text) : NULL;

    if (copy == NULL)
        return json;
    lct_tool_make_utf8(copy);
    json = json_string(copy);
    free(copy);
    return json;
}

void lct_tool_print_error(const char *program, bool json, const struct lct_err *err)
{
    char name[32], *text = NULL;

    if (json) {
        name_error(name, err->code);
        json_t *object =
            json_pack("{s:{s:i, s:s, s:o}, s:i}", "error", "status", (int)err->code, "name", name,
                      "message", lct_tool_json_text(err->text), "version", 1);
        text = object != NULL ? lct_json_dump(object, 0) : NULL;
        json_decref(object);
    }
    if (text != NULL)
        (void)fprintf(stderr, "%s\n", text);
    else
        (void)fprintf(stderr, "%s: %s\n", program, err->text);
    free(text);
}

enum lct_code lct_tool_print_json(json_t *json, struct lct_err *err)
{
    char *text = json != NULL ? lct_json_dump(json, JSON_INDENT(2) | JSON_ENCODE_ANY) : NULL;
    enum lct_code code = text != NULL ? lct_tool_print(err, "%s\n", text)
                                      : LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");

    free(text);
    json_decref(json);
    return code;
}
