/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_PROOF_JOSE_H
#define LCT_PROOF_JOSE_H

#include "base/error.h"
#include "proof/signer.h"

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A signature in JOSE's form (RFC 7518, 3.3 and 3.4; RFC 8037, 3.1): for ECDSA r || s, each as long
 * as a coordinate; else as OpenSSL has it. */
struct lct_jose_signature {
    size_t len;
    uint8_t data[LCT_MAX_SIGNATURE];
};

/* Signs a message. Errors of the signer; LCT_ERR_INTERNAL. */
enum lct_code lct_jose_sign(struct lct_jose_signature *signature, const struct lct_signer *signer,
                            const uint8_t *message, size_t message_len, struct lct_err *err);

/*
 * Whether a signature of a message is by this key, of a kind that lct_signer_of_pkey takes. Which
 * algorithm that is, the key says: another `alg`, "none" before all, is refused (RFC 8725, 3.1).
 */
bool lct_jose_is_by(const struct lct_jose_signature *signature, const char *alg,
                    const uint8_t *message, size_t message_len, EVP_PKEY *pkey,
                    OSSL_LIB_CTX *libctx);

#endif
