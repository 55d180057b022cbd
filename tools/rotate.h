/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TOOLS_ROTATE_H
#define LCT_TOOLS_ROTATE_H

#include "store/rotate.h"
#include "tools/tool.h"

/* What the command line says; NULL and false: it does not. */
struct lct_rotate_request {
    const char *id;
    /* of the key that is to follow: */
    const char *reason, *algorithm, *seal, *to, *new_passphrase_file;
    bool bind, revocable, passphrase, no_passphrase, new_parent;
    bool without_old_key;  /* the statement lacks the old key's signature */
    bool statement;        /* print it again */
    const char *evidence;  /* with that of evidence in this file */
    bool commit, withdraw; /* it becomes the active one; it goes */
    const char *overlap;   /* without commit: of keys that another one has followed already */
};

/* Makes a key that is to follow the active one, and prints the statement on that. */
enum lct_code lct_rotate_make(struct lct_tool *tool, const struct lct_rotate_request *request,
                              struct lct_err *err);

/* Prints the statement on the pending key, or on how the active one became that; with evidence, it
 * is signed anew. */
enum lct_code lct_rotate_state(struct lct_tool *tool, const struct lct_rotate_request *request,
                               struct lct_err *err);

/* --overlap: seconds, or "24h"; NULL: LCT_OVERLAP_BY_REASON. LCT_ERR_USAGE. */
enum lct_code lct_rotate_overlap(int *overlap, const char *text, struct lct_err *err);

/* Says that another generation is the active one. LCT_ERR_IO. */
enum lct_code lct_rotate_say(const struct lct_tool *tool, const char *id,
                             const struct lct_rotated *rotated, struct lct_err *err);

#endif
