/* SPDX-License-Identifier: Apache-2.0 */
/* lct-verify: `lct verify` as a program of its own, for machines without TSS. */
#include "tools/verify.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

const struct lct_subcommand *lct_subcommand_by_name(const char *name)
{
    static const struct lct_subcommand verify = {"verify", lct_verify_arguments, lct_verify_summary,
                                                 lct_verify_details, lct_verify_run};

    (void)name;
    return &verify;
}

void lct_help_print(const char *name)
{
    (void)name;
    (void)printf("usage: lct-verify %s\n\n%s\n\n%s", lct_verify_arguments, lct_verify_summary,
                 lct_verify_details);
}

int main(int argc, char **argv)
{
    struct lct_tool tool = {0};
    struct lct_err err = {.code = LCT_OK};
    char name[] = "verify"; /* as messages and help have it */
    enum lct_code code;

    (void)OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        code = lct_tool_print(&err, "lct-verify %s\n", LCT_VERSION);
    } else {
        argv[0] = name;
        code = lct_verify_run(&tool, argc, argv, &err);
    }
    if (fflush(stdout) != 0 && code == LCT_OK)
        code = LCT_FAIL(&err, LCT_ERR_IO, "standard output cannot be written");
    if (code != LCT_OK)
        (void)fprintf(stderr, "lct-verify: %s\n", err.text);
    return (int)code;
}
