/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TOOLS_DESCRIBE_H
#define LCT_TOOLS_DESCRIBE_H

#include "store/key.h"
#include "store/record.h"

#include <jansson.h>

/* What `list --json` says of an identity, whose active key is `key`; `show --json` adds to it. The
 * caller owns it. NULL if out of memory. */
json_t *lct_describe_json(const struct lct_record *record, const struct lct_key *key,
                          const char *dir);

/* "tpm", or "tpm (software)" where the TPM said that it is a simulator or emulator; of a key that
 * is not bound to it, imported. `key`: NULL if it cannot be read. */
const char *lct_describe_custody(const struct lct_generation *generation,
                                 const struct lct_key *key);

/* Prints a JSON value and a newline to stdout; takes it over. LCT_ERR_IO, LCT_ERR_INTERNAL for
 * NULL. */
enum lct_code lct_describe_print(json_t *json, struct lct_err *err);

#endif
