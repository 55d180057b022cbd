/* SPDX-License-Identifier: Apache-2.0 */
#include "tpm/connection.h"

#include "base/attribute.h"
#include "tpm/capability.h"
#include "tpm/result.h"
#include "tpm/session.h"
#include "tpm/trace.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    DEFAULT_TIMEOUT = 30000, /* ms */
    STALLED_TIMEOUT = 250,   /* ms for a TPM that did not answer the last time */
    GOODBYE_TIMEOUT = 1000   /* ms for one that a program ends on */
};

/* The process's own connections: two library contexts share one TPM's few slots. The only mutable
 * state of its kind. */
static struct {
    pthread_mutex_t lock;
    struct lct_tpm *first;
    unsigned long forks;        /* counted in children */
    pid_t pid;                  /* whose they are: of who was not forked by fork(2), not */
    pthread_t ender;            /* the thread that ends the program, once one does */
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
    process.pid = getpid();
    (void)pthread_mutex_init(&process.lock, NULL);
    for (struct lct_tpm *tpm = process.first; tpm != NULL; tpm = tpm->next) {
        (void)pthread_mutex_init(&tpm->lock, NULL);
        atomic_store(&tpm->waiting, 0);
        atomic_store(&tpm->ends, 0);
        if (tpm->channel != NULL && tpm->channel->wire->let_go != NULL)
            tpm->channel->wire->let_go(tpm->channel->wire);
    }
}

static bool same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static const char *log_of(struct lct_lines *log)
{
    return log != NULL ? lct_lines_where(log) : NULL;
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
             tpm->always == config->always_session &&
             same_text(log_of(tpm->log), log_of(config->log))))
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
    tpm->log = lct_lines_up_ref(config->log);
    tpm->next = process.first;
    process.first = tpm;
    return tpm;
}

static void begin_end(void); /* by atexit(3) */

enum lct_code lct_tpm_open(struct lct_tpm **tpm, const struct lct_config *config,
                           struct lct_err *err)
{
    *tpm = NULL;
    pthread_mutex_lock(&process.lock);
    if (!process.watches_forks) {
        process.watches_forks = pthread_atfork(NULL, NULL, after_fork) == 0;
        process.pid = getpid();
        (void)atexit(begin_end);
    }
    if (process.watches_forks)
        *tpm = find(config);
    if (*tpm == NULL && process.watches_forks)
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

/* Nothing that was said is left of it. */
static void wipe_sys(struct lct_tpm *tpm)
{
    if (tpm->sys != NULL)
        explicit_bzero(tpm->sys, Tss2_Sys_GetContextSize(LCT_MAX_MESSAGE));
    tpm->exposed = false;
}

/* Sessions are of one connection and of one process; so is what was seen in the TPM. */
static void forget_sessions(struct lct_tpm *tpm)
{
    tpm->session.handle = tpm->policy.handle = 0;
    tpm->checked.len = 0;
    tpm->num_missed = 0;
    tpm->num_counters = 0;
    tpm->ticket.known = false;
    lct_session_keys_wipe(&tpm->session.keys);
    lct_session_keys_wipe(&tpm->policy.keys);
}

/*
 * What the program has closed is not ours to close: its number is soon that of another file, of our
 * next connection perhaps, or of somebody else's to the same device. At worst a descriptor stays
 * open that was ours.
 */
static void disown(const struct lct_channel *channel, const struct lct_space *space)
{
    if (channel != NULL && space != NULL && channel->wire->disown != NULL)
        channel->wire->disown(channel->wire, lct_space_is_closed(space));
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
    forget_sessions(tpm);
    if (channel != NULL && channel->wire->private_handles)
        lct_tpm_forget_stale(tpm);
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
    lct_tpm_forget_stale(tpm);
    tpm->lost_primary = (struct lct_lost_primary){0};
    forget_sessions(tpm);
    tpm->inherited = channel != NULL && space != NULL && channel->wire->inheritable;
    if (tpm->inherited)
        return;
    tpm->channel = NULL;
    tpm->space = NULL;
    abandon(channel, space);
}

/* Who has no configured way in is told which one was found. What does not open ahead of need is
 * opened later. */
static void trace_opening(const struct lct_tpm *tpm, const struct lct_wire *wire, bool ahead,
                          int64_t started, const struct lct_err *failure)
{
    const char *searched = wire != NULL && wire->found != NULL ? wire->found : "the usual ways in";

    if (tpm->log != NULL && (wire != NULL || !ahead))
        lct_log_line(tpm->log, "connecting%s to %s: %s, %.3f ms", ahead ? " ahead of need" : "",
                     tpm->tcti != NULL ? tpm->tcti : searched,
                     wire != NULL ? "success" : failure->text, lct_log_since(started));
}

/* Opens the way in; `ahead` of need only what may be opened so. */
static enum lct_code open_wire(struct lct_wire **wire, const struct lct_tpm *tpm, bool ahead,
                               struct lct_err *err)
{
    struct lct_err why = {.code = LCT_OK};
    int64_t started = lct_log_clock(tpm->log);
    enum lct_code code = ahead ? lct_wire_open_ahead(wire, tpm->tcti, &why)
                               : lct_wire_open(wire, tpm->tcti, &tpm->allowance->deadline, &why);

    trace_opening(tpm, code == LCT_OK ? *wire : NULL, ahead, started, &why);
    if (code != LCT_OK && err != NULL)
        *err = why;
    return code;
}

/* Opens a connection; `ahead` of need only what may be opened so. */
static enum lct_code connect_tpm(struct lct_tpm *tpm, bool ahead, struct lct_err *err)
{
    struct lct_wire *wire = NULL;
    enum lct_code code = open_wire(&wire, tpm, ahead, err);

    if (code != LCT_OK)
        return code;
    struct lct_space *space = lct_space_new(wire->inheritable);
    struct lct_channel *channel = space != NULL ? lct_channel_new(wire) : NULL;
    if (channel == NULL) {
        const int error = errno;
        lct_space_free(space);
        wire->close(wire);
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "the connection to the TPM cannot be kept: %s",
                        strerror(error));
    }
    forget_sessions(tpm);
    channel->allowance = tpm->allowance;
    channel->log = tpm->log;
    atomic_store(&tpm->shares_slots, !wire->private_handles && wire->settle != NULL);
    tpm->channel = channel;
    tpm->space = space;
    code = start_sys(tpm, err);
    if (code != LCT_OK)
        disconnect(tpm);
    return code;
}

/*
 * In a child: a connection of its own, to the same device, if one opens. It does not in a chroot,
 * or after the privileges are gone, and then the child goes on with its parent's, in turns.
 */
static enum lct_code connect_own(struct lct_tpm *tpm, struct lct_err *err)
{
    struct lct_channel *channel = tpm->channel;
    struct lct_space *space = tpm->space;

    tpm->inherited = false;
    disown(channel, space);
    if (connect_tpm(tpm, true, NULL) == LCT_OK) {
        abandon(channel, space);
        return LCT_OK;
    }
    lct_log_line(tpm->log, "goes on with its parent's connection, in turns");
    tpm->channel = channel;
    tpm->space = space;
    lct_channel_reset(channel); /* another thread of the parent may have been using it */
    return start_sys(tpm, err);
}

/* Flushes every handle of a kind in a handle space that is ours alone: of sessions, Linux has only
 * those of the space in the TPM while it executes our command. */
static enum lct_code flush_kind(struct lct_tpm *tpm, uint32_t first, struct lct_err *err)
{
    TPMS_CAPABILITY_DATA data;
    enum lct_code code = lct_capability_get(tpm, &data, "cleaning up", TPM2_CAP_HANDLES, first,
                                            TPM2_MAX_CAP_HANDLES, err);
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

    lct_log_line(tpm->log, "the connection is broken, and opened anew");
    if (!keep)
        disconnect(tpm);
    else
        disown(channel, space);
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
    return lct_space_enter(tpm->space, &dirty, &tpm->allowance->deadline, err);
}

/* Nobody knows what is left in the space: all of it goes, or is looked for. */
static enum lct_code clear(struct lct_tpm *tpm, struct lct_err *err)
{
    bool ours_alone = tpm->channel->wire->private_handles;
    enum lct_code code = start_sys(tpm, err);

    forget_sessions(tpm);
    if (!ours_alone)
        lct_tpm_note_debris(tpm, &tpm->space->resident);
    tpm->space->resident.len = 0;
    if (code == LCT_OK && ours_alone)
        code = flush_kind(tpm, lct_transient_first, err);
    if (code == LCT_OK && ours_alone)
        code = flush_kind(tpm, TPM2_LOADED_SESSION_FIRST, err);
    return code;
}

/*
 * After a turn that did not end well, in this process or in one that died: the response that nobody
 * read is thrown away, and so is what it left.
 */
static enum lct_code recover(struct lct_tpm *tpm, struct lct_err *err)
{
    struct lct_wire *wire = tpm->channel->wire;
    const struct lct_deadline *all = &tpm->allowance->deadline;
    const struct lct_deadline deadline =
        tpm->space->stalled ? lct_deadline_sooner(all, STALLED_TIMEOUT) : *all;
    enum lct_code code = wire->settle != NULL ? wire->settle(wire, &deadline, err) : LCT_ERR_NO_TPM;

    tpm->space->stalled = code == LCT_ERR_TIMEOUT;
    if (code == LCT_ERR_NO_TPM)
        return reopen(tpm, err);
    if (code == LCT_OK)
        code = clear(tpm, err);
    if (code == LCT_OK || code == LCT_ERR_TIMEOUT || !tpm->broken)
        return code;
    tpm->broken = false; /* Linux cannot do anything with a space that a TPM reset has made void */
    return reopen(tpm, err);
}

/* Where the turn is not to be had, since a process of the family does not give it back, or the
 * program has closed what is locked: a connection of our own, if one opens. */
static enum lct_code enter_another(struct lct_tpm *tpm, bool *dirty, enum lct_code code,
                                   struct lct_err *err)
{
    struct lct_channel *channel = tpm->channel;
    struct lct_space *space = tpm->space;

    disown(channel, space);
    if (!channel->wire->inheritable || connect_tpm(tpm, true, NULL) != LCT_OK) {
        tpm->channel = channel;
        tpm->space = space;
        return code;
    }
    abandon(channel, space);
    return lct_space_enter(tpm->space, dirty, &tpm->allowance->deadline, err);
}

static enum lct_code enter(struct lct_tpm *tpm, struct lct_err *err)
{
    bool dirty = false;
    int64_t started = lct_log_clock(tpm->log);
    enum lct_code code = lct_space_enter(tpm->space, &dirty, &tpm->allowance->deadline, err);

    lct_trace_wait(tpm->log, "another process", started);
    if (code != LCT_OK)
        code = enter_another(tpm, &dirty, code, err);
    if (code != LCT_OK)
        return code;
    tpm->broken = false;
    tpm->used = false;
    tpm->once = false;
    tpm->bereft = false;
    code = dirty ? recover(tpm, err) : LCT_OK;
    if (code == LCT_OK)
        lct_tpm_sweep(tpm);
    if (code != LCT_OK && tpm->space != NULL)
        lct_space_leave(tpm->space, false);
    return code;
}

/* Nobody sends anything until somebody has it. */
static void let_go(struct lct_tpm *tpm)
{
    tpm->allowance = NULL;
    if (tpm->channel != NULL)
        tpm->channel->allowance = NULL;
    pthread_mutex_unlock(&tpm->lock);
}

static void give(struct lct_tpm *tpm)
{
    if (tpm->exposed) {
        wipe_sys(tpm);
        tpm->broken = start_sys(tpm, NULL) != LCT_OK || tpm->broken;
    }
    tpm->space->stalled = tpm->broken && tpm->channel->failure.code == LCT_ERR_TIMEOUT;
    lct_space_leave(tpm->space, !tpm->broken);
    if (tpm->broken && tpm->channel->wire->settle == NULL)
        disconnect(tpm);
    let_go(tpm);
    if (atomic_load(&tpm->waiting) > 0) /* what we do next is software: first the TPM gets work */
        (void)sched_yield();
}

/* In ms, for how long it is the one's that ends the program, and not this thread's. What is loaded
 * now would stay in the TPM. But it ends: the end of the program may wait for this thread. */
static int time_for_end(const struct lct_tpm *tpm)
{
    int64_t ends = atomic_load(&tpm->ends);

    if (ends == 0 || pthread_equal(process.ender, pthread_self()))
        return 0;
    return lct_deadline_left(&(struct lct_deadline){.at = ends});
}

/* Locked, but not for a thread that has to leave it to the end of the program. */
static bool keep_lock(struct lct_tpm *tpm)
{
    if (time_for_end(tpm) == 0)
        return true;
    pthread_mutex_unlock(&tpm->lock);
    return false;
}

/* The end may take longer than was thought when it began. */
static void hold(const struct lct_tpm *tpm)
{
    for (int ms = time_for_end(tpm); ms > 0; ms = time_for_end(tpm))
        lct_wait_ms(ms);
}

static bool wait_for_lock(struct lct_tpm *tpm, const struct lct_deadline *deadline)
{
    while (lct_deadline_lock(&tpm->lock, deadline)) {
        if (keep_lock(tpm))
            return true;
        hold(tpm);
    }
    return false;
}

/* Other threads may have it; they are told that somebody waits. */
static enum lct_code lock(struct lct_tpm *tpm, const struct lct_deadline *deadline,
                          struct lct_err *err)
{
    if (pthread_mutex_trylock(&tpm->lock) == 0 && keep_lock(tpm))
        return LCT_OK;
    int64_t started = lct_log_clock(tpm->log);
    (void)atomic_fetch_add(&tpm->waiting, 1);
    bool locked = wait_for_lock(tpm, deadline);
    (void)atomic_fetch_sub(&tpm->waiting, 1);
    lct_trace_wait(tpm->log, "another thread", started);
    if (locked)
        return LCT_OK;
    return LCT_FAIL(err, LCT_ERR_TIMEOUT,
                    "other threads of the program have had the TPM for longer than %d s",
                    deadline->timeout / 1000);
}

/* Takes the connection, opening it if need be, for work that has the allowance. On failure it is
 * not taken. */
static enum lct_code take(struct lct_tpm *tpm, struct lct_allowance *allowance, struct lct_err *err)
{
    enum lct_code code = lock(tpm, &allowance->deadline, err);

    if (code != LCT_OK)
        return code;
    look_for_fork(tpm);
    tpm->allowance = allowance;
    if (tpm->channel != NULL)
        tpm->channel->allowance = allowance;
    if (tpm->inherited)
        code = connect_own(tpm, err);
    else if (tpm->channel == NULL)
        code = connect_tpm(tpm, false, err);
    if (code == LCT_OK)
        code = enter(tpm, err);
    if (code != LCT_OK)
        let_go(tpm);
    if (code != LCT_OK || !tpm->broken)
        return code;
    const struct lct_err failure = tpm->channel->failure; /* cleaning up broke it again */
    give(tpm);
    if (failure.code == LCT_OK) /* the response came, and TSS could not read it */
        return LCT_FAIL(err, LCT_ERR_NO_TPM, "the TPM's response is malformed");
    if (err != NULL)
        *err = failure;
    return failure.code;
}

static bool has_debris(const struct lct_tpm *tpm)
{
    return tpm->num_debris > 0 || lct_tpm_has_stale(tpm);
}

/* What a broken turn left is looked for at once: later, others may have the like of it. */
static void clean_up(struct lct_tpm *tpm, struct lct_allowance *allowance)
{
    if (has_debris(tpm) && take(tpm, allowance, NULL) == LCT_OK)
        give(tpm);
}

/* Why a piece of work that ended so may come out otherwise if it is begun again; NULL: it may not.
 */
static const char *reason_to_begin_again(const struct lct_tpm *tpm, enum lct_code code, bool full)
{
    if (code == LCT_OK || code == LCT_ERR_TIMEOUT || tpm->once)
        return NULL;
    if (full)
        return "the TPM was full";
    if (tpm->broken)
        return "the connection broke";
    return code == LCT_ERR_TPM && tpm->bereft ? "a session or its parent was gone" : NULL;
}

/*
 * A connection that broke is opened anew. Where slots are everybody's, whoever finds none makes
 * some and gives the TPM up for a moment, since others may have some to give.
 */
static enum lct_code run(struct lct_tpm *tpm, struct lct_allowance *allowance, const char *label,
                         enum lct_code (*work)(struct lct_tpm *tpm, void *arg, struct lct_err *err),
                         void *arg, struct lct_err *err)
{
    enum lct_code code = LCT_ERR_INTERNAL;
    bool broke = true, full = false, again = true;

    for (int attempt = 0; attempt < 2 && again; attempt++) {
        code = take(tpm, allowance, err);
        if (code != LCT_OK) {
            (void)lct_err_prefix(err, label);
            return code;
        }
        tpm->afresh = !broke; /* at first it is not done again */
        code = work(tpm, arg, err);
        lct_tpm_session_leave(tpm);
        broke = tpm->broken;
        full = code == LCT_ERR_TPM_FULL && !broke && !tpm->channel->wire->private_handles;
        if (full)
            lct_tpm_make_slot(tpm);
        const char *why = reason_to_begin_again(tpm, code, full);
        again = why != NULL;
        if (again && attempt == 0)
            lct_log_line(tpm->log, "%s: begun again, since %s", label, why);
        give(tpm);
    }
    if (broke && code != LCT_ERR_TIMEOUT)
        clean_up(tpm, allowance);
    return code;
}

/* Waiting for a TPM is what pthread_cancel(3) would interrupt, with our locks held. A thread of a
 * program that ends does not come back to a libcrypto that is gone. */
enum lct_code
lct_tpm_run_within(struct lct_tpm *tpm, struct lct_allowance *allowance, const char *label,
                   enum lct_code (*work)(struct lct_tpm *tpm, void *arg, struct lct_err *err),
                   void *arg, struct lct_err *err)
{
    struct lct_allowance own = {0};
    int state;

    if (allowance == NULL)
        allowance = &own;
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
    lct_allowance_begin(allowance, tpm->timeout);
    enum lct_code code = run(tpm, allowance, label, work, arg, err);
    hold(tpm);
    (void)pthread_setcancelstate(state, &state);
    return code;
}

enum lct_code lct_tpm_run(struct lct_tpm *tpm, const char *label,
                          enum lct_code (*work)(struct lct_tpm *tpm, void *arg,
                                                struct lct_err *err),
                          void *arg, struct lct_err *err)
{
    return lct_tpm_run_within(tpm, NULL, label, work, arg, err);
}

/* Whoever has the lock is connected, or will be. */
void lct_tpm_prepare(struct lct_tpm *tpm, const struct lct_name *name)
{
    int state;

    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
    if (pthread_mutex_trylock(&tpm->lock) == 0) {
        look_for_fork(tpm);
        lct_tpm_remember(tpm, name);
        if (tpm->channel == NULL)
            (void)connect_tpm(tpm, true, NULL);
        pthread_mutex_unlock(&tpm->lock);
    }
    (void)pthread_setcancelstate(state, &state);
}

static void forget(struct lct_tpm *tpm)
{
    struct lct_tpm **link = &process.first;

    while (*link != NULL && *link != tpm)
        link = &(*link)->next;
    if (*link != NULL)
        *link = tpm->next;
}

static int goodbye_timeout(const struct lct_tpm *tpm)
{
    return tpm->timeout < GOODBYE_TIMEOUT ? tpm->timeout : GOODBYE_TIMEOUT;
}

/* Flushes what we keep in a TPM that would not forget it with the connection; a TPM that does not
 * answer does not keep the program from ending. */
static void say_goodbye(struct lct_tpm *tpm)
{
    bool keeps = tpm->channel != NULL && !tpm->inherited && !tpm->channel->wire->private_handles &&
                 tpm->space->resident.len != 0;
    struct lct_allowance allowance = {0};

    if (!keeps && !has_debris(tpm))
        return;
    lct_allowance_begin(&allowance, goodbye_timeout(tpm));
    if (take(tpm, &allowance, NULL) != LCT_OK)
        return;
    lct_tpm_flush_resident(tpm);
    bool stalled = tpm->broken && tpm->channel->failure.code == LCT_ERR_TIMEOUT;
    give(tpm);
    if (!stalled) /* what could not be flushed since the connection broke */
        clean_up(tpm, &allowance);
}

static void end(struct lct_tpm *tpm)
{
    look_for_fork(tpm);
    say_goodbye(tpm);
    disown(tpm->channel, tpm->space);
    if (tpm->inherited)
        abandon(tpm->channel, tpm->space);
    else
        disconnect(tpm);
    wipe_sys(tpm);
    free(tpm->sys);
    lct_session_keys_wipe(&tpm->session.keys);
    lct_session_keys_wipe(&tpm->policy.keys);
    pthread_mutex_destroy(&tpm->lock);
    lct_lines_free(tpm->log);
    free(tpm->tcti);
    free(tpm);
}

void lct_tpm_close(struct lct_tpm *tpm)
{
    int state;

    if (tpm == NULL)
        return;
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
    pthread_mutex_lock(&process.lock);
    bool last = --tpm->references == 0;
    if (last)
        forget(tpm);
    pthread_mutex_unlock(&process.lock);
    if (last)
        end(tpm);
    (void)pthread_setcancelstate(state, &state);
}

/* Whether it is this process's, connected by a transport of ours, has ended its last turn well, and
 * leaves something in a TPM that does not forget it. */
static bool leaves_something(const struct lct_tpm *tpm)
{
    const struct lct_wire *wire = tpm->channel != NULL ? tpm->channel->wire : NULL;

    return wire != NULL && tpm->forks == process.forks && !wire->private_handles &&
           wire->settle != NULL && !tpm->space->dirty &&
           (tpm->space->resident.len != 0 || has_debris(tpm));
}

/* Who has the lock leaves nothing in the TPM, if that does not take long. */
static void leave(struct lct_tpm *tpm)
{
    struct lct_allowance allowance = {0};

    if (!leaves_something(tpm))
        return;
    tpm->broken = tpm->used = false;
    lct_allowance_begin(&allowance, goodbye_timeout(tpm));
    tpm->channel->allowance = &allowance;
    lct_tpm_flush_resident(tpm);
    lct_tpm_sweep(tpm);
    lct_space_leave(tpm->space, !tpm->broken);
}

/* From now on, for so many ms, nobody but the thread that ends the program has the TPM. */
static void hold_others(int ms)
{
    const struct lct_deadline deadline = lct_deadline_in(ms);

    for (struct lct_tpm *tpm = process.first; tpm != NULL; tpm = tpm->next)
        if (atomic_load(&tpm->shares_slots))
            atomic_store(&tpm->ends, deadline.at);
}

/*
 * The program ends, and libcrypto is still there: called before it goes, since registered later.
 * Whoever is in a turn, but not for long, ends it, and no other thread begins one and comes back
 * to a libcrypto that is gone. In a program that ends in a signal handler, in the middle of a turn,
 * this is waited for in vain. The others are held until the program should be over, and no longer:
 * its end may wait for them.
 */
static void begin_end(void)
{
    if (process.pid != getpid() || pthread_mutex_trylock(&process.lock) != 0)
        return;
    process.ender = pthread_self();
    for (struct lct_tpm *tpm = process.first; tpm != NULL; tpm = tpm->next) {
        if (!atomic_load(&tpm->shares_slots))
            continue;
        const struct lct_deadline deadline = lct_deadline_in(GOODBYE_TIMEOUT);
        hold_others(2 * GOODBYE_TIMEOUT); /* for the turn, and for what is sent here */
        if (!lct_deadline_lock(&tpm->lock, &deadline))
            continue;
        leave(tpm);
        pthread_mutex_unlock(&tpm->lock);
    }
    hold_others(GOODBYE_TIMEOUT); /* for what else ends */
    pthread_mutex_unlock(&process.lock);
}

/*
 * Programs end without freeing their keys, and then nobody closes what they have opened. libcrypto
 * has gone already, and so may have what TCTI modules are made of; another thread may still be in a
 * turn, or this one, if it ends in a signal handler: nothing is called of the former, and nothing
 * is waited for but the TPM, and that not for long. Memory is left to who ends.
 */
LCT_AT_EXIT static void leave_nothing(void)
{
    if (process.pid != getpid() || pthread_mutex_trylock(&process.lock) != 0)
        return;
    hold_others(2 * GOODBYE_TIMEOUT);
    for (struct lct_tpm *tpm = process.first; tpm != NULL; tpm = tpm->next) {
        if (pthread_mutex_trylock(&tpm->lock) != 0)
            continue;
        leave(tpm);
        pthread_mutex_unlock(&tpm->lock);
    }
    pthread_mutex_unlock(&process.lock);
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
