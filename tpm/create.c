/* SPDX-License-Identifier: Apache-2.0 */
#include "tpm/connection.h"
#include "tpm/parent.h"
#include "tpm/result.h"
#include "tpm/tpm.h"

#include <string.h>
#include <tss2/tss2_mu.h>

/* An unrestricted signing key, born in the TPM and fixed to it; its scheme is chosen at each
 * signature. */
static TPM2B_PUBLIC template_of(const struct lct_algorithm *algorithm)
{
    TPM2B_PUBLIC public_area = {
        .publicArea =
            {
                .type = algorithm->type,
                .nameAlg = TPM2_ALG_SHA256,
                .objectAttributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
                                    TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_USERWITHAUTH |
                                    TPMA_OBJECT_NODA | TPMA_OBJECT_SIGN_ENCRYPT,
            },
    };

    if (algorithm->type == TPM2_ALG_ECC)
        public_area.publicArea.parameters.eccDetail = (TPMS_ECC_PARMS){
            .symmetric.algorithm = TPM2_ALG_NULL,
            .scheme.scheme = TPM2_ALG_NULL,
            .curveID = algorithm->curve,
            .kdf.scheme = TPM2_ALG_NULL,
        };
    else
        public_area.publicArea.parameters.rsaDetail = (TPMS_RSA_PARMS){
            .symmetric.algorithm = TPM2_ALG_NULL,
            .scheme.scheme = TPM2_ALG_NULL,
            .keyBits = algorithm->bits,
        };
    return public_area;
}

/* The codes of TPM2_Create that say: no key of this kind (TPM 2.0 Part 3, 12.1). */
static bool is_about_algorithm(TSS2_RC rc)
{
    TPM2_RC base = lct_result_base(rc);

    return base == TPM2_RC_KEY_SIZE || base == TPM2_RC_VALUE || base == TPM2_RC_ASYMMETRIC ||
           base == TPM2_RC_TYPE;
}

static enum lct_code create_under(struct lct_tpm *tpm, struct lct_tpm_created *created,
                                  const char *label, const struct lct_algorithm *algorithm,
                                  TPM2_HANDLE parent, struct lct_err *err)
{
    const TPM2B_SENSITIVE_CREATE sensitive = {0};
    const TPM2B_PUBLIC template = template_of(algorithm);
    const TPM2B_DATA outside = {0};
    const TPML_PCR_SELECTION pcrs = {0};
    TPM2B_PRIVATE private_area = {0};
    TPM2B_PUBLIC public_area = {0};
    TPM2B_CREATION_DATA creation = {0};
    TPM2B_DIGEST hash = {0};
    TPMT_TK_CREATION ticket = {0};
    TSS2L_SYS_AUTH_RESPONSE auths = {0};

    TSS2_RC rc =
        Tss2_Sys_Create(tpm->sys, parent, &lct_tpm_no_auth, &sensitive, &template, &outside, &pcrs,
                        &private_area, &public_area, &creation, &hash, &ticket, &auths);
    enum lct_code code = lct_tpm_result(tpm, label, TPM2_CC_Create, rc, err);
    if (code == LCT_ERR_UNSUPPORTED || is_about_algorithm(rc))
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED, "%s: this TPM makes no %s keys (0x%03x)", label,
                        algorithm->name, rc);
    if (code != LCT_OK)
        return code;
    if (Tss2_MU_TPM2B_PUBLIC_Marshal(&public_area, created->public_area,
                                     sizeof created->public_area,
                                     &created->public_len) != TSS2_RC_SUCCESS ||
        Tss2_MU_TPM2B_PRIVATE_Marshal(&private_area, created->private_area,
                                      sizeof created->private_area,
                                      &created->private_len) != TSS2_RC_SUCCESS)
        return LCT_FAIL(err, LCT_ERR_TPM, "%s: the TPM returned a malformed key", label);
    return LCT_OK;
}

struct creation {
    struct lct_tpm_created *created;
    const char *label;
    const struct lct_algorithm *algorithm;
    bool provision;
    bool again; /* the connection broke in it once */
};

static enum lct_code create(struct lct_tpm *tpm, void *arg, struct lct_err *err)
{
    struct creation *creation = arg;
    struct lct_tpm_created *created = creation->created;
    struct lct_parent parent;

    memset(created, 0, sizeof *created);
    lct_tpm_flush_resident(tpm);
    enum lct_code code =
        lct_parent_for_creation(tpm, &parent, creation->label, creation->provision, err);
    if (code == LCT_OK) {
        code = create_under(tpm, created, creation->label, creation->algorithm, parent.handle, err);
        lct_parent_leave(tpm, &parent);
        created->parent = parent.where;
        created->parent_name = parent.name;
        created->made_srk = parent.made;
    }
    if (creation->again) /* the one that was made then is the same */
        lct_tpm_note_debris(tpm, &parent.name);
    creation->again = true;
    return code;
}

enum lct_code lct_tpm_create(struct lct_tpm *tpm, struct lct_tpm_created *created,
                             const char *label, const struct lct_algorithm *algorithm,
                             bool provision, struct lct_err *err)
{
    struct creation creation = {created, label, algorithm, provision, false};

    return lct_tpm_run(tpm, label, create, &creation, err);
}
