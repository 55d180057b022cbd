/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TPM_EK_H
#define LCT_TPM_EK_H

#include "tcg/ekcert.h"
#include "tpm/tpm.h"

enum { LCT_MAX_EKS = 8, LCT_MAX_EK_CHAIN = 16 };

/* A kind of endorsement key: TCG EK Credential Profile 2.5, 2.2.1 and B.3, B.4. */
struct lct_ek_kind {
    const char *algorithm; /* "rsa-2048" */
    const char *template;  /* the Profile's name of it: "L-1" */
    uint32_t certificate;  /* its NV index */
};

/* An endorsement key. */
struct lct_ek {
    const struct lct_ek_kind *kind;
    uint32_t handle; /* where it is in the TPM; 0: it is made anew for each use */
    struct lct_name name;
    struct lct_public public_area;
    size_t public_len;
    uint8_t public_bytes[LCT_MAX_BLOB]; /* the same as TPM2B_PUBLIC */
    EVP_PKEY *pkey;                     /* NULL: it could not be had, and key_err says why */
    struct lct_ekcert cert; /* none if x509 is NULL; cert_err.code: there is one, but damaged */
    bool certified;         /* the certificate is of this key */
    struct lct_err key_err, cert_err;
};

/* All of a TPM's, and the certificates of their issuers that the TPM keeps. Zero is none. */
struct lct_eks {
    size_t num;
    struct lct_ek eks[LCT_MAX_EKS];
    size_t num_chain;
    struct lct_ekcert chain[LCT_MAX_EK_CHAIN];
    struct lct_err chain_err; /* its code: behind the last of these is something else */
};

void lct_eks_clear(struct lct_eks *eks);

/* What is asked for: values, borrowed. */
struct lct_ek_request {
    const char *label;
    const struct lct_secret *owner_auth;       /* for an index that only the owner reads; or NULL */
    const struct lct_secret *endorsement_auth; /* to make a key anew; or NULL */
    OSSL_LIB_CTX *libctx;
};

/*
 * Finds the endorsement keys for which there is a certificate or a persistent object; where there
 * are none of either, makes those of templates L-1 and L-2. A key that is not persistent, or not
 * the certificate's, is made anew of its template, or of the template and nonce that the TPM's NV
 * memory has for it; nothing of it stays. What is wrong with one is said there, and does not stop
 * the others: LCT_ERR_AUTH in key_err, where the endorsement hierarchy's authorization is needed or
 * wrong. lct_eks_clear frees it, after an error too.
 */
enum lct_code lct_tpm_read_eks(struct lct_tpm *tpm, struct lct_eks *eks,
                               const struct lct_ek_request *request, struct lct_err *err);

#endif
