/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/authority.h"
#include "tools/json.h"
#include "tools/shell.h"
#include "tools/tool.h"

#include "store/life.h"

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

/* A key that the update may lock. */
struct locked {
    const char *id;
    struct lct_seal seal;
};

/* Whom it is about: those that are sealed to one state alone, or the others. */
struct filter {
    const struct lct_tool *tool;
    const struct update *update;
    bool strict;
    const struct lct_seal *like; /* those of the same authority; NULL: of any */
    struct locked *all;          /* those of an identity one after the other */
    size_t num;
};

static bool is_touched(const struct lct_seal *seal, const struct update *update)
{
    uint32_t pcrs = 0;

    for (size_t i = 0; i < seal->pcrs.pcrs.num_banks; i++)
        pcrs |= seal->pcrs.pcrs.banks[i].pcrs;
    return (pcrs & update->pcrs) != 0;
}

/* Of an identity, those that sign; of one that cannot be read nothing is known but that. */
static enum lct_code find_locked(struct filter *filter, const char *id, struct lct_err *err)
{
    struct lct_record *record = NULL;
    struct lct_err unread;
    enum lct_code code = LCT_OK;

    if (lct_store_get_record(&filter->tool->store, id, &record, NULL, &unread) != LCT_OK) {
        lct_tool_warn(NULL, "%s", unread.text);
        return LCT_OK;
    }
    for (size_t i = 0; i < record->num_generations && code == LCT_OK; i++) {
        const struct lct_generation *generation = &record->generations[i];
        if (!is_touched(&generation->seal, filter->update) || !lct_life_signs(record, generation))
            continue;
        struct locked *all = reallocarray(filter->all, filter->num + 1, sizeof *all);
        if (all == NULL) {
            code = LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
        } else {
            filter->all = all;
            all[filter->num++] = (struct locked){id, generation->seal};
        }
    }
    free(record);
    return code;
}

static bool matches(const struct filter *filter, size_t i)
{
    const struct lct_seal *like = filter->like, *seal = &filter->all[i].seal;

    return (seal->kind == LCT_SEAL_STRICT) == filter->strict &&
           (like == NULL || (like->authority_len == seal->authority_len &&
                             memcmp(like->authority, seal->authority, like->authority_len) == 0));
}

/* The same, for the first key of an identity: its id is told once. */
static bool matches_first(const struct filter *filter, size_t i)
{
    bool first = matches(filter, i);

    for (size_t j = i; first && j > 0 && filter->all[j - 1].id == filter->all[i].id; j--)
        first = !matches(filter, j - 1);
    return first;
}

/* The place of the first that matches, from 0; num: none does. */
static size_t find_first(const struct filter *filter)
{
    size_t i = 0;

    while (i < filter->num && !matches(filter, i))
        i++;
    return i;
}

static enum lct_code print_ids(const struct filter *filter, const char *prefix, struct lct_err *err)
{
    enum lct_code code = LCT_OK;

    for (size_t i = 0; i < filter->num && code == LCT_OK; i++)
        if (matches_first(filter, i))
            code = lct_tool_print(err, " %s%s", prefix, filter->all[i].id);
    return code == LCT_OK ? lct_tool_print(err, "\n") : code;
}

/* For those of one authority. */
static enum lct_code print_commands(const struct filter *filter, struct lct_err *err)
{
    const struct update *update = filter->update;
    char path[PATH_MAX], command[LCT_SHELL_COMMAND];
    enum lct_code code = LCT_OK;

    (void)lct_shell_command(command, "lct approve --authority",
                            lct_authority_key_file(path, filter->tool, filter->like));
    if (update->predict != NULL) {
        code = lct_tool_print(err, "before the reboot: %s %s", command, update->predict);
        if (code == LCT_OK)
            code = print_ids(filter, "", err);
    }
    if (code == LCT_OK)
        code = lct_tool_print(err, "after the reboot:  %s", command);
    return code == LCT_OK ? print_ids(filter, "", err) : code;
}

static enum lct_code print_approvable(const struct filter *filter, struct lct_err *err)
{
    struct filter like = *filter;
    enum lct_code code = lct_tool_print(
        err, "an update of %s may lock these keys from the next boot on:", filter->update->what);

    if (code == LCT_OK)
        code = print_ids(filter, "lct:", err);
    for (size_t i = 0; i < filter->num && code == LCT_OK; i++) {
        like.like = &filter->all[i].seal;
        if (matches(filter, i) && find_first(&like) == i)
            code = print_commands(&like, err);
    }
    return code;
}

static enum lct_code print_affected(struct filter *filter, struct lct_err *err)
{
    enum lct_code code = find_first(filter) < filter->num ? print_approvable(filter, err) : LCT_OK;

    filter->strict = true;
    if (code != LCT_OK || find_first(filter) == filter->num)
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

    for (size_t i = 0; i < filter->num; i++)
        if (matches_first(filter, i))
            (void)json_array_append_new(array, json_string(filter->all[i].id));
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
    size_t num_ids = 0;
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
        code = lct_store_list(&tool->store, &ids, &num_ids, err);
    for (size_t i = 0; i < num_ids && code == LCT_OK; i++)
        code = find_locked(&filter, ids[i], err);
    if (code == LCT_OK)
        code = tool->json ? print_json(&filter, err) : print_affected(&filter, err);
    free(filter.all);
    lct_store_free_ids(ids, num_ids);
    return code;
}
