/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TPM_ATTEST_H
#define LCT_TPM_ATTEST_H

#include "tcg/credential.h"
#include "tpm/ek.h"
#include "tpm/tpm.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What the TPM says of a key and of the boot, signed by an attestation key (AK) of ours: a
 * restricted signing key, P-256 with ECDSA and SHA-256, which signs nothing but what its TPM has
 * made (TPM 2.0 Part 1, 31). It is a primary key of the endorsement hierarchy, so its resetCount,
 * restartCount and firmwareVersion are the true ones (Part 1, 36.7), and there is nothing of it to
 * store: made anew of the same template for each use, it is the same key for as long as the TPM has
 * its endorsement seed. It has no authorization value, and nothing stays of it in the TPM.
 */

/* The AK's public area. */
struct lct_tpm_ak {
    size_t public_len;
    uint8_t public_area[LCT_MAX_BLOB]; /* TPM2B_PUBLIC */
    struct lct_name name;
    struct lct_public area;
};

/* Makes the AK and looks at it. `endorsement_auth`, perhaps NULL, is the hierarchy's. LCT_ERR_AUTH:
 * that is needed, or wrong; LCT_ERR_UNSUPPORTED: this TPM makes no such key. */
enum lct_code lct_tpm_read_ak(struct lct_tpm *tpm, struct lct_tpm_ak *ak, const char *label,
                              const struct lct_secret *endorsement_auth, OSSL_LIB_CTX *libctx,
                              struct lct_err *err);

enum {
    LCT_MAX_QUALIFYING = 64,     /* bytes of qualifyingData that TSS has room for */
    LCT_MAX_ATTEST = 512,        /* bytes of a TPMS_ATTEST */
    LCT_MAX_TPMT_SIGNATURE = 160 /* of a TPMT_SIGNATURE by our AK */
};

/* A structure that the AK has signed: TPMS_ATTEST and TPMT_SIGNATURE, as the TPM wrote them. */
struct lct_tpm_attested {
    size_t attest_len, signature_len;
    uint8_t attest[LCT_MAX_ATTEST];
    uint8_t signature[LCT_MAX_TPMT_SIGNATURE];
};

/* What is asked for: values, borrowed for the length of a call. */
struct lct_tpm_attest_request {
    const char *label;
    const struct lct_tpm_key *key; /* the key that it is about */
    /* TPM2_Certify of the key, with `certify_extra` as qualifyingData, at most LCT_MAX_QUALIFYING
     * bytes; NULL: not asked for. */
    const uint8_t *certify_extra;
    size_t certify_extra_len;
    /* TPM2_Quote of these PCRs, with `quote_extra`; NULL: not asked for. */
    const struct lct_pcrs *pcrs;
    const uint8_t *quote_extra;
    size_t quote_extra_len;
    /* TPM2_ActivateCredential, of the AK's Name, or if `direct` of the key's; NULL: not asked for.
     * `ek` is one of lct_tpm_read_eks, which the credential is for. */
    const struct lct_credential *credential;
    const struct lct_ek *ek;
    bool direct;
    const struct lct_secret *endorsement_auth; /* the hierarchy's; NULL or empty: none */
    const struct lct_secret *owner_auth;       /* for an EK's template that only the owner reads */
    OSSL_LIB_CTX *libctx;
};

/* What came of it; what was not asked for is empty. lct_secret_wipe ends `secret`. */
struct lct_tpm_evidence {
    struct lct_tpm_ak ak;              /* not if `direct` and neither certify nor quote */
    struct lct_tpm_attested certified; /* attest_len 0: none */
    struct lct_tpm_attested quoted;
    struct lct_pcr_values values; /* that `quoted` is of */
    struct lct_secret secret;     /* what was in the credential */
};

/*
 * Does what is asked for, in one turn: so both attestations are of the same boot. Where no resource
 * manager is, it takes the three slots that every TPM has, one after the other, and leaves nothing.
 *
 * The key is certified in the ADMIN role, by its authorization value even if it is sealed, since
 * adminWithPolicy is clear (TPM 2.0 Part 3, 18.2; Part 1, 19.2); the value is proved in an HMAC
 * session as in lct_tpm_sign. The credential's secret comes back encrypted, in a session salted to
 * the EK (or, if `direct`, to the key's parent): it never is on the bus. The EK is used by what its
 * public area says: its authorization value, which is empty, with userWithAuth; else PolicyA or
 * PolicyB, in a session of its nameAlg, which prove the hierarchy's authorization (TCG EK
 * Credential Profile 2.5, B.6). Every attestation is decoded, and its signature verified in
 * software; the values of the PCRs are those of the quote, which is made again if they changed in
 * between.
 *
 * LCT_ERR_AUTH: the key's passphrase or the hierarchy's authorization, in words which;
 * LCT_ERR_OTHER_TPM: the credential is for another EK or another Name, or was spoiled, or the key
 * is not of this TPM; LCT_ERR_UNSUPPORTED: the EK has a policy that is none of those, or there is a
 * PCR bank missing; LCT_ERR_WRONG_KEY: what the TPM has attested is not by the AK, or not of this
 * key. And those of lct_tpm_sign, but for LCT_ERR_SEALED: no seal is opened.
 */
enum lct_code lct_tpm_attest(struct lct_tpm *tpm, struct lct_tpm_evidence *evidence,
                             const struct lct_tpm_attest_request *request, struct lct_err *err);

#endif
