/* SPDX-License-Identifier: Apache-2.0 */
#include "tpm/activate.h"

#include "base/encode.h"
#include "tpm/ek_template.h"
#include "tpm/result.h"
#include "tpm/session.h"

#include <string.h>

static const struct lct_parent_role ek_role = {"the endorsement key", "using the endorsement key",
                                               false};

/* What is asked of the NV memory and of the hierarchy on behalf of the key. */
static struct lct_parent_request ek_request(const struct lct_tpm_attest_request *request)
{
    const struct lct_ek *ek = request->ek;

    return (struct lct_parent_request){
        .label = request->label,
        .where = ek->handle != 0 ? ek->handle : TPM2_RH_ENDORSEMENT,
        .role = &ek_role,
        .pinned = &ek->name,
        .owner_auth = request->endorsement_auth,
        .libctx = request->libctx,
    };
}

/* The template that the endorsement key is made anew of. */
static enum lct_code find_template(struct lct_tpm *tpm, TPM2B_PUBLIC *template,
                                   const struct lct_tpm_attest_request *request,
                                   struct lct_err *err)
{
    const struct lct_ek_row *row = lct_ek_row_of(request->ek->kind);
    const struct lct_nv_request nv = {request->label, request->owner_auth, request->libctx};
    TPML_HANDLE indices;

    if (row == NULL)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "%s: the endorsement key is of no known kind",
                        request->label);
    enum lct_code code = lct_ek_list_indices(tpm, &indices, request->label, err);
    return code == LCT_OK ? lct_ek_template(tpm, template, row, &indices, &nv, err) : code;
}

/* What is behind the handle, or is made, has the Name that the credential was made for. */
static enum lct_code enter_ek(struct lct_tpm *tpm, struct lct_parent *ek,
                              const struct lct_tpm_attest_request *request, struct lct_err *err)
{
    struct lct_parent_request as = ek_request(request);
    TPM2B_PUBLIC template = {0};
    enum lct_code code = LCT_OK;

    if (request->ek->name.len == 0)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "%s: the endorsement key is not known",
                        request->label);
    if (request->ek->handle == 0) {
        code = find_template(tpm, &template, request, err);
        as.template = &template;
    }
    return code == LCT_OK ? lct_parent_enter(tpm, ek, &as, true, err) : code;
}

static bool has_policy(const struct lct_public *area, const char *policy)
{
    uint8_t bytes[LCT_MAX_HASH];
    size_t len = 0;

    return lct_hex_decode(bytes, &len, sizeof bytes, policy) && len == area->policy_len &&
           memcmp(bytes, area->policy, len) == 0;
}

/* PolicyA: a session with the hierarchy's authorization in it. */
static enum lct_code say_secret(struct lct_tpm *tpm, TPM2_HANDLE *session, uint16_t hash,
                                const struct lct_tpm_attest_request *request, struct lct_err *err)
{
    struct lct_parent_request as = ek_request(request);
    enum lct_code code = lct_parent_begin_as(tpm, &as, TPM2_RH_ENDORSEMENT, err);

    if (code == LCT_OK)
        code = lct_tpm_unsalted_start(tpm, session, request->label, TPM2_SE_POLICY, hash, err);
    if (code != LCT_OK)
        return code;
    code = lct_tpm_policy_secret(tpm, request->label, *session, TPM2_RH_ENDORSEMENT, as.owner_auth,
                                 request->libctx, err);
    return code == LCT_ERR_AUTH ? lct_parent_fail_unauthorized(&as, TPM2_RH_ENDORSEMENT, err)
                                : code;
}

/* PolicyB, once PolicyA is said: TPM2_PolicyOR (TPM 2.0 Part 3, 23.6). */
static enum lct_code say_either(struct lct_tpm *tpm, TPM2_HANDLE session,
                                const struct lct_ek_policies *policies, const char *label,
                                struct lct_err *err)
{
    enum { BRANCHES = 2 };
    const char *const texts[BRANCHES] = {policies->a, policies->c};
    TPML_DIGEST branches = {.count = BRANCHES};

    for (size_t i = 0; i < BRANCHES; i++) {
        TPM2B_DIGEST *branch = &branches.digests[i];
        size_t len = 0;
        if (!lct_hex_decode(branch->buffer, &len, sizeof branch->buffer, texts[i]))
            return LCT_FAIL(err, LCT_ERR_INTERNAL, "the policy of an endorsement key is malformed");
        branch->size = (UINT16)len;
    }
    TSS2_RC rc = Tss2_Sys_PolicyOR(tpm->sys, session, NULL, &branches, NULL);
    lct_tpm_unsalted_look(tpm, rc);
    return lct_tpm_result(tpm, label, TPM2_CC_PolicyOR, rc, err);
}

/*
 * What authorizes the endorsement key's use, which is in the USER role: an empty password, or the
 * session *by, which is the caller's to end after an error, too. TCG EK Credential Profile 2.5,
 * B.6.
 */
static enum lct_code authorize(struct lct_tpm *tpm, TPM2_HANDLE *by, const struct lct_parent *ek,
                               const struct lct_tpm_attest_request *request, struct lct_err *err)
{
    const struct lct_public *area = &ek->public_area;
    const struct lct_ek_policies *policies = lct_ek_policies_of(area->name_alg);

    *by = TPM2_RS_PW;
    if ((area->attributes & TPMA_OBJECT_USERWITHAUTH) != 0)
        return LCT_OK;
    bool either = policies != NULL && has_policy(area, policies->b);
    if (!either && (policies == NULL || !has_policy(area, policies->a)))
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                        "%s: the endorsement key has a policy that is none of the TCG's",
                        request->label);
    enum lct_code code = say_secret(tpm, by, area->name_alg, request, err);
    return code == LCT_OK && either ? say_either(tpm, *by, policies, request->label, err) : code;
}

/* TPM2_ActivateCredential, prepared. */
static TSS2_RC prepare(struct lct_tpm *tpm, const struct lct_activation *activation,
                       TPM2_HANDLE object)
{
    const struct lct_credential *credential = activation->request->credential;
    TPM2B_ID_OBJECT id = {.size = (UINT16)credential->id_len};
    TPM2B_ENCRYPTED_SECRET seed = {.size = (UINT16)credential->seed.len};

    if (credential->id_len > sizeof id.credential || credential->seed.len > sizeof seed.secret)
        return TPM2_RC_SIZE | TPM2_RC_P;
    memcpy(id.credential, credential->id, credential->id_len);
    memcpy(seed.secret, credential->seed.data, credential->seed.len);
    return Tss2_Sys_ActivateCredential_Prepare(tpm->sys, object, activation->ek->handle, &id,
                                               &seed);
}

/* Whether it does more than to say that it is in failure mode. */
static bool is_alive(struct lct_tpm *tpm, const struct lct_activation *activation)
{
    TPM2B_PUBLIC public_area = {0};
    TPM2B_NAME name = {0}, qualified = {0};
    TSS2_RC rc = Tss2_Sys_ReadPublic(tpm->sys, activation->ek->handle, NULL, &public_area, &name,
                                     &qualified, NULL);

    return lct_tpm_result(tpm, activation->request->label, TPM2_CC_ReadPublic, rc, NULL) == LCT_OK;
}

/* The codes of TPM2_ActivateCredential that are about the credential. Of a seed that was made for
 * another RSA key libtpms, which virtual machines have, says TPM2_RC_FAILURE. */
static bool is_about_credential(struct lct_tpm *tpm, const struct lct_activation *activation,
                                TSS2_RC rc)
{
    switch (lct_result_base(rc)) {
    case TPM2_RC_FAILURE:
        return is_alive(tpm, activation);
    case TPM2_RC_NO_RESULT:
        return true;
    case TPM2_RC_INTEGRITY:
    case TPM2_RC_SIZE:
    case TPM2_RC_VALUE:
    case TPM2_RC_ECC_POINT:
    case TPM2_RC_INSUFFICIENT:
        return (rc & TPM2_RC_P) != 0;
    default:
        return false;
    }
}

/* Of the first session, if there is no authorization value in it: that it was spoiled, or one of
 * the handles. Of the endorsement key's policy: that a command was executed twice, and has spent
 * it. */
static bool is_out_of_step(const struct lct_activation *activation, TSS2_RC rc, enum lct_code code)
{
    bool has_auth = activation->ak == NULL && activation->use.key->needs_auth;
    bool first = (rc & TPM2_RC_N_MASK) == (TPM2_RC_S | TPM2_RC_1);

    return lct_result_base(rc) == TPM2_RC_POLICY_FAIL ||
           (code == LCT_ERR_AUTH && first && !has_auth);
}

/* What a refusal means. */
static enum lct_code explain(struct lct_tpm *tpm, const struct lct_activation *activation,
                             TSS2_RC rc, enum lct_code code, struct lct_err *err)
{
    if (is_out_of_step(activation, rc, code)) {
        tpm->broken = true; /* all is begun anew */
        return LCT_FAIL(err, LCT_ERR_NO_TPM,
                        "%s: a session with the TPM was spoiled on its way, or a key replaced",
                        activation->request->label);
    }
    if (!is_about_credential(tpm, activation, rc))
        return code;
    code = LCT_FAIL(err, LCT_ERR_OTHER_TPM,
                    "%s: the TPM refuses the credential: it was made for another endorsement key, "
                    "or for another key than %s, or it was spoiled",
                    activation->request->label,
                    activation->ak != NULL ? "the attestation key" : "this");
    if (err != NULL)
        err->tpm_rc = rc;
    return code;
}

/* The secret in the response. What SAPI gets to see of it is encrypted still. */
static enum lct_code take_secret(struct lct_tpm *tpm, const struct lct_activation *activation,
                                 const struct lct_terms *terms, TSS2_RC *rc, struct lct_err *err)
{
    const char *label = activation->request->label;
    struct lct_secret *secret = activation->secret;
    TPM2B_DIGEST out = {0};

    *rc = Tss2_Sys_ActivateCredential_Complete(tpm->sys, &out);
    enum lct_code code = lct_tpm_result(tpm, label, TPM2_CC_ActivateCredential, *rc, err);
    if (code == LCT_OK && (out.size == 0 || out.size > sizeof secret->data))
        code = LCT_FAIL(err, LCT_ERR_TPM, "%s: the TPM's response is malformed", label);
    if (code == LCT_OK)
        code = lct_tpm_decrypt(tpm, terms, out.buffer, out.size, err);
    if (code == LCT_OK) {
        memcpy(secret->data, out.buffer, out.size);
        secret->len = out.size;
    }
    explicit_bzero(&out, sizeof out);
    return code;
}

/* By the key: its use. */
static enum lct_code activate_once(struct lct_tpm *tpm, struct lct_use *use, TSS2_RC *rc,
                                   struct lct_err *err)
{
    const struct lct_activation *activation = (const struct lct_activation *)use;
    const struct lct_terms terms = lct_use_terms(use);

    *rc = prepare(tpm, activation, lct_use_handle(tpm, use->key));
    enum lct_code code = lct_use_execute(tpm, use, TPM2_CC_ActivateCredential, rc, err);
    if (code != LCT_OK)
        return explain(tpm, activation, *rc, code, err);
    return take_secret(tpm, activation, &terms, rc, err);
}

/* By the AK, which has no authorization value, in a session that is salted to the endorsement key:
 * whose salt it is shows by the response. */
static enum lct_code activate_by_ak(struct lct_tpm *tpm, const struct lct_activation *activation,
                                    TPM2_HANDLE by, struct lct_err *err)
{
    const struct lct_tpm_attest_request *request = activation->request;
    const struct lct_parent *ak = activation->ak, *ek = activation->ek;
    const struct lct_salt salt = {ek->handle, ek->name, ek->public_area};
    const struct lct_terms terms = {.libctx = request->libctx,
                                    .num_names = 2,
                                    .names = {ak->name, ek->name},
                                    .second = by,
                                    .decrypt = true};
    enum lct_code code = lct_tpm_session_open(tpm, request->label, request->libctx, &salt, err);

    if (code != LCT_OK)
        return code;
    TSS2_RC rc = prepare(tpm, activation, ak->handle);
    code = rc == TSS2_RC_SUCCESS
               ? lct_tpm_execute(tpm, request->label, TPM2_CC_ActivateCredential, &terms, &rc, err)
               : lct_tpm_result(tpm, request->label, TPM2_CC_ActivateCredential, rc, err);
    if (code != LCT_OK)
        return explain(tpm, activation, rc, code, err);
    return take_secret(tpm, activation, &terms, &rc, err);
}

static enum lct_code activate_by_key(struct lct_tpm *tpm, struct lct_activation *activation,
                                     TPM2_HANDLE by, struct lct_err *err)
{
    struct lct_use *use = &activation->use;

    use->once = activate_once;
    use->secret = true;
    use->second_name = &activation->ek->name;
    use->second = by;
    return lct_use_run(tpm, use, err);
}

enum lct_code lct_activate(struct lct_tpm *tpm, struct lct_activation *activation,
                           struct lct_err *err)
{
    struct lct_parent ek;
    TPM2_HANDLE by = TPM2_RS_PW;
    enum lct_code code = enter_ek(tpm, &ek, activation->request, err);

    if (code != LCT_OK)
        return code;
    activation->ek = &ek;
    code = authorize(tpm, &by, &ek, activation->request, err);
    if (code == LCT_OK)
        code = activation->ak != NULL ? activate_by_ak(tpm, activation, by, err)
                                      : activate_by_key(tpm, activation, by, err);
    activation->ek = NULL;
    if (by != TPM2_RS_PW)
        lct_tpm_flush_session(tpm, by);
    lct_parent_leave(tpm, &ek, code == LCT_OK);
    return code;
}
