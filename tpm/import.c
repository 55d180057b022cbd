/* SPDX-License-Identifier: Apache-2.0 */
#include "tpm/connection.h"
#include "tpm/parent.h"
#include "tpm/result.h"
#include "tpm/session.h"
#include "tpm/tpm.h"

#include <string.h>
#include <tss2/tss2_mu.h>

struct search {
    struct lct_tpm_parent *found;
    const struct lct_tpm_parent_request *request;
    bool again; /* it was begun before */
};

static enum lct_code find_parent(struct lct_tpm *tpm, void *arg, struct lct_err *err)
{
    struct search *search = arg;
    const struct lct_tpm_parent_request *from = search->request;
    const struct lct_parent_request request = {
        .label = from->label,
        .where = from->where,
        .rsa = from->rsa_parent,
        .pinned = from->pinned,
        .owner_auth = from->owner_auth,
        .libctx = from->libctx,
        .again = search->again,
    };
    struct lct_parent parent;

    search->again = true;
    lct_tpm_flush_resident(tpm);
    enum lct_code code = from->where == 0
                             ? lct_parent_for_creation(tpm, &parent, &request, from->provision, err)
                             : lct_parent_enter(tpm, &parent, &request, true, err);
    if (code == LCT_ERR_OTHER_TPM)
        search->found->name = parent.name;
    if (code != LCT_OK)
        return code;
    lct_parent_leave(tpm, &parent, true);
    *search->found = (struct lct_tpm_parent){
        .where = parent.where,
        .name = parent.name,
        .public_area = parent.public_area,
        .public_len = parent.public_len,
        .made_srk = parent.made,
    };
    memcpy(search->found->public_bytes, parent.public_bytes, parent.public_len);
    return LCT_OK;
}

enum lct_code lct_tpm_find_parent(struct lct_tpm *tpm, struct lct_tpm_parent *parent,
                                  const struct lct_tpm_parent_request *request, struct lct_err *err)
{
    struct search search = {parent, request, false};

    *parent = (struct lct_tpm_parent){0};
    return lct_tpm_run(tpm, request->label, find_parent, &search, err);
}

/* What TPM2_Import takes, in TSS's structures. */
struct input {
    TPM2B_PUBLIC public_area;
    TPM2B_PRIVATE duplicate;
    TPM2B_ENCRYPTED_SECRET seed;
};

static enum lct_code to_tss(struct input *input, const struct lct_tpm_importable *from,
                            struct lct_err *err)
{
    size_t at = 0;

    if (Tss2_MU_TPM2B_PUBLIC_Unmarshal(from->public_area, from->public_len, &at,
                                       &input->public_area) != TSS2_RC_SUCCESS ||
        at != from->public_len || from->duplicate_len < 2 ||
        from->duplicate_len - 2 > sizeof input->duplicate.buffer ||
        from->seed_len > sizeof input->seed.secret)
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD, "%s: the key file is damaged", from->label);
    input->duplicate.size = (UINT16)(from->duplicate_len - 2);
    memcpy(input->duplicate.buffer, from->duplicate + 2, input->duplicate.size);
    input->seed.size = (UINT16)from->seed_len;
    memcpy(input->seed.secret, from->seed, from->seed_len);
    return LCT_OK;
}

/* The codes of TPM2_Import, TPM 2.0 Part 3, 13.3: what the parent cannot unwrap; what it has
 * unwrapped and does not take. */
static enum lct_code explain(const char *label, TSS2_RC rc, enum lct_code code, struct lct_err *err)
{
    switch (lct_result_base(rc)) {
    case TPM2_RC_INTEGRITY:
    case TPM2_RC_INSUFFICIENT:
    case TPM2_RC_ECC_POINT:
    case TPM2_RC_SIZE:
        return LCT_FAIL(err, LCT_ERR_OTHER_TPM,
                        "%s: the key was wrapped for another TPM's storage key, or the key file is "
                        "damaged",
                        label);
    case TPM2_RC_KEY_SIZE:
    case TPM2_RC_CURVE:
    case TPM2_RC_ASYMMETRIC:
    case TPM2_RC_VALUE:
    case TPM2_RC_RANGE:
    case TPM2_RC_ATTRIBUTES:
    case TPM2_RC_TYPE:
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED, "%s: this TPM takes no such key (0x%03x)", label,
                        rc);
    default:
        return code;
    }
}

static enum lct_code import_under(struct lct_tpm *tpm, struct lct_tpm_created *created,
                                  const struct lct_tpm_importable *from, struct lct_parent *parent,
                                  struct lct_err *err)
{
    static const TPM2B_DATA no_inner_key;
    static const TPMT_SYM_DEF_OBJECT no_inner_wrapper = {.algorithm = TPM2_ALG_NULL};
    const struct lct_terms terms = {
        .libctx = from->libctx, .num_names = 1, .names = {parent->name}, .in_session = true};
    struct input input = {0};
    TPM2B_PRIVATE private_area = {0};
    enum lct_code code = to_tss(&input, from, err);

    if (code != LCT_OK)
        return code;
    TSS2_RC rc =
        Tss2_Sys_Import_Prepare(tpm->sys, parent->handle, &no_inner_key, &input.public_area,
                                &input.duplicate, &input.seed, &no_inner_wrapper);
    code = rc == TSS2_RC_SUCCESS
               ? lct_tpm_execute(tpm, from->label, TPM2_CC_Import, &terms, &rc, err)
               : lct_tpm_result(tpm, from->label, TPM2_CC_Import, rc, err);
    if (code == LCT_OK) {
        rc = Tss2_Sys_Import_Complete(tpm->sys, &private_area);
        code = lct_tpm_result(tpm, from->label, TPM2_CC_Import, rc, err);
    }
    if (lct_parent_is_gone(tpm, parent, from->label, &code, rc, err))
        return code;
    if (code != LCT_OK)
        return tpm->broken ? code : explain(from->label, rc, code, err);
    if (from->public_len > sizeof created->public_area ||
        Tss2_MU_TPM2B_PRIVATE_Marshal(&private_area, created->private_area,
                                      sizeof created->private_area,
                                      &created->private_len) != TSS2_RC_SUCCESS)
        return LCT_FAIL(err, LCT_ERR_TPM, "%s: the TPM returned a malformed key", from->label);
    memcpy(created->public_area, from->public_area, from->public_len);
    created->public_len = from->public_len;
    created->parent = from->parent;
    created->parent_name = parent->name;
    return LCT_OK;
}

struct import {
    struct lct_tpm_created *created;
    const struct lct_tpm_importable *from;
    bool again; /* it was begun before */
};

static enum lct_code import(struct lct_tpm *tpm, void *arg, struct lct_err *err)
{
    struct import *work = arg;
    const struct lct_tpm_importable *from = work->from;
    const struct lct_parent_request request = {
        .label = from->label,
        .where = from->parent,
        .rsa = from->rsa_parent,
        .pinned = from->parent_name,
        .owner_auth = from->owner_auth,
        .libctx = from->libctx,
        .again = work->again,
    };
    struct lct_parent parent;

    work->again = true;
    *work->created = (struct lct_tpm_created){0};
    lct_tpm_flush_resident(tpm);
    enum lct_code code = lct_parent_enter(tpm, &parent, &request, tpm->always, err);
    if (code != LCT_OK)
        return code;
    if (tpm->always) {
        const struct lct_salt salt = {parent.handle, parent.name, parent.public_area};
        code = lct_tpm_session_open(tpm, from->label, from->libctx, &salt, err);
        (void)lct_parent_is_gone(tpm, &parent, from->label, &code, TSS2_RC_SUCCESS, err);
    }
    if (code == LCT_OK)
        code = import_under(tpm, work->created, from, &parent, err);
    lct_parent_leave(tpm, &parent, code == LCT_OK);
    return code;
}

enum lct_code lct_tpm_import(struct lct_tpm *tpm, struct lct_tpm_created *created,
                             const struct lct_tpm_importable *from, struct lct_err *err)
{
    struct import work = {created, from, false};

    return lct_tpm_run(tpm, from->label, import, &work, err);
}

struct reading {
    uint8_t *public_area;
    size_t *public_len;
    uint32_t handle;
    const char *label;
};

static enum lct_code read_public(struct lct_tpm *tpm, void *arg, struct lct_err *err)
{
    const struct reading *reading = arg;
    TPM2B_PUBLIC public_area = {0};
    TPM2B_NAME tpm_name = {0}, qualified = {0};

    *reading->public_len = 0;
    TSS2_RC rc = Tss2_Sys_ReadPublic(tpm->sys, reading->handle, NULL, &public_area, &tpm_name,
                                     &qualified, NULL);
    if (lct_result_is_lost_handle(rc))
        return LCT_FAIL(err, LCT_ERR_OTHER_TPM, "%s: this TPM has nothing at 0x%08x",
                        reading->label, reading->handle);
    enum lct_code code = lct_tpm_result(tpm, reading->label, TPM2_CC_ReadPublic, rc, err);
    if (code != LCT_OK)
        return code;
    if (Tss2_MU_TPM2B_PUBLIC_Marshal(&public_area, reading->public_area, LCT_MAX_BLOB,
                                     reading->public_len) != TSS2_RC_SUCCESS)
        return LCT_FAIL(err, LCT_ERR_TPM, "%s: the TPM reports a malformed public area",
                        reading->label);
    return LCT_OK;
}

enum lct_code lct_tpm_read_public(struct lct_tpm *tpm, uint8_t *public_area, size_t *public_len,
                                  uint32_t handle, const char *label, struct lct_err *err)
{
    struct reading reading = {public_area, public_len, handle, label};

    return lct_tpm_run(tpm, label, read_public, &reading, err);
}
