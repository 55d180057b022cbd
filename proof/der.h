/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_PROOF_DER_H
#define LCT_PROOF_DER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Certificates as they come in documents: bytes that nobody has looked at. */
enum {
    LCT_MAX_CERT = 16384,   /* bytes of one */
    LCT_MAX_CERT_CHAIN = 16 /* certificates */
};

/* Zero is none; lct_der_clear frees it. */
struct lct_der {
    uint8_t *bytes;
    size_t len;
};

/* A copy. False if out of memory, or if it is not 1 to LCT_MAX_CERT bytes. */
bool lct_der_set(struct lct_der *der, const uint8_t *bytes, size_t len);
void lct_der_clear(struct lct_der *der);

struct lct_der_chain {
    size_t num;
    struct lct_der certs[LCT_MAX_CERT_CHAIN];
};

void lct_der_chain_clear(struct lct_der_chain *chain);

#endif
