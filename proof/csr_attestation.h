/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_PROOF_CSR_ATTESTATION_H
#define LCT_PROOF_CSR_ATTESTATION_H

#include "base/error.h"
#include "proof/certified.h"

#include <openssl/x509.h>

/*
 * Adds to a certificate request, before it is signed, what shows where its key lives: the attribute
 * id-aa-attestation, 1.2.840.113549.1.9.16.2.59, with one AttestationBundle
 * (draft-ietf-lamps-csr-attestation-28, 4), in which there is one AttestationStatement, TCG's
 * tcg-attest-tpm-certify, 2.23.133.20.1 (version 18 of that draft, A.2.3; later ones leave
 * statements to others):
 *
 *     SEQUENCE { tpmSAttest OCTET STRING,             -- TPMS_ATTEST of TPM2_Certify
 *                signature  OCTET STRING,             -- TPMT_SIGNATURE
 *                tpmTPublic OCTET STRING OPTIONAL }   -- TPMT_PUBLIC: it is there always
 *
 * and the AK's certificate with those of its issuers, if the evidence has it. That the request is
 * of the evidence's key is for the caller to know. LCT_ERR_BAD_EVIDENCE: a certificate is none;
 * LCT_ERR_INTERNAL.
 */
enum lct_code lct_csr_attestation_add(X509_REQ *request, OSSL_LIB_CTX *libctx,
                                      const struct lct_certified *certified, struct lct_err *err);

#endif
