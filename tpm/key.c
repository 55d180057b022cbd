/* SPDX-License-Identifier: Apache-2.0 */
#include "tpm/capability.h"
#include "tpm/connection.h"
#include "tpm/parent.h"
#include "tpm/result.h"
#include "tpm/session.h"
#include "tpm/stream.h"
#include "tpm/tpm.h"

#include <openssl/rsa.h>
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

static TPM2_HANDLE handle_of(const struct lct_tpm *tpm, const struct lct_tpm_key *key)
{
    return key->handle != 0 ? key->handle : tpm->space->resident_handle;
}

static struct lct_parent_request request_of(const struct lct_tpm_key *key, bool again)
{
    return (struct lct_parent_request){
        .label = key->label,
        .where = key->parent,
        .rsa = key->rsa_parent,
        .pinned = key->parent_name,
        .owner_auth = key->owner_auth,
        .libctx = key->libctx,
        .again = again,
    };
}

static bool is_pinned(const struct lct_tpm_key *key)
{
    return key->parent_name->len != 0;
}

/* Why the TPM took the key for none of its parent's: it is another parent, or the key's file is
 * damaged. */
static enum lct_code diagnose(struct lct_tpm *tpm, const struct lct_tpm_key *key,
                              const struct lct_parent *parent, struct lct_err *err)
{
    enum lct_code code = LCT_OK;

    if (!parent->transient) { /* a transient one was checked when it was made */
        const struct lct_parent_request request = request_of(key, false);
        struct lct_parent verified;
        code = lct_parent_verify(tpm, &verified, &request, err);
    }
    if (code != LCT_OK)
        return code;
    if (!is_pinned(key))
        return LCT_FAIL(err, LCT_ERR_OTHER_TPM,
                        "%s: the TPM refuses the wrapped key: it was made by another TPM, or this "
                        "TPM has been cleared since, or the key file is damaged",
                        key->label);
    return LCT_FAIL(err, LCT_ERR_BAD_RECORD,
                    "%s: the TPM refuses the wrapped key: its key file is damaged; restore it from "
                    "a backup",
                    key->label);
}

static bool needs_session(const struct lct_tpm *tpm, const struct lct_tpm_key *key)
{
    return tpm->always || (key->auth != NULL && key->auth->len > 0);
}

/* Where no parent is pinned any session is as good: it is salted to what this TPM says is its own.
 */
static bool has_session(const struct lct_tpm *tpm, const struct lct_tpm_key *key)
{
    return is_pinned(key) ? lct_tpm_session_is_open(tpm, key->parent_name) : tpm->session != 0;
}

/*
 * TPM2_Load. In the session, if there will be one: where its beginning was spoiled on the way this
 * shows here, at a parent that has no authorization value, and all is begun anew. The TPM would
 * count it as a wrong try of the key's.
 */
static enum lct_code load_under(struct lct_tpm *tpm, const struct lct_tpm_key *key,
                                const struct lct_parent *parent, struct lct_err *err)
{
    TPM2B_PUBLIC public_area = {0};
    TPM2B_PRIVATE private_area = {0};
    TPM2B_NAME tpm_name = {0};
    const struct lct_terms terms = {key->libctx, NULL, 1, {parent->name}, false, true};
    TPM2_HANDLE handle = 0;
    enum lct_code code = to_tss(key, &public_area, &private_area, err);

    if (code != LCT_OK)
        return code;
    TSS2_RC rc = Tss2_Sys_Load_Prepare(tpm->sys, parent->handle, &private_area, &public_area);
    code = rc == TSS2_RC_SUCCESS
               ? lct_tpm_execute(tpm, key->label, TPM2_CC_Load,
                                 needs_session(tpm, key) ? &terms : NULL, &rc, err)
               : lct_tpm_result(tpm, key->label, TPM2_CC_Load, rc, err);
    if (code == LCT_OK) {
        rc = Tss2_Sys_Load_Complete(tpm->sys, &handle, &tpm_name);
        code = lct_tpm_result(tpm, key->label, TPM2_CC_Load, rc, err);
    }
    if (code == LCT_ERR_AUTH && !is_pinned(key))
        return LCT_FAIL(err, LCT_ERR_AUTH,
                        "%s: the storage key that is its parent takes an authorization, which a "
                        "parent of ours must not have",
                        key->label);
    if (code == LCT_ERR_AUTH && needs_session(tpm, key))
        tpm->broken = true;
    if (tpm->broken)
        lct_tpm_note_debris(tpm, key->name);
    else if (code != LCT_OK && is_parents_fault(rc))
        return diagnose(tpm, key, parent, err);
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
    tpm->used_at = lct_now_ms();
    tpm->used = true;
    return LCT_OK;
}

/*
 * Whether the key is loaded. Without a resource manager another program may flush it and load its
 * own, which would be used in its place, and counted as a wrong authorization if it has one: so
 * after a while its Name is read.
 */
static bool is_resident(struct lct_tpm *tpm, const struct lct_tpm_key *key)
{
    enum { A_WHILE = 50 }; /* ms */

    if (!lct_name_equal(&tpm->space->resident, key->name))
        return false;
    if (lct_now_ms() - tpm->used_at < A_WHILE || lct_tpm_holds_resident(tpm))
        return true;
    tpm->space->resident.len = 0;
    return false;
}

/*
 * Whether the key is behind its persistent handle. Anybody who is the TPM's owner can put another
 * one there, at any time, and for one with an authorization that would be a wrong try: so after a
 * while it is looked at again. What is behind it when it signs shows by the signature.
 */
static enum lct_code check_handle(struct lct_tpm *tpm, const struct lct_tpm_key *key,
                                  struct lct_err *err)
{
    enum { A_WHILE = 50 }; /* ms */
    bool seen = tpm->checked_handle == key->handle && lct_name_equal(&tpm->checked, key->name);
    bool lasts = tpm->channel->wire->private_handles && !key->needs_auth;
    TPM2B_PUBLIC public_area = {0};
    TPM2B_NAME tpm_name = {0}, qualified = {0};

    if (seen && (lasts || lct_now_ms() - tpm->checked_at < A_WHILE))
        return LCT_OK;
    tpm->checked.len = 0;
    TSS2_RC rc =
        Tss2_Sys_ReadPublic(tpm->sys, key->handle, NULL, &public_area, &tpm_name, &qualified, NULL);
    if (lct_result_is_lost_handle(rc))
        return LCT_FAIL(err, LCT_ERR_OTHER_TPM,
                        "%s: this TPM has no key at 0x%08x: it was evicted, or it is in another "
                        "TPM, or this one has been cleared since",
                        key->label, key->handle);
    enum lct_code code = lct_tpm_result(tpm, key->label, TPM2_CC_ReadPublic, rc, err);
    if (code != LCT_OK)
        return code;
    const struct lct_name name = lct_tpm_name(&tpm_name);
    if (!lct_name_equal(&name, key->name))
        return LCT_FAIL(err, LCT_ERR_WRONG_KEY,
                        "%s: the object at 0x%08x is not the key in the record: another one was "
                        "put there",
                        key->label, key->handle);
    tpm->checked = name;
    tpm->checked_handle = key->handle;
    tpm->checked_at = lct_now_ms();
    return LCT_OK;
}

/* A key at a persistent handle takes no slot; a session for it is salted to another key. */
static enum lct_code make_persistent_ready(struct lct_tpm *tpm, const struct lct_tpm_key *key,
                                           bool again, struct lct_err *err)
{
    const struct lct_parent_request request = request_of(key, again);
    struct lct_parent parent;
    enum lct_code code = check_handle(tpm, key, err);

    if (code != LCT_OK || !needs_session(tpm, key) || has_session(tpm, key))
        return code;
    lct_tpm_flush_resident(tpm);
    code = lct_parent_enter(tpm, &parent, &request, true, err);
    if (code != LCT_OK)
        return code;
    const struct lct_salt salt = {parent.handle, parent.name, parent.public_area};
    code = lct_tpm_session_open(tpm, key->label, key->libctx, &salt, err);
    lct_parent_leave(tpm, &parent);
    return code;
}

/* If there is no slot, a program that was killed may have left this very key. */
static enum lct_code load(struct lct_tpm *tpm, const struct lct_tpm_key *key,
                          const struct lct_parent *parent, struct lct_err *err)
{
    enum lct_code code = load_under(tpm, key, parent, err);

    if (code != LCT_ERR_TPM_FULL)
        return code;
    lct_tpm_note_debris(tpm, key->name);
    lct_tpm_sweep(tpm);
    return load_under(tpm, key, parent, err);
}

/*
 * Makes the key the resident one, on a TPM with three slots and no resource manager there is room
 * for one of ours; and opens a session if it takes one to use it. `again`: the connection broke in
 * it before.
 */
static enum lct_code make_ready(struct lct_tpm *tpm, const struct lct_tpm_key *key, bool again,
                                bool *loaded, struct lct_err *err)
{
    const struct lct_parent_request request = request_of(key, again);
    struct lct_parent parent;

    *loaded = false;
    if (key->handle != 0)
        return make_persistent_ready(tpm, key, again, err);
    bool resident = is_resident(tpm, key);
    bool session = needs_session(tpm, key) && !has_session(tpm, key);
    bool read = session || (needs_session(tpm, key) && !is_pinned(key));
    if (resident && !session)
        return LCT_OK;
    if (!resident)
        lct_tpm_flush_resident(tpm);
    enum lct_code code = lct_parent_enter(tpm, &parent, &request, read, err);
    if (code != LCT_OK)
        return code;
    if (needs_session(tpm, key) && !has_session(tpm, key)) {
        const struct lct_salt salt = {parent.handle, parent.name, parent.public_area};
        code = lct_tpm_session_open(tpm, key->label, key->libctx, &salt, err);
    }
    if (code == LCT_OK && !resident) {
        code = load(tpm, key, &parent, err);
        *loaded = code == LCT_OK;
    }
    lct_parent_leave(tpm, &parent);
    return code;
}

static void take_rsa(struct lct_signature *signature, const TPM2B_PUBLIC_KEY_RSA *block)
{
    signature->len = block->size <= sizeof signature->data ? block->size : 0;
    memcpy(signature->data, block->buffer, signature->len);
}

/*
 * A TPM salts RSA-PSS as it likes: as long as the digest, or as long as it gets. What a key file
 * alone says of its TPM is nothing, so the former is assumed; a record says which.
 */
static enum lct_code explain_salt(const struct lct_signature *signature,
                                  const struct lct_tpm_key *key, const struct lct_scheme *scheme,
                                  const uint8_t *digest, size_t digest_len, struct lct_err *err)
{
    const struct lct_scheme any = {scheme->id, scheme->hash, RSA_PSS_SALTLEN_AUTO};

    if (scheme->id != TPM2_ALG_RSAPSS ||
        lct_signature_verify(signature, key->pkey, key->libctx, &any, digest, digest_len, NULL) !=
            LCT_OK)
        return LCT_ERR_WRONG_KEY;
    return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                    "its TPM makes RSA-PSS signatures with another salt than %s; lct import finds "
                    "out which: make an identity of the key, and use that",
                    is_pinned(key) ? "its record says" : "as long as the digest");
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
    if (code == LCT_ERR_WRONG_KEY)
        code = explain_salt(signature, key, scheme, digest, digest_len, err);
    return code == LCT_OK ? LCT_OK : lct_err_prefix(err, key->label);
}

/* Says what the TPM's protection against guessing makes of a wrong authorization, and keeps in mind
 * that it was counted. */
static enum lct_code explain(struct lct_tpm *tpm, const struct lct_tpm_key *key, TSS2_RC rc,
                             enum lct_code code, struct lct_err *err)
{
    uint32_t tries = 0, most = 0, seconds = 0;

    if (!key->needs_auth || key->auth == NULL || key->auth->len == 0 ||
        lct_capability_property(tpm, key->label, TPM2_PT_LOCKOUT_COUNTER, &tries, NULL) != LCT_OK ||
        lct_capability_property(tpm, key->label, TPM2_PT_MAX_AUTH_FAIL, &most, NULL) != LCT_OK ||
        lct_capability_property(tpm, key->label, TPM2_PT_LOCKOUT_INTERVAL, &seconds, NULL) !=
            LCT_OK)
        return code;
    if (lct_result_base(rc) == TPM2_RC_AUTH_FAIL && tries > 0 && !atomic_load(&key->tries->proven))
        atomic_store(&key->tries->refused, true);
    if (code == LCT_ERR_LOCKOUT || tries >= most)
        code =
            LCT_FAIL(err, code,
                     "%s: %sthe TPM is in lockout after %u wrong authorizations, and refuses "
                     "every key that has a passphrase; it forgets one each %u s, or at once "
                     "with: tpm2_dictionarylockout -c",
                     key->label, code == LCT_ERR_AUTH ? "wrong passphrase; " : "", tries, seconds);
    else
        code = LCT_FAIL(err, code,
                        "%s: wrong passphrase; tries left before the TPM locks every key that has "
                        "one: %u; it forgets a wrong try each %u s",
                        key->label, most - tries, seconds);
    if (err != NULL)
        err->tpm_rc = rc;
    return code;
}

struct signing {
    struct lct_signature *signature;
    const struct lct_tpm_key *key;
    const struct lct_scheme *scheme;
    const uint8_t *digest;
    size_t digest_len;
    bool again; /* the connection broke in it once */
};

/* TPM2_Sign with the resident key. *rc is what the TPM said. */
static enum lct_code sign_once(struct lct_tpm *tpm, const struct signing *signing, TSS2_RC *rc,
                               struct lct_err *err)
{
    const struct lct_tpm_key *key = signing->key;
    TPM2B_DIGEST tpm_digest = {.size = (UINT16)signing->digest_len};
    const TPMT_SIG_SCHEME tpm_scheme = {.scheme = signing->scheme->id,
                                        .details.any.hashAlg = signing->scheme->hash->id};
    /* TPM 2.0 Part 3, 20.2: an unrestricted key needs no ticket; the null one is of the null
     * hierarchy. */
    const TPMT_TK_HASHCHECK ticket = {.tag = TPM2_ST_HASHCHECK, .hierarchy = TPM2_RH_NULL};
    const struct lct_terms terms = {key->libctx, key->auth, 1, {*key->name}, false, true};
    TPMT_SIGNATURE tpm_signature = {0};

    memcpy(tpm_digest.buffer, signing->digest, signing->digest_len);
    *rc = Tss2_Sys_Sign_Prepare(tpm->sys, handle_of(tpm, key), &tpm_digest, &tpm_scheme, &ticket);
    enum lct_code code = *rc == TSS2_RC_SUCCESS
                             ? lct_tpm_execute(tpm, key->label, TPM2_CC_Sign,
                                               needs_session(tpm, key) ? &terms : NULL, rc, err)
                             : lct_tpm_result(tpm, key->label, TPM2_CC_Sign, *rc, err);
    if (code == LCT_OK) {
        *rc = Tss2_Sys_Sign_Complete(tpm->sys, &tpm_signature);
        code = lct_tpm_result(tpm, key->label, TPM2_CC_Sign, *rc, err);
    }
    if (*rc != TSS2_RC_SUCCESS && key->needs_auth && !atomic_load(&key->tries->proven))
        tpm->once = true; /* it may be wrong, and counted already */
    if (code == LCT_ERR_AUTH || code == LCT_ERR_LOCKOUT)
        return explain(tpm, key, *rc, code, err);
    if (code != LCT_OK)
        return code;
    if (key->needs_auth)
        atomic_store(&key->tries->proven, true);
    code = take_signature(signing->signature, &tpm_signature, key, signing->scheme, signing->digest,
                          signing->digest_len, err);
    if (key->handle == 0) {
        tpm->used_at = lct_now_ms();
        tpm->used = code == LCT_OK;
    }
    return code;
}

/* TPM2_Load takes a slot for the key and one for a parent that is persistent. */
static bool leaves_room(struct lct_tpm *tpm)
{
    enum { SLOTS_TO_LOAD = 2 };
    uint32_t slots;

    return lct_capability_property(tpm, "counting slots", TPM2_PT_HR_TRANSIENT_AVAIL, &slots,
                                   NULL) == LCT_OK &&
           slots >= SLOTS_TO_LOAD;
}

/*
 * Without a resource manager every program keeps its objects in the TPM's few slots. So we keep one
 * only from the second signature on, and only while others can still load theirs; and none that has
 * an authorization, which might be tried on what has taken its place.
 */
static void make_room(struct lct_tpm *tpm, const struct lct_tpm_key *key, bool loaded)
{
    enum { ASK_AGAIN = 16 }; /* signatures */

    if (!loaded || tpm->channel->wire->private_handles || tpm->broken)
        return;
    bool keep = tpm->has_signed && tpm->crowded == 0 && !key->needs_auth && leaves_room(tpm);
    if (!keep)
        lct_tpm_flush_resident(tpm);
    if (tpm->crowded > 0)
        tpm->crowded--;
    else if (tpm->has_signed && !keep)
        tpm->crowded = ASK_AGAIN;
    tpm->has_signed = true;
}

/* What is behind the key's handle is not the key. A persistent one is not ours to flush. Where
 * handles are private it is ours all the same, else it is looked for by its Name. */
static void drop_resident(struct lct_tpm *tpm, const struct lct_tpm_key *key)
{
    if (key->handle != 0) {
        tpm->checked.len = 0;
        return;
    }
    if (tpm->channel->wire->private_handles) {
        lct_tpm_flush_resident(tpm);
        return;
    }
    lct_tpm_note_debris(tpm, key->name);
    tpm->space->resident.len = 0;
    lct_tpm_sweep(tpm);
}

/* Whether it was the key itself that wants an authorization, though it is said to have none: then
 * the TPM counts each try. */
static bool has_refused(struct lct_tpm *tpm, const struct lct_tpm_key *key, enum lct_code code)
{
    return (code == LCT_ERR_AUTH || code == LCT_ERR_LOCKOUT) &&
           (key->handle != 0 || lct_tpm_holds_resident(tpm));
}

/*
 * Without a resource manager anyone can flush our key, or put another behind its handle. So what
 * was loaded in an earlier turn and refuses is loaded once more, and what is behind the handle is
 * left alone unless it has our key's Name. A session that is gone is opened once more, too. Not so
 * after a wrong authorization: that is tried once. After the TPM was restarted each process of a
 * program flushes what it takes for its own and is another's of the same Name: so a key that is
 * gone, and has no authorization, is loaded some more times.
 */
static enum lct_code sign(struct lct_tpm *tpm, void *arg, struct lct_err *err)
{
    enum { MOST = 2, MOST_IF_LOST = 6 }; /* attempts */
    struct signing *signing = arg;
    const struct lct_tpm_key *key = signing->key;
    enum lct_code code = LCT_ERR_INTERNAL;
    bool broke = signing->again, again = true, loaded = false, ever_loaded = false;

    signing->again = true;
    for (int attempt = 1; again; attempt++) {
        TSS2_RC rc = TSS2_RC_SUCCESS;
        bool had_session = tpm->session != 0;
        code = make_ready(tpm, key, broke, &loaded, err);
        bool ready = code == LCT_OK;
        ever_loaded = ever_loaded || loaded;
        if (ready)
            code = sign_once(tpm, signing, &rc, err);
        bool ended = code == LCT_ERR_TPM && had_session && tpm->session == 0;
        bool lost_session = ended || lct_result_is_lost_session(rc);
        bool doubtful = ready && !loaded && !tpm->channel->wire->private_handles &&
                        rc != TSS2_RC_SUCCESS && !key->needs_auth && !has_refused(tpm, key, code);
        bool lost = ready && lct_result_is_lost_handle(rc);
        bool gone = lost || (ready && code == LCT_ERR_WRONG_KEY);
        again = code != LCT_OK && !tpm->broken && (gone || doubtful || lost_session) &&
                attempt < (lost && !key->needs_auth ? MOST_IF_LOST : MOST);
        if (code != LCT_OK) /* it may be out of step: a signature each would be a wrong try */
            lct_tpm_session_close(tpm);
        if (gone || doubtful)
            drop_resident(tpm, key);
    }
    make_room(tpm, key, ever_loaded);
    return code;
}

enum lct_code lct_tpm_sign(struct lct_tpm *tpm, struct lct_signature *signature,
                           const struct lct_tpm_key *key, const struct lct_scheme *scheme,
                           const uint8_t *digest, size_t digest_len, struct lct_err *err)
{
    struct signing signing = {signature, key, scheme, digest, digest_len, false};

    if (digest_len != scheme->hash->size || digest_len > sizeof((TPM2B_DIGEST *)0)->buffer)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "%s: a digest of %s has %zu bytes, not %zu",
                        key->label, scheme->hash->name, scheme->hash->size, digest_len);
    if (key->needs_auth && (key->auth == NULL || key->auth->len == 0))
        return LCT_FAIL(err, LCT_ERR_AUTH, "%s: signing with it takes its passphrase", key->label);
    if (key->needs_auth && atomic_load(&key->tries->refused))
        return LCT_FAIL(err, LCT_ERR_AUTH,
                        "%s: its passphrase was wrong, and is not tried again, because the TPM "
                        "counts; load the key anew with the right one",
                        key->label);
    return lct_tpm_run(tpm, key->label, sign, &signing, err);
}

static enum lct_code read_ready(struct lct_tpm *tpm, struct lct_public *reported,
                                struct lct_name *name, const struct lct_tpm_key *key,
                                struct lct_err *err)
{
    TPM2B_PUBLIC public_area = {0};
    TPM2B_NAME tpm_name = {0}, qualified = {0};
    TSS2L_SYS_AUTH_RESPONSE auths = {0};
    uint8_t bytes[sizeof public_area];
    size_t len = 0;

    TSS2_RC rc = Tss2_Sys_ReadPublic(tpm->sys, handle_of(tpm, key), NULL, &public_area, &tpm_name,
                                     &qualified, &auths);
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
    bool again;
};

static enum lct_code inspect(struct lct_tpm *tpm, void *arg, struct lct_err *err)
{
    struct inspection *inspection = arg;
    const struct lct_tpm_key *key = inspection->key;
    enum lct_code code = LCT_OK;
    bool broke = inspection->again, loaded;

    inspection->again = true;
    lct_tpm_flush_resident(tpm); /* load it now: that it loads is half of the answer */
    tpm->checked.len = 0;
    if (key->handle == 0 && lct_parent_is_persistent(key->parent)) {
        const struct lct_parent_request request = request_of(key, false);
        struct lct_parent parent;
        code = lct_parent_verify(tpm, &parent, &request, err);
    }
    if (code == LCT_OK)
        code = make_ready(tpm, key, broke, &loaded, err);
    if (code == LCT_OK)
        code = read_ready(tpm, inspection->reported, inspection->name, key, err);
    if (!tpm->channel->wire->private_handles)
        lct_tpm_flush_resident(tpm);
    return code;
}

enum lct_code lct_tpm_inspect(struct lct_tpm *tpm, struct lct_public *reported,
                              struct lct_name *name, const struct lct_tpm_key *key,
                              struct lct_err *err)
{
    struct inspection inspection = {reported, name, key, false};

    return lct_tpm_run(tpm, key->label, inspect, &inspection, err);
}
