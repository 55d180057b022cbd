/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_PROVIDER_SCHEME_H
#define LCT_PROVIDER_SCHEME_H

#include "provider/operation.h"

/* What the parameters of a signature by the TPM ask of it, in its words. Nothing here speaks to it:
 * what it can do is in the key's record. */

/* The scheme, or why it cannot be had: LCT_ERR_UNSUPPORTED. For RSA without a digest, scheme->hash
 * is NULL. */
enum lct_code lct_operation_scheme(const struct lct_operation *operation, struct lct_scheme *scheme,
                                   struct lct_err *err);

/* What is to be signed, in the form and size the TPM takes; `digest` holds LCT_MAX_HASH. */
enum lct_code lct_operation_prepare(const struct lct_operation *operation,
                                    struct lct_scheme *scheme, uint8_t *digest, size_t *digest_len,
                                    const uint8_t *tbs, size_t tbs_len, struct lct_err *err);

/* That another padding than a TPM's was asked for. */
enum lct_code lct_operation_fail_padding(const struct lct_operation *operation,
                                         struct lct_err *err);

#endif
