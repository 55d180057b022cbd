/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/doctor.h"
#include "tools/setup_plan.h"
#include "tools/setup_text.h"
#include "tools/shell.h"
#include "tools/tool.h"

#include <errno.h>
#include <openssl/conf.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Which openssl.cnf is meant. */
struct choice {
    bool system, user;
};

static char *join(const char *dir, const char *name)
{
    char *path = NULL;

    return asprintf(&path, "%s/%s", dir, name) >= 0 ? path : NULL;
}

static enum lct_code name_users_file(char **path, struct lct_err *err)
{
    const char *config = secure_getenv("XDG_CONFIG_HOME"), *home = secure_getenv("HOME");

    if (config != NULL && config[0] == '/')
        *path = join(config, "lct/openssl.cnf");
    else if (home != NULL && home[0] == '/')
        *path = join(home, ".config/lct/openssl.cnf");
    else
        return LCT_FAIL(err, LCT_ERR_CONFIG,
                        "HOME names no directory, where an openssl.cnf of your own would be; the "
                        "machine's is meant by --system");
    return *path != NULL ? LCT_OK : LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
}

/* In the environment, too, where this program and its findings are to be of that file. */
static enum lct_code name_file(struct lct_setup *setup, const struct choice *choice,
                               const char *named, struct lct_err *err)
{
    char *machines = NULL;
    enum lct_code code = LCT_OK;

    if (named == NULL) {
        (void)unsetenv("OPENSSL_CONF");
        machines = CONF_get1_default_config_file();
        named = machines;
    }
    if (named != NULL) {
        if (choice->user)
            code = name_users_file(&setup->conf.path, err);
        else
            setup->conf.path = strdup(named);
        setup->base = choice->user ? lct_setup_base(named) : strdup("");
    }
    OPENSSL_free(machines);
    if (code != LCT_OK)
        return code;
    if (setup->conf.path == NULL || setup->base == NULL)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    if (choice->user)
        (void)setenv("OPENSSL_CONF", setup->conf.path, 1);
    return LCT_OK;
}

/* Without --system and --user it is the file that OPENSSL_CONF names, else root's is the machine's
 * and another user's one of his own. */
static enum lct_code choose(struct lct_setup *setup, struct choice *choice, struct lct_err *err)
{
    const char *named = secure_getenv("OPENSSL_CONF");

    if (choice->system && choice->user)
        return LCT_FAIL(err, LCT_ERR_USAGE, "--system and --user are two files; choose one");
    if (choice->system || choice->user || (named != NULL && *named == '\0'))
        named = NULL;
    if (named == NULL && !choice->system)
        choice->user = choice->user || geteuid() != 0;
    return name_file(setup, choice, named, err);
}

/* ~/.config/lct: of a new file the directory, and the one that this is in. */
static enum lct_code make_dirs(const char *file, struct lct_err *err)
{
    char *dir = strdup(file);
    enum lct_code code = LCT_OK;

    if (dir == NULL)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    *strrchr(dir, '/') = '\0';
    char *last = strrchr(dir, '/');
    *last = '\0';
    if (*dir != '\0' && mkdir(dir, 0700) != 0 && errno != EEXIST)
        code = LCT_FAIL(err, LCT_ERR_IO, "%s cannot be made: %s", dir, strerror(errno));
    *last = '/';
    if (code == LCT_OK && mkdir(dir, 0700) != 0 && errno != EEXIST)
        code = LCT_FAIL(err, LCT_ERR_IO, "%s cannot be made: %s", dir, strerror(errno));
    free(dir);
    return code;
}

static enum lct_code show(const struct lct_setup *setup, struct lct_err *err)
{
    const struct lct_setup_file *const files[] = {&setup->ours, &setup->conf};
    enum lct_code code = LCT_OK;

    for (size_t i = 0; i < sizeof files / sizeof files[0] && code == LCT_OK; i++)
        if (lct_setup_changes(files[i]))
            code = lct_setup_show(files[i]->path, files[i]->before, files[i]->after, err);
    if (code == LCT_OK && lct_setup_changes(&setup->backup))
        code = lct_tool_print(err,
                              setup->backup.after != NULL ? "%s:\n a copy of openssl.cnf as it is\n"
                                                          : "%s, which goes\n",
                              setup->backup.path);
    if (fflush(stdout) != 0 && code == LCT_OK)
        code = LCT_FAIL(err, LCT_ERR_IO, "standard output cannot be written");
    return code;
}

static enum lct_code ask_and_do(const struct lct_setup *setup, bool user, bool yes,
                                struct lct_err *err)
{
    enum lct_code code = show(setup, err);

    if (code == LCT_OK)
        code = lct_tool_confirm(setup->conf.path, "Make these changes?", "it is not changed yet",
                                yes, err);
    if (code == LCT_OK && user && setup->conf.before == NULL)
        code = make_dirs(setup->conf.path, err);
    return code == LCT_OK ? lct_setup_do(setup, err) : code;
}

/* Programs read a user's file only where the environment says so. */
static enum lct_code tell_of_environment(const struct lct_tool *tool, const char *file,
                                         struct lct_err *err)
{
    char *variable = NULL;
    char shell[LCT_SHELL_COMMAND], session[LCT_SHELL_COMMAND];

    if (asprintf(&variable, "OPENSSL_CONF=%s", file) < 0)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    enum lct_code code = lct_tool_say(
        tool, err,
        "programs read it where OPENSSL_CONF names it; in this shell, and in sessions to come:\n"
        "  $ %s\n  $ mkdir -p ~/.config/environment.d\n"
        "  $ %s >~/.config/environment.d/50-lct.conf\n",
        lct_shell_command(shell, "export", variable), lct_shell_command(session, "echo", variable));
    free(variable);
    return code;
}

/* What the doctor finds has been told by it; that lct is set up is not less true for it. */
static void examine(struct lct_tool *tool)
{
    struct lct_err err = {.code = LCT_OK};
    char name[] = "doctor";
    char *argv[] = {name, NULL};

    (void)lct_doctor_run(tool, 1, argv, &err);
}

static enum lct_code set_up(struct lct_tool *tool, struct lct_setup *setup, bool user, bool yes,
                            struct lct_err *err)
{
    enum lct_code code = lct_setup_read(setup, err);

    if (code != LCT_OK)
        return code;
    if (!setup->included && lct_setup_is_by_others(setup)) {
        code = lct_tool_say(tool, err, "%s activates lct already, by what is written there\n",
                            setup->conf.path);
        user = false;
    } else {
        code = lct_setup_plan(setup, err);
        bool changes =
            code == LCT_OK && (lct_setup_changes(&setup->conf) || lct_setup_changes(&setup->ours));
        if (changes)
            code = ask_and_do(setup, user, yes, err);
        if (code == LCT_OK)
            code = lct_tool_say(tool, err, "%s activates lct%s\n", setup->conf.path,
                                changes ? "; lct setup --undo takes it back" : " already");
    }
    if (code == LCT_OK && user)
        code = tell_of_environment(tool, setup->conf.path, err);
    if (code == LCT_OK)
        examine(tool);
    return code;
}

static bool is_there(const struct lct_setup_file *file)
{
    return file->path != NULL && access(file->path, F_OK) == 0;
}

/* What may not be changed need not be, where nothing that programs load is ours: a package that is
 * removed is not held up. Whether it activates lct is known by loading what it names. */
static enum lct_code leave(const struct lct_tool *tool, const struct lct_setup *setup,
                           const char *why, struct lct_err *err)
{
    if (is_there(&setup->ours) || is_there(&setup->backup))
        lct_tool_warn(NULL, "%s", why);
    if (!is_there(&setup->conf))
        return lct_tool_say(tool, err, "%s has nothing of lct setup's in it\n", setup->conf.path);
    return lct_tool_say(tool, err,
                        "%s has nothing of lct setup's in it; what activates lct there by hand, if "
                        "anything, was not looked for, since %s\n",
                        setup->conf.path, why);
}

static enum lct_code undo(const struct lct_tool *tool, struct lct_setup *setup, bool yes,
                          struct lct_err *err)
{
    struct lct_err why = {.code = LCT_OK};

    if (lct_setup_read(setup, &why) != LCT_OK && lct_setup_is_out(setup))
        return leave(tool, setup, why.text, err);
    *err = why;
    enum lct_code code = why.code == LCT_OK ? lct_setup_plan_undo(setup, err) : why.code;
    if (code != LCT_OK)
        return code;
    if (!lct_setup_changes(&setup->conf) && !lct_setup_changes(&setup->ours) &&
        !lct_setup_changes(&setup->backup))
        return lct_tool_say(
            tool, err, "%s has nothing of lct setup's in it%s\n", setup->conf.path,
            lct_setup_is_by_others(setup)
                ? "; what activates lct there was written by hand: take it out "
                  "before lct.so is removed, or OpenSSL finds there what it cannot load"
                : "");
    code = ask_and_do(setup, false, yes, err);
    if (code == LCT_OK && setup->ours.after != NULL)
        code = lct_tool_say(tool, err, "%s is kept, for the settings in it\n", setup->ours.path);
    return code == LCT_OK
               ? lct_tool_say(tool, err, "%s is as it was without lct setup\n", setup->conf.path)
               : code;
}

enum lct_code lct_setup_run(struct lct_tool *tool, int argc, char **argv, struct lct_err *err)
{
    struct lct_setup setup = {.module = NULL};
    struct choice choice = {false, false};
    bool back = false, yes = false;
    const struct lct_option options[] = {{"system", NULL, &choice.system},
                                         {"user", NULL, &choice.user},
                                         {"undo", NULL, &back},
                                         {"yes", NULL, &yes},
                                         {"module", &setup.module, NULL}};
    char **operands;
    int num_operands;
    enum lct_code code =
        lct_options_parse(tool, argc, argv, options, sizeof options / sizeof options[0], 0, 0,
                          &operands, &num_operands, err);

    if (code == LCT_OK)
        code = choose(&setup, &choice, err);
    if (code == LCT_OK && setup.module == NULL)
        setup.module = LCT_MODULE;
    if (code == LCT_OK)
        code = back ? undo(tool, &setup, yes, err) : set_up(tool, &setup, choice.user, yes, err);
    lct_setup_free(&setup);
    return code;
}
