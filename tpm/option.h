/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TPM_OPTION_H
#define LCT_TPM_OPTION_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

/*
 * Options of a way in, "key=value,key=value": what follows "name:" in a tcti. A value holds no
 * comma.
 */

/* The value of `key`, or `otherwise`. LCT_ERR_CONFIG: it is longer than any that works. */
enum lct_code lct_option_get(char *value, size_t value_size, const char *conf, const char *key,
                             const char *otherwise, struct lct_err *err);

/* Whether all keys are among `keys`, which NULL ends. LCT_ERR_CONFIG: `name` is whose they are. */
enum lct_code lct_option_check(const char *conf, const char *name, const char *const keys[],
                               struct lct_err *err);

#endif
