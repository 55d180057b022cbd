/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_PROOF_CHAIN_H
#define LCT_PROOF_CHAIN_H

#include "proof/certificate.h"
#include "proof/der.h"

#include <openssl/types.h>
#include <stdbool.h>
#include <time.h>

/* A way that was found, or why there is none, in words that follow "the certificate ". */
struct lct_chain {
    bool holds;
    char anchor[LCT_SUBJECT_TEXT];
    char fault[224];
};

/*
 * Whether there is a way from a certificate to one of the anchors, each certificate of it valid at
 * `now` and by RFC 5280's rules, of 112 bits of security or more. An anchor may be an intermediate
 * one. What the certificate itself is for is not asked. `pkey` is its key, as somebody found
 * out who compared them: OpenSSL has none for id-RSAES-OAEP, by which some makers name an RSA EK.
 * In `libctx`; leaves errors in OpenSSL's queue.
 */
void lct_chain_find(struct lct_chain *chain, OSSL_LIB_CTX *libctx, X509 *certificate,
                    EVP_PKEY *pkey, X509_STORE *anchors, const struct lct_der_chain *issuers,
                    time_t now);

#endif
