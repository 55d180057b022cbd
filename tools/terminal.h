/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TOOLS_TERMINAL_H
#define LCT_TOOLS_TERMINAL_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

/*
 * What is done for a person where an output is a terminal. Elsewhere nothing is: what is piped is
 * as it was given, byte for byte.
 */

/* Whether a file descriptor is a terminal whose cursor can be moved: TERM is set, and not dumb. */
bool lct_terminal_is(int fd);

/* How many columns standard output has; 0: it is no terminal, or does not say. */
size_t lct_terminal_columns(void);

/*
 * A word that says how something stands, "ok", "revoked", or begins with one, "expired 2026-11-30":
 * filled up to `width` columns, and in the colour of that word where standard output is a terminal
 * and NO_COLOR is empty (no-color.org). Returns `text`.
 */
enum { LCT_TERMINAL_WORD = 64 };
const char *lct_terminal_word(char text[LCT_TERMINAL_WORD], const char *word, size_t width);

/* A text that has `width` columns at most, else its beginning and ".." in `cut`. */
enum { LCT_TERMINAL_CUT = 256 };
const char *lct_terminal_cut(char cut[LCT_TERMINAL_CUT], const char *text, size_t width);

/* Prints a text and a newline, where `indent` columns are printed already; on a terminal it is
 * broken at spaces, and goes on below its beginning. LCT_ERR_IO. */
enum lct_code lct_terminal_print(struct lct_err *err, size_t indent, const char *text);

#endif
