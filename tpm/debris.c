/* SPDX-License-Identifier: Apache-2.0 */
#include "tpm/capability.h"
#include "tpm/connection.h"
#include "tpm/result.h"

void lct_tpm_note_debris(struct lct_tpm *tpm, const struct lct_name *name)
{
    if (name->len == 0)
        return;
    for (size_t i = 0; i < tpm->num_debris; i++)
        if (lct_name_equal(&tpm->debris[i], name))
            return;
    if (tpm->num_debris < LCT_MAX_DEBRIS)
        tpm->debris[tpm->num_debris++] = *name;
}

static bool is_debris(const struct lct_tpm *tpm, const struct lct_name *name)
{
    for (size_t i = 0; i < tpm->num_debris; i++)
        if (lct_name_equal(&tpm->debris[i], name))
            return true;
    return false;
}

static void sweep_one(struct lct_tpm *tpm, TPM2_HANDLE handle)
{
    TPM2B_PUBLIC public_area = {0};
    TPM2B_NAME tpm_name = {0}, qualified = {0};
    TSS2L_SYS_AUTH_RESPONSE auths = {0};
    TSS2_RC rc =
        Tss2_Sys_ReadPublic(tpm->sys, handle, NULL, &public_area, &tpm_name, &qualified, &auths);
    const struct lct_name name = lct_tpm_name(&tpm_name);

    if (lct_tpm_result(tpm, "cleaning up", TPM2_CC_ReadPublic, rc, NULL) == LCT_OK &&
        is_debris(tpm, &name))
        lct_tpm_flush(tpm, handle, &name);
}

void lct_tpm_sweep(struct lct_tpm *tpm)
{
    TPMS_CAPABILITY_DATA data;
    const TPML_HANDLE *list = &data.data.handles;

    if (tpm->num_debris == 0)
        return;
    if (tpm->channel->wire->private_handles) {
        tpm->num_debris = 0; /* it went with the old connection */
        return;
    }
    if (lct_capability_get(tpm, &data, "cleaning up", TPM2_CAP_HANDLES, TPM2_TRANSIENT_FIRST,
                           TPM2_MAX_CAP_HANDLES, NULL) != LCT_OK)
        return;
    for (uint32_t i = 0; i < list->count && i < TPM2_MAX_CAP_HANDLES && !tpm->broken; i++)
        if (list->handle[i] != tpm->space->resident_handle || tpm->space->resident.len == 0)
            sweep_one(tpm, list->handle[i]);
    if (!tpm->broken)
        tpm->num_debris = 0;
}

void lct_tpm_flush(struct lct_tpm *tpm, TPM2_HANDLE handle, const struct lct_name *name)
{
    if (!tpm->broken)
        (void)lct_tpm_result(tpm, "flush", TPM2_CC_FlushContext,
                             Tss2_Sys_FlushContext(tpm->sys, handle), NULL);
    if (tpm->broken)
        lct_tpm_note_debris(tpm, name);
}

void lct_tpm_flush_resident(struct lct_tpm *tpm)
{
    const struct lct_name name = tpm->space->resident;

    tpm->space->resident.len = 0;
    if (name.len != 0)
        lct_tpm_flush(tpm, tpm->space->resident_handle, &name);
}
