/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/json.h"
#include "tools/private_file.h"
#include "tools/tar.h"
#include "tools/tool.h"

#include "base/fd.h"
#include "proof/json.h"
#include "store/backup.h"
#include "store/names.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char top[] = "lct-backup";

/* Which TPM that is, for people; one that does not answer is none of a backup's troubles. */
static void describe_tpm(struct lct_backup *backup, const struct lct_tool *tool)
{
    static const char label[] = "the backup";
    struct lct_tpm_info info = {0};
    const struct lct_tpm_parent_request request = {
        .label = label, .where = lct_srk_handle, .libctx = lct_crypto_get(tool->crypto, NULL)};
    struct lct_tpm_parent *srk = calloc(1, sizeof *srk);

    backup->has_tpm = lct_tpm_describe(tool->tpm, &info, label, NULL) == LCT_OK;
    (void)snprintf(backup->tpm, sizeof backup->tpm, "%s", info.description);
    if (backup->has_tpm && srk != NULL && request.libctx != NULL &&
        lct_tpm_find_parent(tool->tpm, srk, &request, NULL) == LCT_OK)
        backup->srk = srk->name;
    free(srk);
}

/* Those that were asked for, or all; one that cannot be taken is told, and the others are all the
 * same. The last failure is the result. */
static enum lct_code take_each(struct lct_backup *backup, struct lct_tool *tool,
                               const struct lct_store *store, char *const *ids, size_t num_ids,
                               bool all, struct lct_err *err)
{
    struct lct_err worst = {.code = LCT_OK};

    for (size_t i = 0; i < num_ids; i++) {
        struct lct_err one;
        enum lct_code code = lct_backup_take(backup, store, tool->crypto, ids[i], &one);
        if (code == LCT_OK || (code == LCT_ERR_NOT_FOUND && all)) /* which was deleted meanwhile */
            continue;
        lct_tool_fail_later(&worst, &one);
    }
    *err = worst;
    return worst.code;
}

static int compare_ids(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sorts ids, and drops those that are there twice. */
static void sort_ids(char **ids, size_t *num_ids)
{
    size_t kept = 0;

    qsort(ids, *num_ids, sizeof *ids, compare_ids);
    for (size_t i = 0; i < *num_ids; i++)
        if (kept > 0 && strcmp(ids[kept - 1], ids[i]) == 0)
            free(ids[i]);
        else
            ids[kept++] = ids[i];
    *num_ids = kept;
}

/* The operands as ids, which also names of keys lead to. The caller frees with lct_store_free_ids.
 */
static enum lct_code read_ids(char ***ids, size_t *num_ids, struct lct_tool *tool, char **operands,
                              size_t num_operands, struct lct_err *err)
{
    const struct lct_store store = lct_store_of_new(&tool->store);
    const char *id = NULL;

    *num_ids = 0;
    *ids = calloc(num_operands, sizeof **ids);
    if (*ids == NULL)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    for (size_t i = 0; i < num_operands; i++) {
        struct lct_named named;
        enum lct_code code = lct_tool_id(tool, &id, operands[i], err);
        if (code == LCT_OK)
            code = lct_store_find_identity(&named, &store, id, err);
        if (code != LCT_OK)
            return code;
        close(named.fd);
        (*ids)[i] = strdup(named.id);
        if ((*ids)[i] == NULL)
            return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
        *num_ids = i + 1;
    }
    sort_ids(*ids, num_ids);
    return LCT_OK;
}

static size_t count_files(const struct lct_backup *backup)
{
    size_t num = 1 + backup->store.num;

    for (size_t i = 0; i < backup->num_identities; i++)
        num += backup->identities[i].files.num;
    return num;
}

/* The files of a directory of the archive. */
static void list_files(struct lct_tar_file *list, size_t *num, const char *dir,
                       const struct lct_backup_files *files)
{
    for (size_t i = 0; i < files->num; i++)
        list[(*num)++] = (struct lct_tar_file){dir, files->all[i].name, files->all[i].bytes,
                                               files->all[i].bytes_len};
}

/* The archive of it: the manifest first, and the rest in its order. */
static enum lct_code pack(uint8_t **tar, size_t *tar_len, const struct lct_backup *backup,
                          const char *manifest, struct lct_err *err)
{
    struct lct_tar_file *list = calloc(count_files(backup), sizeof *list);
    size_t num = 0;

    if (list == NULL)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    list[num++] =
        (struct lct_tar_file){"", lct_manifest_file, (const uint8_t *)manifest, strlen(manifest)};
    for (size_t i = 0; i < backup->num_identities; i++)
        list_files(list, &num, backup->identities[i].record->id, &backup->identities[i].files);
    list_files(list, &num, "", &backup->store);
    enum lct_code code = lct_tar_make(tar, tar_len, top, list, num, err);
    free(list);
    return code;
}

static enum lct_code write_out(const char *file, const uint8_t *bytes, size_t bytes_len,
                               struct lct_err *err)
{
    if (file != NULL)
        return lct_private_file_make(file, bytes, bytes_len, err);
    return lct_fd_write_all(STDOUT_FILENO, bytes, bytes_len)
               ? LCT_OK
               : LCT_FAIL(err, LCT_ERR_IO, "standard output cannot be written: %s",
                          strerror(errno));
}

static enum lct_code write_backup(struct lct_backup *backup, const struct lct_tool *tool,
                                  const char *file, struct lct_err *err)
{
    OSSL_LIB_CTX *libctx = lct_crypto_get(tool->crypto, err);
    uint8_t *tar = NULL;
    size_t tar_len = 0;

    if (libctx == NULL)
        return LCT_ERR_INTERNAL;
    lct_json_now(backup->created);
    char *manifest = lct_backup_manifest(backup, libctx);
    if (manifest == NULL)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    enum lct_code code = pack(&tar, &tar_len, backup, manifest, err);
    if (code == LCT_OK && (tar_len > LCT_MAX_BACKUP || strlen(manifest) >= LCT_MAX_MANIFEST))
        code = LCT_FAIL(err, LCT_ERR_USAGE,
                        "a backup has %d MiB at most; back up some identities at a time",
                        LCT_MAX_BACKUP >> 20);
    if (code == LCT_OK)
        code = write_out(file, tar, tar_len, err);
    free(tar);
    free(manifest);
    return code;
}

static enum lct_code say_written(const struct lct_tool *tool, const struct lct_backup *backup,
                                 const char *file, struct lct_err *err)
{
    json_t *ids = json_array();

    for (size_t i = 0; i < backup->num_identities; i++)
        (void)json_array_append_new(ids, json_string(backup->identities[i].record->id));
    if (tool->json)
        return lct_tool_print_json(json_pack("{s:i, s:o, s:o}", "version", 1, "file",
                                             lct_tool_json_text(file), "ids", ids),
                                   err);
    json_decref(ids);
    lct_tool_note(tool, "identities in the backup: %zu", backup->num_identities);
    return LCT_OK;
}

/* What can be taken is written, though something cannot. */
static enum lct_code back_up(struct lct_tool *tool, char *const *ids, size_t num_ids, bool all,
                             const char *file, struct lct_err *err)
{
    const struct lct_store store = lct_store_of_new(&tool->store);
    struct lct_backup backup = {0};
    struct lct_err wrong = {.code = LCT_OK};
    enum lct_code worst = take_each(&backup, tool, &store, ids, num_ids, all, &wrong);
    enum lct_code code = LCT_OK;

    if (worst != LCT_OK && backup.num_identities == 0) {
        *err = wrong;
        code = worst;
    }
    if (code == LCT_OK)
        code = lct_backup_take_store(&backup, &store, tool->crypto, err);
    if (code == LCT_OK) {
        describe_tpm(&backup, tool);
        code = write_backup(&backup, tool, file, err);
    }
    if (code == LCT_OK)
        code = say_written(tool, &backup, file, err);
    lct_backup_clear(&backup);
    if (code == LCT_OK && worst != LCT_OK) {
        *err = wrong;
        return lct_err_prefix(err, "not in the backup");
    }
    return code;
}

enum lct_code lct_backup_run(struct lct_tool *tool, int argc, char **argv, struct lct_err *err)
{
    const char *file = NULL;
    const struct lct_option options[] = {{"out", &file, NULL}, {"json", NULL, &tool->json}};
    char **operands, **ids = NULL;
    int num_operands;
    size_t num_ids = 0;
    enum lct_code code =
        lct_options_parse(tool, argc, argv, options, 2, 0, -1, &operands, &num_operands, err);

    if (code != LCT_OK)
        return code;
    if (file == NULL && tool->json)
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "--json goes with --out FILE.tar: standard output is the backup's");
    if (file == NULL && isatty(STDOUT_FILENO))
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "a backup is not for a terminal: lct backup >FILE.tar, or --out FILE.tar");
    code = lct_tool_open(tool, err);
    if (code != LCT_OK)
        return code;
    const struct lct_store store = lct_store_of_new(&tool->store);
    bool all = num_operands == 0;
    code = all ? lct_store_list(&store, &ids, &num_ids, err)
               : read_ids(&ids, &num_ids, tool, operands, (size_t)num_operands, err);
    if (code == LCT_OK && num_ids == 0) /* a path that was mistyped looks like that, too */
        code =
            LCT_FAIL(err, LCT_ERR_NOT_FOUND, "there is no identity in the store %s", store.dirs[0]);
    if (code == LCT_OK)
        code = back_up(tool, ids, num_ids, all, file, err);
    lct_store_free_ids(ids, num_ids);
    return code;
}
