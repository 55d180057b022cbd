/* SPDX-License-Identifier: Apache-2.0 */
#include "tpm/parent.h"

#include "tpm/capability.h"
#include "tpm/result.h"
#include "tpm/session.h"

#include <string.h>
#include <tss2/tss2_mu.h>

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

/* What TSS has of a key, decoded, and its Name computed: what the TPM says of its Name is not
 * enough for a salt. */
static enum lct_code take_public(struct lct_public *public_area, struct lct_name *name,
                                 const char *label, OSSL_LIB_CTX *libctx, const TPM2B_PUBLIC *from,
                                 struct lct_err *err)
{
    uint8_t bytes[LCT_MAX_BLOB];
    size_t len = 0;

    if (Tss2_MU_TPM2B_PUBLIC_Marshal(from, bytes, sizeof bytes, &len) != TSS2_RC_SUCCESS)
        return LCT_FAIL(err, LCT_ERR_TPM, "%s: its parent's public area is malformed", label);
    enum lct_code code = lct_public_decode(public_area, bytes, len, err);
    if (code == LCT_OK)
        code = lct_public_name(name, libctx, bytes, len, err);
    return code == LCT_OK ? LCT_OK : lct_err_prefix(err, label);
}

/* TPM2_CreatePrimary of the SRK's template. */
static enum lct_code create_primary(struct lct_tpm *tpm, struct lct_parent *parent,
                                    const struct lct_parent_request *request, TPM2_HANDLE hierarchy,
                                    const struct lct_secret *auth, struct lct_err *err)
{
    const TPM2B_SENSITIVE_CREATE sensitive = {0};
    const TPM2B_DATA outside = {0};
    const TPML_PCR_SELECTION pcrs = {0};
    const struct lct_terms terms = {request->libctx, auth, 1, {lct_name_of_handle(hierarchy)},
                                    false,           false};
    TPM2B_PUBLIC out = {0};
    TPM2B_CREATION_DATA creation = {0};
    TPM2B_DIGEST hash = {0};
    TPMT_TK_CREATION ticket = {0};
    TPM2B_NAME name = {0};

    TSS2_RC rc = Tss2_Sys_CreatePrimary_Prepare(tpm->sys, hierarchy, &sensitive, &srk_template,
                                                &outside, &pcrs);
    enum lct_code code =
        rc == TSS2_RC_SUCCESS
            ? lct_tpm_execute(tpm, request->label, TPM2_CC_CreatePrimary, &terms, &rc, err)
            : lct_tpm_result(tpm, request->label, TPM2_CC_CreatePrimary, rc, err);
    if (code == LCT_OK) {
        rc = Tss2_Sys_CreatePrimary_Complete(tpm->sys, &parent->handle, &out, &creation, &hash,
                                             &ticket, &name);
        code = lct_tpm_result(tpm, request->label, TPM2_CC_CreatePrimary, rc, err);
    }
    if (tpm->broken && request->pinned != NULL)
        lct_tpm_note_debris(tpm, request->pinned);
    tpm->lost_salt = tpm->lost_salt || (tpm->broken && hierarchy == TPM2_RH_NULL);
    if (code != LCT_OK)
        return code;
    parent->transient = true;
    parent->twin = request->again;
    code = take_public(&parent->public_area, &parent->name, request->label, request->libctx, &out,
                       err);
    if (code != LCT_OK)
        lct_parent_leave(tpm, parent);
    return code;
}

enum lct_code lct_parent_open_session(struct lct_tpm *tpm, const char *label, OSSL_LIB_CTX *libctx,
                                      struct lct_err *err)
{
    struct lct_parent parent = {0};
    const struct lct_parent_request unpinned = {
        .label = label, .where = TPM2_RH_NULL, .libctx = libctx};

    lct_tpm_session_close(tpm);
    enum lct_code code = create_primary(tpm, &parent, &unpinned, TPM2_RH_NULL, NULL, err);
    if (code != LCT_OK)
        return code;
    const struct lct_salt salt = {parent.handle, parent.name, parent.public_area};
    code = lct_tpm_session_open(tpm, label, libctx, &salt, err);
    lct_parent_leave(tpm, &parent);
    if (tpm->lost_salt) /* until the TPM is reset it is the same one each time */
        lct_tpm_note_debris(tpm, &parent.name);
    tpm->lost_salt = false;
    return code;
}

static bool has_owner_auth(const struct lct_parent_request *request)
{
    return request->owner_auth != NULL && request->owner_auth->len > 0;
}

/*
 * Before a command of the owner's. The session, if one is open, is another's. An authorization that
 * the user knows but the TPM does not have, since it was cleared, is not used.
 */
static enum lct_code begin_as_owner(struct lct_tpm *tpm, struct lct_parent_request *request,
                                    struct lct_err *err)
{
    uint32_t permanent = 0;
    enum lct_code code = LCT_OK;

    lct_tpm_session_close(tpm);
    if (!has_owner_auth(request))
        return LCT_OK;
    code = lct_capability_property(tpm, request->label, TPM2_PT_PERMANENT, &permanent, err);
    if (code != LCT_OK)
        return code;
    if ((permanent & TPMA_PERMANENT_OWNERAUTHSET) != 0)
        return lct_parent_open_session(tpm, request->label, request->libctx, err);
    request->owner_auth = NULL;
    return LCT_OK;
}

/* CreatePrimary under the owner. */
static enum lct_code make_primary(struct lct_tpm *tpm, struct lct_parent *parent,
                                  const struct lct_parent_request *request, struct lct_err *err)
{
    enum lct_code code =
        create_primary(tpm, parent, request, TPM2_RH_OWNER, request->owner_auth, err);

    if (code != LCT_ERR_AUTH)
        return code;
    if (has_owner_auth(request))
        return LCT_FAIL(err, LCT_ERR_AUTH,
                        "%s: the TPM refuses the owner's authorization; it is not the one that "
                        "tpm2_changeauth -c owner has set",
                        request->label);
    return LCT_FAIL(err, LCT_ERR_AUTH,
                    "%s: the TPM has no storage root key at 0x%08x, and making one needs the "
                    "owner's authorization: put it into a file and set owner_auth_file, or make "
                    "the key once with tpm2_createprimary and tpm2_evictcontrol",
                    request->label, lct_srk_handle);
}

enum lct_code lct_parent_enter(struct lct_tpm *tpm, struct lct_parent *parent,
                               const struct lct_parent_request *request, bool read,
                               struct lct_err *err)
{
    *parent = (struct lct_parent){.where = request->where, .handle = request->where};
    if (request->where != TPM2_RH_OWNER && read) {
        parent->name = *request->pinned;
        return lct_parent_verify(tpm, request, &parent->public_area, err);
    }
    if (request->where != TPM2_RH_OWNER)
        return LCT_OK;
    struct lct_parent_request owner = *request;
    enum lct_code code = begin_as_owner(tpm, &owner, err);
    if (code == LCT_OK)
        code = make_primary(tpm, parent, &owner, err);
    lct_tpm_session_close(tpm);
    if (code != LCT_OK || lct_name_equal(&parent->name, request->pinned))
        return code;
    lct_parent_leave(tpm, parent);
    return LCT_FAIL(err, LCT_ERR_OTHER_TPM,
                    "%s: the key was made by another TPM, or this TPM has been cleared since: its "
                    "storage root key is a different one",
                    request->label);
}

void lct_parent_leave(struct lct_tpm *tpm, struct lct_parent *parent)
{
    if (parent->transient)
        lct_tpm_flush(tpm, parent->handle, &parent->name);
    if (parent->transient && parent->twin)
        lct_tpm_note_debris(tpm, &parent->name);
    parent->transient = false;
}

/* TPM2_ReadPublic. *absent instead of an error where there is nothing at the handle. */
static enum lct_code read_public(struct lct_tpm *tpm, const struct lct_parent_request *request,
                                 TPM2_HANDLE handle, struct lct_public *public_area,
                                 struct lct_name *name, bool *absent, struct lct_err *err)
{
    TPM2B_PUBLIC from = {0};
    TPM2B_NAME tpm_name = {0}, qualified = {0};

    TSS2_RC rc = Tss2_Sys_ReadPublic(tpm->sys, handle, NULL, &from, &tpm_name, &qualified, NULL);
    *absent = lct_result_is_lost_handle(rc);
    if (*absent)
        return LCT_OK;
    enum lct_code code = lct_tpm_result(tpm, request->label, TPM2_CC_ReadPublic, rc, err);
    if (code != LCT_OK)
        return code;
    return take_public(public_area, name, request->label, request->libctx, &from, err);
}

static enum lct_code evict(struct lct_tpm *tpm, const struct lct_parent *parent,
                           const struct lct_parent_request *request, struct lct_err *err)
{
    const struct lct_terms terms = {request->libctx,
                                    request->owner_auth,
                                    2,
                                    {lct_name_of_handle(TPM2_RH_OWNER), parent->name},
                                    false,
                                    false};
    TSS2_RC rc =
        Tss2_Sys_EvictControl_Prepare(tpm->sys, TPM2_RH_OWNER, parent->handle, lct_srk_handle);

    if (rc != TSS2_RC_SUCCESS)
        return lct_tpm_result(tpm, request->label, TPM2_CC_EvictControl, rc, err);
    return lct_tpm_execute(tpm, request->label, TPM2_CC_EvictControl, &terms, &rc, err);
}

/*
 * Persists the primary just made; where that is not possible the key goes under the transient one.
 * Fails only if the connection broke: then nobody knows where it is.
 */
static enum lct_code persist(struct lct_tpm *tpm, struct lct_parent *parent,
                             const struct lct_parent_request *request, struct lct_err *err)
{
    struct lct_public public_area;
    struct lct_name name = {0};
    bool absent = false;
    enum lct_code code = evict(tpm, parent, request, err);

    parent->made = code == LCT_OK;
    if (code != LCT_OK && !tpm->broken) /* another program may have made the same one meanwhile */
        code = read_public(tpm, request, lct_srk_handle, &public_area, &name, &absent, err);
    if (tpm->broken) {
        lct_parent_leave(tpm, parent);
        return code;
    }
    if (!parent->made && (code != LCT_OK || absent || !lct_name_equal(&name, &parent->name)))
        return LCT_OK;
    lct_parent_leave(tpm, parent);
    parent->where = parent->handle = lct_srk_handle;
    return LCT_OK;
}

enum lct_code lct_parent_for_creation(struct lct_tpm *tpm, struct lct_parent *parent,
                                      const struct lct_parent_request *request, bool provision,
                                      struct lct_err *err)
{
    static const TPMA_OBJECT storage =
        TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT | TPMA_OBJECT_FIXEDTPM;
    bool absent;

    *parent = (struct lct_parent){.where = lct_srk_handle, .handle = lct_srk_handle};
    enum lct_code code = read_public(tpm, request, lct_srk_handle, &parent->public_area,
                                     &parent->name, &absent, err);
    if (code != LCT_OK)
        return code;
    if (!absent && (parent->public_area.attributes & storage) != storage)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                        "%s: the object at 0x%08x is not a storage key that is fixed to this TPM",
                        request->label, lct_srk_handle);
    if (!absent)
        return LCT_OK;
    struct lct_parent_request owner = *request;
    parent->where = TPM2_RH_OWNER;
    code = begin_as_owner(tpm, &owner, err);
    if (code == LCT_OK)
        code = make_primary(tpm, parent, &owner, err);
    if (code == LCT_OK && provision)
        code = persist(tpm, parent, &owner, err);
    lct_tpm_session_close(tpm);
    return code;
}

enum lct_code lct_parent_verify(struct lct_tpm *tpm, const struct lct_parent_request *request,
                                struct lct_public *public_area, struct lct_err *err)
{
    struct lct_public ignored;
    struct lct_name name;
    bool absent;
    enum lct_code code =
        read_public(tpm, request, request->where, public_area != NULL ? public_area : &ignored,
                    &name, &absent, err);

    if (code != LCT_OK)
        return code;
    if (absent)
        return LCT_FAIL(err, LCT_ERR_OTHER_TPM,
                        "%s: this TPM has no storage key at 0x%08x: the key was made by another "
                        "TPM, or this one has been cleared since",
                        request->label, request->where);
    if (!lct_name_equal(&name, request->pinned))
        return LCT_FAIL(err, LCT_ERR_OTHER_TPM,
                        "%s: the key was made by another TPM, or this TPM has been cleared since: "
                        "the storage key at 0x%08x is a different one",
                        request->label, request->where);
    return LCT_OK;
}
