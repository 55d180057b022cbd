/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TCG_SIGNATURE_H
#define LCT_TCG_SIGNATURE_H

#include "base/error.h"
#include "tcg/algorithm.h"

#include <openssl/types.h>
#include <stddef.h>
#include <stdint.h>

/* A signature in OpenSSL's encoding: DER ECDSA-Sig-Value (RFC 3279), or the RSA block (RFC 8017).
 */
struct lct_signature {
    size_t len;
    uint8_t data[LCT_MAX_SIGNATURE];
};

/* TPM_ALG_EDDSA of the TCG Algorithm Registry, which TSS does not name: of keys in software. */
enum { LCT_ALG_EDDSA = 0x0060 };

/*
 * How a digest is signed: TPM2_ALG_ECDSA, TPM2_ALG_RSASSA or TPM2_ALG_RSAPSS, and the hash the
 * digest is of. `salt_len` is the salt of PSS as OpenSSL says it: RSA_PSS_SALTLEN_DIGEST, _MAX, or
 * _AUTO for any. Whole messages are signed by LCT_ALG_EDDSA, which has no hash.
 */
struct lct_scheme {
    uint16_t id;
    const struct lct_hash *hash;
    int salt_len;
};

/* DER from the TPM's r and s (big-endian, of any length up to LCT_MAX_COORDINATE).
 * LCT_ERR_INTERNAL. */
enum lct_code lct_signature_from_ecdsa(struct lct_signature *signature, const uint8_t *r,
                                       size_t r_len, const uint8_t *s, size_t s_len,
                                       struct lct_err *err);

/*
 * The fixed-width form r || s, each `size` bytes (IEEE P1363; RFC 7518, 3.4), of a DER signature.
 * `raw` holds 2 * size. LCT_ERR_INTERNAL if `signature` is not such a signature.
 */
enum lct_code lct_signature_to_p1363(uint8_t *raw, size_t size,
                                     const struct lct_signature *signature, struct lct_err *err);

/* Whether `signature` is one of `digest` by `pkey`, in software. LCT_ERR_WRONG_KEY: it is not. */
enum lct_code lct_signature_verify(const struct lct_signature *signature, EVP_PKEY *pkey,
                                   OSSL_LIB_CTX *libctx, const struct lct_scheme *scheme,
                                   const uint8_t *digest, size_t digest_len, struct lct_err *err);

#endif
