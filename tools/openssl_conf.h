/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TOOLS_OPENSSL_CONF_H
#define LCT_TOOLS_OPENSSL_CONF_H

#include <openssl/types.h>
#include <stdbool.h>

/* What an openssl.cnf says of providers, config(5), and what libcrypto has made of it. */

/* A value, borrowed; NULL: there is no such section or name. `section` may be NULL: none. */
const char *lct_conf_get(const CONF *conf, const char *section, const char *name);

/* Whether the provider of that name in the section `providers`, which may be NULL, is activated. */
bool lct_conf_activates(const CONF *conf, const char *providers, const char *name);

/* Whether default_properties keep a program from lct's keys, where lct is loaded. */
bool lct_conf_hides_lct(OSSL_LIB_CTX *libctx);

/* Why a configuration that was loaded into `libctx` has not loaded lct, from `module`: what dlopen
 * says, say. Good until the next error. */
const char *lct_conf_reason(OSSL_LIB_CTX *libctx, const char *module);

#endif
