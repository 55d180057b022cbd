/* SPDX-License-Identifier: Apache-2.0 */
#include "tpm/capability.h"
#include "tpm/policy.h"

#include <string.h>

enum { SELECT_SIZE = LCT_NUM_PCRS / 8 };

TPML_PCR_SELECTION lct_pcr_selection(const struct lct_pcrs *pcrs)
{
    TPML_PCR_SELECTION selection = {.count = (UINT32)pcrs->num_banks};

    for (size_t i = 0; i < pcrs->num_banks; i++) {
        TPMS_PCR_SELECTION *row = &selection.pcrSelections[i];
        row->hash = pcrs->banks[i].hash->id;
        row->sizeofSelect = SELECT_SIZE;
        for (size_t n = 0; n < SELECT_SIZE; n++)
            row->pcrSelect[n] = (BYTE)(pcrs->banks[i].pcrs >> (8 * n));
    }
    return selection;
}

/* Whether the TPM keeps the bank at all, and those PCRs of it: a selection of others is no error to
 * it, and selects nothing. */
static enum lct_code check_bank(const TPML_PCR_SELECTION *allocated,
                                const struct lct_pcr_bank *bank, const char *label,
                                struct lct_err *err)
{
    uint32_t there = 0;

    for (uint32_t i = 0; i < allocated->count && i < TPM2_NUM_PCR_BANKS; i++) {
        const TPMS_PCR_SELECTION *row = &allocated->pcrSelections[i];
        for (size_t n = 0; row->hash == bank->hash->id && n < row->sizeofSelect && n < SELECT_SIZE;
             n++)
            there |= (uint32_t)row->pcrSelect[n] << (8 * n);
    }
    if (there == 0)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                        "%s: this TPM keeps no PCRs in %s: the bank is not allocated; choose "
                        "another, or allocate it in the firmware's settings",
                        label, bank->hash->name);
    for (unsigned n = 0; n < LCT_NUM_PCRS; n++)
        if ((bank->pcrs & ~there & 1u << n) != 0)
            return LCT_FAIL(err, LCT_ERR_UNSUPPORTED, "%s: this TPM has no PCR %u in %s", label, n,
                            bank->hash->name);
    return LCT_OK;
}

static enum lct_code check_banks(struct lct_tpm *tpm, const struct lct_pcrs *pcrs,
                                 const char *label, struct lct_err *err)
{
    TPMS_CAPABILITY_DATA data;
    enum lct_code code = lct_capability_get(tpm, &data, label, TPM2_CAP_PCRS, 0, 1, err);

    for (size_t i = 0; i < pcrs->num_banks && code == LCT_OK; i++)
        code = check_bank(&data.data.assignedPCR, &pcrs->banks[i], label, err);
    return code;
}

/* The values that one TPM2_PCR_Read has returned, off what is still to be read. False: it is not
 * what was asked for. */
static bool take_values(struct lct_pcr_values *values, size_t bank, uint32_t *wanted,
                        const TPML_PCR_SELECTION *selected, const TPML_DIGEST *digests)
{
    const struct lct_hash *hash = values->pcrs.banks[bank].hash;
    const TPMS_PCR_SELECTION *row = &selected->pcrSelections[0];
    uint32_t at = 0, before = *wanted;

    if (selected->count != 1 || row->hash != hash->id)
        return false;
    for (unsigned n = 0; n < LCT_NUM_PCRS && n / 8 < row->sizeofSelect; n++) {
        if ((row->pcrSelect[n / 8] & 1u << n % 8) == 0)
            continue;
        if ((*wanted & 1u << n) == 0 || at >= digests->count || at >= 8 ||
            digests->digests[at].size != hash->size)
            return false;
        memcpy(values->values[bank][n], digests->digests[at++].buffer, hash->size);
        *wanted &= ~(1u << n);
    }
    return at == digests->count && *wanted != before;
}

/* TPM 2.0 Part 3, 22.4: as many as fit are returned, so it is asked again for the rest. */
static enum lct_code read_bank(struct lct_tpm *tpm, struct lct_pcr_values *values, size_t bank,
                               const char *label, struct lct_err *err)
{
    uint32_t wanted = values->pcrs.banks[bank].pcrs;
    enum lct_code code = LCT_OK;

    while (wanted != 0 && code == LCT_OK) {
        TPML_PCR_SELECTION in = {.count = 1}, out = {0};
        TPML_DIGEST digests = {0};
        UINT32 counter = 0;
        in.pcrSelections[0].hash = values->pcrs.banks[bank].hash->id;
        in.pcrSelections[0].sizeofSelect = SELECT_SIZE;
        for (size_t n = 0; n < SELECT_SIZE; n++)
            in.pcrSelections[0].pcrSelect[n] = (BYTE)(wanted >> (8 * n));
        TSS2_RC rc = Tss2_Sys_PCR_Read(tpm->sys, NULL, &in, &counter, &out, &digests, NULL);
        code = lct_tpm_result(tpm, label, TPM2_CC_PCR_Read, rc, err);
        if (code == LCT_OK && !take_values(values, bank, &wanted, &out, &digests))
            code = LCT_FAIL(err, LCT_ERR_TPM, "%s: the TPM's PCR values are malformed", label);
    }
    return code;
}

/* What the TPM lacks is asked only where it has not returned it: that is a command. */
static enum lct_code explain(struct lct_tpm *tpm, const struct lct_pcrs *pcrs, const char *label,
                             enum lct_code code, struct lct_err *err)
{
    struct lct_err why = {.code = LCT_OK};

    if (tpm->broken || check_banks(tpm, pcrs, label, &why) != LCT_ERR_UNSUPPORTED)
        return code;
    if (err != NULL)
        *err = why;
    return why.code;
}

enum lct_code lct_pcr_read(struct lct_tpm *tpm, struct lct_pcr_values *values, const char *label,
                           struct lct_err *err)
{
    enum lct_code code = LCT_OK;

    memset(values->values, 0, sizeof values->values);
    for (size_t i = 0; i < values->pcrs.num_banks && code == LCT_OK; i++)
        code = read_bank(tpm, values, i, label, err);
    return code == LCT_OK ? LCT_OK : explain(tpm, &values->pcrs, label, code, err);
}

struct reading {
    struct lct_pcr_values *values;
    const char *label;
};

static enum lct_code read_taken(struct lct_tpm *tpm, void *arg, struct lct_err *err)
{
    const struct reading *reading = arg;

    return lct_pcr_read(tpm, reading->values, reading->label, err);
}

enum lct_code lct_tpm_read_pcrs(struct lct_tpm *tpm, struct lct_pcr_values *values,
                                const char *label, struct lct_err *err)
{
    struct reading reading = {values, label};

    return lct_tpm_run(tpm, label, read_taken, &reading, err);
}
