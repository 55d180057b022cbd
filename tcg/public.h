/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TCG_PUBLIC_H
#define LCT_TCG_PUBLIC_H

#include "base/error.h"
#include "tcg/algorithm.h"

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The Name of a TPM object: nameAlg and the hash of its public area (TPM 2.0 Part 1, 16). Empty:
 * len 0. */
struct lct_name {
    size_t len;
    uint8_t data[2 + LCT_MAX_HASH];
};

/* A decoded TPMT_PUBLIC of an RSA or ECC key, or of sealed data (TPM 2.0 Part 2, 12.2.4). Numbers
 * are big-endian, as the TPM sent them. */
struct lct_public {
    uint16_t type;       /* TPM2_ALG_RSA, TPM2_ALG_ECC; TPM2_ALG_KEYEDHASH: sealed data, no key */
    uint16_t name_alg;   /* TPM2_ALG_* */
    uint32_t attributes; /* TPMA_OBJECT_* */
    size_t policy_len;   /* authPolicy; 0: none */
    uint8_t policy[LCT_MAX_HASH];
    uint16_t symmetric, symmetric_bits, symmetric_mode; /* TPM2_ALG_NULL, 0, 0 for a signing key */
    uint16_t scheme, scheme_hash; /* TPM2_ALG_NULL, 0: chosen at each signature */
    uint16_t curve;               /* ECC: TPM2_ECC_* */
    uint16_t bits;                /* RSA: keyBits */
    uint32_t exponent;            /* RSA: 0 means 65537 */
    size_t x_len, y_len;          /* ECC */
    uint8_t x[LCT_MAX_COORDINATE], y[LCT_MAX_COORDINATE];
    size_t modulus_len; /* RSA */
    uint8_t modulus[LCT_MAX_MODULUS];
};

/*
 * Decodes a TPM2B_PUBLIC, all of it: a byte too few or too many, a reserved attribute, an unknown
 * selector and what is neither an RSA or ECC key nor sealed data are LCT_ERR_BAD_RECORD.
 */
enum lct_code lct_public_decode(struct lct_public *public_area, const uint8_t *tpm2b,
                                size_t tpm2b_len, struct lct_err *err);

/* The Name of a TPM2B_PUBLIC that lct_public_decode took. LCT_ERR_UNSUPPORTED: an unknown nameAlg.
 */
enum lct_code lct_public_name(struct lct_name *name, OSSL_LIB_CTX *libctx, const uint8_t *tpm2b,
                              size_t tpm2b_len, struct lct_err *err);

/*
 * Public area and Name from a file of other tools: a TPM2B_PUBLIC, or a TPMT_PUBLIC, which is the
 * same without its size. Errors of both functions above.
 */
enum lct_code lct_public_import(struct lct_public *public_area, struct lct_name *name,
                                OSSL_LIB_CTX *libctx, const uint8_t *bytes, size_t bytes_len,
                                struct lct_err *err);

/* The Name of what has no public area (a hierarchy, a PCR, a session): its handle. */
struct lct_name lct_name_of_handle(uint32_t handle);

/* The qualified Name of an object below `parent`, a hierarchy's Name or a qualified one (Part 1,
 * 16). False, and none: the object's Name is of a hash that we do not know, or libcrypto cannot
 * compute it. */
bool lct_name_qualify(struct lct_name *qualified, OSSL_LIB_CTX *libctx,
                      const struct lct_name *parent, const struct lct_name *name);

bool lct_name_equal(const struct lct_name *a, const struct lct_name *b);

/* The row of a public area's key, or NULL if we have none for it. */
const struct lct_algorithm *lct_public_algorithm(const struct lct_public *public_area);

/*
 * The public key as OpenSSL has it, in `libctx`; the caller frees it: of each kind we have a row
 * for, and of the other kinds that a TPM's storage and endorsement keys are of (P-521, RSA 4096).
 * NULL: LCT_ERR_BAD_RECORD (a point that is not on its curve, say) or LCT_ERR_UNSUPPORTED.
 */
EVP_PKEY *lct_public_pkey(const struct lct_public *public_area, OSSL_LIB_CTX *libctx,
                          struct lct_err *err);

/*
 * Whether the key was made in its TPM and can never leave it: fixedTPM, fixedParent and
 * sensitiveDataOrigin. `hardware_bound` is this and nothing else; it is true of a public area whose
 * Name the TPM vouches for.
 */
bool lct_public_is_bound(const struct lct_public *public_area);

/* Every attribute of TPMA_OBJECT in words, space-separated ("fixedtpm fixedparent sign"),
 * NUL-terminated. */
enum { LCT_ATTRIBUTES_TEXT = 192 };
void lct_public_attributes(char text[LCT_ATTRIBUTES_TEXT], uint32_t attributes);

#endif
