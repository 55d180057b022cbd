/* SPDX-License-Identifier: Apache-2.0 */
#include "tpm/parent.h"

#include "tpm/result.h"

#include <string.h>

/*
 * The TCG's storage root key, ECC P-256 (TCG EK Credential Profile 2.x, template H-2 with the SRK's
 * attributes; Provisioning Guidance, 7.5.1), with nothing in `unique`: the same one that
 * tpm2-tools, systemd and the TSS2 key file format mean.
 */
static const TPM2B_PUBLIC srk_template = {
    .publicArea =
        {
            .type = TPM2_ALG_ECC,
            .nameAlg = TPM2_ALG_SHA256,
            .objectAttributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
                                TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_USERWITHAUTH |
                                TPMA_OBJECT_NODA | TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT,
            .parameters.eccDetail =
                {
                    .symmetric = {.algorithm = TPM2_ALG_AES,
                                  .keyBits.aes = 128,
                                  .mode.aes = TPM2_ALG_CFB},
                    .scheme.scheme = TPM2_ALG_NULL,
                    .curveID = TPM2_ECC_NIST_P256,
                    .kdf.scheme = TPM2_ALG_NULL,
                },
        },
};

/* CreatePrimary under the owner, whose authorization must be empty. */
static enum lct_code make_primary(struct lct_tpm *tpm, struct lct_parent *parent, const char *label,
                                  const struct lct_name *pinned, struct lct_err *err)
{
    const TPM2B_SENSITIVE_CREATE sensitive = {0};
    const TPM2B_DATA outside = {0};
    const TPML_PCR_SELECTION pcrs = {0};
    TPM2B_PUBLIC out = {0};
    TPM2B_CREATION_DATA creation = {0};
    TPM2B_DIGEST hash = {0};
    TPMT_TK_CREATION ticket = {0};
    TPM2B_NAME name = {0};
    TSS2L_SYS_AUTH_RESPONSE auths = {0};

    TSS2_RC rc = Tss2_Sys_CreatePrimary(tpm->sys, TPM2_RH_OWNER, &lct_tpm_no_auth, &sensitive,
                                        &srk_template, &outside, &pcrs, &parent->handle, &out,
                                        &creation, &hash, &ticket, &name, &auths);
    enum lct_code code = lct_tpm_result(tpm, label, TPM2_CC_CreatePrimary, rc, err);
    if (tpm->broken && pinned != NULL)
        lct_tpm_note_debris(tpm, pinned);
    if (code == LCT_ERR_AUTH)
        return LCT_FAIL(err, LCT_ERR_AUTH,
                        "%s: the TPM has no storage root key at 0x%08x, and making one needs the "
                        "owner's password; make it once with: tpm2_createprimary -C o -P PASSWORD "
                        "-G ecc -c srk.ctx; tpm2_evictcontrol -C o -P PASSWORD -c srk.ctx 0x%08x",
                        label, lct_srk_handle, lct_srk_handle);
    if (code != LCT_OK)
        return code;
    parent->transient = true;
    parent->name = lct_tpm_name(&name);
    return LCT_OK;
}

enum lct_code lct_parent_enter(struct lct_tpm *tpm, struct lct_parent *parent, const char *label,
                               uint32_t where, const struct lct_name *pinned, struct lct_err *err)
{
    *parent = (struct lct_parent){.where = where, .handle = where};
    if (where != TPM2_RH_OWNER)
        return LCT_OK;
    enum lct_code code = make_primary(tpm, parent, label, pinned, err);
    if (code != LCT_OK || lct_name_equal(&parent->name, pinned))
        return code;
    lct_parent_leave(tpm, parent);
    return LCT_FAIL(err, LCT_ERR_OTHER_TPM,
                    "%s: the key was made by another TPM, or this TPM has been cleared since: its "
                    "storage root key is a different one",
                    label);
}

void lct_parent_leave(struct lct_tpm *tpm, struct lct_parent *parent)
{
    if (parent->transient)
        lct_tpm_flush(tpm, parent->handle, &parent->name);
    parent->transient = false;
}

/* TPM2_ReadPublic. *absent instead of an error where there is nothing at the handle. */
static enum lct_code read_public(struct lct_tpm *tpm, const char *label, TPM2_HANDLE handle,
                                 TPM2B_PUBLIC *public_area, struct lct_name *name, bool *absent,
                                 struct lct_err *err)
{
    TPM2B_NAME tpm_name = {0}, qualified = {0};
    TSS2L_SYS_AUTH_RESPONSE auths = {0};

    memset(public_area, 0, sizeof *public_area);
    TSS2_RC rc =
        Tss2_Sys_ReadPublic(tpm->sys, handle, NULL, public_area, &tpm_name, &qualified, &auths);
    *absent = lct_result_is_lost_handle(rc);
    *name = lct_tpm_name(&tpm_name);
    return *absent ? LCT_OK : lct_tpm_result(tpm, label, TPM2_CC_ReadPublic, rc, err);
}

/* Persists the primary just made; where that is not possible the key goes under the transient one.
 */
static void persist(struct lct_tpm *tpm, struct lct_parent *parent)
{
    TSS2L_SYS_AUTH_RESPONSE auths = {0};

    TPM2B_PUBLIC public_area;
    struct lct_name name;
    bool absent;
    TSS2_RC rc = Tss2_Sys_EvictControl(tpm->sys, TPM2_RH_OWNER, parent->handle, &lct_tpm_no_auth,
                                       lct_srk_handle, &auths);

    parent->made = lct_tpm_result(tpm, "persist", TPM2_CC_EvictControl, rc, NULL) == LCT_OK;
    /* Another program may have made the same one since we looked. */
    if (!parent->made && (read_public(tpm, "persist", lct_srk_handle, &public_area, &name, &absent,
                                      NULL) != LCT_OK ||
                          absent || !lct_name_equal(&name, &parent->name)))
        return;
    lct_parent_leave(tpm, parent);
    parent->where = parent->handle = lct_srk_handle;
}

enum lct_code lct_parent_for_creation(struct lct_tpm *tpm, struct lct_parent *parent,
                                      const char *label, bool provision, struct lct_err *err)
{
    static const TPMA_OBJECT storage =
        TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT | TPMA_OBJECT_FIXEDTPM;
    TPM2B_PUBLIC public_area;
    bool absent;

    *parent = (struct lct_parent){.where = lct_srk_handle, .handle = lct_srk_handle};
    enum lct_code code =
        read_public(tpm, label, lct_srk_handle, &public_area, &parent->name, &absent, err);
    if (code != LCT_OK)
        return code;
    if (!absent && (public_area.publicArea.objectAttributes & storage) != storage)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                        "%s: the object at 0x%08x is not a storage key that is fixed to this TPM",
                        label, lct_srk_handle);
    if (!absent)
        return LCT_OK;
    parent->where = TPM2_RH_OWNER;
    code = make_primary(tpm, parent, label, NULL, err);
    if (code == LCT_OK && provision)
        persist(tpm, parent);
    return code;
}

enum lct_code lct_parent_verify(struct lct_tpm *tpm, const char *label, uint32_t where,
                                const struct lct_name *pinned, struct lct_err *err)
{
    TPM2B_PUBLIC public_area;
    struct lct_name name;
    bool absent;
    enum lct_code code = read_public(tpm, label, where, &public_area, &name, &absent, err);

    if (code != LCT_OK)
        return code;
    if (absent)
        return LCT_FAIL(err, LCT_ERR_OTHER_TPM,
                        "%s: this TPM has no storage key at 0x%08x: the key was made by another "
                        "TPM, or this one has been cleared since",
                        label, where);
    if (!lct_name_equal(&name, pinned))
        return LCT_FAIL(err, LCT_ERR_OTHER_TPM,
                        "%s: the key was made by another TPM, or this TPM has been cleared since: "
                        "the storage key at 0x%08x is a different one",
                        label, where);
    return LCT_OK;
}
