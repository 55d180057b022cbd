/* SPDX-License-Identifier: Apache-2.0 */
/* lct-verify: `lct verify`, and of `lct attest` what needs no TPM, as a program of its own, for
 * machines without TSS. */
#include "tools/json.h"
#include "tools/verify.h"

#include <openssl/crypto.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

static const struct lct_subcommand verify = {"verify", lct_verify_arguments, lct_verify_summary,
                                             lct_verify_details, lct_verify_run};

/* A part that the first argument names is called as in lct's messages, "attest challenge"; whatever
 * else it is, a file is to be judged. */
const struct lct_subcommand *lct_subcommand_by_name(const char *name)
{
    const struct lct_subcommand *part = lct_attest_verifier_part(name);

    return part != NULL ? part : &verify;
}

static const struct lct_subcommand *part_of(int argc, char **argv)
{
    for (size_t i = 0; argc > 1 && i < LCT_NUM_VERIFIER_PARTS; i++)
        if (strcmp(argv[1], lct_attest_verb(&lct_attest_verifier_parts[i])) == 0)
            return &lct_attest_verifier_parts[i];
    return &verify;
}

void lct_help_call(char text[LCT_CALL_TEXT], const char *name)
{
    const struct lct_subcommand *row = lct_subcommand_by_name(name);
    bool part = row != &verify;

    (void)snprintf(text, LCT_CALL_TEXT, "lct-verify%s%s", part ? " " : "",
                   part ? lct_attest_verb(row) : "");
}

void lct_help_hint(char text[LCT_CALL_TEXT], const char *name)
{
    lct_help_call(text, name);
    (void)strncat(text, " --help", LCT_CALL_TEXT - strlen(text) - 1);
}

void lct_help_print(const char *name)
{
    const struct lct_subcommand *row = lct_subcommand_by_name(name);
    bool part = row != &verify;
    char call[LCT_CALL_TEXT];

    lct_help_call(call, name);
    (void)printf("usage: %s %s\n\n%s\n%s%s", call, row->arguments, row->summary,
                 row->details != NULL ? "\n" : "", row->details != NULL ? row->details : "");
    for (size_t i = 0; !part && i < LCT_NUM_VERIFIER_PARTS; i++) {
        row = &lct_attest_verifier_parts[i];
        (void)printf("\nlct-verify %s --help: %s", lct_attest_verb(row), row->summary);
    }
    if (!part)
        (void)printf("\n");
}

static enum lct_code run(int argc, char **argv, struct lct_err *err)
{
    const struct lct_subcommand *part = part_of(argc, argv);
    struct lct_tool tool = {0};
    char name[sizeof "attest challenge"]; /* as messages and help have it */

    if (argc == 2 && strcmp(argv[1], "--version") == 0)
        return lct_tool_print(err, "lct-verify %s\n", LCT_VERSION);
    if (part != &verify) {
        argv++;
        argc--;
    }
    (void)snprintf(name, sizeof name, "%s", part->name);
    char *word = argv[0];
    argv[0] = name;
    enum lct_code code = part->run(&tool, argc, argv, err);
    argv[0] = word;
    return code;
}

int main(int argc, char **argv)
{
    struct lct_err err = {.code = LCT_OK};

    /* Passphrases, private keys and states are not to be in a core that stays behind. */
    (void)prctl(PR_SET_DUMPABLE, 0);
    (void)OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
    const bool json = lct_tool_wants_json(argc, argv);
    enum lct_code code = run(argc, argv, &err);
    if (fflush(stdout) != 0 && code == LCT_OK)
        code = LCT_FAIL(&err, LCT_ERR_IO, "standard output cannot be written");
    if (code != LCT_OK)
        lct_tool_print_error("lct-verify", json, &err);
    return (int)code;
}
