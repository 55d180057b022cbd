/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TCG_SEED_H
#define LCT_TCG_SEED_H

#include "base/error.h"
#include "base/secret.h"
#include "tcg/public.h"

#include <openssl/types.h>
#include <stddef.h>
#include <stdint.h>

/* What a TPM2B_ENCRYPTED_SECRET holds (TPM 2.0 Part 2, 11.4.3). Not a secret. */
struct lct_encrypted_seed {
    size_t len;
    uint8_t data[LCT_MAX_MODULUS];
};

/* What a seed is for. Each has a label of its own, so that a seed for one is none for another. */
enum lct_seed_use {
    LCT_SEED_SESSION,    /* "SECRET": the salt of TPM2_StartAuthSession */
    LCT_SEED_CREDENTIAL, /* "IDENTITY": TPM2_ActivateCredential */
    LCT_SEED_DUPLICATE   /* "DUPLICATE": TPM2_Import */
};

/*
 * A new random seed that only the holder of `key` can learn: a decryption key of a TPM, ECC or RSA.
 * `seed` is as long as the digest of its nameAlg (of its scheme's hash, if it is an RSA key whose
 * scheme is OAEP); the caller wipes it. `encrypted` is for the TPM: for ECC an ephemeral
 * TPMS_ECC_POINT with coordinates as long as the field, the seed being KDFe of the shared point
 * (TPM 2.0 Part 1, C.6.1); for RSA the seed under OAEP with that hash, and with the label and its
 * NUL (B.4, B.10).
 *
 * In software, in `libctx`. That `key` is a TPM's is for the caller to know, by its Name.
 * The errors of lct_public_pkey; LCT_ERR_UNSUPPORTED: an unknown hash; LCT_ERR_INTERNAL. After
 * any, `seed` is empty.
 */
enum lct_code lct_seed_make(struct lct_secret *seed, struct lct_encrypted_seed *encrypted,
                            OSSL_LIB_CTX *libctx, const struct lct_public *key,
                            enum lct_seed_use use, struct lct_err *err);

#endif
