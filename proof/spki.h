/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_PROOF_SPKI_H
#define LCT_PROOF_SPKI_H

#include "base/error.h"

#include <openssl/types.h>

/* The name of a public key: SHA-256 of its SubjectPublicKeyInfo (RFC 5280, 4.1) in hexadecimal,
 * with a curve by name and a point that is not compressed. LCT_ERR_INTERNAL. */
enum lct_code lct_spki_fingerprint(char fingerprint[65], const EVP_PKEY *pkey, OSSL_LIB_CTX *libctx,
                                   struct lct_err *err);

#endif
