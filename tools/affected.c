/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/authority.h"
#include "tools/json.h"
#include "tools/tool.h"

#include <stdlib.h>
#include <string.h>

/* An update, and the PCRs that it usually changes: PC Client Platform Firmware Profile, 3.3.4; UAPI
 * group's Linux TPM PCR Registry. */
struct update {
    const char *name, *what;
    uint32_t pcrs;       /* bit n: PCR n */
    const char *predict; /* the option that approves it before the reboot, if it can be known */
};

static const struct update updates[] = {
    {"firmware", "the firmware", 1 << 0 | 1 << 1 | 1 << 2 | 1 << 3 | 1 << 6, NULL},
    {"secureboot", "Secure Boot's keys or of what is revoked", 1 << 7 | 1 << 14,
     "--predict dbx=FILE"},
    {"bootloader", "the boot loader", 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 14, NULL},
    {"kernel", "the kernel", 1 << 4 | 1 << 8 | 1 << 9 | 1 << 11 | 1 << 12, NULL},
    {"initramfs", "the initramfs", 1 << 4 | 1 << 9 | 1 << 11, NULL},
};

static const struct update *find_update(const char *name)
{
    for (size_t i = 0; i < sizeof updates / sizeof updates[0]; i++)
        if (strcmp(updates[i].name, name) == 0)
            return &updates[i];
    return NULL;
}

/* Whom the update may lock: those that are sealed to one state alone, or the others. */
struct filter {
    const struct lct_tool *tool;
    const struct update *update;
    bool strict;
    const struct lct_seal *like; /* those of the same authority; NULL: of any */
    char *const *ids;
    size_t num_ids;
};

/* *seal is what it is sealed to. */
static bool matches(const struct filter *filter, const char *id, struct lct_seal *seal)
{
    const struct lct_seal *like = filter->like;
    struct lct_record *record = NULL;
    uint32_t pcrs = 0;

    memset(seal, 0, sizeof *seal);
    if (lct_store_get_record(&filter->tool->store, id, &record, NULL, NULL) == LCT_OK)
        *seal = lct_record_generation(record, 0)->seal;
    free(record);
    for (size_t i = 0; i < seal->pcrs.pcrs.num_banks; i++)
        pcrs |= seal->pcrs.pcrs.banks[i].pcrs;
    return (pcrs & filter->update->pcrs) != 0 &&
           (seal->kind == LCT_SEAL_STRICT) == filter->strict &&
           (like == NULL || (like->authority_len == seal->authority_len &&
                             memcmp(like->authority, seal->authority, like->authority_len) == 0));
}

/* The place of the first that matches, from 0; num_ids: none does. */
static size_t find_first(const struct filter *filter)
{
    struct lct_seal seal;
    size_t i = 0;

    while (i < filter->num_ids && !matches(filter, filter->ids[i], &seal))
        i++;
    return i;
}

static enum lct_code print_ids(const struct filter *filter, const char *prefix, struct lct_err *err)
{
    struct lct_seal seal;
    enum lct_code code = LCT_OK;

    for (size_t i = 0; i < filter->num_ids && code == LCT_OK; i++)
        if (matches(filter, filter->ids[i], &seal))
            code = lct_tool_print(err, " %s%s", prefix, filter->ids[i]);
    return code == LCT_OK ? lct_tool_print(err, "\n") : code;
}

/* For those of one authority. */
static enum lct_code print_commands(const struct filter *filter, struct lct_err *err)
{
    const struct update *update = filter->update;
    char path[PATH_MAX];
    const char *file = lct_authority_key_file(path, filter->tool, filter->like);
    enum lct_code code = LCT_OK;

    if (update->predict != NULL) {
        code = lct_tool_print(err, "before the reboot: lct approve --authority %s %s", file,
                              update->predict);
        if (code == LCT_OK)
            code = print_ids(filter, "", err);
    }
    if (code == LCT_OK)
        code = lct_tool_print(err, "after the reboot:  lct approve --authority %s", file);
    return code == LCT_OK ? print_ids(filter, "", err) : code;
}

static enum lct_code print_approvable(const struct filter *filter, struct lct_err *err)
{
    struct lct_seal seal;
    struct filter like = *filter;
    enum lct_code code = lct_tool_print(
        err, "an update of %s may lock these keys from the next boot on:", filter->update->what);

    if (code == LCT_OK)
        code = print_ids(filter, "lct:", err);
    like.like = &seal;
    for (size_t i = 0; i < filter->num_ids && code == LCT_OK; i++)
        if (matches(filter, filter->ids[i], &seal) && find_first(&like) == i)
            code = print_commands(&like, err);
    return code;
}

static enum lct_code print_affected(struct filter *filter, struct lct_err *err)
{
    enum lct_code code =
        find_first(filter) < filter->num_ids ? print_approvable(filter, err) : LCT_OK;

    filter->strict = true;
    if (code != LCT_OK || find_first(filter) == filter->num_ids)
        return code;
    code = lct_tool_print(err,
                          "an update of %s may lock these keys for ever, since nobody can approve "
                          "for them:",
                          filter->update->what);
    return code == LCT_OK ? print_ids(filter, "lct:", err) : code;
}

/* The ids of those that match. */
static json_t *ids_json(const struct filter *filter)
{
    json_t *array = json_array();
    struct lct_seal seal;

    for (size_t i = 0; i < filter->num_ids; i++)
        if (matches(filter, filter->ids[i], &seal))
            (void)json_array_append_new(array, json_string(filter->ids[i]));
    return array;
}

static enum lct_code print_json(struct filter *filter, struct lct_err *err)
{
    json_t *approvable = ids_json(filter);

    filter->strict = true;
    return lct_tool_print_json(json_pack("{s:i, s:s, s:o, s:o}", "version", 1, "update",
                                         filter->update->name, "until_approved", approvable,
                                         "for_ever", ids_json(filter)),
                               err);
}

enum lct_code lct_affected_run(struct lct_tool *tool, int argc, char **argv, struct lct_err *err)
{
    struct filter filter = {.tool = tool};
    const struct lct_option options[] = {{"json", NULL, &tool->json}};
    char **operands, **ids = NULL;
    int num_operands;
    enum lct_code code =
        lct_options_parse(tool, argc, argv, options, 1, 1, 1, &operands, &num_operands, err);

    if (code != LCT_OK)
        return code;
    filter.update = find_update(operands[0]);
    if (filter.update == NULL)
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "\"%s\" is no update; choose firmware, secureboot, bootloader, kernel or "
                        "initramfs",
                        operands[0]);
    code = lct_tool_open(tool, err);
    if (code == LCT_OK)
        code = lct_store_list(&tool->store, &ids, &filter.num_ids, err);
    filter.ids = ids;
    if (code == LCT_OK)
        code = tool->json ? print_json(&filter, err) : print_affected(&filter, err);
    lct_store_free_ids(ids, filter.num_ids);
    return code;
}
