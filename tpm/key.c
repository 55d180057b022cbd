/* SPDX-License-Identifier: Apache-2.0 */
#include "tpm/capability.h"
#include "tpm/connection.h"
#include "tpm/parent.h"
#include "tpm/result.h"
#include "tpm/tpm.h"

#include <string.h>
#include <tss2/tss2_mu.h>

static enum lct_code to_tss(const struct lct_tpm_key *key, TPM2B_PUBLIC *public_area,
                            TPM2B_PRIVATE *private_area, struct lct_err *err)
{
    size_t at = 0;

    /* Both were decoded when the key was read: this is a copy into TSS's structures. */
    if (Tss2_MU_TPM2B_PUBLIC_Unmarshal(key->public_area, key->public_len, &at, public_area) !=
            TSS2_RC_SUCCESS ||
        at != key->public_len || key->private_len < 2 ||
        key->private_len - 2 > sizeof private_area->buffer)
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD, "%s: its key file is damaged", key->label);
    private_area->size = (UINT16)(key->private_len - 2);
    memcpy(private_area->buffer, key->private_area + 2, private_area->size);
    return LCT_OK;
}

/* The codes of TPM2_Load that say "not wrapped by this parent", or that there is no parent. */
static bool is_parents_fault(TSS2_RC rc)
{
    TPM2_RC base = lct_result_base(rc);

    return lct_result_is_lost_handle(rc) || base == TPM2_RC_INTEGRITY || base == TPM2_RC_TYPE ||
           base == TPM2_RC_SIZE || base == TPM2_RC_BINDING;
}

/* Why the TPM took the key for none of its parent's: it is another parent, or the key's file is
 * damaged. */
static enum lct_code diagnose(struct lct_tpm *tpm, const struct lct_tpm_key *key,
                              const struct lct_parent *parent, struct lct_err *err)
{
    enum lct_code code = LCT_OK;

    if (!parent->transient) /* the Name of a transient one was compared when it was made */
        code = lct_parent_verify(tpm, key->label, parent->where, key->parent_name, err);
    if (code != LCT_OK)
        return code;
    return LCT_FAIL(err, LCT_ERR_BAD_RECORD,
                    "%s: the TPM refuses the wrapped key: its key file is damaged; restore it from "
                    "a backup",
                    key->label);
}

static enum lct_code load_under(struct lct_tpm *tpm, const struct lct_tpm_key *key,
                                const struct lct_parent *parent, struct lct_err *err)
{
    TPM2B_PUBLIC public_area = {0};
    TPM2B_PRIVATE private_area = {0};
    TPM2B_NAME tpm_name = {0};
    TSS2L_SYS_AUTH_RESPONSE auths = {0};
    TPM2_HANDLE handle = 0;
    enum lct_code code = to_tss(key, &public_area, &private_area, err);

    if (code != LCT_OK)
        return code;
    TSS2_RC rc = Tss2_Sys_Load(tpm->sys, parent->handle, &lct_tpm_no_auth, &private_area,
                               &public_area, &handle, &tpm_name, &auths);
    if (rc != TSS2_RC_SUCCESS && is_parents_fault(rc))
        return diagnose(tpm, key, parent, err);
    code = lct_tpm_result(tpm, key->label, TPM2_CC_Load, rc, err);
    if (tpm->broken)
        lct_tpm_note_debris(tpm, key->name);
    if (code != LCT_OK)
        return code;
    const struct lct_name name = lct_tpm_name(&tpm_name);
    if (!lct_name_equal(&name, key->name)) { /* nor is the handle to be trusted */
        lct_tpm_note_debris(tpm, &name);
        lct_tpm_note_debris(tpm, key->name);
        lct_tpm_sweep(tpm);
        return LCT_FAIL(err, LCT_ERR_WRONG_KEY,
                        "%s: the loaded object has not the Name in the record", key->label);
    }
    tpm->space->resident = *key->name;
    tpm->space->resident_handle = handle;
    return LCT_OK;
}

/*
 * Makes the key the resident one: on a TPM with three slots and no resource manager there is room
 * for one of ours. If there is none, a program that was killed may have left this very key.
 */
static enum lct_code make_resident(struct lct_tpm *tpm, const struct lct_tpm_key *key, bool *loaded,
                                   struct lct_err *err)
{
    struct lct_parent parent;

    *loaded = false;
    if (lct_name_equal(&tpm->space->resident, key->name))
        return LCT_OK;
    lct_tpm_flush_resident(tpm);
    enum lct_code code =
        lct_parent_enter(tpm, &parent, key->label, key->parent, key->parent_name, err);
    if (code != LCT_OK)
        return code;
    code = load_under(tpm, key, &parent, err);
    if (code == LCT_ERR_TPM_FULL) {
        lct_tpm_note_debris(tpm, key->name);
        lct_tpm_sweep(tpm);
        code = load_under(tpm, key, &parent, err);
    }
    lct_parent_leave(tpm, &parent);
    *loaded = code == LCT_OK;
    return code;
}

static void take_rsa(struct lct_signature *signature, const TPM2B_PUBLIC_KEY_RSA *block)
{
    signature->len = block->size <= sizeof signature->data ? block->size : 0;
    memcpy(signature->data, block->buffer, signature->len);
}

/* What the TPM returned in OpenSSL's encoding, and verified. */
static enum lct_code take_signature(struct lct_signature *signature, const TPMT_SIGNATURE *from,
                                    const struct lct_tpm_key *key, const struct lct_scheme *scheme,
                                    const uint8_t *digest, size_t digest_len, struct lct_err *err)
{
    enum lct_code code = LCT_OK;

    if (from->sigAlg != scheme->id)
        return LCT_FAIL(err, LCT_ERR_WRONG_KEY, "%s: the TPM signed in another scheme", key->label);
    if (scheme->id == TPM2_ALG_ECDSA) {
        const TPMS_SIGNATURE_ECDSA *ecdsa = &from->signature.ecdsa;
        code = lct_signature_from_ecdsa(signature, ecdsa->signatureR.buffer, ecdsa->signatureR.size,
                                        ecdsa->signatureS.buffer, ecdsa->signatureS.size, err);
    } else {
        take_rsa(signature, &from->signature.rsassa.sig);
    }
    if (code == LCT_OK)
        code = lct_signature_verify(signature, key->pkey, key->libctx, scheme, digest, digest_len,
                                    err);
    return code == LCT_OK ? LCT_OK : lct_err_prefix(err, key->label);
}

/* TPM2_Sign with the resident key. *gone: there is no object behind its handle any more. */
static enum lct_code sign_once(struct lct_tpm *tpm, struct lct_signature *signature,
                               const struct lct_tpm_key *key, const struct lct_scheme *scheme,
                               const uint8_t *digest, size_t digest_len, bool *gone,
                               struct lct_err *err)
{
    TPM2B_DIGEST tpm_digest = {.size = (UINT16)digest_len};
    const TPMT_SIG_SCHEME tpm_scheme = {.scheme = scheme->id,
                                        .details.any.hashAlg = scheme->hash->id};
    /* TPM 2.0 Part 3, 20.2: an unrestricted key needs no ticket; the null one is of the null
     * hierarchy. */
    const TPMT_TK_HASHCHECK ticket = {.tag = TPM2_ST_HASHCHECK, .hierarchy = TPM2_RH_NULL};
    TPMT_SIGNATURE tpm_signature = {0};
    TSS2L_SYS_AUTH_RESPONSE auths = {0};

    memcpy(tpm_digest.buffer, digest, digest_len);
    TSS2_RC rc = Tss2_Sys_Sign(tpm->sys, tpm->space->resident_handle, &lct_tpm_no_auth, &tpm_digest,
                               &tpm_scheme, &ticket, &tpm_signature, &auths);
    *gone = lct_result_is_lost_handle(rc);
    enum lct_code code = lct_tpm_result(tpm, key->label, TPM2_CC_Sign, rc, err);
    if (code != LCT_OK)
        return code;
    code = take_signature(signature, &tpm_signature, key, scheme, digest, digest_len, err);
    *gone = code == LCT_ERR_WRONG_KEY;
    return code;
}

/*
 * Without a resource manager every program keeps its objects in the TPM's few slots. So we keep one
 * only from the second signature on, and only while that leaves a slot for the others.
 */
static void make_room(struct lct_tpm *tpm, bool loaded)
{
    enum { ASK_AGAIN = 16 }; /* signatures */

    if (!loaded || tpm->channel->wire->private_handles || tpm->broken)
        return;
    bool keep = tpm->has_signed && tpm->crowded == 0 && lct_capability_free_slots(tpm) > 0;
    if (!keep)
        lct_tpm_flush_resident(tpm);
    if (tpm->crowded > 0)
        tpm->crowded--;
    else if (tpm->has_signed && !keep)
        tpm->crowded = ASK_AGAIN;
    tpm->has_signed = true;
}

struct signing {
    struct lct_signature *signature;
    const struct lct_tpm_key *key;
    const struct lct_scheme *scheme;
    const uint8_t *digest;
    size_t digest_len;
};

/*
 * Without a resource manager anyone can flush our key, or put another behind its handle. It is
 * loaded once more then; what is behind the handle may be another program's and is left alone
 * unless it has our key's Name.
 */
static enum lct_code sign(struct lct_tpm *tpm, void *arg, struct lct_err *err)
{
    const struct signing *signing = arg;
    const struct lct_tpm_key *key = signing->key;
    enum lct_code code = LCT_ERR_INTERNAL;
    bool gone = true, loaded = false, ever_loaded = false;

    for (int attempt = 0; attempt < 2 && gone; attempt++) {
        gone = false;
        code = make_resident(tpm, key, &loaded, err);
        ever_loaded = ever_loaded || loaded;
        if (code == LCT_OK)
            code = sign_once(tpm, signing->signature, key, signing->scheme, signing->digest,
                             signing->digest_len, &gone, err);
        if (gone) {
            if (loaded || code == LCT_ERR_WRONG_KEY)
                lct_tpm_note_debris(tpm, key->name);
            tpm->space->resident.len = 0;
            lct_tpm_sweep(tpm);
        }
    }
    make_room(tpm, ever_loaded);
    return code;
}

enum lct_code lct_tpm_sign(struct lct_tpm *tpm, struct lct_signature *signature,
                           const struct lct_tpm_key *key, const struct lct_scheme *scheme,
                           const uint8_t *digest, size_t digest_len, struct lct_err *err)
{
    struct signing signing = {signature, key, scheme, digest, digest_len};

    if (digest_len != scheme->hash->size || digest_len > sizeof((TPM2B_DIGEST *)0)->buffer)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "%s: a digest of %s has %zu bytes, not %zu",
                        key->label, scheme->hash->name, scheme->hash->size, digest_len);
    return lct_tpm_run(tpm, key->label, sign, &signing, err);
}

static enum lct_code read_resident(struct lct_tpm *tpm, struct lct_public *reported,
                                   struct lct_name *name, const struct lct_tpm_key *key,
                                   struct lct_err *err)
{
    TPM2B_PUBLIC public_area = {0};
    TPM2B_NAME tpm_name = {0}, qualified = {0};
    TSS2L_SYS_AUTH_RESPONSE auths = {0};
    uint8_t bytes[sizeof public_area];
    size_t len = 0;

    TSS2_RC rc = Tss2_Sys_ReadPublic(tpm->sys, tpm->space->resident_handle, NULL, &public_area,
                                     &tpm_name, &qualified, &auths);
    enum lct_code code = lct_tpm_result(tpm, key->label, TPM2_CC_ReadPublic, rc, err);
    if (code != LCT_OK)
        return code;
    if (Tss2_MU_TPM2B_PUBLIC_Marshal(&public_area, bytes, sizeof bytes, &len) != TSS2_RC_SUCCESS)
        return LCT_FAIL(err, LCT_ERR_WRONG_KEY, "%s: the TPM reports a malformed public area",
                        key->label);
    code = lct_public_decode(reported, bytes, len, err);
    if (code == LCT_OK)
        code = lct_public_name(name, key->libctx, bytes, len, err);
    return code == LCT_OK ? LCT_OK : lct_err_prefix(err, key->label);
}

struct inspection {
    struct lct_public *reported;
    struct lct_name *name;
    const struct lct_tpm_key *key;
};

static enum lct_code inspect(struct lct_tpm *tpm, void *arg, struct lct_err *err)
{
    const struct inspection *inspection = arg;
    const struct lct_tpm_key *key = inspection->key;
    enum lct_code code = LCT_OK;
    bool loaded;

    lct_tpm_flush_resident(tpm); /* load it now: that it loads is half of the answer */
    if (key->parent != TPM2_RH_OWNER)
        code = lct_parent_verify(tpm, key->label, key->parent, key->parent_name, err);
    if (code == LCT_OK)
        code = make_resident(tpm, key, &loaded, err);
    if (code == LCT_OK)
        code = read_resident(tpm, inspection->reported, inspection->name, key, err);
    if (!tpm->channel->wire->private_handles)
        lct_tpm_flush_resident(tpm);
    return code;
}

enum lct_code lct_tpm_inspect(struct lct_tpm *tpm, struct lct_public *reported,
                              struct lct_name *name, const struct lct_tpm_key *key,
                              struct lct_err *err)
{
    struct inspection inspection = {reported, name, key};

    return lct_tpm_run(tpm, key->label, inspect, &inspection, err);
}
