/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TOOLS_CERTIFICATE_H
#define LCT_TOOLS_CERTIFICATE_H

#include "base/error.h"
#include "tcg/crypto.h"

#include <jansson.h>
#include <openssl/types.h>

enum lct_validity { LCT_VALIDITY_NOW, LCT_VALIDITY_OVER, LCT_VALIDITY_LATER };

/* What is told of a certificate. Names are as in RFC 4514, in UTF-8, with no control character. */
struct lct_certificate {
    char subject[512], issuer[512];
    char serial[130];                   /* hexadecimal */
    char fingerprint[3 * 32];           /* SHA-256, as openssl x509 prints it */
    char not_before[21], not_after[21]; /* RFC 3339, UTC */
    enum lct_validity validity;
    long days_left; /* whole days to not_after, negative after it */
};

/* LCT_ERR_INTERNAL. */
enum lct_code lct_certificate_describe(struct lct_certificate *certificate, const X509 *x509,
                                       struct lct_crypto *crypto, struct lct_err *err);

/* "until 2027-01-02", "expired 2026-01-02" or "from 2027-01-02". */
enum { LCT_CERTIFICATE_EXPIRY = 24 };
const char *lct_certificate_expiry(char text[LCT_CERTIFICATE_EXPIRY],
                                   const struct lct_certificate *certificate);

/* For programs: an object, null for none; with `wrong`, the sentence of an error, that is
 * the one member "error". */
json_t *lct_certificate_json(const struct lct_certificate *certificate, size_t num,
                             const char *wrong);

#endif
