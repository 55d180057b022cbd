/* SPDX-License-Identifier: Apache-2.0 */
#include "tpm/parent.h"

#include "tpm/capability.h"
#include "tpm/result.h"
#include "tpm/session.h"

#include <stdio.h>
#include <string.h>
#include <tss2/tss2_mu.h>

enum {
    STORAGE = TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT | TPMA_OBJECT_FIXEDTPM,
    OF_TEMPLATE = STORAGE | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_SENSITIVEDATAORIGIN |
                  TPMA_OBJECT_USERWITHAUTH | TPMA_OBJECT_NODA
};

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
            .objectAttributes = OF_TEMPLATE,
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

/* The RSA one, template H-1: what a key file means by rsaParent. */
static const TPM2B_PUBLIC rsa_template = {
    .publicArea =
        {
            .type = TPM2_ALG_RSA,
            .nameAlg = TPM2_ALG_SHA256,
            .objectAttributes = OF_TEMPLATE,
            .parameters.rsaDetail =
                {
                    .symmetric = {.algorithm = TPM2_ALG_AES,
                                  .keyBits.aes = 128,
                                  .mode.aes = TPM2_ALG_CFB},
                    .scheme.scheme = TPM2_ALG_NULL,
                    .keyBits = 2048,
                },
        },
};

static const struct lct_parent_role parent_role = {"its parent", "making its parent anew", false};

static const struct lct_parent_role *role_of(const struct lct_parent_request *request)
{
    return request->role != NULL ? request->role : &parent_role;
}

bool lct_parent_is_persistent(uint32_t where)
{
    return where >> TPM2_HR_SHIFT == TPM2_HT_PERSISTENT;
}

bool lct_tpm_is_parent(uint32_t where)
{
    return lct_parent_is_persistent(where) || where == TPM2_RH_OWNER ||
           where == TPM2_RH_ENDORSEMENT || where == TPM2_RH_PLATFORM || where == TPM2_RH_NULL;
}

static bool is_pinned(const struct lct_parent_request *request)
{
    return request->pinned != NULL && request->pinned->len != 0;
}

/* What TSS has of a key, decoded, and its Name computed: what the TPM says of its Name is not
 * enough for a salt. But it says the same, unless the response was spoiled on the way. */
static enum lct_code take_public(struct lct_tpm *tpm, struct lct_parent *parent,
                                 const struct lct_parent_request *request, const TPM2B_PUBLIC *from,
                                 const TPM2B_NAME *reported, struct lct_err *err)
{
    const struct lct_name said = lct_tpm_name(reported);
    const char *label = request->label, *what = role_of(request)->name;

    parent->public_len = 0;
    if (Tss2_MU_TPM2B_PUBLIC_Marshal(from, parent->public_bytes, sizeof parent->public_bytes,
                                     &parent->public_len) != TSS2_RC_SUCCESS)
        return LCT_FAIL(err, LCT_ERR_TPM, "%s: %s's public area is malformed", label, what);
    enum lct_code code =
        lct_public_decode(&parent->public_area, parent->public_bytes, parent->public_len, err);
    if (code == LCT_OK)
        code = lct_public_name(&parent->name, request->libctx, parent->public_bytes,
                               parent->public_len, err);
    if (code != LCT_OK)
        return lct_err_prefix(err, label);
    if (lct_name_equal(&parent->name, &said))
        return LCT_OK;
    tpm->broken = true;
    return LCT_FAIL(err, LCT_ERR_NO_TPM,
                    "%s: the TPM's response is malformed: %s's Name is not that of its public area",
                    label, what);
}

static const TPM2B_PUBLIC *template_of(const struct lct_parent_request *request)
{
    if (request->template != NULL)
        return request->template;
    return request->rsa ? &rsa_template : &srk_template;
}

/* Whether one of its template was made before whose Name nobody learned. */
static bool had_lost(struct lct_tpm *tpm, const struct lct_parent_request *request,
                     TPM2_HANDLE hierarchy)
{
    bool lost = request->template == NULL && lct_tpm_had_lost_primary(tpm, hierarchy, request->rsa);

    return lost || (request->again && !tpm->afresh);
}

/* TPM2_CreatePrimary of the request's template. */
static enum lct_code create_primary(struct lct_tpm *tpm, struct lct_parent *parent,
                                    const struct lct_parent_request *request, TPM2_HANDLE hierarchy,
                                    const struct lct_secret *auth, struct lct_err *err)
{
    const TPM2B_SENSITIVE_CREATE sensitive = {0};
    const TPM2B_DATA outside = {0};
    const TPML_PCR_SELECTION pcrs = {0};
    const struct lct_terms terms = {.libctx = request->libctx,
                                    .auth = auth,
                                    .num_names = 1,
                                    .names = {lct_name_of_handle(hierarchy)}};
    TPM2B_PUBLIC out = {0};
    TPM2B_CREATION_DATA creation = {0};
    TPM2B_DIGEST hash = {0};
    TPMT_TK_CREATION ticket = {0};
    TPM2B_NAME name = {0};

    TSS2_RC rc = Tss2_Sys_CreatePrimary_Prepare(tpm->sys, hierarchy, &sensitive,
                                                template_of(request), &outside, &pcrs);
    enum lct_code code =
        rc == TSS2_RC_SUCCESS
            ? lct_tpm_execute(tpm, request->label, TPM2_CC_CreatePrimary, &terms, &rc, err)
            : lct_tpm_result(tpm, request->label, TPM2_CC_CreatePrimary, rc, err);
    if (code == LCT_OK) {
        rc = Tss2_Sys_CreatePrimary_Complete(tpm->sys, &parent->handle, &out, &creation, &hash,
                                             &ticket, &name);
        code = lct_tpm_result(tpm, request->label, TPM2_CC_CreatePrimary, rc, err);
    }
    if (tpm->broken && is_pinned(request))
        lct_tpm_note_debris(tpm, request->pinned);
    else if (tpm->broken && request->template == NULL)
        lct_tpm_note_lost_primary(tpm, hierarchy, request->rsa);
    if (code != LCT_OK)
        return code;
    parent->transient = true;
    parent->twin = had_lost(tpm, request, hierarchy);
    code = take_public(tpm, parent, request, &out, &name, err);
    if (tpm->broken) { /* one of them is its Name */
        const struct lct_name said = lct_tpm_name(&name);
        lct_tpm_note_debris(tpm, &said);
    }
    if (code != LCT_OK)
        lct_parent_leave(tpm, parent, true);
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
    return lct_parent_leave_salted(tpm, &parent, label, code, err);
}

static bool has_owner_auth(const struct lct_parent_request *request)
{
    return request->owner_auth != NULL && request->owner_auth->len > 0;
}

/* A hierarchy's authorization: the bit of TPM2_PT_PERMANENT that says it is set, and words for it.
 * The platform's is the firmware's; that of the null hierarchy is always empty. */
static const struct hierarchy {
    uint32_t handle;
    uint32_t is_set;
    const char *name, *setting;
} hierarchies[] = {
    {TPM2_RH_OWNER, TPMA_PERMANENT_OWNERAUTHSET, "owner", "owner_auth_file"},
    {TPM2_RH_ENDORSEMENT, TPMA_PERMANENT_ENDORSEMENTAUTHSET, "endorsement",
     "endorsement_auth_file"},
};

const struct lct_secret *lct_tpm_auth_for(const struct lct_tpm_auths *auths, uint32_t where)
{
    return where == TPM2_RH_ENDORSEMENT ? auths->endorsement : auths->owner;
}

static const struct hierarchy *find_hierarchy(uint32_t handle)
{
    for (size_t i = 0; i < sizeof hierarchies / sizeof hierarchies[0]; i++)
        if (hierarchies[i].handle == handle)
            return &hierarchies[i];
    return NULL;
}

enum lct_code lct_parent_takes_auth(struct lct_tpm *tpm, bool *takes, uint32_t where,
                                    const char *label, struct lct_err *err)
{
    const struct hierarchy *hierarchy = find_hierarchy(where);
    uint32_t permanent = 0;
    enum lct_code code =
        hierarchy != NULL ? lct_capability_property(tpm, label, TPM2_PT_PERMANENT, &permanent, err)
                          : LCT_OK;

    *takes = hierarchy != NULL && (permanent & hierarchy->is_set) != 0;
    return code;
}

enum lct_code lct_parent_begin_as(struct lct_tpm *tpm, struct lct_parent_request *request,
                                  uint32_t where, struct lct_err *err)
{
    bool takes = false;

    lct_tpm_session_close(tpm);
    if (!has_owner_auth(request))
        return LCT_OK;
    enum lct_code code = lct_parent_takes_auth(tpm, &takes, where, request->label, err);
    if (code != LCT_OK)
        return code;
    if (takes)
        return lct_parent_open_session(tpm, request->label, request->libctx, err);
    request->owner_auth = NULL;
    return LCT_OK;
}

enum lct_code lct_parent_fail_unauthorized(const struct lct_parent_request *request, uint32_t where,
                                           struct lct_err *err)
{
    const struct hierarchy *hierarchy = find_hierarchy(where);

    if (hierarchy == NULL)
        return LCT_FAIL(err, LCT_ERR_AUTH,
                        "%s: its parent is in the platform hierarchy, which belongs to the "
                        "firmware: make the key under the owner's",
                        request->label);
    if (has_owner_auth(request))
        return LCT_FAIL(err, LCT_ERR_AUTH,
                        "%s: the TPM refuses the %s's authorization; it is not the one that "
                        "tpm2_changeauth -c %s has set",
                        request->label, hierarchy->name, hierarchy->name);
    if (where != TPM2_RH_OWNER)
        return LCT_FAIL(err, LCT_ERR_AUTH,
                        "%s: %s takes the %s hierarchy's authorization: put it into a file and "
                        "set %s",
                        request->label, role_of(request)->needs, hierarchy->name,
                        hierarchy->setting);
    return LCT_FAIL(err, LCT_ERR_AUTH,
                    "%s: the TPM has no storage root key at 0x%08x, and making one needs the "
                    "owner's authorization: put it into a file and set owner_auth_file, or make "
                    "the key once with tpm2_createprimary and tpm2_evictcontrol",
                    request->label, lct_srk_handle);
}

/* CreatePrimary under a hierarchy. */
static enum lct_code make_primary(struct lct_tpm *tpm, struct lct_parent *parent,
                                  const struct lct_parent_request *request, uint32_t where,
                                  struct lct_err *err)
{
    enum lct_code code = create_primary(tpm, parent, request, where, request->owner_auth, err);

    return code == LCT_ERR_AUTH ? lct_parent_fail_unauthorized(request, where, err) : code;
}

/* It is the pinned one, or where nothing is pinned, may be anybody's storage key that stays here.
 */
static enum lct_code check_parent(const struct lct_parent *parent,
                                  const struct lct_parent_request *request, struct lct_err *err)
{
    const struct lct_parent_role *role = role_of(request);
    char place[32] = "";

    if (lct_parent_is_persistent(request->where))
        (void)snprintf(place, sizeof place, " at 0x%08x", request->where);
    if (is_pinned(request) && request->role != NULL &&
        !lct_name_equal(&parent->name, request->pinned))
        return LCT_FAIL(err, LCT_ERR_OTHER_TPM, "%s: %s%s is a different one now", request->label,
                        role->name, place);
    if (is_pinned(request) && !lct_name_equal(&parent->name, request->pinned))
        return LCT_FAIL(err, LCT_ERR_OTHER_TPM,
                        "%s: the key was made by another TPM, or this TPM has been cleared since: "
                        "%s%s is a different one",
                        request->label,
                        lct_parent_is_persistent(request->where) ? "the storage key"
                                                                 : "its storage root key",
                        place);
    if (!is_pinned(request) && !role->any && (parent->public_area.attributes & STORAGE) != STORAGE)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                        "%s: the object%s is not a storage key that is fixed to this TPM",
                        request->label, place);
    return LCT_OK;
}

enum lct_code lct_parent_enter(struct lct_tpm *tpm, struct lct_parent *parent,
                               const struct lct_parent_request *request, bool read,
                               struct lct_err *err)
{
    if (!lct_tpm_is_parent(request->where))
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                        "%s: its parent, 0x%08x, is neither a persistent handle nor a hierarchy",
                        request->label, request->where);
    if (lct_parent_is_persistent(request->where) && read)
        return lct_parent_verify(tpm, parent, request, err);
    *parent = (struct lct_parent){.where = request->where, .handle = request->where};
    if (lct_parent_is_persistent(request->where)) {
        if (is_pinned(request))
            parent->name = *request->pinned;
        return LCT_OK;
    }
    struct lct_parent_request as = *request;
    enum lct_code code = lct_parent_begin_as(tpm, &as, request->where, err);
    if (code == LCT_OK)
        code = make_primary(tpm, parent, &as, request->where, err);
    lct_tpm_session_close(tpm);
    if (code == LCT_OK)
        code = check_parent(parent, request, err);
    if (code != LCT_OK)
        lct_parent_leave(tpm, parent, true);
    return code;
}

void lct_parent_leave(struct lct_tpm *tpm, struct lct_parent *parent, bool seen)
{
    if (parent->transient && (seen || !lct_tpm_is_displaced(tpm, parent->handle, &parent->name)))
        lct_tpm_flush(tpm, parent->handle, &parent->name);
    if (parent->twin) { /* whatever became of this one */
        lct_tpm_note_debris(tpm, &parent->name);
        if (!tpm->broken)
            lct_tpm_sweep(tpm);
    }
    parent->transient = parent->twin = false;
}

bool lct_parent_is_gone(struct lct_tpm *tpm, struct lct_parent *parent, const char *label,
                        enum lct_code *code, TSS2_RC rc, struct lct_err *err)
{
    if (*code == LCT_OK || *code == LCT_ERR_TPM_FULL || tpm->broken || !parent->transient)
        return false;
    enum lct_behind there = lct_tpm_look_behind(tpm, parent->handle, &parent->name);
    if (there == LCT_BEHIND_OTHER)
        parent->transient = false; /* nor is there anything to flush */
    if (there == LCT_BEHIND_OURS || (there == LCT_BEHIND_UNKNOWN && !lct_result_is_lost_handle(rc)))
        return false;
    tpm->bereft = true;
    *code = LCT_FAIL(err, LCT_ERR_TPM,
                     "%s: the storage key that was made to be its parent is gone from the TPM: "
                     "another program has flushed it; try again",
                     label);
    if (err != NULL)
        err->tpm_rc = rc;
    return true;
}

enum lct_code lct_parent_leave_salted(struct lct_tpm *tpm, struct lct_parent *parent,
                                      const char *label, enum lct_code code, struct lct_err *err)
{
    if (!parent->transient || tpm->broken ||
        !lct_tpm_is_displaced(tpm, parent->handle, &parent->name)) {
        lct_parent_leave(tpm, parent, true);
        return code;
    }
    parent->transient = false;
    lct_parent_leave(tpm, parent, true);
    lct_tpm_session_close(tpm);
    lct_tpm_policy_close(tpm);
    if (code == LCT_ERR_TPM_FULL || (tpm->broken && code != LCT_OK))
        return code;
    tpm->bereft = true;
    return LCT_FAIL(err, LCT_ERR_TPM,
                    "%s: the storage key that a session was salted to is gone from the TPM: "
                    "another program has flushed it; try again",
                    label);
}

/* TPM2_ReadPublic of what is at the handle, into *parent. *absent instead of an error where there
 * is nothing. */
static enum lct_code read_public(struct lct_tpm *tpm, struct lct_parent *parent,
                                 const struct lct_parent_request *request, TPM2_HANDLE handle,
                                 bool *absent, struct lct_err *err)
{
    TPM2B_PUBLIC from = {0};
    TPM2B_NAME tpm_name = {0}, qualified = {0};

    *parent = (struct lct_parent){.where = handle, .handle = handle};
    TSS2_RC rc = Tss2_Sys_ReadPublic(tpm->sys, handle, NULL, &from, &tpm_name, &qualified, NULL);
    *absent = lct_result_is_lost_handle(rc);
    if (*absent)
        return LCT_OK;
    enum lct_code code = lct_tpm_result(tpm, request->label, TPM2_CC_ReadPublic, rc, err);
    if (code != LCT_OK)
        return code;
    return take_public(tpm, parent, request, &from, &tpm_name, err);
}

/* Where another program could put its own object in the place of the parent: a session, so that it
 * is by its Name that it is persisted. Nothing is secret in it, so the parent itself will do. */
static enum lct_code bind(struct lct_tpm *tpm, const struct lct_parent *parent,
                          const struct lct_parent_request *request, struct lct_err *err)
{
    const struct lct_salt salt = {parent->handle, parent->name, parent->public_area};

    if (tpm->session.handle != 0 || tpm->channel->wire->private_handles)
        return LCT_OK;
    return lct_tpm_session_open(tpm, request->label, request->libctx, &salt, err);
}

static enum lct_code evict(struct lct_tpm *tpm, const struct lct_parent *parent,
                           const struct lct_parent_request *request, TSS2_RC *rc,
                           struct lct_err *err)
{
    const struct lct_terms terms = {.libctx = request->libctx,
                                    .auth = request->owner_auth,
                                    .num_names = 2,
                                    .names = {lct_name_of_handle(TPM2_RH_OWNER), parent->name}};

    *rc = Tss2_Sys_EvictControl_Prepare(tpm->sys, TPM2_RH_OWNER, parent->handle, lct_srk_handle);
    return *rc == TSS2_RC_SUCCESS
               ? lct_tpm_execute(tpm, request->label, TPM2_CC_EvictControl, &terms, rc, err)
               : lct_tpm_result(tpm, request->label, TPM2_CC_EvictControl, *rc, err);
}

/*
 * Persists the primary just made; where that is not possible the key goes under the transient one.
 * Fails only if the connection broke: then nobody knows where it is; if another program has flushed
 * it; or if there is no session to do it in.
 */
static enum lct_code persist(struct lct_tpm *tpm, struct lct_parent *parent,
                             const struct lct_parent_request *request, struct lct_err *err)
{
    struct lct_parent there = {0};
    bool absent = false;
    TSS2_RC rc = TSS2_RC_SUCCESS;
    enum lct_code code = bind(tpm, parent, request, err);
    bool bound = code == LCT_OK;

    if (bound)
        code = evict(tpm, parent, request, &rc, err);
    parent->made = code == LCT_OK;
    if (lct_parent_is_gone(tpm, parent, request->label, &code, rc, err) || !bound) {
        lct_parent_leave(tpm, parent, false);
        return code;
    }
    if (code != LCT_OK && !tpm->broken) /* another program may have made the same one meanwhile */
        code = read_public(tpm, &there, request, lct_srk_handle, &absent, err);
    if (tpm->broken) {
        lct_parent_leave(tpm, parent, true);
        return code;
    }
    if (!parent->made && (code != LCT_OK || absent || !lct_name_equal(&there.name, &parent->name)))
        return LCT_OK;
    lct_parent_leave(tpm, parent, parent->made);
    parent->where = parent->handle = lct_srk_handle;
    return LCT_OK;
}

/* Who asks knows what it is for, and says it in other words. */
static enum lct_code check_pinned(const struct lct_parent *parent,
                                  const struct lct_parent_request *request, struct lct_err *err)
{
    if (!is_pinned(request) || lct_name_equal(&parent->name, request->pinned))
        return LCT_OK;
    return LCT_FAIL(err, LCT_ERR_OTHER_TPM, "%s: the TPM's storage root key is another one",
                    request->label);
}

enum lct_code lct_parent_for_creation(struct lct_tpm *tpm, struct lct_parent *parent,
                                      const struct lct_parent_request *request, bool provision,
                                      struct lct_err *err)
{
    bool absent;

    enum lct_code code = read_public(tpm, parent, request, lct_srk_handle, &absent, err);
    if (code != LCT_OK)
        return code;
    struct lct_parent_request owner = *request;
    owner.where = lct_srk_handle;
    owner.pinned = NULL;
    if (!absent) {
        code = check_parent(parent, &owner, err);
        return code == LCT_OK ? check_pinned(parent, request, err) : code;
    }
    parent->where = TPM2_RH_OWNER;
    code = lct_parent_begin_as(tpm, &owner, TPM2_RH_OWNER, err);
    if (code == LCT_OK)
        code = make_primary(tpm, parent, &owner, TPM2_RH_OWNER, err);
    if (code == LCT_OK) {
        code = check_pinned(parent, request, err);
        if (code != LCT_OK)
            lct_parent_leave(tpm, parent, true);
        else if (provision)
            code = persist(tpm, parent, &owner, err);
    }
    lct_tpm_session_close(tpm);
    return code;
}

enum lct_code lct_parent_verify(struct lct_tpm *tpm, struct lct_parent *parent,
                                const struct lct_parent_request *request, struct lct_err *err)
{
    bool absent;

    enum lct_code code = read_public(tpm, parent, request, request->where, &absent, err);
    if (code != LCT_OK)
        return code;
    if (absent && request->role != NULL)
        return LCT_FAIL(err, LCT_ERR_OTHER_TPM, "%s: %s is no longer at 0x%08x", request->label,
                        request->role->name, request->where);
    if (absent)
        return LCT_FAIL(err, LCT_ERR_OTHER_TPM,
                        "%s: this TPM has no storage key at 0x%08x: the key was made by another "
                        "TPM, or this one has been cleared since",
                        request->label, request->where);
    return check_parent(parent, request, err);
}
