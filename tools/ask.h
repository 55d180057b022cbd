/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TOOLS_ASK_H
#define LCT_TOOLS_ASK_H

#include "base/error.h"
#include "base/secret.h"

#include <stdbool.h>

/*
 * Asks for an authorization value on the terminal, without echo; `what` says whose: "passphrase of
 * lct:alice", and `where` which setting takes a file with it. With `twice`, it is typed twice.
 * LCT_ERR_AUTH: there is no terminal, or nothing fit was typed.
 */
enum lct_code lct_ask_secret(struct lct_secret *secret, const char *what, const char *where,
                             bool twice, struct lct_err *err);

/* Asks for the passphrase of a file, which is no authorization value: a line of less than `size`
 * bytes into `typed`. Its length; -1: there is no terminal, or nothing was typed. */
int lct_ask_line(char *typed, int size, const char *what);

/* The same for a new one, which is typed twice. */
int lct_ask_new_line(char *typed, int size, const char *what);

/* Asks something that is no secret, and is seen as it is typed. */
int lct_ask_answer(char *typed, int size, const char *question);

/* Whether there is a terminal to ask on. */
bool lct_can_ask(void);

#endif
