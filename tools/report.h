/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TOOLS_REPORT_H
#define LCT_TOOLS_REPORT_H

#include "base/error.h"
#include "proof/verdict.h"
#include "tcg/attest.h"

#include <jansson.h>
#include <openssl/types.h>

/* How a verdict is shown, whatever was judged. */

/* The claims of a text, "sealed,boot_state", as bits 1 << LCT_CLAIM_*; NULL: none. LCT_ERR_USAGE: a
 * name in it is none. */
enum lct_code lct_report_claims(unsigned *claims, const char *text, struct lct_err *err);

/* A line for each claim. LCT_ERR_IO. */
enum lct_code lct_report_print(const struct lct_verdict *verdict, struct lct_err *err);

/* What was attested, as it stands there: believed or not. NULL if out of memory. */
json_t *lct_report_attested(const struct lct_attest *attest);

/* A public key in PEM, which the caller frees; NULL: it cannot be written. */
char *lct_report_pem(EVP_PKEY *pkey, OSSL_LIB_CTX *libctx);

/* The verdict as the command's error: LCT_ERR_REFUSED: the first claim that failed, or of
 * `required` the first that did not pass. */
enum lct_code lct_report_conclude(const struct lct_verdict *verdict, unsigned required,
                                  struct lct_err *err);

/* The same of what has to be bound to a TPM to be worth anything. LCT_ERR_UNBOUND: no claim failed,
 * but none says that there is one. */
enum lct_code lct_report_conclude_bound(const struct lct_verdict *verdict, unsigned required,
                                        struct lct_err *err);

#endif
