/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_PROOF_SIGNER_H
#define LCT_PROOF_SIGNER_H

#include "base/error.h"
#include "tcg/signature.h"

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whoever holds a private key, in a file or in a TPM: signs a whole message by `scheme`, in
 * OpenSSL's encoding. All is borrowed. */
struct lct_signer {
    EVP_PKEY *pkey; /* the public key is in it */
    OSSL_LIB_CTX *libctx;
    struct lct_scheme scheme;
    enum lct_code (*sign)(const struct lct_signer *signer, struct lct_signature *signature,
                          const uint8_t *message, size_t message_len, struct lct_err *err);
    void *arg; /* of `sign` */
};

/*
 * Of a private key in software, P-256, P-384, RSA of 2048 to 4096 bits or Ed25519: ECDSA with the
 * curve's hash, PKCS#1 v1.5 with SHA-256, or EdDSA (RFC 8032), whose scheme has no hash.
 * LCT_ERR_UNSUPPORTED. Of a public key it does all but sign: LCT_ERR_INTERNAL.
 */
enum lct_code lct_signer_of_pkey(struct lct_signer *signer, EVP_PKEY *pkey, OSSL_LIB_CTX *libctx,
                                 struct lct_err *err);

/* RFC 7518's name of the signatures that it makes, or RFC 8037's: "ES256", "EdDSA"; NULL: it has
 * none. */
const char *lct_signer_jose(const struct lct_signer *signer);

/* Whether a signature of `message`, in OpenSSL's encoding, is one by its key and scheme. */
bool lct_signer_is_by(const struct lct_signer *signer, const struct lct_signature *signature,
                      const uint8_t *message, size_t message_len);

/*
 * The two that stand behind what is signed in X.509 (RFC 5280, 4.1.1.2 and 4.1.1.3; RFC 2986, 4.2):
 * the AlgorithmIdentifier, which what is signed may have to hold as well, and the signature of
 * `message`. LCT_ERR_INTERNAL; errors of `sign`.
 */
enum lct_code lct_signer_algorithm(X509_ALGOR *algorithm, const struct lct_signer *signer,
                                   struct lct_err *err);
enum lct_code lct_signer_bits(ASN1_BIT_STRING *bits, const struct lct_signer *signer,
                              const uint8_t *message, size_t message_len, struct lct_err *err);

#endif
