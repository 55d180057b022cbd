/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_PROOF_AK_H
#define LCT_PROOF_AK_H

#include "base/error.h"
#include "tcg/public.h"

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* An attestation key as a verifier was given it. Zero is the empty one. */
struct lct_ak {
    EVP_PKEY *pkey;
    X509 *certificate; /* where it came in one, else NULL */
    bool has_public;   /* it came as a public area: these two are known */
    struct lct_public public_area;
    struct lct_name name;
};

/*
 * From a public key in PEM, an X.509 certificate in PEM or DER, or a TPM2B_PUBLIC or TPMT_PUBLIC,
 * whichever it is; all of it but for text around PEM. For files that the verifier names itself: of
 * bytes that somebody else wrote, what looks like PEM may be part of a public area. The caller
 * clears it, whatever comes back.
 * LCT_ERR_BAD_EVIDENCE: it is none of them. LCT_ERR_UNSUPPORTED: a key of another kind than P-256,
 * P-384, P-521 and RSA 2048, 3072 and 4096 with the exponent 65537.
 */
enum lct_code lct_ak_decode(struct lct_ak *ak, OSSL_LIB_CTX *libctx, const uint8_t *bytes,
                            size_t bytes_len, struct lct_err *err);
void lct_ak_clear(struct lct_ak *ak);

/* The same of the key of an identity, which Ed25519 may be as well: it may be in software. */
enum lct_code lct_ak_decode_identity(struct lct_ak *ak, OSSL_LIB_CTX *libctx, const uint8_t *bytes,
                                     size_t bytes_len, struct lct_err *err);

/* Whether a public key is of a kind that we take, of an AK or of an identity. LCT_ERR_UNSUPPORTED.
 */
enum lct_code lct_ak_check_kind(const EVP_PKEY *pkey, struct lct_err *err);
enum lct_code lct_ak_check_identity(const EVP_PKEY *pkey, struct lct_err *err);

/*
 * Why a public area is not that of an attestation key, restricted to what its TPM makes and born in
 * it, in words that follow "it "; NULL: it is one.
 */
const char *lct_ak_public_fault(const struct lct_public *public_area);

/*
 * Why a certificate is not one of an attestation key at this time (TCG EK Credential Profile, and
 * EKU 2.23.133.8.3), in words that follow "it "; NULL: it is one. Its issuer is not looked at.
 */
const char *lct_ak_certificate_fault(const X509 *certificate, time_t now);

#endif
