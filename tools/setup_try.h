/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TOOLS_SETUP_TRY_H
#define LCT_TOOLS_SETUP_TRY_H

#include "base/error.h"

/*
 * Whether OpenSSL, with an openssl.cnf of the text `after`, loads lct and the default provider, has
 * lct's keys found by programs, and still loads what it loads with the text `before`. In a child,
 * since it loads what these name into itself; `module` is what they name lct. Nothing is written to
 * disk, and the TPM is not asked. LCT_ERR_CONFIG says what is wrong, and begins with "OpenSSL";
 * LCT_ERR_INTERNAL.
 */
enum lct_code lct_setup_try(const char *before, const char *after, const char *module,
                            struct lct_err *err);

#endif
