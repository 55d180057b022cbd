/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_BENCH_KEY_H
#define LCT_BENCH_KEY_H

#include <openssl/types.h>

/* The private key at `uri`, as OSSL_STORE opens it. NULL, with libcrypto's errors: there is none.
 */
EVP_PKEY *key_load(const char *uri);

/* Seconds of CLOCK_MONOTONIC. */
double seconds_now(void);

#endif
