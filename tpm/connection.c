/* SPDX-License-Identifier: Apache-2.0 */
#include "tpm/connection.h"

#include "tpm/capability.h"
#include "tpm/result.h"
#include "tpm/session.h"

#include <stdlib.h>
#include <string.h>

enum {
    DEFAULT_TIMEOUT = 30000, /* ms */
    STALLED_TIMEOUT = 250    /* ms for a TPM that did not answer the last time */
};

/* The process's own connections: two library contexts share one TPM's few slots. The only mutable
 * state of its kind. */
static struct {
    pthread_mutex_t lock;
    struct lct_tpm *first;
    unsigned long forks;        /* counted in children */
    struct lct_wire *abandoned; /* of parents: not ours to end, kept so that they are not lost */
    bool watches_forks;
} process = {.lock = PTHREAD_MUTEX_INITIALIZER};

const TSS2L_SYS_AUTH_COMMAND lct_tpm_no_auth = {
    .count = 1,
    .auths = {{.sessionHandle = TPM2_RS_PW}},
};

/*
 * Only the forking thread lives on in a child; what others held stays held for ever. So the locks
 * begin anew, and the parent's connections are left alone: nothing is sent on them, not even a
 * goodbye.
 */
static void after_fork(void)
{
    process.forks++;
    (void)pthread_mutex_init(&process.lock, NULL);
    for (struct lct_tpm *tpm = process.first; tpm != NULL; tpm = tpm->next) {
        (void)pthread_mutex_init(&tpm->lock, NULL);
        if (tpm->channel != NULL && tpm->channel->wire->let_go != NULL)
            tpm->channel->wire->let_go(tpm->channel->wire);
    }
}

static bool same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static int timeout_of(const struct lct_config *config)
{
    return config->timeout != 0 ? config->timeout * 1000 : DEFAULT_TIMEOUT;
}

static struct lct_tpm *find(const struct lct_config *config)
{
    struct lct_tpm *tpm = process.first;

    while (tpm != NULL &&
           !(same_text(tpm->tcti, config->tcti) && tpm->timeout == timeout_of(config) &&
             tpm->always == config->always_session))
        tpm = tpm->next;
    return tpm;
}

static struct lct_tpm *add(const struct lct_config *config)
{
    struct lct_tpm *tpm = calloc(1, sizeof *tpm);

    if (tpm == NULL)
        return NULL;
    tpm->timeout = timeout_of(config);
    tpm->always = config->always_session;
    tpm->forks = process.forks;
    tpm->tcti = config->tcti != NULL ? strdup(config->tcti) : NULL;
    if ((config->tcti != NULL && tpm->tcti == NULL) || pthread_mutex_init(&tpm->lock, NULL) != 0) {
        free(tpm->tcti);
        free(tpm);
        return NULL;
    }
    tpm->next = process.first;
    process.first = tpm;
    return tpm;
}

enum lct_code lct_tpm_open(struct lct_tpm **tpm, const struct lct_config *config,
                           struct lct_err *err)
{
    pthread_mutex_lock(&process.lock);
    if (!process.watches_forks)
        process.watches_forks = pthread_atfork(NULL, NULL, after_fork) == 0;
    *tpm = find(config);
    if (*tpm == NULL)
        *tpm = add(config);
    if (*tpm != NULL)
        (*tpm)->references++;
    pthread_mutex_unlock(&process.lock);
    return *tpm != NULL ? LCT_OK : LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
}

/* SAPI's context on the channel; one that is there already begins anew. */
static enum lct_code start_sys(struct lct_tpm *tpm, struct lct_err *err)
{
    size_t size = Tss2_Sys_GetContextSize(LCT_MAX_MESSAGE);

    if (tpm->sys == NULL)
        tpm->sys = calloc(1, size);
    if (tpm->sys != NULL &&
        Tss2_Sys_Initialize(tpm->sys, size, (TSS2_TCTI_CONTEXT *)&tpm->channel->tcti, NULL) ==
            TSS2_RC_SUCCESS)
        return LCT_OK;
    (void)LCT_FAIL(err, LCT_ERR_INTERNAL, "tpm2-tss gives no context");
    return LCT_ERR_INTERNAL;
}

/*
 * Ends the connection. What it holds that is not private to it stays loaded in the TPM: another
 * program's object may take the place behind our handle, so it is looked for by its Name.
 * Pointers go before what they point to: another thread may fork.
 */
static void disconnect(struct lct_tpm *tpm)
{
    struct lct_channel *channel = tpm->channel;
    struct lct_space *space = tpm->space;

    tpm->channel = NULL;
    tpm->space = NULL;
    if (channel != NULL && channel->wire->private_handles)
        tpm->stale_session = 0;
    else if (channel != NULL)
        lct_tpm_note_debris(tpm, &space->resident);
    lct_channel_free(channel);
    lct_space_free(space);
}

/*
 * In a child, the parent's connection: left without a word, since what the child says on it the
 * parent would be answered. A TCTI module has no such way out: its context stays behind.
 */
static void abandon(struct lct_channel *channel, struct lct_space *space)
{
    struct lct_wire *wire = channel != NULL ? lct_channel_abandon(channel) : NULL;

    lct_space_free(space);
    if (wire == NULL)
        return;
    pthread_mutex_lock(&process.lock);
    wire->next = process.abandoned;
    process.abandoned = wire;
    pthread_mutex_unlock(&process.lock);
}

/* In the child of a fork that we have not seen yet. */
static void look_for_fork(struct lct_tpm *tpm)
{
    struct lct_channel *channel = tpm->channel;
    struct lct_space *space = tpm->space;

    if (tpm->forks == process.forks)
        return;
    tpm->forks = process.forks;
    tpm->broken = false;
    tpm->has_signed = false;
    tpm->crowded = 0;
    tpm->num_debris = 0;
    tpm->session = 0;
    tpm->stale_session = 0;
    tpm->lost_session = false;
    lct_session_keys_wipe(&tpm->session_keys);
    tpm->inherited = channel != NULL && space != NULL && channel->wire->inheritable;
    if (tpm->inherited)
        return;
    tpm->channel = NULL;
    tpm->space = NULL;
    abandon(channel, space);
}

/* Opens a connection; `ahead` of need only what may be opened so. */
static enum lct_code connect_tpm(struct lct_tpm *tpm, bool ahead, struct lct_err *err)
{
    struct lct_wire *wire = NULL;
    enum lct_code code =
        ahead ? lct_wire_open_ahead(&wire, tpm->tcti, err) : lct_wire_open(&wire, tpm->tcti, err);

    if (code != LCT_OK)
        return code;
    struct lct_space *space = lct_space_new(wire->inheritable);
    struct lct_channel *channel = lct_channel_new(wire, tpm->timeout);
    if (space == NULL || channel == NULL) {
        lct_space_free(space);
        if (channel != NULL)
            lct_channel_free(channel);
        else
            wire->close(wire);
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    }
    tpm->adopted = false;
    tpm->channel = channel;
    tpm->space = space;
    code = start_sys(tpm, err);
    if (code != LCT_OK)
        disconnect(tpm);
    return code;
}

/*
 * In a child: a connection of its own if one opens. It does not in a chroot, or after the
 * privileges are gone, and then the child goes on with its parent's, in turns.
 */
static enum lct_code connect_own(struct lct_tpm *tpm, struct lct_err *err)
{
    struct lct_channel *channel = tpm->channel;
    struct lct_space *space = tpm->space;

    tpm->inherited = false;
    if (connect_tpm(tpm, false, NULL) == LCT_OK) {
        abandon(channel, space);
        return LCT_OK;
    }
    tpm->adopted = true;
    tpm->channel = channel;
    tpm->space = space;
    lct_channel_reset(channel); /* another thread of the parent may have been using it */
    return start_sys(tpm, err);
}

/* Flushes every transient object of a handle space that is ours alone. */
static enum lct_code flush_all(struct lct_tpm *tpm, struct lct_err *err)
{
    TPMS_CAPABILITY_DATA data;
    enum lct_code code = lct_capability_get(tpm, &data, "cleaning up", TPM2_CAP_HANDLES,
                                            TPM2_TRANSIENT_FIRST, TPM2_MAX_CAP_HANDLES, err);
    const TPML_HANDLE *list = &data.data.handles;

    for (uint32_t i = 0; code == LCT_OK && i < list->count && i < TPM2_MAX_CAP_HANDLES; i++)
        code = lct_tpm_result(tpm, "cleaning up", TPM2_CC_FlushContext,
                              Tss2_Sys_FlushContext(tpm->sys, list->handle[i]), err);
    return code;
}

/* Opens anew a connection that no longer works. Where it may be that we are not allowed to any
 * more, the old one is kept unless the new one opens: it may recover. */
static enum lct_code reopen(struct lct_tpm *tpm, struct lct_err *err)
{
    struct lct_channel *channel = tpm->channel;
    struct lct_space *space = tpm->space;
    bool dirty, keep = channel->wire->inheritable;

    if (!keep)
        disconnect(tpm);
    enum lct_code code = connect_tpm(tpm, false, err);
    if (code != LCT_OK && keep) {
        tpm->channel = channel;
        tpm->space = space;
    }
    if (code != LCT_OK)
        return code;
    if (keep) {
        lct_space_leave(space, false);
        abandon(channel, space);
    }
    return lct_space_enter(tpm->space, &dirty, tpm->timeout, err);
}

/* Nobody knows what is left in the space: all of it goes, or is looked for later. */
static enum lct_code clear(struct lct_tpm *tpm, struct lct_err *err)
{
    struct lct_space *space = tpm->space;
    bool ours_alone = tpm->channel->wire->private_handles;
    enum lct_code code = start_sys(tpm, err);

    if (!ours_alone)
        lct_tpm_note_debris(tpm, &space->resident);
    if (space->session != 0)
        lct_tpm_note_session(tpm, space->session);
    space->session = 0;
    space->resident.len = 0;
    return code == LCT_OK && ours_alone ? flush_all(tpm, err) : code;
}

/*
 * After a turn that did not end well, in this process or in one that died: the response that nobody
 * read is thrown away. A session that we do not know ends only with its connection.
 */
static enum lct_code recover(struct lct_tpm *tpm, struct lct_err *err)
{
    struct lct_wire *wire = tpm->channel->wire;
    int timeout = tpm->space->stalled ? STALLED_TIMEOUT : tpm->timeout;
    enum lct_code code = wire->settle != NULL ? wire->settle(wire, timeout, err) : LCT_ERR_NO_TPM;
    bool settled = code == LCT_OK;

    tpm->space->stalled = code == LCT_ERR_TIMEOUT;
    if (code == LCT_ERR_NO_TPM || (settled && tpm->lost_session && wire->private_handles)) {
        code = reopen(tpm, err);
        if (code == LCT_OK || !settled)
            return code;
    }
    if (!settled)
        return code;
    code = clear(tpm, err);
    if (code == LCT_OK || code == LCT_ERR_TIMEOUT || !tpm->broken)
        return code;
    tpm->broken = false; /* Linux cannot do anything with a space that a TPM reset has made void */
    return reopen(tpm, err);
}

static enum lct_code enter(struct lct_tpm *tpm, struct lct_err *err)
{
    bool dirty;
    enum lct_code code = lct_space_enter(tpm->space, &dirty, tpm->timeout, err);

    if (code != LCT_OK)
        return code;
    tpm->broken = false;
    tpm->once = false;
    code = dirty ? recover(tpm, err) : LCT_OK;
    if (code == LCT_OK)
        lct_tpm_sweep(tpm);
    if (code != LCT_OK && tpm->space != NULL)
        lct_space_leave(tpm->space, false);
    return code;
}

/* Takes the connection, opening it if need be. On failure it is not taken. */
static enum lct_code take(struct lct_tpm *tpm, struct lct_err *err)
{
    enum lct_code code = LCT_OK;

    pthread_mutex_lock(&tpm->lock);
    look_for_fork(tpm);
    if (tpm->inherited)
        code = connect_own(tpm, err);
    else if (tpm->channel == NULL)
        code = connect_tpm(tpm, false, err);
    if (code == LCT_OK)
        code = enter(tpm, err);
    if (code != LCT_OK)
        pthread_mutex_unlock(&tpm->lock);
    return code;
}

static void give(struct lct_tpm *tpm)
{
    tpm->space->stalled = tpm->broken && tpm->channel->failure.code == LCT_ERR_TIMEOUT;
    lct_space_leave(tpm->space, !tpm->broken);
    if (tpm->broken && tpm->channel->wire->settle == NULL)
        disconnect(tpm);
    pthread_mutex_unlock(&tpm->lock);
}

enum lct_code lct_tpm_run(struct lct_tpm *tpm, const char *label,
                          enum lct_code (*work)(struct lct_tpm *tpm, void *arg,
                                                struct lct_err *err),
                          void *arg, struct lct_err *err)
{
    enum lct_code code = LCT_ERR_INTERNAL;
    bool broke = true;

    for (int attempt = 0; attempt < 2 && broke; attempt++) {
        code = take(tpm, err);
        if (code != LCT_OK) {
            (void)lct_err_prefix(err, label);
            return code;
        }
        code = work(tpm, arg, err);
        lct_tpm_session_leave(tpm);
        broke = tpm->broken && !tpm->once && code != LCT_ERR_TIMEOUT;
        give(tpm);
    }
    return code;
}

void lct_tpm_prepare(struct lct_tpm *tpm)
{
    pthread_mutex_lock(&tpm->lock);
    look_for_fork(tpm);
    if (tpm->channel == NULL)
        (void)connect_tpm(tpm, true, NULL);
    pthread_mutex_unlock(&tpm->lock);
}

static void forget(struct lct_tpm *tpm)
{
    struct lct_tpm **link = &process.first;

    while (*link != NULL && *link != tpm)
        link = &(*link)->next;
    if (*link != NULL)
        *link = tpm->next;
}

/* Flushes what we keep in a TPM that would not forget it with the connection. */
static enum lct_code say_goodbye(struct lct_tpm *tpm, void *arg, struct lct_err *err)
{
    (void)arg;
    (void)err;
    lct_tpm_flush_resident(tpm);
    return LCT_OK;
}

void lct_tpm_close(struct lct_tpm *tpm)
{
    if (tpm == NULL)
        return;
    pthread_mutex_lock(&process.lock);
    bool last = --tpm->references == 0;
    if (last)
        forget(tpm);
    pthread_mutex_unlock(&process.lock);
    if (!last)
        return;
    look_for_fork(tpm);
    bool keeps = tpm->channel != NULL && !tpm->channel->wire->private_handles &&
                 tpm->space->resident.len != 0;
    bool left = tpm->num_debris > 0 || tpm->stale_session != 0 || tpm->lost_session;
    if (keeps || left)
        (void)lct_tpm_run(tpm, "closing", say_goodbye, NULL, NULL);
    if (tpm->inherited)
        abandon(tpm->channel, tpm->space);
    else
        disconnect(tpm);
    free(tpm->sys);
    lct_session_keys_wipe(&tpm->session_keys);
    lct_secret_wipe(&tpm->proven_auth);
    pthread_mutex_destroy(&tpm->lock);
    free(tpm->tcti);
    free(tpm);
}

enum lct_code lct_tpm_result(struct lct_tpm *tpm, const char *label, TPM2_CC command, TSS2_RC rc,
                             struct lct_err *err)
{
    struct lct_err ignored;
    enum lct_code code;

    if (!lct_result_is_local(rc))
        return lct_result(err, label, command, rc);
    if (err == NULL)
        err = &ignored;
    if (tpm->channel->failure.code != LCT_OK) {
        *err = tpm->channel->failure;
        err->tpm_rc = rc;
        code = lct_err_prefix(err, label);
    } else {
        code = lct_result(err, label, command, rc);
    }
    tpm->broken = true;
    return code;
}

struct lct_name lct_tpm_name(const TPM2B_NAME *from)
{
    struct lct_name name = {0};

    if (from->size <= sizeof name.data) {
        name.len = from->size;
        memcpy(name.data, from->name, name.len);
    }
    return name;
}
