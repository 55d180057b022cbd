/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/setup_plan.h"

#include "tools/private_file.h"
#include "tools/setup_text.h"
#include "tools/setup_try.h"
#include "tools/tool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_FILE = 1 << 20 };

static enum lct_code check_memory(const void *made, struct lct_err *err)
{
    return made != NULL ? LCT_OK : LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
}

static bool is_same(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* The file itself, not a link to it, since what is renamed in its place replaces it; and no device.
 * One that is not there has its name. */
static enum lct_code follow_links(struct lct_setup *setup, struct lct_err *err)
{
    char *real = realpath(setup->conf.path, NULL);
    struct stat status;

    if (real == NULL && errno == ENOENT && lstat(setup->conf.path, &status) == 0)
        return LCT_FAIL(err, LCT_ERR_CONFIG, "%s is a link to a file that is not there",
                        setup->conf.path);
    if (real == NULL && (errno != ENOENT || setup->conf.path[0] != '/'))
        return LCT_FAIL(err, LCT_ERR_IO, "%s cannot be read: %s", setup->conf.path,
                        strerror(errno));
    if (real == NULL)
        return LCT_OK;
    free(setup->conf.path);
    setup->conf.path = real;
    if (stat(real, &status) != 0 || !S_ISREG(status.st_mode))
        return LCT_FAIL(err, LCT_ERR_CONFIG, "%s is no file", real);
    return LCT_OK;
}

/* Whether a part of a path is only this user's doing, or root's; `near`: it is the file, or the
 * directory that it is in. */
static enum lct_code check_part(const char *part, const struct stat *status, bool near,
                                struct lct_err *err)
{
    if (status->st_uid != 0 && status->st_uid != geteuid())
        return LCT_FAIL(err, LCT_ERR_CONFIG,
                        "%s belongs to another user (uid %u); run lct setup as that one", part,
                        (unsigned)status->st_uid);
    if (near && (status->st_mode & (S_IWGRP | S_IWOTH)) != 0)
        return LCT_FAIL(err, LCT_ERR_CONFIG,
                        "%s: others may write to it (mode %04o), and what is named there is "
                        "loaded: chmod go-w %s",
                        part, (unsigned)status->st_mode & 07777, part);
    return LCT_OK;
}

/* What is another user's may be exchanged at any time, and what an openssl.cnf names is loaded into
 * this process. Of a file that is not there it is the nearest directory; what is made in that is
 * this user's alone. */
static enum lct_code check_owners(const char *path, struct lct_err *err)
{
    char *real = realpath(path, NULL); /* NULL, too, where there is none */
    char *part = real != NULL ? real : strdup(path);
    struct stat status = {.st_mode = 0};
    enum lct_code code = check_memory(part, err);

    for (int up = 0; code == LCT_OK && !S_ISDIR(status.st_mode); up++) {
        if (stat(part, &status) == 0)
            code = check_part(part, &status, up < 2, err);
        char *slash = strrchr(part, '/');
        if (slash == NULL || slash == part)
            break;
        *slash = '\0';
    }
    free(part);
    return code;
}

/* Each of the files is read, and openssl.cnf has in it what lct.cnf says. */
static enum lct_code check_all_owners(const struct lct_setup *setup, struct lct_err *err)
{
    enum lct_code code = check_owners(setup->conf.path, err);

    if (code == LCT_OK)
        code = check_owners(setup->ours.path, err);
    return code == LCT_OK ? check_owners(setup->backup.path, err) : code;
}

static enum lct_code read_file(struct lct_setup_file *file, struct lct_err *err)
{
    uint8_t *text = NULL;
    size_t len = 0;

    if (access(file->path, F_OK) != 0 && (errno == ENOENT || errno == ENOTDIR))
        return LCT_OK;
    enum lct_code code = lct_tool_read(&text, &len, file->path, MAX_FILE, err);
    file->before = (char *)text;
    if (code == LCT_OK && strlen(file->before) != len)
        code = LCT_FAIL(err, LCT_ERR_CONFIG, "%s is no text", file->path);
    return code;
}

static enum lct_code name_others(struct lct_setup *setup, struct lct_err *err)
{
    const char *path = setup->conf.path;
    int dir_len = (int)(strrchr(path, '/') - path);

    if (asprintf(&setup->ours.path, "%.*s/lct.cnf", dir_len, path) < 0)
        setup->ours.path = NULL;
    if (asprintf(&setup->backup.path, "%s.before-lct", path) < 0)
        setup->backup.path = NULL;
    return check_memory(setup->ours.path != NULL ? setup->backup.path : NULL, err);
}

enum lct_code lct_setup_read(struct lct_setup *setup, struct lct_err *err)
{
    enum lct_code code = follow_links(setup, err);

    if (code == LCT_OK)
        code = name_others(setup, err);
    if (code == LCT_OK)
        code = check_all_owners(setup, err);
    if (code == LCT_OK)
        code = read_file(&setup->conf, err);
    if (code == LCT_OK)
        code = read_file(&setup->ours, err);
    if (code == LCT_OK)
        code = read_file(&setup->backup, err);
    if (code != LCT_OK)
        return code;
    if (stat(setup->conf.path, &setup->like) != 0)
        setup->like = (struct stat){.st_mode = 0644, .st_uid = geteuid(), .st_gid = getegid()};
    const char *now = setup->conf.before != NULL ? setup->conf.before : setup->base;
    setup->body = lct_setup_without(now, setup->ours.path);
    setup->included = setup->body != NULL && strcmp(setup->body, now) != 0;
    return check_memory(setup->body, err);
}

bool lct_setup_is_out(const struct lct_setup *setup)
{
    struct lct_setup seen = {.conf = {.path = realpath(setup->conf.path, NULL)}};
    struct stat status;

    if (seen.conf.path == NULL)
        return errno == ENOENT;
    bool out = stat(seen.conf.path, &status) == 0 && S_ISREG(status.st_mode) &&
               name_others(&seen, NULL) == LCT_OK && read_file(&seen.conf, NULL) == LCT_OK;
    if (out && seen.conf.before != NULL)
        seen.body = lct_setup_without(seen.conf.before, seen.ours.path);
    out = out && is_same(seen.body, seen.conf.before) &&
          (seen.body == NULL || !lct_setup_has_comment(seen.body));
    lct_setup_free(&seen);
    return out;
}

/* As it will be, the included file in its place. */
static enum lct_code try_out(const struct lct_setup *setup, struct lct_err *err)
{
    char *after = NULL;

    if (asprintf(&after, "%s\n%s", setup->body, setup->ours.after) < 0)
        after = NULL;
    enum lct_code code = check_memory(after, err);
    if (code == LCT_OK)
        code = lct_setup_try(setup->body, after, setup->module, err);
    free(after);
    return code == LCT_OK ? code : lct_err_prefix(err, setup->conf.path);
}

/* Out of memory is not "not there": what is planned to go is removed. */
static enum lct_code keep(char **after, const char *text, struct lct_err *err)
{
    *after = text != NULL ? strdup(text) : NULL;
    return text != NULL ? check_memory(*after, err) : LCT_OK;
}

enum lct_code lct_setup_plan(struct lct_setup *setup, struct lct_err *err)
{
    if (setup->ours.before != NULL && !lct_setup_is_ours(setup->ours.before))
        return LCT_FAIL(err, LCT_ERR_IO,
                        "%s is there already, and not of lct setup; give it another name",
                        setup->ours.path);
    if (access(setup->module, R_OK) != 0)
        return LCT_FAIL(err, LCT_ERR_CONFIG,
                        "there is no module %s; say with --module where lct.so is", setup->module);
    enum lct_code code = lct_setup_ours(&setup->ours.after, setup->body, setup->conf.path,
                                        setup->module, setup->ours.before, err);
    if (code == LCT_OK)
        code = try_out(setup, err);
    if (code != LCT_OK)
        return code;
    setup->conf.after = lct_setup_with(setup->body, setup->ours.path);
    code = keep(&setup->backup.after, setup->included ? setup->backup.before : setup->conf.before,
                err);
    return code == LCT_OK ? check_memory(setup->conf.after, err) : code;
}

/* openssl.cnf as it was, if nobody has changed it since; else as it is, without our lines. One that
 * we have made goes. */
static enum lct_code plan_back(struct lct_setup *setup, struct lct_err *err)
{
    const char *backup = setup->backup.before;

    if (!setup->included)
        return keep(&setup->conf.after, setup->conf.before, err);
    if (backup == NULL)
        return is_same(setup->body, setup->base) ? LCT_OK
                                                 : keep(&setup->conf.after, setup->body, err);
    char *with = lct_setup_with(backup, setup->ours.path);
    bool unchanged = with != NULL && is_same(with, setup->conf.before);
    free(with);
    return keep(&setup->conf.after, unchanged ? backup : setup->body, err);
}

enum lct_code lct_setup_plan_undo(struct lct_setup *setup, struct lct_err *err)
{
    const char *ours = setup->ours.before;
    enum lct_code code = plan_back(setup, err);

    setup->back = true;
    if (code == LCT_OK && ours != NULL &&
        (!lct_setup_is_ours(ours) || lct_setup_has_settings(ours)))
        code = keep(&setup->ours.after, ours, err);
    if (code == LCT_OK && !is_same(setup->backup.before, setup->conf.after))
        code = keep(&setup->backup.after, setup->backup.before, err);
    return code;
}

bool lct_setup_is_by_others(const struct lct_setup *setup)
{
    return lct_setup_try(setup->body, setup->body, setup->module, NULL) == LCT_OK;
}

bool lct_setup_changes(const struct lct_setup_file *file)
{
    return !is_same(file->before, file->after);
}

/* The user may have thought about it for long. */
static enum lct_code check_unchanged(const struct lct_setup_file *file, struct lct_err *err)
{
    struct lct_setup_file now = {.path = file->path};
    enum lct_code code = read_file(&now, err);

    if (code == LCT_OK && !is_same(now.before, file->before))
        code =
            LCT_FAIL(err, LCT_ERR_IO, "%s was changed meanwhile; run lct setup again", file->path);
    free(now.before);
    return code;
}

static enum lct_code change(const struct lct_setup *setup, const struct lct_setup_file *file,
                            struct lct_err *err)
{
    if (!lct_setup_changes(file))
        return LCT_OK;
    return file->after != NULL ? lct_public_file_replace(file->path, file->after, &setup->like, err)
                               : lct_public_file_remove(file->path, err);
}

/* What is included is there first and goes last. */
enum lct_code lct_setup_do(const struct lct_setup *setup, struct lct_err *err)
{
    const struct lct_setup_file *const order[] = {setup->back ? &setup->conf : &setup->backup,
                                                  &setup->ours,
                                                  setup->back ? &setup->backup : &setup->conf};
    const size_t num = sizeof order / sizeof order[0];
    enum lct_code code = LCT_OK;

    for (size_t i = 0; i < num && code == LCT_OK; i++)
        code = check_unchanged(order[i], err);
    for (size_t i = 0; i < num && code == LCT_OK; i++)
        code = change(setup, order[i], err);
    return code;
}

static void free_file(struct lct_setup_file *file)
{
    free(file->path);
    free(file->before);
    free(file->after);
}

void lct_setup_free(struct lct_setup *setup)
{
    free_file(&setup->conf);
    free_file(&setup->ours);
    free_file(&setup->backup);
    free(setup->base);
    free(setup->body);
}
