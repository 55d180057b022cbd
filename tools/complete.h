/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TOOLS_COMPLETE_H
#define LCT_TOOLS_COMPLETE_H

#include "tools/tool.h"

/* A command line that is being typed, of which the last word is to be completed. */
struct lct_completing {
    char **words; /* what follows "lct" */
    int num_words;
    int first; /* the place of the first word behind the subcommand, or its part */

    /* Called by lct_options_parse in place of running the subcommand, with its options and those
     * of all: prints the words that may stand there, and exits. */
    void (*complete)(struct lct_tool *tool, const char *name, const struct lct_option *options,
                     size_t num_options);
};

/*
 * `lct complete WORD...`, which the shells' completions call: prints what the last word may become,
 * each in a line; nothing where it may be a file. It is no command for people. Sends the TPM
 * nothing.
 */
enum lct_code lct_complete(struct lct_tool *tool, int num_words, char **words, struct lct_err *err);

#endif
