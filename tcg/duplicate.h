/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TCG_DUPLICATE_H
#define LCT_TCG_DUPLICATE_H

#include "base/error.h"
#include "base/secret.h"
#include "tcg/public.h"
#include "tcg/seed.h"

#include <openssl/types.h>
#include <stddef.h>
#include <stdint.h>

/* A key for TPM2_Import: nothing of it is a secret but to the holder of the parent. */
struct lct_duplicate {
    size_t public_len, private_len;
    uint8_t public_area[1024];      /* TPM2B_PUBLIC */
    uint8_t private_area[1024];     /* TPM2B_PRIVATE */
    struct lct_encrypted_seed seed; /* of TPM2B_ENCRYPTED_SECRET */
};

/* The row of a software key, or NULL if we have none for it. */
const struct lct_algorithm *lct_duplicate_algorithm(const EVP_PKEY *pkey);

/*
 * Wraps a software private key so that only the TPM that holds `parent` can take it in: the outer
 * wrapper of TPM 2.0 Part 1, 23.3.2.4, without an inner one. There it is an unrestricted signing
 * key with the authorization value `auth` (NULL or empty: none, and then it is not subject to the
 * TPM's lockout) that can leave its parent and the TPM, as Part 1, 23.5 has it: its attributes say
 * that it was not made in one.
 *
 * In software, in `libctx`. LCT_ERR_UNSUPPORTED: no key of this kind, or `parent` has another
 * cipher than AES in CFB mode; LCT_ERR_BAD_RECORD: it is no whole private key; the errors of
 * lct_seed_make.
 */
enum lct_code lct_duplicate_make(struct lct_duplicate *duplicate, OSSL_LIB_CTX *libctx,
                                 const EVP_PKEY *pkey, const struct lct_secret *auth,
                                 const struct lct_public *parent, struct lct_err *err);

#endif
