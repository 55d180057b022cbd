/* SPDX-License-Identifier: Apache-2.0 */
#include "store/names.h"
#include "tools/complete.h"
#include "tools/issuer.h"
#include "tools/json.h"
#include "tools/nearest.h"
#include "tools/tool.h"

#include <openssl/crypto.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

enum lct_code lct_tool_id(struct lct_tool *tool, const char **id, const char *operand,
                          struct lct_err *err)
{
    enum lct_code code = LCT_OK;

    if (lct_uri_is_ours(operand)) {
        code = lct_uri_parse(&tool->uri, operand, err);
        if (code == LCT_OK && tool->uri.generation != 0)
            code = LCT_FAIL(err, LCT_ERR_USAGE,
                            "%s: the command takes an identity, not a generation, which is said "
                            "with --generation where one can be",
                            operand);
        operand = tool->uri.id;
    }
    *id = tool->asked = operand;
    return code == LCT_OK ? lct_id_check(*id, err) : code;
}

/* What is only looked for when something is wrong keeps nothing from working. */
static void warn_of_log(const struct lct_lines *log)
{
    struct lct_err why;

    if (log != NULL && lct_lines_check(log, &why) != LCT_OK)
        lct_tool_warn(NULL, "no trace is kept: %s", why.text);
}

enum lct_code lct_tool_open(struct lct_tool *tool, struct lct_err *err)
{
    enum lct_code code = lct_tool_read_config(&tool->config, err);

    if (code == LCT_OK)
        code = lct_config_environment(&tool->config, err);
    if (code == LCT_OK && tool->tcti != NULL)
        code = lct_config_set(&tool->config, "tcti", tool->tcti, err);
    if (code == LCT_OK && tool->store_dir != NULL)
        code = lct_config_set(&tool->config, "store", tool->store_dir, err);
    if (code == LCT_OK) {
        warn_of_log(tool->config.log);
        code = lct_store_open(&tool->store, &tool->config, err);
    }
    if (code == LCT_OK)
        code = lct_tpm_open(&tool->tpm, &tool->config, err);
    tool->crypto = lct_crypto_new();
    if (code == LCT_OK && tool->crypto == NULL)
        code = LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    return code;
}

void lct_tool_close(struct lct_tool *tool)
{
    lct_descriptor_close(&tool->making);
    lct_tpm_close(tool->tpm);
    lct_store_close(&tool->store);
    lct_crypto_free(tool->crypto);
    lct_config_clear(&tool->config);
    *tool = (struct lct_tool){0}; /* so that it may be closed before a program takes our place */
}

/* The name of an active key is the id of its identity from here on. Any other stays as it is: for
 * that one key, or to be refused. */
static const char *call_by_id(struct lct_tool *tool, const char *id)
{
    struct lct_named named;

    if (!lct_names_is(id) || lct_store_find(&named, &tool->store, tool->crypto, id, NULL) != LCT_OK)
        return id;
    close(named.fd);
    if (!named.active)
        return id;
    (void)snprintf(tool->uri.id, sizeof tool->uri.id, "%s", named.id);
    return tool->uri.id;
}

enum lct_code lct_tool_begin_new(struct lct_tool *tool, int argc, char **argv,
                                 const struct lct_option *options, size_t num_options,
                                 const char **id, struct lct_err *err)
{
    char **operands;
    int num_operands;
    enum lct_code code = lct_options_parse(tool, argc, argv, options, num_options, 1, 1, &operands,
                                           &num_operands, err);

    if (code == LCT_OK)
        code = lct_tool_id(tool, id, operands[0], err);
    return code == LCT_OK ? lct_tool_open(tool, err) : code;
}

enum lct_code lct_tool_begin(struct lct_tool *tool, int argc, char **argv,
                             const struct lct_option *options, size_t num_options, const char **id,
                             struct lct_err *err)
{
    enum lct_code code = lct_tool_begin_new(tool, argc, argv, options, num_options, id, err);

    if (code == LCT_OK)
        *id = call_by_id(tool, *id);
    return code;
}

enum lct_code lct_tool_owner_auth(struct lct_secret *owner_auth, const struct lct_tool *tool,
                                  struct lct_err *err)
{
    return tool->config.owner_auth_file != NULL
               ? lct_secret_read(owner_auth, "the owner's authorization",
                                 tool->config.owner_auth_file, err)
               : LCT_OK;
}

bool lct_tool_takes_argument(const char *option)
{
    static const char *const options[] = {"--tcti", "--store", "--passphrase-file"};

    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
        if (strcmp(option, options[i]) == 0)
            return true;
    return false;
}

int lct_tool_find_name(int argc, char **argv)
{
    int i = 1;

    while (i < argc && strncmp(argv[i], "--", 2) == 0)
        i += lct_tool_takes_argument(argv[i]) ? 2 : 1;
    return i < argc ? i : 0;
}

void lct_tool_put_first(char **argv, int at)
{
    char *name = argv[at];

    memmove(argv + 2, argv + 1, (size_t)(at - 1) * sizeof *argv);
    argv[1] = name;
}

/* Of an identity that there is not: the one that may have been meant. */
static void suggest_id(const struct lct_tool *tool, struct lct_err *err)
{
    struct lct_nearest nearest = {.typed = tool->asked};
    char **ids = NULL, hint[LCT_NEAREST_HINT];
    size_t num_ids = 0, len = strlen(err->text);

    if (err->code != LCT_ERR_NOT_FOUND || tool->asked == NULL ||
        strstr(err->text, tool->asked) == NULL ||
        lct_store_list(&tool->store, &ids, &num_ids, NULL) != LCT_OK)
        return;
    for (size_t i = 0; i < num_ids; i++)
        lct_nearest_try(&nearest, ids[i]);
    if (nearest.distance > 0) /* of one that there is, something else was not found */
        (void)snprintf(err->text + len, sizeof err->text - len, "%s",
                       lct_nearest_hint(hint, &nearest, "lct:"));
    lct_store_free_ids(ids, num_ids);
}

static enum lct_code run(struct lct_tool *tool, int argc, char **argv, struct lct_err *err)
{
    int at = lct_tool_find_name(argc, argv);

    for (int i = 1; i < (at != 0 ? at : argc); i++) {
        if (strcmp(argv[i], "--version") == 0)
            return lct_tool_print(err, "lct %s\n", LCT_VERSION);
        if (strcmp(argv[i], "--help") == 0) {
            lct_help_print(NULL);
            return LCT_OK;
        }
    }
    if (at == 0)
        return LCT_FAIL(err, LCT_ERR_USAGE, "which command? lct help lists them");
    if (at == 1 && strcmp(argv[at], "complete") == 0)
        return lct_complete(tool, argc - 2, argv + 2, err);
    const struct lct_subcommand *subcommand = lct_subcommand_by_name(argv[at]);
    if (subcommand == NULL)
        return lct_subcommand_fail(argv[at], err);
    /* The subcommand parses what stood before its name, too. */
    lct_tool_put_first(argv, at);
    return subcommand->run(tool, argc - 1, argv + 1, err);
}

int main(int argc, char **argv)
{
    struct lct_tool tool = {.identities = &lct_identities};
    struct lct_err err = {.code = LCT_OK};

    /* Passphrases, private keys and what was sealed are not to be in a core that stays behind; a
     * program that takes our place may leave one of its own. */
    (void)prctl(PR_SET_DUMPABLE, 0);
    /* Where it is ignored, as whoever started this may have it, no end of a child can be waited
     * for. */
    (void)signal(SIGCHLD, SIG_DFL);
    /* The configuration is ours to read: libcrypto shall not load providers for this program, least
     * of all ours. */
    (void)OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
    const bool json = lct_tool_wants_json(argc, argv);
    enum lct_code code = run(&tool, argc, argv, &err);
    if (code != LCT_OK)
        suggest_id(&tool, &err);
    lct_tool_close(&tool);
    if (fflush(stdout) != 0 && code == LCT_OK)
        code = LCT_FAIL(&err, LCT_ERR_IO, "standard output cannot be written");
    if (code != LCT_OK)
        lct_tool_print_error("lct", json, &err);
    return (int)code;
}
