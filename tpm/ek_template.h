/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TPM_EK_TEMPLATE_H
#define LCT_TPM_EK_TEMPLATE_H

#include "tpm/ek.h"
#include "tpm/nv.h"

#include <stddef.h>
#include <tss2/tss2_tpm2_types.h>

/* Inside of the room: what endorsement keys are made of. */

/* A row of the Profile: a kind, and how its key is made. */
struct lct_ek_row {
    struct lct_ek_kind kind;
    TPM2_NV_INDEX nonce, template; /* NV indices that may change the template; 0: none */
    TPM2_ALG_ID type, name_alg;
    TPM2_ECC_CURVE curve; /* of ECC */
    uint16_t bits;        /* of RSA */
    uint16_t aes;         /* bits */
    uint16_t unique;      /* bytes of zeros in `unique`: of the modulus, or of each coordinate */
    bool by_default;      /* made where nothing says which keys the TPM has */
    TPMA_OBJECT attributes;
    const char *policy; /* hexadecimal */
};

extern const struct lct_ek_row lct_ek_rows[LCT_MAX_EKS];

/*
 * The Profile's policies in one hash (B.6), hexadecimal. A: TPM2_PolicySecret with the endorsement
 * hierarchy; C: what the Profile's NV index of this hash holds; B: either of these.
 */
struct lct_ek_policies {
    uint16_t hash; /* TPM2_ALG_* */
    const char *a, *b, *c;
};

/* Those of a hash, or NULL. */
const struct lct_ek_policies *lct_ek_policies_of(uint16_t hash);

/* The row of a kind, or NULL. */
const struct lct_ek_row *lct_ek_row_of(const struct lct_ek_kind *kind);

/* The NV indices there are of certificates, templates and nonces (2.2.1). */
enum lct_code lct_ek_list_indices(struct lct_tpm *tpm, TPML_HANDLE *indices, const char *label,
                                  struct lct_err *err);

/*
 * The template of a row, as the NV memory has it where it does. `indices` are those there are.
 * LCT_ERR_BAD_RECORD: what is in the index of the template or the nonce is none. Errors of
 * lct_nv_read.
 */
enum lct_code lct_ek_template(struct lct_tpm *tpm, TPM2B_PUBLIC *template,
                              const struct lct_ek_row *row, const TPML_HANDLE *indices,
                              const struct lct_nv_request *request, struct lct_err *err);

/* Whether an index is among those. */
bool lct_ek_has_index(const TPML_HANDLE *indices, TPM2_NV_INDEX index);

#endif
