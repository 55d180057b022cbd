/* SPDX-License-Identifier: Apache-2.0 */
#include "tpm/use.h"

#include "tpm/capability.h"
#include "tpm/parent.h"
#include "tpm/policy.h"
#include "tpm/result.h"
#include "tpm/stream.h"

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

static bool was_missed(const struct lct_tpm *tpm, const struct lct_tpm_key *key)
{
    size_t num = tpm->num_missed < LCT_MAX_MISSED ? tpm->num_missed : LCT_MAX_MISSED;

    for (size_t i = 0; i < num; i++)
        if (tpm->missed[i].handle == key->persistent &&
            lct_name_equal(&tpm->missed[i].name, key->name))
            return true;
    return false;
}

/* A wrapped key is not used at its persistent handle any more, but loaded. */
static void give_up_place(struct lct_tpm *tpm, const struct lct_tpm_key *key)
{
    tpm->missed[tpm->num_missed % LCT_MAX_MISSED] =
        (struct lct_tpm_missed){key->persistent, *key->name};
    tpm->num_missed++;
}

/* The persistent handle that the key is used at; 0: it is loaded, as a wrapped one is that was not
 * found at its handle. */
static TPM2_HANDLE place_of(const struct lct_tpm *tpm, const struct lct_tpm_key *key)
{
    if (key->handle != 0)
        return key->handle;
    return key->persistent != 0 && !was_missed(tpm, key) ? key->persistent : 0;
}

TPM2_HANDLE lct_use_handle(const struct lct_tpm *tpm, const struct lct_tpm_key *key)
{
    TPM2_HANDLE place = place_of(tpm, key);

    return place != 0 ? place : tpm->space->resident_handle;
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

static bool has_auth(const struct lct_tpm_key *key)
{
    return key->auth != NULL && key->auth->len > 0;
}

/* The HMAC session. A policy session does without: it proves an authorization and encrypts, too. */
static bool needs_session(const struct lct_tpm *tpm, const struct lct_use *use)
{
    return tpm->always || (!lct_policy_is_needed(use->key) && (has_auth(use->key) || use->secret));
}

/* Where no parent is pinned any session is as good: it is salted to what this TPM says is its own.
 */
static bool has_session(const struct lct_tpm *tpm, const struct lct_tpm_key *key)
{
    return is_pinned(key) ? lct_tpm_session_is_open(tpm, key->parent_name)
                          : tpm->session.handle != 0;
}

/*
 * TPM2_Load. In the session, if there will be one: where its beginning was spoiled on the way this
 * shows here, at a parent that has no authorization value, and all is begun anew. The TPM would
 * count it as a wrong try of the key's.
 */
static enum lct_code load_under(struct lct_tpm *tpm, const struct lct_use *use,
                                struct lct_parent *parent, struct lct_err *err)
{
    const struct lct_tpm_key *key = use->key;
    TPM2B_PUBLIC public_area = {0};
    TPM2B_PRIVATE private_area = {0};
    TPM2B_NAME tpm_name = {0};
    const struct lct_terms terms = {
        .libctx = key->libctx, .num_names = 1, .names = {parent->name}, .in_session = true};
    TPM2_HANDLE handle = 0;
    enum lct_code code = to_tss(key, &public_area, &private_area, err);

    if (code != LCT_OK)
        return code;
    TSS2_RC rc = Tss2_Sys_Load_Prepare(tpm->sys, parent->handle, &private_area, &public_area);
    code = rc == TSS2_RC_SUCCESS
               ? lct_tpm_execute(tpm, key->label, TPM2_CC_Load,
                                 needs_session(tpm, use) ? &terms : NULL, &rc, err)
               : lct_tpm_result(tpm, key->label, TPM2_CC_Load, rc, err);
    if (code == LCT_OK) {
        rc = Tss2_Sys_Load_Complete(tpm->sys, &handle, &tpm_name);
        code = lct_tpm_result(tpm, key->label, TPM2_CC_Load, rc, err);
    }
    if (lct_parent_is_gone(tpm, parent, key->label, &code, rc, err))
        return code;
    if (code == LCT_ERR_AUTH && !is_pinned(key))
        return LCT_FAIL(err, LCT_ERR_AUTH,
                        "%s: the storage key that is its parent takes an authorization, which a "
                        "parent of ours must not have",
                        key->label);
    if (code == LCT_ERR_AUTH && needs_session(tpm, use))
        tpm->broken = true;
    if (tpm->broken)
        lct_tpm_note_debris(tpm, key->name);
    else if (code != LCT_OK && is_parents_fault(rc))
        return diagnose(tpm, key, parent, err);
    if (code != LCT_OK)
        return code;
    const struct lct_name name = lct_tpm_name(&tpm_name);
    if (!lct_name_equal(&name, key->name)) { /* nor is the handle to be believed */
        tpm->broken = true;
        lct_tpm_note_debris(tpm, &name);
        lct_tpm_note_debris(tpm, key->name);
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
 * Whether nothing is lost if what is at its handle is another: no authorization is tried on it and
 * no policy satisfied for it, the signature shows it, and the key can be loaded instead.
 */
static bool is_used_unseen(const struct lct_tpm *tpm, const struct lct_use *use)
{
    const struct lct_tpm_key *key = use->key;

    return key->handle == 0 && !key->needs_auth && !lct_policy_is_needed(key) &&
           !needs_session(tpm, use);
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
    const TPM2_HANDLE place = place_of(tpm, key);
    bool seen = tpm->checked_handle == place && lct_name_equal(&tpm->checked, key->name);
    bool lasts = tpm->channel->wire->private_handles && !key->needs_auth;
    TPM2B_PUBLIC public_area = {0};
    TPM2B_NAME tpm_name = {0}, qualified = {0};

    if (seen && (lasts || lct_now_ms() - tpm->checked_at < A_WHILE))
        return LCT_OK;
    tpm->checked.len = 0;
    TSS2_RC rc =
        Tss2_Sys_ReadPublic(tpm->sys, place, NULL, &public_area, &tpm_name, &qualified, NULL);
    if (lct_result_is_lost_handle(rc))
        return LCT_FAIL(err, LCT_ERR_OTHER_TPM,
                        "%s: this TPM has no key at 0x%08x: it was evicted, or it is in another "
                        "TPM, or this one has been cleared since",
                        key->label, place);
    enum lct_code code = lct_tpm_result(tpm, key->label, TPM2_CC_ReadPublic, rc, err);
    if (code != LCT_OK)
        return code;
    const struct lct_name name = lct_tpm_name(&tpm_name);
    if (!lct_name_equal(&name, key->name))
        return LCT_FAIL(err, LCT_ERR_WRONG_KEY,
                        "%s: the object at 0x%08x is not the key in the record: another one was "
                        "put there",
                        key->label, place);
    tpm->checked = name;
    tpm->checked_handle = place;
    tpm->checked_at = lct_now_ms();
    return LCT_OK;
}

/*
 * Whether something secret goes by the policy session. A sealed key without a passphrase asks for
 * the boot's state alone: whoever can change its command on the bus can begin a session as well,
 * and the signature is verified.
 */
static bool needs_salted_policy(const struct lct_tpm *tpm, const struct lct_use *use)
{
    return lct_policy_is_needed(use->key) && (tpm->always || use->key->needs_auth || use->secret);
}

static bool has_policy(const struct lct_tpm *tpm, const struct lct_tpm_key *key)
{
    return is_pinned(key) ? lct_tpm_policy_is_open(tpm, key->parent_name)
                          : lct_tpm_policy_is_salted(tpm);
}

/* Whether a session has to be opened, and its salt be looked at for that. */
static bool lacks_session(const struct lct_tpm *tpm, const struct lct_use *use)
{
    return (needs_session(tpm, use) && !has_session(tpm, use->key)) ||
           (needs_salted_policy(tpm, use) && !has_policy(tpm, use->key));
}

/* Opens the sessions that the use takes and that are not open. */
static enum lct_code open_salted(struct lct_tpm *tpm, const struct lct_use *use,
                                 const struct lct_parent *parent, struct lct_err *err)
{
    const struct lct_salt salt = {parent->handle, parent->name, parent->public_area};
    const struct lct_tpm_key *key = use->key;
    enum lct_code code = LCT_OK;

    if (needs_session(tpm, use) && !has_session(tpm, key))
        code = lct_tpm_session_open(tpm, key->label, key->libctx, &salt, err);
    if (code != LCT_OK || !needs_salted_policy(tpm, use) || has_policy(tpm, key))
        return code;
    code = lct_tpm_policy_open(tpm, key->label, key->libctx, &salt, err);
    if (code == LCT_OK && key->needs_auth)
        code = lct_tpm_policy_check(tpm, key->label, key->libctx, err);
    return code;
}

static enum lct_code open_sessions(struct lct_tpm *tpm, const struct lct_use *use,
                                   struct lct_parent *parent, struct lct_err *err)
{
    enum lct_code code = open_salted(tpm, use, parent, err);

    (void)lct_parent_is_gone(tpm, parent, use->key->label, &code, TSS2_RC_SUCCESS, err);
    return code;
}

/* A key at a persistent handle takes no slot; a session for it is salted to another key, *parent.
 */
static enum lct_code make_persistent_ready(struct lct_tpm *tpm, struct lct_parent *parent,
                                           const struct lct_parent_request *request,
                                           const struct lct_use *use, struct lct_err *err)
{
    enum lct_code code = is_used_unseen(tpm, use) ? LCT_OK : check_handle(tpm, use->key, err);

    if (code != LCT_OK || !lacks_session(tpm, use))
        return code;
    if (!tpm->channel->wire->private_handles)
        lct_tpm_flush_resident(tpm);
    code = lct_parent_enter(tpm, parent, request, true, err);
    if (code != LCT_OK)
        return code;
    code = open_salted(tpm, use, parent, err);
    return lct_parent_leave_salted(tpm, parent, use->key->label, code, err);
}

/* If there is no slot, a program that was killed may have left this very key, or another of ours.
 */
static enum lct_code load(struct lct_tpm *tpm, const struct lct_use *use, struct lct_parent *parent,
                          struct lct_err *err)
{
    enum lct_code code = load_under(tpm, use, parent, err);

    if (code == LCT_ERR_TPM_FULL)
        lct_tpm_remember(tpm, use->key->name);
    return code;
}

/* What has been done for a use. */
struct readiness {
    bool loaded;     /* the key, in this attempt */
    bool had_policy; /* when it came to the policy there was a session for it */
    bool said;       /* the policy was satisfied */
};

static enum lct_code say_policy(struct lct_tpm *tpm, const struct lct_tpm_key *key,
                                struct readiness *done, struct lct_err *err)
{
    enum lct_code code = lct_tpm_policy_open(tpm, key->label, key->libctx, NULL, err);

    if (code != LCT_OK)
        return code;
    done->had_policy = true;
    code = lct_policy_satisfy(tpm, key, err);
    done->said = code == LCT_OK;
    return code;
}

/* Another TPM, or this one after it was cleared, has other PCRs as a rule, too: that is said first.
 * *parent is room for another look at it. */
static enum lct_code explain_sealed(struct lct_tpm *tpm, struct lct_parent *parent,
                                    const struct lct_parent_request *request, struct lct_err *err)
{
    struct lct_err other;

    if (!lct_parent_is_persistent(request->where) ||
        lct_parent_verify(tpm, parent, request, &other) == LCT_OK)
        return LCT_ERR_SEALED;
    if (err != NULL)
        *err = other;
    return other.code;
}

/*
 * Makes the key the resident one, on a TPM with three slots and no resource manager there is room
 * for one of ours; and opens the sessions it takes to use it. What has to be said in a policy
 * session is said before the key is loaded: a resource manager swaps what is loaded with each
 * command. `again`: it was begun before.
 */
static enum lct_code make_ready(struct lct_tpm *tpm, const struct lct_use *use, bool again,
                                struct readiness *done, struct lct_err *err)
{
    const struct lct_tpm_key *key = use->key;
    const struct lct_parent_request request = request_of(key, again);
    struct lct_parent parent;

    *done = (struct readiness){0};
    if (place_of(tpm, key) != 0) {
        enum lct_code there = make_persistent_ready(tpm, &parent, &request, use, err);
        bool missing = there == LCT_ERR_OTHER_TPM || there == LCT_ERR_WRONG_KEY;
        if (key->handle != 0 || tpm->broken || !missing)
            return there;
        give_up_place(tpm, key);
    }
    bool resident = is_resident(tpm, key);
    bool session = lacks_session(tpm, use);
    bool read = session || (needs_session(tpm, use) && !is_pinned(key));
    if (resident && !session)
        return LCT_OK;
    if (!resident)
        lct_tpm_flush_resident(tpm);
    enum lct_code code = lct_parent_enter(tpm, &parent, &request, read, err);
    if (code != LCT_OK)
        return code;
    if (resident) {
        code = open_salted(tpm, use, &parent, err);
        return lct_parent_leave_salted(tpm, &parent, key->label, code, err);
    }
    code = open_sessions(tpm, use, &parent, err);
    if (code == LCT_OK && lct_policy_is_needed(key))
        code = say_policy(tpm, key, done, err);
    if (code == LCT_OK) {
        code = load(tpm, use, &parent, err);
        done->loaded = code == LCT_OK;
    }
    lct_parent_leave(tpm, &parent, done->loaded);
    return code == LCT_ERR_SEALED ? explain_sealed(tpm, &parent, &request, err) : code;
}

enum lct_code lct_use_load(struct lct_tpm *tpm, const struct lct_use *use, struct lct_err *err)
{
    struct lct_tpm_key bare = *use->key;
    const struct lct_use looking = {.key = &bare};
    const struct lct_parent_request request = request_of(use->key, false);
    struct lct_parent parent;
    enum lct_code code = LCT_OK;
    struct readiness done;

    bare.seal = NULL;
    bare.persistent = 0;
    lct_tpm_flush_resident(tpm); /* load it now: that it loads is half of the answer */
    tpm->checked.len = 0;
    if (bare.handle == 0 && lct_parent_is_persistent(bare.parent))
        code = lct_parent_verify(tpm, &parent, &request, err);
    return code == LCT_OK ? make_ready(tpm, &looking, use->again, &done, err) : code;
}

/*
 * A passphrase in a file that was not changed with the key's is tried by each program that is
 * started with it: and one that is restarted until it runs would lock every key that has one. So
 * the last try before that is left to who types. It is unknown whether it is the wrong one.
 */
static enum lct_code spare_last_try(struct lct_tpm *tpm, const struct lct_tpm_key *key,
                                    struct lct_err *err)
{
    struct lct_lockout lockout;

    if (!key->needs_auth || !key->unattended || atomic_load(&key->tries->proven))
        return LCT_OK;
    enum lct_code code = lct_capability_lockout(tpm, &lockout, key->label, err);
    if (code != LCT_OK || lockout.tries == 0 || lockout.tries + 1 != lockout.most)
        return code;
    return LCT_FAIL(err, LCT_ERR_AUTH,
                    "%s: its passphrase, which is in a file, is not tried: the TPM has counted %u "
                    "wrong one%s, and one more would lock every key that has one; it forgets one "
                    "each %u s, or all with: tpm2_dictionarylockout -c; one that is typed is tried",
                    key->label, lockout.tries, lockout.tries == 1 ? "" : "s", lockout.seconds);
}

/* Says what the TPM's protection against guessing makes of a wrong authorization, and keeps in mind
 * that it was counted. */
static enum lct_code explain(struct lct_tpm *tpm, const struct lct_tpm_key *key, TSS2_RC rc,
                             enum lct_code code, struct lct_err *err)
{
    struct lct_lockout lockout;

    if (!key->needs_auth || !has_auth(key) ||
        lct_capability_lockout(tpm, &lockout, key->label, NULL) != LCT_OK)
        return code;
    const uint32_t tries = lockout.tries, most = lockout.most, seconds = lockout.seconds;
    if (lct_result_base(rc) == TPM2_RC_AUTH_FAIL && tries > 0 && !atomic_load(&key->tries->proven))
        atomic_store(&key->tries->refused, true);
    if (most == 0)
        return code;
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

/* What is behind the key's handle is not the key. A persistent one is not ours to flush; it is
 * looked at next time, or left for the wrapped one. Where handles are private it is ours all the
 * same, else it is looked for by its Name. */
static void drop_resident(struct lct_tpm *tpm, const struct lct_use *use, enum lct_code code)
{
    const struct lct_tpm_key *key = use->key;

    if (place_of(tpm, key) != 0) {
        tpm->checked.len = 0;
        if (key->handle == 0 && (code == LCT_ERR_WRONG_KEY || is_used_unseen(tpm, use)))
            give_up_place(tpm, key);
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

/* Whether there is something that is taken for the key. */
static bool is_at_hand(const struct lct_tpm *tpm, const struct lct_tpm_key *key)
{
    return place_of(tpm, key) != 0 || lct_name_equal(&tpm->space->resident, key->name);
}

/* Whether it was the key itself that wants an authorization, though it is said to have none: then
 * the TPM counts each try. What a wrapped one finds at a persistent handle is rather another. */
static bool has_refused(struct lct_tpm *tpm, const struct lct_tpm_key *key, enum lct_code code)
{
    if (code != LCT_ERR_AUTH && code != LCT_ERR_LOCKOUT)
        return false;
    return key->handle != 0 || (place_of(tpm, key) == 0 && lct_tpm_holds_resident(tpm));
}

struct lct_terms lct_use_terms(const struct lct_use *use)
{
    const struct lct_tpm_key *key = use->key;

    return (struct lct_terms){
        .libctx = key->libctx,
        .auth = key->needs_auth ? key->auth : NULL,
        .num_names = use->second_name != NULL ? 2 : 1,
        .names = {*key->name, use->second_name != NULL ? *use->second_name : (struct lct_name){0}},
        .second = use->second,
        .in_session = true,
        .policy = lct_policy_is_needed(key),
        .decrypt = use->secret,
    };
}

enum lct_code lct_use_execute(struct lct_tpm *tpm, const struct lct_use *use, TPM2_CC command,
                              TSS2_RC *rc, struct lct_err *err)
{
    const struct lct_tpm_key *key = use->key;
    struct lct_terms terms = lct_use_terms(use);

    terms.password = !terms.policy && !needs_session(tpm, use);
    terms.last = command == TPM2_CC_Sign;
    enum lct_code code = *rc == TSS2_RC_SUCCESS
                             ? lct_tpm_execute(tpm, key->label, command, &terms, rc, err)
                             : lct_tpm_result(tpm, key->label, command, *rc, err);

    if (*rc != TSS2_RC_SUCCESS && key->needs_auth && !atomic_load(&key->tries->proven))
        tpm->once = true; /* it may be wrong, and counted already */
    if (code == LCT_ERR_AUTH || code == LCT_ERR_LOCKOUT)
        return explain(tpm, key, *rc, code, err);
    if (code != LCT_OK)
        return code;
    if (terms.policy) /* Part 1, 19.7.9: an authorization takes what was said with it */
        tpm->policy_begun = false;
    if (key->needs_auth) {
        atomic_store(&key->tries->proven, true);
        atomic_store(&key->tries->refused, false); /* it was another in its place that did */
    }
    if (place_of(tpm, key) == 0) {
        tpm->used_at = lct_now_ms();
        tpm->used = true;
    } else if (terms.policy ? lct_tpm_policy_is_salted(tpm) : !terms.password) {
        /* Part 1, 16.7: the HMAC was over the Name of what is there. */
        tpm->checked_at = lct_now_ms();
    }
    return LCT_OK;
}

/* How one attempt ended. */
struct ending {
    enum lct_code code;
    TSS2_RC rc;    /* of the command itself */
    bool ready;    /* the key was there, and it came to the command or its policy */
    bool loaded;   /* in this attempt */
    bool sessions; /* a session turned out to be gone, or out of step */
};

/* A command that was executed and was sent again, since its response said "later", has spent what
 * was said in the policy session. Nothing was guessed at. */
static bool is_out_of_step(const struct lct_tpm_key *key, TSS2_RC rc)
{
    TPM2_RC base = lct_result_base(rc);

    return lct_policy_is_needed(key) &&
           (base == TPM2_RC_POLICY_FAIL || (base == TPM2_RC_BAD_AUTH && !key->needs_auth));
}

static struct ending attempt(struct lct_tpm *tpm, struct lct_use *use, bool broke,
                             struct lct_err *err)
{
    struct ending ending = {.rc = TSS2_RC_SUCCESS};
    struct readiness done;
    bool had_session = tpm->session.handle != 0;

    ending.code = make_ready(tpm, use, broke, &done, err);
    ending.loaded = done.loaded;
    ending.ready = ending.code == LCT_OK;
    if (ending.ready && lct_policy_is_needed(use->key) && !done.said)
        ending.code = say_policy(tpm, use->key, &done, err);
    if (ending.ready && ending.code == LCT_OK)
        ending.code = use->once(tpm, use, &ending.rc, err);
    ending.sessions = ending.code == LCT_ERR_TPM && ((had_session && tpm->session.handle == 0) ||
                                                     (done.had_policy && tpm->policy.handle == 0));
    ending.sessions = ending.sessions || lct_result_is_lost_session(ending.rc) ||
                      is_out_of_step(use->key, ending.rc);
    return ending;
}

/* A session may be out of step: an authorization each would be a wrong try. What the boot's state
 * is has nothing to do with that. */
static void end_sessions(struct lct_tpm *tpm, const struct ending *ending, bool changed)
{
    if (ending->code == LCT_OK)
        return;
    lct_tpm_session_close(tpm);
    bool refused = ending->code == LCT_ERR_SEALED && ending->rc == TSS2_RC_SUCCESS;
    if (!refused && !changed)
        lct_tpm_policy_close(tpm);
}

/* Whether the key that this attempt has loaded has been flushed since, and its handle is another's
 * or nobody's: each command is by itself, and others come in between. */
static bool was_displaced(struct lct_tpm *tpm, const struct ending *ending)
{
    if (!ending->loaded || ending->rc == TSS2_RC_SUCCESS || tpm->broken ||
        tpm->channel->wire->private_handles)
        return false;
    tpm->used = false;
    return !lct_tpm_holds_resident(tpm);
}

/*
 * Without a resource manager anyone can flush our key, or put another behind its handle. So what
 * refuses is loaded once more if it was loaded in an earlier turn, or is not there any more, and
 * what is behind the handle is left alone unless it has our key's Name. A session that is gone is
 * opened once more, too; where the key was not ready yet, by lct_tpm_run. Not so after a wrong
 * authorization, which the key itself is told once. After the TPM was restarted each process of a
 * program flushes what it takes for its own and is another's of the same Name: so a key that is
 * gone, and has no authorization, is loaded some more times. A PCR that is extended between policy
 * and command takes the policy with it (Part 3, 23.7), whatever its value. A wrapped key that was
 * not at its persistent handle begins anew, loaded.
 */
enum lct_code lct_use_run(struct lct_tpm *tpm, void *arg, struct lct_err *err)
{
    enum { MOST = 2, MOST_IF_LOST = 6, MOST_IF_CHANGED = 16 }; /* attempts */
    struct lct_use *use = arg;
    const struct lct_tpm_key *key = use->key;
    struct ending ending = {.code = LCT_ERR_INTERNAL};
    bool broke = use->again, again = true, ever_loaded = false;
    enum lct_code code = spare_last_try(tpm, key, err);

    if (code != LCT_OK)
        return code;
    use->again = true;
    if (use->doubted && is_at_hand(tpm, key))
        drop_resident(tpm, use, LCT_ERR_WRONG_KEY);
    for (int number = 1; again; number++) {
        TPM2_HANDLE place = place_of(tpm, key);
        ending = attempt(tpm, use, broke, err);
        ever_loaded = ever_loaded || ending.loaded;
        bool stays = place == 0 && tpm->channel->wire->private_handles;
        bool doubtful = ending.ready && !ending.loaded && !stays && ending.rc != TSS2_RC_SUCCESS &&
                        !key->needs_auth && !has_refused(tpm, key, ending.code);
        bool lost =
            ending.ready && (lct_result_is_lost_handle(ending.rc) || was_displaced(tpm, &ending));
        bool gone = lost || (ending.ready && ending.code == LCT_ERR_WRONG_KEY);
        bool changed = ending.ready && lct_result_base(ending.rc) == TPM2_RC_PCR_CHANGED;
        int most = changed ? MOST_IF_CHANGED : lost && !key->needs_auth ? MOST_IF_LOST : MOST;
        again = ending.code != LCT_OK && !tpm->broken &&
                (gone || doubtful || changed || ending.sessions) && number < most;
        end_sessions(tpm, &ending, changed);
        if ((gone || doubtful) && !changed)
            drop_resident(tpm, use, ending.code);
        if (place != 0 && place_of(tpm, key) == 0)
            number = 0;
    }
    make_room(tpm, key, ever_loaded);
    return ending.code;
}

enum lct_code lct_use_check(const struct lct_tpm_key *key, const char *what, struct lct_err *err)
{
    if (key->needs_auth && !has_auth(key))
        return LCT_FAIL(err, LCT_ERR_AUTH, "%s: %s takes its passphrase", key->label, what);
    if (key->needs_auth && atomic_load(&key->tries->refused))
        return LCT_FAIL(err, LCT_ERR_AUTH,
                        "%s: its passphrase was wrong, and is not tried again, because the TPM "
                        "counts; load the key anew with the right one",
                        key->label);
    return LCT_OK;
}
