/* SPDX-License-Identifier: Apache-2.0 */
#include "tpm/capability.h"
#include "tpm/connection.h"
#include "tpm/result.h"
#include "tpm/stream.h"

#include <string.h>

/*
 * A session is like any other, and a storage root key has the same Name whoever makes it: after a
 * while what looks like ours may be another program's. Keys of identities have Names of their own.
 */
static bool is_long_ago(int64_t since)
{
    enum { A_WHILE = 2000 }; /* ms */

    return lct_now_ms() - since > A_WHILE;
}

static bool is_stale(const struct lct_tpm *tpm)
{
    return is_long_ago(tpm->debris_since);
}

void lct_tpm_note_lost_primary(struct lct_tpm *tpm, TPM2_HANDLE hierarchy, bool rsa)
{
    tpm->lost_primary = (struct lct_lost_primary){hierarchy, rsa, lct_now_ms()};
}

bool lct_tpm_had_lost_primary(struct lct_tpm *tpm, TPM2_HANDLE hierarchy, bool rsa)
{
    const struct lct_lost_primary lost = tpm->lost_primary;

    if (lost.hierarchy != hierarchy || lost.rsa != rsa)
        return false;
    tpm->lost_primary = (struct lct_lost_primary){0};
    return !is_long_ago(lost.since);
}

void lct_tpm_note_debris(struct lct_tpm *tpm, const struct lct_name *name)
{
    if (name->len == 0)
        return;
    tpm->debris_since = lct_now_ms();
    for (size_t i = 0; i < tpm->num_debris; i++)
        if (lct_name_equal(&tpm->debris[i], name))
            return;
    if (tpm->num_debris < LCT_MAX_DEBRIS)
        tpm->debris[tpm->num_debris++] = *name;
}

static bool is_debris(const struct lct_tpm *tpm, const struct lct_name *name)
{
    for (size_t i = 0; i < tpm->num_debris; i++)
        if (lct_name_equal(&tpm->debris[i], name))
            return true;
    return false;
}

/* Whether TPM2_FlushContext says that there is nothing to flush. Its handle is a parameter (TPM 2.0
 * Part 3, 28.4), but not to each resource manager. */
static bool is_gone(TSS2_RC rc)
{
    return lct_result_base(rc) == TPM2_RC_HANDLE || lct_result_is_lost_handle(rc) ||
           lct_result_is_lost_session(rc);
}

/* TPM2_FlushContext, once more if the TPM refuses. False: it is there still. */
static bool flush_context(struct lct_tpm *tpm, TPM2_HANDLE handle)
{
    bool gone = false;

    for (int attempt = 0; attempt < 2 && !gone && !tpm->broken; attempt++) {
        TSS2_RC rc = Tss2_Sys_FlushContext(tpm->sys, handle);
        gone = lct_tpm_result(tpm, "cleaning up", TPM2_CC_FlushContext, rc, NULL) == LCT_OK ||
               is_gone(rc);
    }
    return gone;
}

/* Flushes what is behind the handle if it is debris. False: it was not possible. */
static bool sweep_one(struct lct_tpm *tpm, TPM2_HANDLE handle)
{
    TPM2B_PUBLIC public_area = {0};
    TPM2B_NAME tpm_name = {0}, qualified = {0};
    TSS2L_SYS_AUTH_RESPONSE auths = {0};
    TSS2_RC rc =
        Tss2_Sys_ReadPublic(tpm->sys, handle, NULL, &public_area, &tpm_name, &qualified, &auths);
    const struct lct_name name = lct_tpm_name(&tpm_name);

    bool storage = (public_area.publicArea.objectAttributes & TPMA_OBJECT_RESTRICTED) != 0;

    if (lct_tpm_result(tpm, "cleaning up", TPM2_CC_ReadPublic, rc, NULL) != LCT_OK)
        return !tpm->broken;
    if (!is_debris(tpm, &name) || (storage && is_stale(tpm)))
        return true;
    return flush_context(tpm, handle);
}

static void sweep_objects(struct lct_tpm *tpm)
{
    TPMS_CAPABILITY_DATA data;
    const TPML_HANDLE *list = &data.data.handles;
    bool clean = true;

    if (lct_capability_get(tpm, &data, "cleaning up", TPM2_CAP_HANDLES, lct_transient_first,
                           TPM2_MAX_CAP_HANDLES, NULL) != LCT_OK)
        return;
    for (uint32_t i = 0; i < list->count && i < TPM2_MAX_CAP_HANDLES && !tpm->broken; i++)
        if (list->handle[i] != tpm->space->resident_handle || tpm->space->resident.len == 0)
            clean = sweep_one(tpm, list->handle[i]) && clean;
    if (clean)
        tpm->num_debris = 0;
}

static bool was_before(const struct lct_tpm *tpm, TPM2_HANDLE session)
{
    for (uint32_t i = 0; i < tpm->sessions_before.count; i++)
        if (tpm->sessions_before.handle[i] == session)
            return true;
    return false;
}

static enum lct_code list_sessions(struct lct_tpm *tpm, const char *label, TPML_HANDLE *list,
                                   struct lct_err *err)
{
    TPMS_CAPABILITY_DATA data;
    enum lct_code code = lct_capability_get(tpm, &data, label, TPM2_CAP_HANDLES,
                                            TPM2_LOADED_SESSION_FIRST, TPM2_MAX_CAP_HANDLES, err);

    *list = data.data.handles;
    if (list->count > TPM2_MAX_CAP_HANDLES)
        list->count = 0;
    return code;
}

static void sweep_lost_session(struct lct_tpm *tpm)
{
    TPML_HANDLE now;

    if (list_sessions(tpm, "cleaning up", &now, NULL) != LCT_OK)
        return;
    for (uint32_t i = 0; i < now.count && !tpm->broken; i++)
        if (!was_before(tpm, now.handle[i]))
            (void)flush_context(tpm, now.handle[i]);
    tpm->lost_session = tpm->broken;
}

void lct_tpm_sweep(struct lct_tpm *tpm)
{
    if (tpm->channel->wire->private_handles)
        tpm->num_debris = 0;
    if (tpm->channel->wire->private_handles || is_stale(tpm)) {
        lct_tpm_forget_stale(tpm);
    }
    if (tpm->num_debris > 0)
        sweep_objects(tpm);
    for (size_t i = 0; i < LCT_MAX_STALE; i++)
        if (tpm->stale_sessions[i] != 0 && flush_context(tpm, tpm->stale_sessions[i]))
            tpm->stale_sessions[i] = 0;
    if (tpm->lost_session && !tpm->broken)
        sweep_lost_session(tpm);
}

void lct_tpm_remember(struct lct_tpm *tpm, const struct lct_name *name)
{
    for (size_t i = 0; i < tpm->num_known && i < LCT_MAX_KNOWN; i++)
        if (lct_name_equal(&tpm->known[i], name))
            return;
    tpm->known[tpm->num_known % LCT_MAX_KNOWN] = *name;
    tpm->num_known++;
}

void lct_tpm_make_slot(struct lct_tpm *tpm)
{
    for (size_t i = 0; i < tpm->num_known && i < LCT_MAX_KNOWN; i++)
        lct_tpm_note_debris(tpm, &tpm->known[i]);
    lct_tpm_sweep(tpm);
}

void lct_tpm_note_session(struct lct_tpm *tpm, TPM2_HANDLE session)
{
    tpm->debris_since = lct_now_ms();
    for (size_t i = 0; i < LCT_MAX_STALE && session != 0; i++)
        if (tpm->stale_sessions[i] == 0 || tpm->stale_sessions[i] == session) {
            tpm->stale_sessions[i] = session;
            return;
        }
    tpm->lost_session = true;
}

void lct_tpm_forget_stale(struct lct_tpm *tpm)
{
    memset(tpm->stale_sessions, 0, sizeof tpm->stale_sessions);
    tpm->lost_session = false;
}

bool lct_tpm_has_stale(const struct lct_tpm *tpm)
{
    for (size_t i = 0; i < LCT_MAX_STALE; i++)
        if (tpm->stale_sessions[i] != 0)
            return true;
    return tpm->lost_session;
}

void lct_tpm_flush_session(struct lct_tpm *tpm, TPM2_HANDLE session)
{
    if (!flush_context(tpm, session))
        lct_tpm_note_session(tpm, session);
}

/* A resource manager ends it with the connection: there is no need to know. */
enum lct_code lct_tpm_list_sessions(struct lct_tpm *tpm, const char *label, struct lct_err *err)
{
    if (tpm->channel->wire->private_handles)
        return LCT_OK;
    return list_sessions(tpm, label, &tpm->sessions_before, err);
}

void lct_tpm_flush(struct lct_tpm *tpm, TPM2_HANDLE handle, const struct lct_name *name)
{
    if (!flush_context(tpm, handle))
        lct_tpm_note_debris(tpm, name);
}

/* Whether TPM2_ReadPublic says of a handle that it is not that of an object of ours: it is
 * nobody's, or that of a sequence (TPM 2.0 Part 3, 12.4), which ours never are. */
static bool is_not_ours(TSS2_RC rc)
{
    return lct_result_is_lost_handle(rc) || lct_result_base(rc) == TPM2_RC_SEQUENCE;
}

enum lct_behind lct_tpm_look_behind(struct lct_tpm *tpm, TPM2_HANDLE handle,
                                    const struct lct_name *name)
{
    TPM2B_PUBLIC public_area = {0};
    TPM2B_NAME tpm_name = {0}, qualified = {0};

    if (tpm->channel->wire->private_handles || tpm->broken)
        return LCT_BEHIND_UNKNOWN;
    TSS2_RC rc =
        Tss2_Sys_ReadPublic(tpm->sys, handle, NULL, &public_area, &tpm_name, &qualified, NULL);
    const struct lct_name there = lct_tpm_name(&tpm_name);
    if (is_not_ours(rc))
        return LCT_BEHIND_OTHER;
    if (lct_tpm_result(tpm, "what was loaded", TPM2_CC_ReadPublic, rc, NULL) != LCT_OK)
        return LCT_BEHIND_UNKNOWN;
    return lct_name_equal(&there, name) ? LCT_BEHIND_OURS : LCT_BEHIND_OTHER;
}

bool lct_tpm_holds_resident(struct lct_tpm *tpm)
{
    if (tpm->channel->wire->private_handles || tpm->used)
        return true;
    const enum lct_behind there =
        lct_tpm_look_behind(tpm, tpm->space->resident_handle, &tpm->space->resident);
    if (there == LCT_BEHIND_UNKNOWN)
        lct_tpm_note_debris(tpm, &tpm->space->resident);
    return there == LCT_BEHIND_OURS;
}

bool lct_tpm_is_displaced(struct lct_tpm *tpm, TPM2_HANDLE handle, const struct lct_name *name)
{
    return lct_tpm_look_behind(tpm, handle, name) == LCT_BEHIND_OTHER;
}

void lct_tpm_flush_resident(struct lct_tpm *tpm)
{
    const struct lct_name name = tpm->space->resident;
    bool ours = name.len != 0 && lct_tpm_holds_resident(tpm);

    tpm->space->resident.len = 0;
    if (ours)
        lct_tpm_flush(tpm, tpm->space->resident_handle, &name);
}
