/* SPDX-License-Identifier: Apache-2.0 */
#include "tpm/connection.h"
#include "tpm/parent.h"
#include "tpm/result.h"
#include "tpm/session.h"
#include "tpm/tpm.h"

#include <string.h>
#include <tss2/tss2_mu.h>

static bool has_auth(const struct lct_tpm_template *from)
{
    return from->auth != NULL && from->auth->len > 0;
}

static uint32_t attributes_of(const struct lct_tpm_template *from)
{
    uint32_t attributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT;

    if (from->algorithm != NULL) /* sealed data comes from outside */
        attributes |= TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_SIGN_ENCRYPT;
    if (from->policy == NULL)
        attributes |= TPMA_OBJECT_USERWITHAUTH;
    if (!has_auth(from))
        attributes |= TPMA_OBJECT_NODA;
    return attributes;
}

static void set_parameters(TPMT_PUBLIC *public_area, const struct lct_algorithm *algorithm)
{
    if (algorithm == NULL)
        public_area->parameters.keyedHashDetail.scheme.scheme = TPM2_ALG_NULL;
    else if (algorithm->type == TPM2_ALG_ECC)
        public_area->parameters.eccDetail = (TPMS_ECC_PARMS){
            .symmetric.algorithm = TPM2_ALG_NULL,
            .scheme.scheme = TPM2_ALG_NULL,
            .curveID = algorithm->curve,
            .kdf.scheme = TPM2_ALG_NULL,
        };
    else
        public_area->parameters.rsaDetail = (TPMS_RSA_PARMS){
            .symmetric.algorithm = TPM2_ALG_NULL,
            .scheme.scheme = TPM2_ALG_NULL,
            .keyBits = algorithm->bits,
        };
}

/*
 * An unrestricted signing key, born in the TPM and fixed to it, whose scheme is chosen at each
 * signature; or sealed data. What nobody has to guess at must not lock others out: noDA, so that
 * power losses do not count as tries either. With a policy, userWithAuth is clear: it is the only
 * way to use it.
 */
static TPM2B_PUBLIC template_of(const struct lct_tpm_template *from)
{
    TPM2B_PUBLIC public_area = {
        .publicArea =
            {
                .type = from->algorithm != NULL ? from->algorithm->type : TPM2_ALG_KEYEDHASH,
                .nameAlg = TPM2_ALG_SHA256,
                .objectAttributes = attributes_of(from),
            },
    };

    set_parameters(&public_area.publicArea, from->algorithm);
    if (from->policy != NULL) {
        public_area.publicArea.authPolicy.size = LCT_POLICY_DIGEST;
        memcpy(public_area.publicArea.authPolicy.buffer, from->policy, LCT_POLICY_DIGEST);
    }
    return public_area;
}

/* The codes of TPM2_Create that say: no key of this kind (TPM 2.0 Part 3, 12.1). */
static bool is_about_algorithm(TSS2_RC rc)
{
    TPM2_RC base = lct_result_base(rc);

    return base == TPM2_RC_KEY_SIZE || base == TPM2_RC_VALUE || base == TPM2_RC_ASYMMETRIC ||
           base == TPM2_RC_TYPE;
}

/* Whether the key is of the template: all is the same but what makes it the one it is. */
static bool is_of_template(const TPM2B_PUBLIC *made, const TPM2B_PUBLIC *template)
{
    enum { DEFAULT_EXPONENT = 65537 }; /* may be said as 0: TPM 2.0 Part 2, 12.2.3.5 */
    TPM2B_PUBLIC bare = *made;
    uint8_t is[sizeof bare], wanted[sizeof bare];
    size_t is_len = 0, wanted_len = 0;

    memset(&bare.publicArea.unique, 0, sizeof bare.publicArea.unique);
    bare.size = 0;
    if (bare.publicArea.type == TPM2_ALG_RSA &&
        bare.publicArea.parameters.rsaDetail.exponent == DEFAULT_EXPONENT)
        bare.publicArea.parameters.rsaDetail.exponent = 0;
    return Tss2_MU_TPM2B_PUBLIC_Marshal(&bare, is, sizeof is, &is_len) == TSS2_RC_SUCCESS &&
           Tss2_MU_TPM2B_PUBLIC_Marshal(template, wanted, sizeof wanted, &wanted_len) ==
               TSS2_RC_SUCCESS &&
           is_len == wanted_len && memcmp(is, wanted, is_len) == 0;
}

/* Whether what was made is wrapped by the parent, and not by what another program has put in its
 * place (TPM 2.0 Part 2, 15.1). */
static bool is_under(const TPM2B_CREATION_DATA *creation, const struct lct_parent *parent)
{
    const struct lct_name name = lct_tpm_name(&creation->creationData.parentName);

    return lct_name_equal(&name, &parent->name);
}

/* What nobody else may learn of goes into it. */
static bool has_secret(const struct lct_tpm_template *from)
{
    return has_auth(from) || from->data != NULL;
}

static enum lct_code marshal(struct lct_tpm_created *created, const char *label,
                             const TPM2B_PUBLIC *public_area, const TPM2B_PRIVATE *private_area,
                             struct lct_err *err)
{
    created->public_len = 0;
    created->private_len = 0;
    if (Tss2_MU_TPM2B_PUBLIC_Marshal(public_area, created->public_area, sizeof created->public_area,
                                     &created->public_len) != TSS2_RC_SUCCESS ||
        Tss2_MU_TPM2B_PRIVATE_Marshal(private_area, created->private_area,
                                      sizeof created->private_area,
                                      &created->private_len) != TSS2_RC_SUCCESS)
        return LCT_FAIL(err, LCT_ERR_TPM, "%s: the TPM returned a malformed key", label);
    return LCT_OK;
}

/* What a refusal of TPM2_Create means. */
static enum lct_code explain(const struct lct_tpm_template *from, const struct lct_parent *parent,
                             TSS2_RC rc, enum lct_code code, struct lct_err *err)
{
    if (code == LCT_ERR_AUTH)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                        "%s: the storage key at 0x%08x takes an authorization, which a storage "
                        "root key should not have",
                        from->label, parent->where);
    if (code == LCT_ERR_UNSUPPORTED || is_about_algorithm(rc))
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED, "%s: this TPM makes no %s (0x%03x)", from->label,
                        from->algorithm != NULL ? from->algorithm->name : "sealed data", rc);
    return code;
}

/* TPM2_Create, with what is secret of what goes into the key encrypted in the session. */
static enum lct_code create_under(struct lct_tpm *tpm, struct lct_tpm_created *created,
                                  const struct lct_tpm_template *from, struct lct_parent *parent,
                                  struct lct_err *err)
{
    TPM2B_SENSITIVE_CREATE sensitive = {0};
    const TPM2B_PUBLIC template = template_of(from);
    const TPM2B_DATA outside = {0};
    const TPML_PCR_SELECTION pcrs = {0};
    const struct lct_terms terms = {.libctx = from->libctx,
                                    .num_names = 1,
                                    .names = {parent->name},
                                    .encrypt = has_secret(from),
                                    .in_session = true,
                                    .last = true};
    TPM2B_PRIVATE private_area = {0};
    TPM2B_PUBLIC public_area = {0};
    TPM2B_CREATION_DATA creation = {0};
    TPM2B_DIGEST hash = {0};
    TPMT_TK_CREATION ticket = {0};

    if (has_auth(from)) {
        sensitive.sensitive.userAuth.size = (UINT16)from->auth->len;
        memcpy(sensitive.sensitive.userAuth.buffer, from->auth->data, from->auth->len);
    }
    if (from->data_len <= LCT_MAX_SEALED && from->data != NULL) {
        sensitive.sensitive.data.size = (UINT16)from->data_len;
        memcpy(sensitive.sensitive.data.buffer, from->data, from->data_len);
    }
    tpm->exposed = has_secret(from);
    TSS2_RC rc =
        Tss2_Sys_Create_Prepare(tpm->sys, parent->handle, &sensitive, &template, &outside, &pcrs);
    explicit_bzero(&sensitive, sizeof sensitive);
    enum lct_code code = rc == TSS2_RC_SUCCESS
                             ? lct_tpm_execute(tpm, from->label, TPM2_CC_Create, &terms, &rc, err)
                             : lct_tpm_result(tpm, from->label, TPM2_CC_Create, rc, err);
    if (code == LCT_OK) {
        rc = Tss2_Sys_Create_Complete(tpm->sys, &private_area, &public_area, &creation, &hash,
                                      &ticket);
        code = lct_tpm_result(tpm, from->label, TPM2_CC_Create, rc, err);
    }
    if (code == LCT_OK && !is_under(&creation, parent))
        code = LCT_FAIL(err, LCT_ERR_WRONG_KEY,
                        "%s: the TPM made the key under another storage key than the one that it "
                        "was asked for",
                        from->label);
    if (lct_parent_is_gone(tpm, parent, from->label, &code, rc, err))
        return code;
    if (code != LCT_OK)
        return explain(from, parent, rc, code, err);
    if (!is_of_template(&public_area, &template))
        return LCT_FAIL(err, LCT_ERR_WRONG_KEY,
                        "%s: the TPM made another key than the one that it was asked for",
                        from->label);
    return marshal(created, from->label, &public_area, &private_area, err);
}

struct creation {
    struct lct_tpm_created *created;
    const struct lct_tpm_template *from;
    bool again;    /* it was begun before */
    bool made_srk; /* then, or now */
};

static enum lct_code create(struct lct_tpm *tpm, void *arg, struct lct_err *err)
{
    struct creation *creation = arg;
    const struct lct_tpm_template *from = creation->from;
    struct lct_tpm_created *created = creation->created;
    const struct lct_parent_request request = {
        .label = from->label,
        .pinned = from->parent_name,
        .owner_auth = from->owner_auth,
        .libctx = from->libctx,
        .again = creation->again,
    };
    struct lct_parent parent;

    creation->again = true;
    memset(created, 0, sizeof *created);
    created->made_srk = creation->made_srk;
    lct_tpm_flush_resident(tpm);
    enum lct_code code = lct_parent_for_creation(tpm, &parent, &request, from->provision, err);
    if (code == LCT_OK) {
        const struct lct_salt salt = {parent.handle, parent.name, parent.public_area};
        if (has_secret(from) || tpm->always)
            code = lct_tpm_session_open(tpm, from->label, from->libctx, &salt, err);
        (void)lct_parent_is_gone(tpm, &parent, from->label, &code, TSS2_RC_SUCCESS, err);
        if (code == LCT_OK)
            code = create_under(tpm, created, from, &parent, err);
        lct_parent_leave(tpm, &parent, code == LCT_OK);
        created->parent = parent.where;
        creation->made_srk = creation->made_srk || parent.made;
        created->made_srk = creation->made_srk;
    }
    if (code == LCT_OK || code == LCT_ERR_OTHER_TPM)
        created->parent_name = parent.name;
    return code;
}

enum lct_code lct_tpm_create(struct lct_tpm *tpm, struct lct_tpm_created *created,
                             const struct lct_tpm_template *from, struct lct_err *err)
{
    struct creation creation = {.created = created, .from = from};

    return lct_tpm_run(tpm, from->label, create, &creation, err);
}
