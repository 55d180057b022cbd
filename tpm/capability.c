/* SPDX-License-Identifier: Apache-2.0 */
#include "tpm/capability.h"

#include <string.h>

enum lct_code lct_capability_get(struct lct_tpm *tpm, TPMS_CAPABILITY_DATA *data, const char *label,
                                 TPM2_CAP capability, uint32_t property, uint32_t count,
                                 struct lct_err *err)
{
    TPMI_YES_NO more = 0;
    TSS2L_SYS_AUTH_RESPONSE auths = {0};

    memset(data, 0, sizeof *data);
    enum lct_code code = lct_tpm_result(
        tpm, label, TPM2_CC_GetCapability,
        Tss2_Sys_GetCapability(tpm->sys, NULL, capability, property, count, &more, data, &auths),
        err);
    if (code != LCT_OK || data->capability != capability)
        memset(data, 0, sizeof *data);
    return code;
}

enum lct_code lct_capability_property(struct lct_tpm *tpm, const char *label, uint32_t property,
                                      uint32_t *value, struct lct_err *err)
{
    TPMS_CAPABILITY_DATA data;
    const TPMS_TAGGED_PROPERTY *first = data.data.tpmProperties.tpmProperty;
    enum lct_code code =
        lct_capability_get(tpm, &data, label, TPM2_CAP_TPM_PROPERTIES, property, 1, err);

    *value = data.data.tpmProperties.count > 0 && first->property == property ? first->value : 0;
    return code;
}

enum lct_code lct_capability_lockout(struct lct_tpm *tpm, struct lct_lockout *lockout,
                                     const char *label, struct lct_err *err)
{
    enum { NUM = 3 }; /* TPM2_PT_LOCKOUT_COUNTER, _MAX_AUTH_FAIL and _LOCKOUT_INTERVAL, in a row */
    uint32_t values[NUM] = {0};
    TPMS_CAPABILITY_DATA data;
    const TPML_TAGGED_TPM_PROPERTY *list = &data.data.tpmProperties;
    enum lct_code code = lct_capability_get(tpm, &data, label, TPM2_CAP_TPM_PROPERTIES,
                                            TPM2_PT_LOCKOUT_COUNTER, NUM, err);

    for (uint32_t i = 0; i < list->count && i < NUM; i++) {
        uint32_t number = list->tpmProperty[i].property - TPM2_PT_LOCKOUT_COUNTER;
        if (number < NUM)
            values[number] = list->tpmProperty[i].value;
    }
    *lockout = (struct lct_lockout){values[0], values[1], values[2]};
    return code;
}

enum lct_code lct_capability_handles(struct lct_tpm *tpm, TPML_HANDLE *list, const char *label,
                                     uint32_t first, uint32_t last, struct lct_err *err)
{
    TPMS_CAPABILITY_DATA data;
    const TPML_HANDLE *all = &data.data.handles;
    enum lct_code code =
        lct_capability_get(tpm, &data, label, TPM2_CAP_HANDLES, first, TPM2_MAX_CAP_HANDLES, err);

    list->count = 0;
    for (uint32_t i = 0; code == LCT_OK && i < all->count && i < TPM2_MAX_CAP_HANDLES; i++)
        if (all->handle[i] >= first && all->handle[i] <= last)
            list->handle[list->count++] = all->handle[i];
    return code;
}
