/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_PROVIDER_SEARCH_H
#define LCT_PROVIDER_SEARCH_H

#include "base/error.h"
#include "store/certs.h"

#include <openssl/core.h>
#include <openssl/types.h>
#include <stdbool.h>

/*
 * What a program looks for in a store, by OSSL_STORE_find(3): zero is anything. Where several are
 * given, all must be true.
 */
struct lct_search {
    X509_NAME *subject, *issuer;
    BIGNUM *serial;
    EVP_MD *digest; /* of the fingerprint */
    uint8_t *fingerprint;
    size_t fingerprint_len;
    char *alias; /* an id */
};

/*
 * Takes what there is of OSSL_STORE_PARAM_SUBJECT, _ISSUER, _SERIAL, _DIGEST, _FINGERPRINT and
 * _ALIAS in `params`. Names are DER. LCT_ERR_UNSUPPORTED: a value of another kind, a digest that is
 * not known, a fingerprint without one. lct_search_clear frees it, on failure too.
 */
enum lct_code lct_search_set(struct lct_search *search, struct lct_crypto *crypto,
                             const OSSL_PARAM params[], struct lct_err *err);
void lct_search_clear(struct lct_search *search);

/* Whether it is anything but the alias that is looked for; no key has that. */
bool lct_search_is_for_certs(const struct lct_search *search);
bool lct_search_is_empty(const struct lct_search *search);

/* Whether an identity has the alias that is looked for, if one is. */
bool lct_search_has_id(const struct lct_search *search, const char *id);

/* Whether a certificate has the rest. A fingerprint is that of the certificate or of its public key
 * (SubjectPublicKeyInfo); OpenSSL's manual speaks of both. */
bool lct_search_has_cert(const struct lct_search *search, const struct lct_cert *cert);

#endif
