/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TOOLS_SETUP_TEXT_H
#define LCT_TOOLS_SETUP_TEXT_H

#include "base/error.h"

#include <stdbool.h>

/*
 * What lct setup writes: at the end of an openssl.cnf one .include, and the file that is included,
 * ours. Texts alone, each owned by the caller; no file is read but what an openssl.cnf includes.
 */

/* `text` without the lines that include the file `ours`. NULL: out of memory. */
char *lct_setup_without(const char *text, const char *ours);

/* Whether the comment of such lines is in `text`, whichever file they include: one beside an
 * openssl.cnf that was moved since is another. */
bool lct_setup_has_comment(const char *text);

/* `text` with them at its end. NULL: out of memory. */
char *lct_setup_with(const char *text, const char *ours);

/* The text of a user's openssl.cnf: it includes the machine's, of which it takes the place. NULL:
 * out of memory. */
char *lct_setup_base(const char *machines);

/*
 * Our file, for the openssl.cnf `file` whose text without us is `body`: it adds to the sections
 * that are named there, after the default provider, which is activated by name, lct from `module`.
 * What follows the last comment of `before`, our file as it is or NULL, is settings, and is kept.
 * LCT_ERR_CONFIG: a syntax error; or other providers are activated and the default one is not, as
 * where only those of FIPS may be used: that is not ours to change.
 */
enum lct_code lct_setup_ours(char **ours, const char *body, const char *file, const char *module,
                             const char *before, struct lct_err *err);

/* Whether the text is of lct_setup_ours. */
bool lct_setup_is_ours(const char *text);

/* Whether there are settings in it. */
bool lct_setup_has_settings(const char *ours);

/* Prints how a file changes: the lines that go and those that come. NULL: there is no file. */
enum lct_code lct_setup_show(const char *file, const char *before, const char *after,
                             struct lct_err *err);

#endif
