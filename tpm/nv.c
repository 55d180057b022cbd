/* SPDX-License-Identifier: Apache-2.0 */
#include "tpm/nv.h"

#include "tpm/capability.h"
#include "tpm/parent.h"
#include "tpm/result.h"
#include "tpm/session.h"

#include <stdlib.h>
#include <string.h>

/* An index on its way out. */
struct reading {
    const struct lct_nv_request *request;
    TPM2_NV_INDEX index;
    TPM2_HANDLE by; /* whose authorization: the index itself, or TPM2_RH_OWNER */
    const struct lct_secret *auth;
    struct lct_name name; /* of the index */
    size_t piece;         /* bytes that one command reads at most */
};

/* TPM2_NV_Read (TPM 2.0 Part 3, 31.13) of `len` bytes. */
static enum lct_code read_piece(struct lct_tpm *tpm, const struct reading *reading, uint8_t *bytes,
                                size_t len, size_t offset, struct lct_err *err)
{
    const char *label = reading->request->label;
    const struct lct_terms terms = {
        .libctx = reading->request->libctx,
        .auth = reading->auth,
        .num_names = 2,
        .names = {reading->by == TPM2_RH_OWNER ? lct_name_of_handle(TPM2_RH_OWNER) : reading->name,
                  reading->name}};
    TPM2B_MAX_NV_BUFFER data = {0};
    TSS2_RC rc = Tss2_Sys_NV_Read_Prepare(tpm->sys, reading->by, reading->index, (UINT16)len,
                                          (UINT16)offset);
    enum lct_code code = rc == TSS2_RC_SUCCESS
                             ? lct_tpm_execute(tpm, label, TPM2_CC_NV_Read, &terms, &rc, err)
                             : lct_tpm_result(tpm, label, TPM2_CC_NV_Read, rc, err);

    if (code == LCT_OK) {
        rc = Tss2_Sys_NV_Read_Complete(tpm->sys, &data);
        code = lct_tpm_result(tpm, label, TPM2_CC_NV_Read, rc, err);
    }
    if (code == LCT_OK && data.size != len)
        code = LCT_FAIL(err, LCT_ERR_TPM, "%s: the TPM read %u bytes of its NV memory, not %zu",
                        label, data.size, len);
    if (code == LCT_OK)
        memcpy(bytes, data.buffer, len);
    return code;
}

static enum lct_code fail_unauthorized(const struct reading *reading, struct lct_err *err)
{
    const char *label = reading->request->label;

    if (reading->by != TPM2_RH_OWNER)
        return LCT_FAIL(err, LCT_ERR_AUTH,
                        "%s: the NV index 0x%08x takes an authorization of its own", label,
                        reading->index);
    if (reading->auth != NULL)
        return LCT_FAIL(err, LCT_ERR_AUTH,
                        "%s: the TPM refuses the owner's authorization for the NV index 0x%08x",
                        label, reading->index);
    return LCT_FAIL(err, LCT_ERR_AUTH,
                    "%s: the NV index 0x%08x takes the authorization of the TPM's owner: put it "
                    "into a file and set owner_auth_file",
                    label, reading->index);
}

static enum lct_code read_pieces(struct lct_tpm *tpm, const struct reading *reading, uint8_t *bytes,
                                 size_t len, struct lct_err *err)
{
    enum lct_code code = LCT_OK;

    for (size_t at = 0, piece; at < len && code == LCT_OK; at += piece) {
        piece = len - at < reading->piece ? len - at : reading->piece;
        code = read_piece(tpm, reading, bytes + at, piece, at, err);
    }
    return code == LCT_ERR_AUTH ? fail_unauthorized(reading, err) : code;
}

/* Its size and Name, and who may read it. */
static enum lct_code look_at(struct lct_tpm *tpm, struct reading *reading, size_t *len,
                             struct lct_err *err)
{
    const char *label = reading->request->label;
    TPM2B_NV_PUBLIC public_area = {0};
    TPM2B_NAME tpm_name = {0};
    TSS2_RC rc =
        Tss2_Sys_NV_ReadPublic(tpm->sys, reading->index, NULL, &public_area, &tpm_name, NULL);

    if (lct_result_is_lost_handle(rc))
        return LCT_FAIL(err, LCT_ERR_OTHER_TPM, "%s: the TPM has no NV index 0x%08x", label,
                        reading->index);
    enum lct_code code = lct_tpm_result(tpm, label, TPM2_CC_NV_ReadPublic, rc, err);
    if (code != LCT_OK)
        return code;
    TPMA_NV attributes = public_area.nvPublic.attributes;
    bool by_itself = (attributes & TPMA_NV_AUTHREAD) != 0;
    bool by_owner = (attributes & TPMA_NV_OWNERREAD) != 0;
    if ((attributes & TPMA_NV_WRITTEN) == 0)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED, "%s: nothing was written to the NV index 0x%08x",
                        label, reading->index);
    if (!by_itself && !by_owner)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                        "%s: the NV index 0x%08x is not for the TPM's owner to read", label,
                        reading->index);
    reading->by = by_itself && (!by_owner || (attributes & TPMA_NV_NO_DA) != 0) ? reading->index
                                                                                : TPM2_RH_OWNER;
    reading->name = lct_tpm_name(&tpm_name);
    *len = public_area.nvPublic.dataSize;
    return LCT_OK;
}

/* How much one command reads: TPM 2.0 Part 2, 6.13, TPM_PT_NV_BUFFER_MAX. */
static enum lct_code find_piece(struct lct_tpm *tpm, struct reading *reading, struct lct_err *err)
{
    enum { UNTOLD = 512 };
    uint32_t max = 0;
    enum lct_code code =
        lct_capability_property(tpm, reading->request->label, TPM2_PT_NV_BUFFER_MAX, &max, err);

    reading->piece = max == 0                        ? UNTOLD
                     : max > TPM2_MAX_NV_BUFFER_SIZE ? TPM2_MAX_NV_BUFFER_SIZE
                                                     : max;
    return code;
}

enum lct_code lct_nv_read(struct lct_tpm *tpm, uint8_t **bytes, size_t *len, TPM2_NV_INDEX index,
                          const struct lct_nv_request *request, struct lct_err *err)
{
    struct reading reading = {.request = request, .index = index};
    struct lct_parent_request as_owner = {
        .label = request->label, .owner_auth = request->owner_auth, .libctx = request->libctx};

    *bytes = NULL;
    *len = 0;
    lct_tpm_session_close(tpm);
    enum lct_code code = look_at(tpm, &reading, len, err);
    if (code == LCT_OK)
        code = find_piece(tpm, &reading, err);
    if (code == LCT_OK && reading.by == TPM2_RH_OWNER)
        code = lct_parent_begin_as(tpm, &as_owner, TPM2_RH_OWNER, err);
    if (code != LCT_OK)
        return code;
    if (tpm->session.handle != 0)
        reading.auth = as_owner.owner_auth;
    *bytes = malloc(*len + 1);
    code = *bytes != NULL ? read_pieces(tpm, &reading, *bytes, *len, err)
                          : LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    lct_tpm_session_close(tpm);
    if (code == LCT_OK)
        return LCT_OK;
    free(*bytes);
    *bytes = NULL;
    return code;
}
