/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TCG_CREDENTIAL_H
#define LCT_TCG_CREDENTIAL_H

#include "base/error.h"
#include "base/secret.h"
#include "tcg/public.h"
#include "tcg/seed.h"

#include <openssl/types.h>
#include <stddef.h>
#include <stdint.h>

/* A credential for TPM2_ActivateCredential: what a TPM2B_ID_OBJECT and a TPM2B_ENCRYPTED_SECRET
 * hold (TPM 2.0 Part 2, 12.4.3 and 11.4.3). Not a secret. */
struct lct_credential {
    size_t id_len;
    uint8_t id[2 + LCT_MAX_HASH + 2 + LCT_MAX_HASH]; /* the HMAC as a TPM2B, then encIdentity */
    struct lct_encrypted_seed seed;
};

/*
 * What TPM2_MakeCredential makes (TPM 2.0 Part 1, 24), in software and in `libctx`: `secret`, which
 * only a TPM learns that holds both `ek` and, with its private part, the object of this `name`.
 * `secret` has 1 to as many bytes as the digest of the EK's nameAlg.
 *
 * LCT_ERR_UNSUPPORTED: `ek` is no restricted decryption key, or has a hash or cipher that we do not
 * know; LCT_ERR_INTERNAL: a secret of another length, an empty Name; the errors of lct_seed_make.
 */
enum lct_code lct_credential_make(struct lct_credential *credential, OSSL_LIB_CTX *libctx,
                                  const struct lct_public *ek, const struct lct_name *name,
                                  const struct lct_secret *secret, struct lct_err *err);

/* The part of it that follows from a seed, which lct_credential_make draws: `id`. */
enum lct_code lct_credential_wrap(struct lct_credential *credential, OSSL_LIB_CTX *libctx,
                                  const struct lct_public *ek, const struct lct_name *name,
                                  const struct lct_secret *secret, const struct lct_secret *seed,
                                  struct lct_err *err);

#endif
