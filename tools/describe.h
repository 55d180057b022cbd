/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TOOLS_DESCRIBE_H
#define LCT_TOOLS_DESCRIBE_H

#include "store/key.h"
#include "store/record.h"
#include "tools/certificate.h"
#include "tools/sheet.h"
#include "tools/tool.h"

#include <jansson.h>

/* What `list --json` says of an identity, whose active key is `key`; `show --json` adds to it. The
 * caller owns it. NULL if out of memory. */
json_t *lct_describe_json(const struct lct_record *record, const struct lct_key *key,
                          const char *dir);

/* What a command has made of an identity: with --json all of it, as `lct show --json` has it; else
 * nothing. In show.c, whose errors it has. */
enum lct_code lct_describe_result(const struct lct_tool *tool, const char *id, struct lct_err *err);

/* The lines of `lct show` on the life of an identity: its state, and its other generations. */
void lct_describe_life(struct lct_sheet *sheet, const struct lct_record *record);

/* "tpm", or "tpm (software)" where the TPM said that it is a simulator or emulator; of a key that
 * is not bound to it, imported; "software". `key`: NULL if it cannot be read. */
const char *lct_describe_custody(const struct lct_generation *generation,
                                 const struct lct_key *key);

/*
 * The certificate of generation `number` of an id: *num is the length of the chain, 0 for none.
 * With `key`, its key, they are compared. Errors of lct_certs_read and lct_certs_check_leaf.
 */
enum lct_code lct_describe_certificate(struct lct_certificate *certificate, size_t *num,
                                       const struct lct_tool *tool, const char *id, unsigned number,
                                       const struct lct_key *key, struct lct_err *err);

#endif
