/* SPDX-License-Identifier: Apache-2.0 */
#include "tpm/policy.h"

#include "tpm/result.h"
#include "tpm/session.h"

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tss2/tss2_mu.h>

bool lct_policy_is_needed(const struct lct_tpm_key *key)
{
    return key->seal != NULL && key->seal->kind != LCT_SEAL_NONE;
}

/* One try to satisfy a policy: by an approval, or by the state of the sealing. */
struct attempt {
    const struct lct_tpm_key *key;
    const struct lct_approval *approval; /* NULL: the state of the sealing */
    bool refused;                        /* the TPM says that it is not so */
};

/* An authority, for whom it is loaded. */
struct authority {
    const struct lct_seal *seal;
    const char *label;
    OSSL_LIB_CTX *libctx;
};

/* Whether the command's handle is gone. That of TPM2_VerifySignature is not the policy session's.
 */
static bool is_lost(struct lct_tpm *tpm, TPM2_CC command, TSS2_RC rc)
{
    if (command == TPM2_CC_VerifySignature)
        return lct_result_is_lost_handle(rc);
    return lct_tpm_policy_is_lost(tpm, rc);
}

/* What a policy command returned. Of what the TPM refuses only the first is of interest. */
static enum lct_code said(struct lct_tpm *tpm, struct attempt *attempt, TPM2_CC command, TSS2_RC rc,
                          struct lct_err *err)
{
    enum lct_code code = lct_tpm_result(tpm, attempt->key->label, command, rc, err);

    if (code == LCT_OK || tpm->broken || is_lost(tpm, command, rc))
        return code;
    switch (lct_result_base(rc)) {
    case TPM2_RC_VALUE:
    case TPM2_RC_POLICY:
    case TPM2_RC_PCR_CHANGED:
    case TPM2_RC_SIGNATURE:
    case TPM2_RC_TICKET:
        attempt->refused = true;
        break;
    default:
        break;
    }
    return code;
}

/* TPM2_PolicyPCR (TPM 2.0 Part 3, 23.7). The values of an approval are known by their policy alone;
 * TPM2_PolicyAuthorize compares that. */
static enum lct_code say_pcrs(struct lct_tpm *tpm, struct attempt *attempt, struct lct_err *err)
{
    const struct lct_seal *seal = attempt->key->seal;
    const struct lct_approval *approval = attempt->approval;
    const TPML_PCR_SELECTION selection =
        lct_pcr_selection(approval != NULL ? &approval->pcrs : &seal->pcrs.pcrs);
    TPM2B_DIGEST digest = {.size = approval != NULL ? 0 : LCT_POLICY_DIGEST};

    memcpy(digest.buffer, seal->pcr_digest, LCT_POLICY_DIGEST);
    return said(tpm, attempt, TPM2_CC_PolicyPCR,
                Tss2_Sys_PolicyPCR(tpm->sys, tpm->policy.handle, NULL, &digest, &selection, NULL),
                err);
}

/* The id in the label of an identity's key. */
static const char *id_of(const char *label)
{
    return strncmp(label, "lct:", 4) == 0 ? label + 4 : NULL;
}

static enum lct_code fail_revoked(const struct lct_tpm_key *key, struct lct_err *err)
{
    const char *id = id_of(key->label);

    return LCT_FAIL(err, LCT_ERR_SEALED,
                    "%s: the approval of this boot state has been revoked; a new one is made "
                    "with: lct reseal %s --authority KEY.pem",
                    key->label, id != NULL ? id : "ID");
}

static enum lct_code fail_lost(const struct lct_tpm_key *key, struct lct_err *err)
{
    return LCT_FAIL(err, LCT_ERR_SEALED,
                    "%s: its NV counter at 0x%08x is gone from the TPM, and without it the key "
                    "cannot be used any more",
                    key->label, key->seal->counter.handle);
}

/* TPM2_NV_ReadPublic: *lost if what is at the counter's index, if anything, is another. */
static enum lct_code look_at_counter(struct lct_tpm *tpm, bool *lost,
                                     const struct lct_counter *counter, const char *label,
                                     struct lct_err *err)
{
    TPM2B_NV_PUBLIC public_area = {0};
    TPM2B_NAME tpm_name = {0};
    TSS2_RC rc =
        Tss2_Sys_NV_ReadPublic(tpm->sys, counter->handle, NULL, &public_area, &tpm_name, NULL);

    *lost = lct_result_is_lost_handle(rc);
    if (*lost)
        return LCT_OK;
    const struct lct_name name = lct_tpm_name(&tpm_name);
    enum lct_code code = lct_tpm_result(tpm, label, TPM2_CC_NV_ReadPublic, rc, err);
    *lost = code == LCT_OK && !lct_name_equal(&name, &counter->name);
    return code;
}

static bool is_counter_lost(struct lct_tpm *tpm, const struct lct_tpm_key *key)
{
    const struct lct_counter *counter = &key->seal->counter;
    bool lost = false;

    return counter->handle != 0 &&
           look_at_counter(tpm, &lost, counter, key->label, NULL) == LCT_OK && lost;
}

static bool was_counter_seen(const struct lct_tpm *tpm, const struct lct_counter *counter)
{
    size_t num =
        tpm->num_counters < LCT_MAX_COUNTERS_SEEN ? tpm->num_counters : LCT_MAX_COUNTERS_SEEN;

    for (size_t i = 0; i < num; i++)
        if (lct_name_equal(&tpm->counters[i], &counter->name))
            return true;
    return false;
}

/*
 * Before the empty authorization of ours is tried on what is at its index, which the TPM may count,
 * and lock all keys in the end. Once a connection: when another took its place meanwhile that is
 * one wrong try.
 */
static enum lct_code check_counter(struct lct_tpm *tpm, struct attempt *attempt,
                                   struct lct_err *err)
{
    const struct lct_counter *counter = &attempt->key->seal->counter; /* the approval's, too */
    bool lost = false;

    if (was_counter_seen(tpm, counter))
        return LCT_OK;
    enum lct_code code = look_at_counter(tpm, &lost, counter, attempt->key->label, err);
    attempt->refused = lost;
    if (code != LCT_OK || lost)
        return lost ? fail_lost(attempt->key, err) : code;
    tpm->counters[tpm->num_counters++ % LCT_MAX_COUNTERS_SEEN] = counter->name;
    return LCT_OK;
}

/* Whether TPM2_PolicyNV says that what is at the index is not ours, which has counted once at least
 * and takes an empty authorization. */
static bool is_of_another(TSS2_RC rc)
{
    switch (lct_result_base(rc)) {
    case TPM2_RC_NV_UNINITIALIZED:
    case TPM2_RC_AUTH_FAIL:
    case TPM2_RC_BAD_AUTH:
    case TPM2_RC_AUTH_UNAVAILABLE:
    case TPM2_RC_NV_AUTHORIZATION:
    case TPM2_RC_LOCKOUT:
        return true;
    default:
        return lct_result_is_lost_handle(rc) && (rc & TPM2_RC_N_MASK) < TPM2_RC_3;
    }
}

/* TPM2_PolicyNV (Part 3, 23.9): anybody may read the counter, whose authorization is empty. */
static enum lct_code say_counter(struct lct_tpm *tpm, struct attempt *attempt, struct lct_err *err)
{
    const TPM2_HANDLE index = attempt->key->seal->counter.handle;
    const uint64_t value = attempt->approval->counter.value;
    TPM2B_OPERAND operand = {.size = sizeof value};
    enum lct_code code = check_counter(tpm, attempt, err);

    if (code != LCT_OK)
        return code;
    for (size_t i = 0; i < sizeof value; i++)
        operand.buffer[i] = (BYTE)(value >> (56 - 8 * i));
    TSS2_RC rc = Tss2_Sys_PolicyNV(tpm->sys, index, index, tpm->policy.handle, &lct_tpm_no_auth,
                                   &operand, 0, TPM2_EO_UNSIGNED_LE, NULL);
    if (lct_result_base(rc) == TPM2_RC_POLICY) {
        attempt->refused = true;
        return fail_revoked(attempt->key, err);
    }
    if (is_of_another(rc)) {
        tpm->num_counters = 0;
        attempt->refused = true;
        return fail_lost(attempt->key, err);
    }
    return said(tpm, attempt, TPM2_CC_PolicyNV, rc, err);
}

static bool to_ecdsa(TPMS_SIGNATURE_ECDSA *ecdsa, const struct lct_signature *signature)
{
    enum { SIZE = 32 };
    uint8_t raw[2 * SIZE];

    if (lct_signature_to_p1363(raw, SIZE, signature, NULL) != LCT_OK)
        return false;
    ecdsa->hash = TPM2_ALG_SHA256;
    ecdsa->signatureR.size = ecdsa->signatureS.size = SIZE;
    memcpy(ecdsa->signatureR.buffer, raw, SIZE);
    memcpy(ecdsa->signatureS.buffer, raw + SIZE, SIZE);
    return true;
}

/* The authority's signature as the TPM has it. False: it is none that its kind of key makes. */
static bool to_tss(TPMT_SIGNATURE *to, const struct lct_approval *approval, uint16_t type)
{
    const struct lct_signature *signature = &approval->signature;

    if (type == TPM2_ALG_ECC) {
        to->sigAlg = TPM2_ALG_ECDSA;
        return to_ecdsa(&to->signature.ecdsa, signature);
    }
    to->sigAlg = TPM2_ALG_RSASSA;
    to->signature.rsassa.hash = TPM2_ALG_SHA256;
    if (signature->len > sizeof to->signature.rsassa.sig.buffer)
        return false;
    to->signature.rsassa.sig.size = (UINT16)signature->len;
    memcpy(to->signature.rsassa.sig.buffer, signature->data, signature->len);
    return true;
}

/* Of the public area of an authority, "rsa-4096", or "ec-p256", the one curve that there is. */
enum { KIND = 16 };

static void name_kind(char kind[KIND], const TPMT_PUBLIC *public_area)
{
    if (public_area->type == TPM2_ALG_RSA)
        (void)snprintf(kind, KIND, "rsa-%u", public_area->parameters.rsaDetail.keyBits);
    else
        (void)snprintf(kind, KIND, "ec-p256");
}

/* Whether TPM2_LoadExternal says of the key itself that it is not for this TPM. TPM 2.0 Part 2,
 * 6.6.3: of a parameter; the other one that could be wrong is the hierarchy. */
static bool is_of_no_use(TSS2_RC rc)
{
    TPM2_RC base = lct_result_base(rc);

    return (base & TPM2_RC_FMT1) != 0 && (rc & TPM2_RC_P) != 0 && base != TPM2_RC_HIERARCHY;
}

/* TPM2_LoadExternal of the authority's public key, in a hierarchy whose tickets last: Part 3, 12.3
 * and 20.1. */
static enum lct_code load_authority(struct lct_tpm *tpm, const struct authority *authority,
                                    TPM2_HANDLE *handle, uint16_t *type, struct lct_name *name,
                                    struct lct_err *err)
{
    const struct lct_seal *seal = authority->seal;
    const char *label = authority->label;
    TPM2B_PUBLIC public_area = {0};
    TPM2B_NAME tpm_name = {0};
    char kind[KIND];
    size_t at = 0;

    if (Tss2_MU_TPM2B_PUBLIC_Unmarshal(seal->authority, seal->authority_len, &at, &public_area) !=
        TSS2_RC_SUCCESS)
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD, "%s: its authority's key is malformed", label);
    *type = public_area.publicArea.type;
    TSS2_RC rc = Tss2_Sys_LoadExternal(tpm->sys, NULL, NULL, &public_area, TPM2_RH_OWNER, handle,
                                       &tpm_name, NULL);
    enum lct_code code = lct_tpm_result(tpm, label, TPM2_CC_LoadExternal, rc, err);
    *name = lct_tpm_name(&tpm_name);
    if (tpm->broken) {
        struct lct_name known;
        if (lct_public_name(&known, authority->libctx, seal->authority, seal->authority_len,
                            NULL) == LCT_OK)
            lct_tpm_note_debris(tpm, &known);
    }
    if (!is_of_no_use(rc))
        return code;
    name_kind(kind, &public_area.publicArea);
    code = LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                    "%s: this TPM does not take the %s key of its recovery authority, so no "
                    "approval would ever open it; one of ec-p256 every TPM takes",
                    label, kind);
    if (err != NULL)
        err->tpm_rc = rc;
    return code;
}

static enum lct_code try_authority(struct lct_tpm *tpm, void *arg, struct lct_err *err)
{
    TPM2_HANDLE handle = 0;
    struct lct_name name;
    uint16_t type;

    lct_tpm_flush_resident(tpm); /* which may have the slot that it takes */
    enum lct_code code = load_authority(tpm, arg, &handle, &type, &name, err);
    if (code == LCT_OK)
        lct_tpm_flush(tpm, handle, &name);
    return code;
}

enum lct_code lct_tpm_try_authority(struct lct_tpm *tpm, const struct lct_seal *seal,
                                    const char *label, OSSL_LIB_CTX *libctx, struct lct_err *err)
{
    struct authority authority = {seal, label, libctx};

    return lct_tpm_run(tpm, label, try_authority, &authority, err);
}

/* TPM2_VerifySignature by the authority's key, loaded for it. *lost: another program has flushed
 * that; what is behind its handle by now has said nothing about the signature. */
static enum lct_code verify_once(struct lct_tpm *tpm, bool *lost, struct attempt *attempt,
                                 const uint8_t to_sign[LCT_POLICY_DIGEST], struct lct_name *name,
                                 struct lct_err *err)
{
    TPM2B_DIGEST digest = {.size = LCT_POLICY_DIGEST};
    TPMT_SIGNATURE signature = {0};
    TPM2_HANDLE handle = 0;
    uint16_t type = 0;
    TSS2_RC rc = TSS2_RC_SUCCESS;
    const struct authority authority = {attempt->key->seal, attempt->key->label,
                                        attempt->key->libctx};
    enum lct_code code = load_authority(tpm, &authority, &handle, &type, name, err);

    *lost = false;
    if (code != LCT_OK)
        return code;
    memcpy(digest.buffer, to_sign, LCT_POLICY_DIGEST);
    if (to_tss(&signature, attempt->approval, type)) {
        rc = Tss2_Sys_VerifySignature(tpm->sys, handle, NULL, &digest, &signature,
                                      &tpm->ticket.ticket, NULL);
        code = said(tpm, attempt, TPM2_CC_VerifySignature, rc, err);
    } else {
        attempt->refused = true;
    }
    if (rc != TSS2_RC_SUCCESS && lct_tpm_is_displaced(tpm, handle, name)) {
        *lost = true;
        attempt->refused = false;
        return LCT_FAIL(err, LCT_ERR_TPM,
                        "%s: the key of its authority is gone from the TPM: another program has "
                        "flushed it; try again",
                        attempt->key->label);
    }
    *lost = is_lost(tpm, TPM2_CC_VerifySignature, rc);
    lct_tpm_flush(tpm, handle, name);
    return code;
}

/* The ticket that says that the authority has signed it, kept for the next time. */
static enum lct_code verify(struct lct_tpm *tpm, struct attempt *attempt,
                            const uint8_t to_sign[LCT_POLICY_DIGEST], struct lct_err *err)
{
    enum { MOST = 2 }; /* attempts */
    struct lct_name name;
    enum lct_code code = LCT_OK;
    bool lost = true;

    tpm->ticket.known = false;
    for (int number = 0; number < MOST && lost && !tpm->broken; number++)
        code = verify_once(tpm, &lost, attempt, to_sign, &name, err);
    if (attempt->refused)
        return LCT_FAIL(err, LCT_ERR_SEALED,
                        "%s: the TPM refuses the approval of this boot state: its authority did "
                        "not sign it",
                        attempt->key->label);
    if (code != LCT_OK)
        return code;
    tpm->ticket.known = true;
    tpm->ticket.authority = name;
    memcpy(tpm->ticket.to_sign, to_sign, LCT_POLICY_DIGEST);
    return LCT_OK;
}

/* TPM2_PolicyAuthorize (Part 3, 23.16). The ticket we keep is of another boot of the TPM if it is
 * refused, and that is asked once. */
static enum lct_code say_authorized(struct lct_tpm *tpm, struct attempt *attempt,
                                    struct lct_err *err)
{
    const struct lct_approval *approval = attempt->approval;
    const struct lct_seal *seal = attempt->key->seal;
    TPM2B_DIGEST policy = {.size = LCT_POLICY_DIGEST};
    TPM2B_NONCE ref = {.size = (UINT16)seal->ref_len};
    TPM2B_NAME key_name = {0};
    uint8_t to_sign[LCT_POLICY_DIGEST];
    struct lct_name name;
    OSSL_LIB_CTX *libctx = attempt->key->libctx;
    enum lct_code code = lct_public_name(&name, libctx, seal->authority, seal->authority_len, err);

    if (code == LCT_OK)
        code = lct_policy_to_sign(to_sign, libctx, approval->policy, seal->ref, seal->ref_len, err);
    if (code != LCT_OK)
        return lct_err_prefix(err, attempt->key->label);
    bool kept = tpm->ticket.known && lct_name_equal(&tpm->ticket.authority, &name) &&
                memcmp(tpm->ticket.to_sign, to_sign, sizeof to_sign) == 0;
    if (!kept)
        code = verify(tpm, attempt, to_sign, err);
    if (code != LCT_OK)
        return code;
    memcpy(policy.buffer, approval->policy, LCT_POLICY_DIGEST);
    memcpy(ref.buffer, seal->ref, seal->ref_len);
    key_name.size = (UINT16)name.len;
    memcpy(key_name.name, name.data, name.len);
    TSS2_RC rc = Tss2_Sys_PolicyAuthorize(tpm->sys, tpm->policy.handle, NULL, &policy, &ref,
                                          &key_name, &tpm->ticket.ticket, NULL);
    if (rc != TSS2_RC_SUCCESS)
        tpm->ticket.known = false;
    return said(tpm, attempt, TPM2_CC_PolicyAuthorize, rc, err);
}

/* TPM2_PolicyOR of the two branches (Part 3, 23.6). */
static enum lct_code say_either(struct lct_tpm *tpm, struct attempt *attempt, struct lct_err *err)
{
    TPML_DIGEST branches = {.count = 2,
                            .digests = {{.size = LCT_POLICY_DIGEST}, {.size = LCT_POLICY_DIGEST}}};
    enum lct_code code = lct_seal_branches(branches.digests[0].buffer, branches.digests[1].buffer,
                                           attempt->key->libctx, attempt->key->seal, err);

    if (code != LCT_OK)
        return lct_err_prefix(err, attempt->key->label);
    return said(tpm, attempt, TPM2_CC_PolicyOR,
                Tss2_Sys_PolicyOR(tpm->sys, tpm->policy.handle, NULL, &branches, NULL), err);
}

static enum lct_code restart(struct lct_tpm *tpm, struct attempt *attempt, struct lct_err *err)
{
    if (!tpm->policy_begun)
        return LCT_OK;
    enum lct_code code =
        said(tpm, attempt, TPM2_CC_PolicyRestart,
             Tss2_Sys_PolicyRestart(tpm->sys, tpm->policy.handle, NULL, NULL), err);
    if (code == LCT_OK)
        tpm->policy_begun = false;
    return code;
}

/* All that this attempt says. */
static enum lct_code say(struct lct_tpm *tpm, struct attempt *attempt, struct lct_err *err)
{
    const struct lct_tpm_key *key = attempt->key;
    const struct lct_approval *approval = attempt->approval;
    enum lct_code code = restart(tpm, attempt, err);

    attempt->refused = false;
    if (code == LCT_OK && key->seal->kind != LCT_SEAL_AUTH)
        code = say_pcrs(tpm, attempt, err);
    if (code == LCT_OK && approval != NULL && approval->counter.handle != 0)
        code = say_counter(tpm, attempt, err);
    if (code == LCT_OK && approval != NULL)
        code = say_authorized(tpm, attempt, err);
    if (code == LCT_OK && key->seal->kind == LCT_SEAL_EITHER)
        code = say_either(tpm, attempt, err);
    tpm->policy_begun = true;
    if (code == LCT_OK && (key->needs_auth || key->seal->kind == LCT_SEAL_AUTH))
        code = said(tpm, attempt, TPM2_CC_PolicyAuthValue,
                    Tss2_Sys_PolicyAuthValue(tpm->sys, tpm->policy.handle, NULL, NULL), err);
    if (code != LCT_OK)
        return code;
    tpm->satisfied = *key->name;
    memset(tpm->satisfied_by, 0, sizeof tpm->satisfied_by);
    if (approval != NULL)
        memcpy(tpm->satisfied_by, approval->policy, sizeof tpm->satisfied_by);
    return LCT_OK;
}

enum { MAX_HINT = 160 };

/* What else tells of it; nothing where the key is of no identity. */
static void hint(char text[MAX_HINT], const char *label)
{
    const char *id = id_of(label);

    text[0] = '\0';
    if (id != NULL)
        (void)snprintf(text, MAX_HINT, "; see lct doctor %.128s", id);
}

/* The first PCR that is not as it was at the sealing; bank NULL: none, or it is not known. */
struct difference {
    const struct lct_hash *bank;
    unsigned pcr;
};

static struct difference find_difference(const struct lct_seal *seal,
                                         const struct lct_pcr_values *now)
{
    for (size_t i = 0; i < now->pcrs.num_banks && seal->has_values; i++)
        for (unsigned n = 0; n < LCT_NUM_PCRS; n++)
            if ((now->pcrs.banks[i].pcrs & 1u << n) != 0 &&
                memcmp(now->values[i][n], seal->pcrs.values[i][n], LCT_MAX_HASH) != 0)
                return (struct difference){now->pcrs.banks[i].hash, n};
    return (struct difference){NULL, 0};
}

static enum lct_code fail_sealed(const struct lct_tpm_key *key, const struct difference *difference,
                                 struct lct_err *err)
{
    bool strict = key->seal->kind == LCT_SEAL_STRICT;
    const char *also = strict ? "" : ", and its authority has approved no such state";
    char see[MAX_HINT], pcrs[LCT_PCRS_TEXT];

    hint(see, key->label);
    if (key->seal->kind == LCT_SEAL_AUTHORITY)
        return LCT_FAIL(err, LCT_ERR_SEALED,
                        "%s: it is sealed to what its authority approves, and no approval is for "
                        "the state that this machine has booted%s",
                        key->label, see);
    if (difference->bank != NULL)
        return LCT_FAIL(err, LCT_ERR_SEALED,
                        "%s: PCR %u (%s) is not the value this %s is sealed to%s%s", key->label,
                        difference->pcr, difference->bank->name,
                        key->pkey != NULL ? "key" : "secret", also, see);
    lct_pcrs_text(pcrs, &key->seal->pcrs.pcrs);
    return LCT_FAIL(err, LCT_ERR_SEALED, "%s: the PCRs %s have not the values it is sealed to%s%s",
                    key->label, pcrs, also, see);
}

/* Whether the approval is for what the PCRs hold; *now holds what was read last. */
static enum lct_code is_for_now(struct lct_tpm *tpm, bool *fits, struct lct_pcr_values *now,
                                const struct lct_approval *approval, const struct lct_tpm_key *key,
                                struct lct_err *err)
{
    uint8_t policy[LCT_POLICY_DIGEST] = {0};
    enum lct_code code = LCT_OK;

    *fits = false;
    if (!lct_approval_fits(approval, key->seal))
        return LCT_OK;
    if (!lct_pcrs_equal(&now->pcrs, &approval->pcrs)) {
        now->pcrs = approval->pcrs;
        code = lct_pcr_read(tpm, now, key->label, err);
    }
    if (code == LCT_ERR_UNSUPPORTED) { /* a bank that this TPM has not: it is for another machine */
        now->pcrs.num_banks = 0;
        return LCT_OK;
    }
    if (code == LCT_OK)
        code = lct_seal_state(policy, key->libctx, now, &approval->counter, err);
    *fits = code == LCT_OK && memcmp(policy, approval->policy, sizeof policy) == 0;
    return code;
}

static enum lct_code is_as_sealed(bool *as_sealed, const struct lct_pcr_values *now,
                                  const struct lct_tpm_key *key, struct lct_err *err)
{
    uint8_t digest[LCT_POLICY_DIGEST];
    enum lct_code code = lct_pcr_digest(digest, key->libctx, now, err);

    *as_sealed = code == LCT_OK && memcmp(digest, key->seal->pcr_digest, sizeof digest) == 0;
    return code;
}

/* `why` as the caller's error. */
static enum lct_code told(struct lct_err *err, const struct lct_err *why)
{
    if (err != NULL)
        *err = *why;
    return why->code;
}

/*
 * By reading what the PCRs hold. What the TPM then says of an approval that seems to be for it is
 * told, if there is no better one. A bank of the sealing that the TPM does not keep any more, since
 * its firmware was updated, is told last: approvals of another one still count. *now is room for
 * the values.
 */
static enum lct_code search_by(struct lct_tpm *tpm, struct attempt *attempt,
                               struct lct_pcr_values *now, struct lct_err *err)
{
    const struct lct_tpm_key *key = attempt->key;
    struct lct_err why = {.code = LCT_OK};
    size_t num_approvals = key->seal->kind != LCT_SEAL_STRICT ? key->num_approvals : 0;
    bool as_sealed = false;
    now->pcrs = key->seal->pcrs.pcrs;
    enum lct_code code = lct_pcr_read(tpm, now, key->label, &why);

    if (code == LCT_ERR_UNSUPPORTED)
        now->pcrs.num_banks = 0;
    else if (code != LCT_OK)
        return told(err, &why);
    const struct difference difference = find_difference(key->seal, now);
    if (code == LCT_OK && key->seal->kind != LCT_SEAL_AUTHORITY)
        code = is_as_sealed(&as_sealed, now, key, err);
    else
        code = LCT_OK;
    if (as_sealed) {
        attempt->approval = NULL;
        code = say(tpm, attempt, err);
        return attempt->refused ? fail_sealed(key, &difference, err) : code;
    }
    for (size_t i = 0; i < num_approvals && code == LCT_OK; i++) {
        bool fits;
        code = is_for_now(tpm, &fits, now, &key->approvals[i], key, err);
        if (code != LCT_OK || !fits)
            continue;
        attempt->approval = &key->approvals[i];
        code = say(tpm, attempt, &why);
        if (code == LCT_OK || !attempt->refused)
            return code == LCT_OK ? code : told(err, &why);
        code = LCT_OK;
    }
    if (code != LCT_OK)
        return code;
    if (why.code == LCT_ERR_SEALED || why.code == LCT_ERR_UNSUPPORTED)
        return told(err, &why);
    return is_counter_lost(tpm, key) ? fail_lost(key, err) : fail_sealed(key, &difference, err);
}

static enum lct_code search(struct lct_tpm *tpm, struct attempt *attempt, struct lct_err *err)
{
    struct lct_pcr_values *now = calloc(1, sizeof *now);

    if (now == NULL)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    enum lct_code code = search_by(tpm, attempt, now, err);
    free(now);
    return code;
}

/* The approval that satisfied this very key last, if it is still among those it has. */
static const struct lct_approval *last_approval(const struct lct_tpm *tpm,
                                                const struct lct_tpm_key *key)
{
    for (size_t i = 0; i < key->num_approvals && lct_name_equal(&tpm->satisfied, key->name); i++)
        if (memcmp(key->approvals[i].policy, tpm->satisfied_by, LCT_POLICY_DIGEST) == 0 &&
            lct_approval_fits(&key->approvals[i], key->seal))
            return &key->approvals[i];
    return NULL;
}

static bool was_as_sealed(const struct lct_tpm *tpm, const struct lct_tpm_key *key)
{
    static const uint8_t no_approval[LCT_POLICY_DIGEST];

    return lct_name_equal(&tpm->satisfied, key->name) &&
           memcmp(tpm->satisfied_by, no_approval, sizeof no_approval) == 0;
}

/* Whether it is more than a guess what to say first, where reading the PCRs is one command and a
 * wrong guess is more. */
static bool is_clear(const struct lct_tpm *tpm, const struct attempt *attempt)
{
    const struct lct_tpm_key *key = attempt->key;

    if (attempt->approval != NULL)
        return true;
    if (key->seal->kind == LCT_SEAL_AUTHORITY)
        return false;
    if (was_as_sealed(tpm, key))
        return true;
    for (size_t i = 0; i < key->num_approvals; i++)
        if (lct_approval_fits(&key->approvals[i], key->seal))
            return false;
    return true;
}

enum lct_code lct_policy_satisfy(struct lct_tpm *tpm, const struct lct_tpm_key *key,
                                 struct lct_err *err)
{
    struct attempt attempt = {.key = key, .approval = last_approval(tpm, key)};
    enum lct_seal_kind kind = key->seal->kind;
    enum lct_code code = LCT_OK;

    if (!is_clear(tpm, &attempt))
        return search(tpm, &attempt, err);
    code = say(tpm, &attempt, err);
    if (code == LCT_OK || !attempt.refused)
        return code;
    if (kind == LCT_SEAL_EITHER &&
        attempt.approval != NULL) { /* back at the state of the sealing */
        attempt.approval = NULL;
        code = say(tpm, &attempt, err);
    }
    return code == LCT_OK || !attempt.refused ? code : search(tpm, &attempt, err);
}
