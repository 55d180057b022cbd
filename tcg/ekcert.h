/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TCG_EKCERT_H
#define LCT_TCG_EKCERT_H

#include "base/error.h"

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Certificates as an NV index holds them (TCG EK Credential Profile 2.5, 2.2.1): DER, one behind
 * the other, and bytes 0x00 or 0xff where the index is larger than what is in it.
 */
struct lct_ekcert {
    X509 *x509; /* NULL: none */
    uint8_t *der;
    size_t der_len;
};

void lct_ekcert_clear(struct lct_ekcert *cert);

/*
 * Takes the next certificate off the front of *bytes, in `libctx`; none, with LCT_OK, if only
 * padding is left. lct_ekcert_clear frees it. LCT_ERR_BAD_RECORD: what is there is no certificate.
 */
enum lct_code lct_ekcert_next(struct lct_ekcert *cert, const uint8_t **bytes, size_t *left,
                              OSSL_LIB_CTX *libctx, struct lct_err *err);

/* The same of an index with one certificate: LCT_ERR_BAD_RECORD if it is not that. */
enum lct_code lct_ekcert_take(struct lct_ekcert *cert, const uint8_t *bytes, size_t len,
                              OSSL_LIB_CTX *libctx, struct lct_err *err);

/* Whether the certificate is of this key. Some makers name an RSA key by id-RSAES-OAEP (RFC 4055,
 * 4.1), for which OpenSSL has no key: then the key's bits are compared. */
bool lct_ekcert_is_of(const struct lct_ekcert *cert, EVP_PKEY *pkey);

#endif
