/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/fragment.h"
#include "tools/json.h"
#include "tools/nearest.h"
#include "tools/tool.h"

#include <stdlib.h>
#include <string.h>

/* What stands for the identity in conf/, and there for nothing else. */
static const char placeholder[] = "web";

static const struct lct_fragment *find(const char *name)
{
    for (size_t i = 0; i < lct_num_fragments; i++)
        if (strcmp(lct_fragments[i].name, name) == 0)
            return &lct_fragments[i];
    return NULL;
}

static enum lct_code fail_unknown(const char *name, struct lct_err *err)
{
    struct lct_nearest nearest = {.typed = name};
    char hint[LCT_NEAREST_HINT];

    for (size_t i = 0; i < lct_num_fragments; i++)
        lct_nearest_try(&nearest, lct_fragments[i].name);
    return LCT_FAIL(err, LCT_ERR_USAGE,
                    "there is no configuration for \"%s\"%s%s lct config lists those there are",
                    name, lct_nearest_hint(hint, &nearest, ""), nearest.word == NULL ? ";" : "");
}

static enum lct_code print_names(struct lct_err *err)
{
    enum lct_code code = LCT_OK;

    for (size_t i = 0; i < lct_num_fragments && code == LCT_OK; i++)
        code = lct_tool_print(err, "%s\n", lct_fragments[i].name);
    return code;
}

static enum lct_code print_names_json(struct lct_err *err)
{
    json_t *names = json_array();

    for (size_t i = 0; i < lct_num_fragments; i++)
        (void)json_array_append_new(names, json_string(lct_fragments[i].name));
    return lct_tool_print_json(json_pack("{s:i, s:o}", "version", 1, "programs", names), err);
}

static enum lct_code print_for(const char *text, const char *id, struct lct_err *err)
{
    enum lct_code code = LCT_OK;
    const char *at;

    for (; code == LCT_OK && (at = strstr(text, placeholder)) != NULL;
         text = at + sizeof placeholder - 1)
        code = lct_tool_print(err, "%.*s%s", (int)(at - text), text, id);
    return code == LCT_OK ? lct_tool_print(err, "%s", text) : code;
}

/* A configuration may be written before there is the identity, or on another machine. */
static void warn_if_unknown(struct lct_tool *tool, const char *id)
{
    struct lct_record *record = NULL;
    struct lct_err err = {.code = LCT_OK};
    const char *dir = NULL;

    if (lct_tool_open(tool, &err) != LCT_OK ||
        lct_store_get_record(&tool->store, id, &record, &dir, &err) != LCT_OK)
        lct_tool_warn(NULL, "%s", err.text);
    free(record);
}

enum lct_code lct_config_run(struct lct_tool *tool, int argc, char **argv, struct lct_err *err)
{
    const struct lct_option options[] = {{"json", NULL, &tool->json}};
    char **operands;
    int num_operands;
    const char *id = placeholder;
    enum lct_code code =
        lct_options_parse(tool, argc, argv, options, 1, 0, 2, &operands, &num_operands, err);

    if (code != LCT_OK)
        return code;
    if (num_operands == 0)
        return tool->json ? print_names_json(err) : print_names(err);
    if (tool->json)
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "--json goes with the list of programs; a configuration is as its program "
                        "reads it");
    const struct lct_fragment *fragment = find(operands[0]);
    if (fragment == NULL)
        return fail_unknown(operands[0], err);
    if (num_operands == 2) {
        code = lct_tool_id(tool, &id, operands[1], err);
        if (code != LCT_OK)
            return code;
        warn_if_unknown(tool, id);
    }
    return print_for(fragment->text, id, err);
}
