/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TOOLS_VERIFY_H
#define LCT_TOOLS_VERIFY_H

#include "base/error.h"
#include "tools/tool.h"

/* The subcommand that two programs have: lct, and lct-verify for machines without TSS. Their help
 * is the same. */
extern const char lct_verify_arguments[], lct_verify_summary[], lct_verify_details[];

enum lct_code lct_verify_run(struct lct_tool *tool, int argc, char **argv, struct lct_err *err);

/*
 * The verifier's parts of `lct attest`, which both have, too: rows as the subcommands have them, of
 * names of two words, "attest challenge". argv[0] is that name.
 */
enum { LCT_NUM_VERIFIER_PARTS = 3 };
extern const struct lct_subcommand lct_attest_verifier_parts[LCT_NUM_VERIFIER_PARTS];

/* A row by that name, or NULL; and the second word of a row's name. */
const struct lct_subcommand *lct_attest_verifier_part(const char *name);
const char *lct_attest_verb(const struct lct_subcommand *part);

enum lct_code lct_attest_challenge_run(struct lct_tool *, int, char **, struct lct_err *);
enum lct_code lct_attest_issue_run(struct lct_tool *, int, char **, struct lct_err *);
enum lct_code lct_attest_show_run(struct lct_tool *, int, char **, struct lct_err *);

#endif
