/* SPDX-License-Identifier: Apache-2.0 */
#include "tpm/attest.h"

#include "tcg/attest.h"
#include "tpm/activate.h"
#include "tpm/parent.h"
#include "tpm/policy.h"
#include "tpm/use.h"

#include <openssl/evp.h>
#include <string.h>
#include <tss2/tss2_mu.h>

enum {
    AK_ATTRIBUTES = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
                    TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_USERWITHAUTH | TPMA_OBJECT_NODA |
                    TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_SIGN_ENCRYPT
};

/* What is in `unique` makes it another key than any other program's of such a template. */
static const TPM2B_PUBLIC ak_template = {
    .publicArea =
        {
            .type = TPM2_ALG_ECC,
            .nameAlg = TPM2_ALG_SHA256,
            .objectAttributes = AK_ATTRIBUTES,
            .parameters.eccDetail =
                {
                    .symmetric.algorithm = TPM2_ALG_NULL,
                    .scheme = {.scheme = TPM2_ALG_ECDSA, .details.ecdsa.hashAlg = TPM2_ALG_SHA256},
                    .curveID = TPM2_ECC_NIST_P256,
                    .kdf.scheme = TPM2_ALG_NULL,
                },
            .unique.ecc.x = {.size = sizeof "lct attestation key" - 1,
                             .buffer = "lct attestation key"},
        },
};

/* Makes the AK: whom it is for, and whether the connection broke in that before. */
struct making {
    struct lct_tpm_ak *ak;
    const char *label;
    const struct lct_secret *endorsement_auth;
    OSSL_LIB_CTX *libctx;
    bool lost;
};

static enum lct_code take_ak(struct lct_tpm_ak *ak, const struct lct_parent *object,
                             const char *label, struct lct_err *err)
{
    const struct lct_public *area = &object->public_area;

    if (area->type != TPM2_ALG_ECC || area->curve != TPM2_ECC_NIST_P256 ||
        area->attributes != AK_ATTRIBUTES || area->policy_len != 0 ||
        area->scheme != TPM2_ALG_ECDSA || area->scheme_hash != TPM2_ALG_SHA256)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                        "%s: the TPM made another key than the attestation key", label);
    ak->public_len = object->public_len;
    memcpy(ak->public_area, object->public_bytes, object->public_len);
    ak->name = object->name;
    ak->area = *area;
    return LCT_OK;
}

/* Into the TPM, until lct_parent_leave. */
static enum lct_code enter_ak(struct lct_tpm *tpm, struct lct_parent *object, struct making *making,
                              struct lct_err *err)
{
    static const struct lct_parent_role role = {"the attestation key", "making the attestation key",
                                                true};
    struct lct_parent_request request = {
        .label = making->label,
        .where = TPM2_RH_ENDORSEMENT,
        .template = &ak_template,
        .role = &role,
        .owner_auth = making->endorsement_auth,
        .again = making->lost,
        .libctx = making->libctx,
    };
    enum lct_code code = lct_parent_enter(tpm, object, &request, true, err);

    if (code == LCT_OK && object->twin) { /* the one that was lost holds a slot that it takes */
        lct_parent_leave(tpm, object, true);
        request.again = false;
        code = lct_parent_enter(tpm, object, &request, true, err);
    }
    making->lost = tpm->broken;
    if (code != LCT_OK)
        return code;
    code = take_ak(making->ak, object, making->label, err);
    if (code != LCT_OK)
        lct_parent_leave(tpm, object, true);
    return code;
}

static enum lct_code read_ak(struct lct_tpm *tpm, void *arg, struct lct_err *err)
{
    struct lct_parent object;

    lct_tpm_flush_resident(tpm);
    enum lct_code code = enter_ak(tpm, &object, arg, err);
    if (code == LCT_OK)
        lct_parent_leave(tpm, &object, true);
    return code;
}

enum lct_code lct_tpm_read_ak(struct lct_tpm *tpm, struct lct_tpm_ak *ak, const char *label,
                              const struct lct_secret *endorsement_auth, OSSL_LIB_CTX *libctx,
                              struct lct_err *err)
{
    struct making making = {
        .ak = ak, .label = label, .endorsement_auth = endorsement_auth, .libctx = libctx};

    return lct_tpm_run(tpm, label, read_ak, &making, err);
}

/* All that is asked for, and what came of it. */
struct work {
    const struct lct_tpm_attest_request *request;
    struct lct_tpm_evidence *evidence;
    struct lct_tpm_key bare; /* the key without its seal, which is not opened */
    struct making making;
    bool lost_in_certify, lost_in_activate; /* the connection broke there before */
};

/* What an attestation must be. */
struct wanted {
    uint16_t type;
    const uint8_t *extra;
    size_t extra_len;
};

static enum lct_code take_attested(struct lct_tpm_attested *attested, const TPM2B_ATTEST *attest,
                                   const TPMT_SIGNATURE *signature, const char *label,
                                   struct lct_err *err)
{
    size_t len = 0;

    if (attest->size > sizeof attested->attest ||
        Tss2_MU_TPMT_SIGNATURE_Marshal(signature, attested->signature, sizeof attested->signature,
                                       &len) != TSS2_RC_SUCCESS)
        return LCT_FAIL(err, LCT_ERR_WRONG_KEY, "%s: what the TPM has attested is malformed",
                        label);
    attested->attest_len = attest->size;
    memcpy(attested->attest, attest->attestationData, attest->size);
    attested->signature_len = len;
    return LCT_OK;
}

/* The AK's signature, in software. */
static enum lct_code verify(const struct lct_tpm_attested *attested, const struct lct_tpm_ak *ak,
                            OSSL_LIB_CTX *libctx, struct lct_err *err)
{
    struct lct_signature signature;
    struct lct_scheme scheme;
    uint8_t digest[LCT_MAX_HASH];
    enum lct_code code = lct_attest_signature(&signature, &scheme, attested->signature,
                                              attested->signature_len, err);

    if (code != LCT_OK || scheme.id != TPM2_ALG_ECDSA || scheme.hash->id != TPM2_ALG_SHA256)
        return LCT_FAIL(err, LCT_ERR_WRONG_KEY, "the TPM signed in another scheme");
    if (!EVP_Q_digest(libctx, scheme.hash->openssl, NULL, attested->attest, attested->attest_len,
                      digest, NULL))
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "libcrypto cannot hash what is attested");
    EVP_PKEY *pkey = lct_public_pkey(&ak->area, libctx, err);
    if (pkey == NULL)
        return LCT_ERR_WRONG_KEY;
    code = lct_signature_verify(&signature, pkey, libctx, &scheme, digest, scheme.hash->size, err);
    EVP_PKEY_free(pkey);
    return code;
}

/* Whether the AK has attested that; decoded for what else it must say. */
static enum lct_code check(struct lct_attest *attest, const struct lct_tpm_attested *attested,
                           const struct wanted *wanted, const struct work *work,
                           struct lct_err *err)
{
    const struct lct_name hierarchy = lct_name_of_handle(TPM2_RH_ENDORSEMENT);
    const struct lct_tpm_ak *ak = &work->evidence->ak;
    OSSL_LIB_CTX *libctx = work->request->libctx;
    struct lct_name signer;
    enum lct_code code = lct_attest_decode(attest, attested->attest, attested->attest_len, err);

    if (code != LCT_OK || !lct_name_qualify(&signer, libctx, &hierarchy, &ak->name) ||
        attest->type != wanted->type || attest->extra_len != wanted->extra_len ||
        (wanted->extra_len > 0 && memcmp(attest->extra, wanted->extra, wanted->extra_len) != 0) ||
        !lct_name_equal(&attest->signer, &signer))
        return LCT_FAIL(err, LCT_ERR_WRONG_KEY,
                        "%s: what the TPM has attested is not what it was asked for",
                        work->request->label);
    code = verify(attested, ak, libctx, err);
    return code == LCT_OK ? LCT_OK : lct_err_prefix(err, work->request->label);
}

_Static_assert(LCT_MAX_QUALIFYING <= sizeof((TPM2B_DATA *)0)->buffer, "it fits TSS's structure");

static TPM2B_DATA to_data(const uint8_t *bytes, size_t len)
{
    TPM2B_DATA data = {.size = (UINT16)len};

    if (len > 0)
        memcpy(data.buffer, bytes, len);
    return data;
}

/* With a restricted key's own scheme. */
static const TPMT_SIG_SCHEME own_scheme = {.scheme = TPM2_ALG_NULL};

/* A use that certifies the key. */
struct certifying {
    struct lct_use use;
    const struct work *work;
    TPM2_HANDLE ak;
};

/* TPM2_Certify (TPM 2.0 Part 3, 18.2) of the key that is ready. */
static enum lct_code certify_once(struct lct_tpm *tpm, struct lct_use *use, TSS2_RC *rc,
                                  struct lct_err *err)
{
    const struct certifying *certifying = (const struct certifying *)use;
    const struct work *work = certifying->work;
    const struct lct_tpm_attest_request *request = work->request;
    const struct wanted wanted = {TPM2_ST_ATTEST_CERTIFY, request->certify_extra,
                                  request->certify_extra_len};
    const TPM2B_DATA extra = to_data(wanted.extra, wanted.extra_len);
    struct lct_tpm_attested *certified = &work->evidence->certified;
    TPM2B_ATTEST out = {0};
    TPMT_SIGNATURE signature = {0};
    struct lct_attest attest;

    *rc = Tss2_Sys_Certify_Prepare(tpm->sys, lct_use_handle(tpm, use->key), certifying->ak, &extra,
                                   &own_scheme);
    enum lct_code code = lct_use_execute(tpm, use, TPM2_CC_Certify, rc, err);
    if (code != LCT_OK)
        return code;
    *rc = Tss2_Sys_Certify_Complete(tpm->sys, &out, &signature);
    code = lct_tpm_result(tpm, request->label, TPM2_CC_Certify, *rc, err);
    if (code == LCT_OK)
        code = take_attested(certified, &out, &signature, request->label, err);
    if (code == LCT_OK)
        code = check(&attest, certified, &wanted, work, err);
    if (code == LCT_OK && !lct_name_equal(&attest.name, use->key->name))
        code = LCT_FAIL(err, LCT_ERR_WRONG_KEY, "%s: the TPM has certified another key",
                        request->label);
    if (code != LCT_OK && use->key->handle == 0)
        tpm->used = false;
    return code;
}

static enum lct_code certify(struct lct_tpm *tpm, struct work *work, const struct lct_parent *ak,
                             struct lct_err *err)
{
    struct certifying certifying = {.use = {.key = &work->bare,
                                            .once = certify_once,
                                            .second_name = &ak->name,
                                            .second = TPM2_RS_PW,
                                            .again = work->lost_in_certify},
                                    .work = work,
                                    .ak = ak->handle};
    enum lct_code code = lct_use_run(tpm, &certifying.use, err);

    work->lost_in_certify = tpm->broken;
    return code;
}

/* TPM2_Quote (TPM 2.0 Part 3, 18.4). What the AK signs needs no session to protect it. */
static enum lct_code quote_once(struct lct_tpm *tpm, struct lct_attest *attest,
                                const struct work *work, const struct lct_parent *ak,
                                struct lct_err *err)
{
    const struct lct_tpm_attest_request *request = work->request;
    const struct wanted wanted = {TPM2_ST_ATTEST_QUOTE, request->quote_extra,
                                  request->quote_extra_len};
    const TPM2B_DATA extra = to_data(wanted.extra, wanted.extra_len);
    const TPML_PCR_SELECTION selection = lct_pcr_selection(request->pcrs);
    TPM2B_ATTEST out = {0};
    TPMT_SIGNATURE signature = {0};
    TSS2_RC rc = Tss2_Sys_Quote_Prepare(tpm->sys, ak->handle, &extra, &own_scheme, &selection);
    enum lct_code code = rc == TSS2_RC_SUCCESS
                             ? lct_tpm_execute(tpm, request->label, TPM2_CC_Quote, NULL, &rc, err)
                             : lct_tpm_result(tpm, request->label, TPM2_CC_Quote, rc, err);

    if (code != LCT_OK)
        return code;
    rc = Tss2_Sys_Quote_Complete(tpm->sys, &out, &signature);
    code = lct_tpm_result(tpm, request->label, TPM2_CC_Quote, rc, err);
    if (code == LCT_OK)
        code = take_attested(&work->evidence->quoted, &out, &signature, request->label, err);
    if (code == LCT_OK)
        code = check(attest, &work->evidence->quoted, &wanted, work, err);
    if (code == LCT_OK && !lct_pcrs_equal(&attest->pcrs, request->pcrs))
        code =
            LCT_FAIL(err, LCT_ERR_WRONG_KEY, "%s: the TPM has quoted other PCRs", request->label);
    return code;
}

/* With the values that it is of, which are read before it: that tells of a bank that the TPM does
 * not keep. */
static enum lct_code quote(struct lct_tpm *tpm, struct work *work, const struct lct_parent *ak,
                           struct lct_err *err)
{
    enum { MOST = 8 }; /* attempts */
    const struct lct_tpm_attest_request *request = work->request;
    struct lct_pcr_values *values = &work->evidence->values;
    struct lct_attest attest;
    uint8_t digest[32];

    values->pcrs = *request->pcrs;
    for (int number = 0; number < MOST; number++) {
        enum lct_code code = lct_pcr_read(tpm, values, request->label, err);
        if (code == LCT_OK)
            code = quote_once(tpm, &attest, work, ak, err);
        if (code == LCT_OK)
            code = lct_pcr_digest(digest, request->libctx, values, err);
        if (code != LCT_OK)
            return code;
        if (attest.digest_len == sizeof digest && memcmp(attest.digest, digest, sizeof digest) == 0)
            return LCT_OK;
    }
    return LCT_FAIL(err, LCT_ERR_TPM,
                    "%s: the PCRs that are to be quoted do not stay as they are; try again later",
                    request->label);
}

/* By the AK, or if there is none by the key. */
static enum lct_code activate(struct lct_tpm *tpm, struct work *work, const struct lct_parent *ak,
                              struct lct_err *err)
{
    struct lct_activation activation = {
        .use = {.key = &work->bare, .again = work->lost_in_activate},
        .request = work->request,
        .ak = ak,
        .secret = &work->evidence->secret,
    };
    enum lct_code code = lct_activate(tpm, &activation, err);

    work->lost_in_activate = tpm->broken;
    return code;
}

static bool activates_ak(const struct lct_tpm_attest_request *request)
{
    return request->credential != NULL && !request->direct;
}

/* What the AK takes part in. The key leaves its slot to the endorsement key. */
static enum lct_code attest_with_ak(struct lct_tpm *tpm, struct work *work, struct lct_err *err)
{
    const struct lct_tpm_attest_request *request = work->request;
    struct lct_parent ak;
    enum lct_code code = enter_ak(tpm, &ak, &work->making, err);

    if (code != LCT_OK)
        return code;
    if (request->certify_extra != NULL)
        code = certify(tpm, work, &ak, err);
    lct_tpm_flush_resident(tpm);
    if (code == LCT_OK && request->pcrs != NULL)
        code = quote(tpm, work, &ak, err);
    if (code == LCT_OK && activates_ak(request))
        code = activate(tpm, work, &ak, err);
    lct_parent_leave(tpm, &ak, code == LCT_OK);
    return code;
}

static enum lct_code attest_taken(struct lct_tpm *tpm, void *arg, struct lct_err *err)
{
    struct work *work = arg;
    const struct lct_tpm_attest_request *request = work->request;
    bool takes_ak =
        request->certify_extra != NULL || request->pcrs != NULL || activates_ak(request);
    enum lct_code code = LCT_OK;

    lct_secret_wipe(&work->evidence->secret);
    *work->evidence = (struct lct_tpm_evidence){0};
    lct_tpm_flush_resident(tpm);
    if (takes_ak)
        code = attest_with_ak(tpm, work, err);
    if (code == LCT_OK && request->credential != NULL && request->direct)
        code = activate(tpm, work, NULL, err);
    lct_tpm_flush_resident(tpm);
    return code;
}

/* Whether the key can be certified, or a credential for it be opened, as far as that is known
 * without the TPM. */
static enum lct_code check_key(const struct lct_tpm_attest_request *request, struct lct_err *err)
{
    const struct lct_tpm_key *key = request->key;
    struct lct_public area;
    enum lct_code code = lct_public_decode(&area, key->public_area, key->public_len, err);

    if (code != LCT_OK)
        return lct_err_prefix(err, request->label);
    if ((area.attributes & TPMA_OBJECT_ADMINWITHPOLICY) != 0)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                        "%s: it was made to be certified by a policy alone (adminWithPolicy)",
                        request->label);
    return lct_use_check(key, "attesting it", err);
}

enum lct_code lct_tpm_attest(struct lct_tpm *tpm, struct lct_tpm_evidence *evidence,
                             const struct lct_tpm_attest_request *request, struct lct_err *err)
{
    struct work work = {
        .request = request,
        .evidence = evidence,
        .bare = *request->key,
        .making = {.ak = &evidence->ak,
                   .label = request->label,
                   .endorsement_auth = request->endorsement_auth,
                   .libctx = request->libctx},
    };
    enum lct_code code = LCT_OK;

    *evidence = (struct lct_tpm_evidence){0};
    work.bare.seal = NULL;
    if (request->certify_extra_len > LCT_MAX_QUALIFYING ||
        request->quote_extra_len > LCT_MAX_QUALIFYING)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "%s: what is to be attested with it is too long",
                        request->label);
    if (request->certify_extra != NULL || (request->credential != NULL && request->direct))
        code = check_key(request, err);
    if (code == LCT_OK)
        code = lct_tpm_run(tpm, request->label, attest_taken, &work, err);
    if (code != LCT_OK)
        lct_secret_wipe(&evidence->secret);
    return code;
}
