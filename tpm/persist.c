/* SPDX-License-Identifier: Apache-2.0 */
#include "tpm/persist.h"

#include "tpm/capability.h"
#include "tpm/parent.h"
#include "tpm/result.h"
#include "tpm/session.h"
#include "tpm/use.h"

#include <string.h>

/* TPM2_ReadPublic. Of nothing, and of what is no key that we could know, the Name is empty. */
static enum lct_code read_name(struct lct_tpm *tpm, struct lct_name *name, uint32_t handle,
                               const char *label, struct lct_err *err)
{
    TPM2B_PUBLIC public_area = {0};
    TPM2B_NAME tpm_name = {0}, qualified = {0};
    TSS2_RC rc =
        Tss2_Sys_ReadPublic(tpm->sys, handle, NULL, &public_area, &tpm_name, &qualified, NULL);

    *name = (struct lct_name){0};
    if (lct_result_is_lost_handle(rc) || lct_result_base(rc) == TPM2_RC_TYPE)
        return LCT_OK;
    enum lct_code code = lct_tpm_result(tpm, label, TPM2_CC_ReadPublic, rc, err);
    if (code == LCT_OK)
        *name = lct_tpm_name(&tpm_name);
    return code;
}

struct naming {
    struct lct_name *name;
    uint32_t handle;
    const char *label;
};

static enum lct_code name_at(struct lct_tpm *tpm, void *arg, struct lct_err *err)
{
    const struct naming *naming = arg;

    return read_name(tpm, naming->name, naming->handle, naming->label, err);
}

enum lct_code lct_tpm_name_at(struct lct_tpm *tpm, struct lct_name *name, uint32_t handle,
                              const char *label, struct lct_err *err)
{
    struct naming naming = {name, handle, label};

    return lct_tpm_run(tpm, label, name_at, &naming, err);
}

static enum lct_code read_all(struct lct_tpm *tpm, struct lct_objects *objects, const char *label,
                              struct lct_err *err)
{
    TPML_HANDLE list;
    enum lct_code code =
        lct_capability_handles(tpm, &list, label, lct_persist_first, lct_persist_last, err);

    *objects = (struct lct_objects){0};
    for (uint32_t i = 0; code == LCT_OK && i < list.count && i < LCT_MAX_HANDLES; i++) {
        struct lct_object *object = &objects->objects[objects->num++];
        object->handle = list.handle[i];
        code = read_name(tpm, &object->name, object->handle, label, err);
    }
    return code;
}

struct listing {
    struct lct_objects *objects;
    const char *label;
};

static enum lct_code list_taken(struct lct_tpm *tpm, void *arg, struct lct_err *err)
{
    const struct listing *listing = arg;

    return read_all(tpm, listing->objects, listing->label, err);
}

enum lct_code lct_tpm_list_persistent(struct lct_tpm *tpm, struct lct_objects *objects,
                                      const char *label, struct lct_err *err)
{
    struct listing listing = {objects, label};

    return lct_tpm_run(tpm, label, list_taken, &listing, err);
}

/* Opens the session, and says by what the owner is authorized in it; NULL: by nothing. */
static enum lct_code begin(struct lct_tpm *tpm, const struct lct_secret **auth,
                           const struct lct_tpm_owner *owner, struct lct_err *err)
{
    struct lct_parent_request as_owner = {
        .label = owner->label, .owner_auth = owner->auth, .libctx = owner->libctx};
    enum lct_code code = lct_parent_begin_as(tpm, &as_owner, TPM2_RH_OWNER, err);

    *auth = as_owner.owner_auth;
    if (code == LCT_OK && tpm->session.handle == 0)
        code = lct_parent_open_session(tpm, owner->label, owner->libctx, err);
    return code;
}

/* TPM2_EvictControl. An object that is persistent itself goes; a loaded one is put at the handle.
 */
static enum lct_code evict_control(struct lct_tpm *tpm, TPM2_HANDLE object,
                                   const struct lct_name *name, uint32_t handle,
                                   const struct lct_tpm_owner *owner, const struct lct_secret *auth,
                                   TSS2_RC *rc, struct lct_err *err)
{
    const struct lct_terms terms = {.libctx = owner->libctx,
                                    .auth = auth,
                                    .num_names = 2,
                                    .names = {lct_name_of_handle(TPM2_RH_OWNER), *name}};

    *rc = Tss2_Sys_EvictControl_Prepare(tpm->sys, TPM2_RH_OWNER, object, handle);
    return *rc == TSS2_RC_SUCCESS
               ? lct_tpm_execute(tpm, owner->label, TPM2_CC_EvictControl, &terms, rc, err)
               : lct_tpm_result(tpm, owner->label, TPM2_CC_EvictControl, *rc, err);
}

/* What the TPM has refused in the session: the owner's authorization or, where there is none to
 * refuse, the Names, since another object is behind a handle. */
static enum lct_code fail_refused(struct lct_tpm *tpm, const struct lct_tpm_owner *owner,
                                  const struct lct_secret *auth, struct lct_err *err)
{
    bool takes = true;
    enum lct_code code = lct_parent_takes_auth(tpm, &takes, TPM2_RH_OWNER, owner->label, err);

    if (code != LCT_OK)
        return code;
    if (!takes)
        return LCT_FAIL(err, LCT_ERR_WRONG_KEY,
                        "%s: another program has put another object in the place of its key just "
                        "now, which was neither persisted nor evicted; try again",
                        owner->label);
    return LCT_FAIL(
        err, LCT_ERR_AUTH,
        auth != NULL && auth->len > 0
            ? "%s: the TPM refuses the owner's authorization; it is not the one that "
              "tpm2_changeauth -c owner has set"
            : "%s: what is at persistent handles is the TPM owner's affair, and takes the owner's "
              "authorization: put it into a file and set owner_auth_file",
        owner->label);
}

static enum lct_code fail_taken(const char *label, uint32_t handle, struct lct_err *err)
{
    return LCT_FAIL(err, LCT_ERR_EXISTS,
                    "%s: something else is at 0x%08x already; name another handle, or none, to "
                    "take the first free one",
                    label, handle);
}

/* One key on its way to a persistent handle. */
struct persisting {
    uint32_t *handle;
    uint32_t wanted; /* 0: any of ours */
    bool *made;
    const struct lct_tpm_key *key;
    const struct lct_tpm_owner *owner;
    bool again; /* it was begun before */
    struct lct_objects taken;
};

/* Whether the key is where it is wanted already; there it may be since a crash, or of an attempt
 * whose response was lost. */
static bool find_key(struct persisting *persisting)
{
    for (size_t i = 0; i < persisting->taken.num; i++) {
        const struct lct_object *object = &persisting->taken.objects[i];
        if ((persisting->wanted == 0 || persisting->wanted == object->handle) &&
            lct_name_equal(&object->name, persisting->key->name)) {
            *persisting->handle = object->handle;
            return true;
        }
    }
    return false;
}

/* The first free handle from `handle` on. */
static uint32_t skip_taken(const struct persisting *persisting, uint32_t handle)
{
    for (size_t i = 0; i < persisting->taken.num; i++)
        if (persisting->taken.objects[i].handle == handle)
            handle++;
    return handle;
}

/* The TPM is the lock: whoever comes second is told that the handle is taken. */
static enum lct_code put(struct lct_tpm *tpm, const struct persisting *persisting,
                         const struct lct_secret *auth, struct lct_err *err)
{
    enum { MAX_TRIES = 64 }; /* others may take a handle before us */
    const struct lct_tpm_owner *owner = persisting->owner;
    uint32_t handle = persisting->wanted != 0 ? persisting->wanted : lct_persist_first;
    enum lct_code code = LCT_ERR_INTERNAL;
    TPM2_RC base = TPM2_RC_NV_DEFINED;

    for (int tries = 0; base == TPM2_RC_NV_DEFINED && tries < MAX_TRIES; tries++, handle++) {
        TSS2_RC rc;
        if (persisting->wanted == 0)
            handle = skip_taken(persisting, handle);
        code = evict_control(tpm, tpm->space->resident_handle, persisting->key->name, handle, owner,
                             auth, &rc, err);
        base = lct_result_base(rc);
        *persisting->handle = handle;
        if (base == TPM2_RC_NV_DEFINED && persisting->wanted != 0)
            return fail_taken(owner->label, handle, err);
    }
    if (code == LCT_ERR_AUTH && !tpm->broken)
        return fail_refused(tpm, owner, auth, err);
    if (base == TPM2_RC_NV_SPACE) {
        tpm->once = true; /* it is not a slot that it lacks */
        return LCT_FAIL(err, LCT_ERR_TPM_FULL,
                        "%s: the TPM's NV memory has no room for its key, which is loaded from its "
                        "key file as before; lct gc says what else is there, and lct unpersist "
                        "makes room",
                        owner->label);
    }
    return code;
}

/* It is there, and it is the key. */
static enum lct_code confirm(struct lct_tpm *tpm, const struct persisting *persisting,
                             struct lct_err *err)
{
    struct lct_name name;
    enum lct_code code = read_name(tpm, &name, *persisting->handle, persisting->owner->label, err);

    if (code != LCT_OK || lct_name_equal(&name, persisting->key->name))
        return code;
    return LCT_FAIL(err, LCT_ERR_WRONG_KEY,
                    "%s: the TPM has not its key at 0x%08x, where it was just put: another program "
                    "changed that",
                    persisting->owner->label, *persisting->handle);
}

static enum lct_code load_and_put(struct lct_tpm *tpm, struct persisting *persisting,
                                  struct lct_err *err)
{
    const struct lct_secret *auth = NULL;
    struct lct_tpm_key bare = *persisting->key;
    const struct lct_use use = {.key = &bare, .again = persisting->again};

    bare.auth = NULL; /* nothing is done with it that takes it */
    persisting->again = true;
    enum lct_code code = lct_use_load(tpm, &use, err);
    if (code == LCT_OK)
        code = begin(tpm, &auth, persisting->owner, err);
    if (code == LCT_OK)
        code = put(tpm, persisting, auth, err);
    lct_tpm_session_close(tpm);
    if (!tpm->channel->wire->private_handles)
        lct_tpm_flush_resident(tpm);
    *persisting->made = code == LCT_OK;
    return code == LCT_OK ? confirm(tpm, persisting, err) : code;
}

static enum lct_code persist(struct lct_tpm *tpm, void *arg, struct lct_err *err)
{
    struct persisting *persisting = arg;
    const char *label = persisting->owner->label;
    bool before = persisting->again && !tpm->afresh; /* it may have been put there */
    enum lct_code code = read_all(tpm, &persisting->taken, label, err);

    if (code != LCT_OK)
        return code;
    if (find_key(persisting)) {
        *persisting->made = *persisting->made || before;
        return LCT_OK;
    }
    if (persisting->wanted != 0 && skip_taken(persisting, persisting->wanted) != persisting->wanted)
        return fail_taken(label, persisting->wanted, err);
    return load_and_put(tpm, persisting, err);
}

enum lct_code lct_tpm_persist(struct lct_tpm *tpm, uint32_t *handle, bool *made,
                              const struct lct_tpm_key *key, const struct lct_tpm_owner *owner,
                              struct lct_err *err)
{
    struct persisting persisting = {
        .handle = handle, .wanted = *handle, .made = made, .key = key, .owner = owner};

    *made = false;
    if (key->parent == TPM2_RH_NULL || key->parent == TPM2_RH_PLATFORM)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                        "%s: its parent is in the %s hierarchy, whose keys the TPM's owner cannot "
                        "put at a persistent handle",
                        owner->label, key->parent == TPM2_RH_NULL ? "null" : "platform");
    return lct_tpm_run(tpm, owner->label, persist, &persisting, err);
}

struct evicting {
    uint32_t handle;
    const struct lct_name *name;
    const struct lct_tpm_owner *owner;
    bool again; /* the command was sent before, and the connection broke */
};

static enum lct_code fail_other(const struct evicting *evicting, bool absent, struct lct_err *err)
{
    return LCT_FAIL(err, LCT_ERR_OTHER_TPM,
                    absent ? "%s: nothing is at 0x%08x of this TPM"
                           : "%s: what is at 0x%08x is another's, and stays",
                    evicting->owner->label, evicting->handle);
}

/* Why the TPM has refused that: another object may be there by now. */
static enum lct_code explain(struct lct_tpm *tpm, const struct evicting *evicting,
                             const struct lct_secret *auth, struct lct_err *err)
{
    struct lct_name name;
    enum lct_code code = read_name(tpm, &name, evicting->handle, evicting->owner->label, err);

    if (code != LCT_OK)
        return code;
    if (!lct_name_equal(&name, evicting->name))
        return fail_other(evicting, name.len == 0, err);
    return fail_refused(tpm, evicting->owner, auth, err);
}

static enum lct_code evict(struct lct_tpm *tpm, void *arg, struct lct_err *err)
{
    struct evicting *evicting = arg;
    const struct lct_secret *auth = NULL;
    struct lct_name name;
    TSS2_RC rc = TSS2_RC_SUCCESS;
    enum lct_code code = read_name(tpm, &name, evicting->handle, evicting->owner->label, err);

    if (code == LCT_OK && name.len == 0 && evicting->again)
        return LCT_OK;
    if (code == LCT_OK && !lct_name_equal(&name, evicting->name))
        code = fail_other(evicting, name.len == 0, err);
    if (code != LCT_OK)
        return code;
    lct_tpm_flush_resident(tpm); /* the session takes a slot for a moment */
    code = begin(tpm, &auth, evicting->owner, err);
    if (code == LCT_OK) {
        evicting->again = true;
        code = evict_control(tpm, evicting->handle, evicting->name, evicting->handle,
                             evicting->owner, auth, &rc, err);
    }
    lct_tpm_session_close(tpm);
    if (code != LCT_OK && !tpm->broken && lct_result_is_lost_handle(rc))
        return fail_other(evicting, true, err);
    return code == LCT_ERR_AUTH && !tpm->broken ? explain(tpm, evicting, auth, err) : code;
}

enum lct_code lct_tpm_evict(struct lct_tpm *tpm, uint32_t handle, const struct lct_name *name,
                            const struct lct_tpm_owner *owner, struct lct_err *err)
{
    struct evicting evicting = {handle, name, owner, false};

    return lct_tpm_run(tpm, owner->label, evict, &evicting, err);
}
