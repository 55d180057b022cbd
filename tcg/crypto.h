/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TCG_CRYPTO_H
#define LCT_TCG_CRYPTO_H

#include "base/error.h"

#include <openssl/types.h>

/*
 * The private library context: all our software cryptography runs in it, with the default provider
 * alone, and never in the application's, whose providers (ours first among them) it would come back
 * into. Counted; safe in threads.
 */
struct lct_crypto;

/* NULL if out of memory. Makes no library context yet: an idle provider costs nothing. */
struct lct_crypto *lct_crypto_new(void);
struct lct_crypto *lct_crypto_up_ref(struct lct_crypto *crypto);
void lct_crypto_free(struct lct_crypto *crypto);

/* The context, made at the first call, with the algorithms that every key takes; borrowed, lives as
 * long as `crypto`. NULL if it can't be made, and then the next call tries anew: LCT_ERR_INTERNAL.
 */
OSSL_LIB_CTX *lct_crypto_get(struct lct_crypto *crypto, struct lct_err *err);

#endif
