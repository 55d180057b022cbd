/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TOOLS_SETUP_PLAN_H
#define LCT_TOOLS_SETUP_PLAN_H

#include "base/error.h"

#include <stdbool.h>
#include <sys/stat.h>

/* A text file as it is and as it shall be; NULL: it is not there. */
struct lct_setup_file {
    char *path, *before, *after;
};

/*
 * What lct setup changes. The caller puts conf.path, base and module there; all but module is
 * owned. lct_setup_free.
 */
struct lct_setup {
    const char *module;           /* lct.so */
    struct lct_setup_file conf;   /* openssl.cnf */
    struct lct_setup_file ours;   /* lct.cnf beside it, which it includes */
    struct lct_setup_file backup; /* of openssl.cnf, beside it, as it was without us */
    char *base;                   /* what openssl.cnf is where there is none */
    char *body;                   /* what it is without us */
    bool included;                /* we are in it */
    bool back;                    /* what is planned is to undo it */
    struct stat like;             /* its owner, group and mode */
};

/* Reads the files. conf.path, an absolute one where there is no such file, becomes that of the file
 * itself, where it was a link. LCT_ERR_IO; LCT_ERR_USAGE: one is too long; LCT_ERR_CONFIG: one is
 * no text, no file, or a link that leads nowhere; or it or its directory is another user's than
 * root and the one who runs this, who would load what that one names, or others may write to it. */
enum lct_code lct_setup_read(struct lct_setup *setup, struct lct_err *err);

/* Whether openssl.cnf, where lct_setup_read refuses it or what is beside it, can be read all the
 * same, or is not there, and we are not in it, nor were where it was before. It is looked at, and
 * what it names is not loaded. */
bool lct_setup_is_out(const struct lct_setup *setup);

/* Whether programs have lct without us: openssl.cnf, or what it includes, activates it. */
bool lct_setup_is_by_others(const struct lct_setup *setup);

/*
 * Plans that openssl.cnf includes our file, and tries out that it works. LCT_ERR_IO: lct.cnf is
 * somebody else's; LCT_ERR_CONFIG: there is no module, or errors of lct_setup_ours and
 * lct_setup_try, which name the file.
 */
enum lct_code lct_setup_plan(struct lct_setup *setup, struct lct_err *err);

/* Plans the way back. Our file stays if there are settings in it. LCT_ERR_INTERNAL. */
enum lct_code lct_setup_plan_undo(struct lct_setup *setup, struct lct_err *err);

bool lct_setup_changes(const struct lct_setup_file *file);

/* Does what is planned, each file in one step, and in an order in which at any time openssl.cnf
 * works, and can be undone, or set up again. LCT_ERR_IO: also, and then nothing is done, one is not
 * any more as it was read. */
enum lct_code lct_setup_do(const struct lct_setup *setup, struct lct_err *err);

void lct_setup_free(struct lct_setup *setup);

#endif
