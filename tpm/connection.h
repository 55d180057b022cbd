/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TPM_CONNECTION_H
#define LCT_TPM_CONNECTION_H

#include "tcg/session.h"
#include "tpm/channel.h"
#include "tpm/space.h"
#include "tpm/tpm.h"

#include <pthread.h>
#include <stdatomic.h>
#include <tss2/tss2_sys.h>

enum {
    LCT_MAX_DEBRIS = 8,
    LCT_MAX_STALE = 3,
    LCT_MAX_MISSED = 8,
    LCT_MAX_KNOWN = 8,
    LCT_MAX_COUNTERS_SEEN = 8
};

/* A primary key that TPM2_CreatePrimary may have made whose response was lost, and whose Name
 * nobody knows until it is made again: in one hierarchy and of one template it is the same. */
struct lct_lost_primary {
    TPM2_HANDLE hierarchy; /* 0: none */
    bool rsa;
    int64_t since; /* ms of CLOCK_MONOTONIC */
};

/* A session of ours: tpm/session.h. */
struct lct_tpm_session {
    TPM2_HANDLE handle; /* 0: none is open */
    struct lct_session_keys keys;
    struct lct_name salted_to; /* Name of what it is salted to; empty: nothing */
};

/* A wrapped key that was not where it is said to be in the TPM as well: it is loaded since. */
struct lct_tpm_missed {
    TPM2_HANDLE handle;
    struct lct_name name;
};

/* What an authority's signature was worth when the TPM last looked at it: its ticket, good until
 * the TPM is reset (TPM 2.0 Part 2, 10.7.4). */
struct lct_tpm_ticket {
    bool known;
    uint8_t to_sign[LCT_POLICY_DIGEST]; /* of lct_policy_to_sign */
    struct lct_name authority;
    TPMT_TK_VERIFIED ticket;
};

/*
 * Inside of the room: the connection that lct_tpm_open shares. A piece of work takes it, with
 * lct_tpm_run, uses `sys` and reports each result to lct_tpm_result; in between, nobody else sends
 * anything on it.
 */
struct lct_tpm {
    struct lct_tpm *next; /* of the process's connections */
    char *tcti;
    _Atomic int64_t ends; /* ms of CLOCK_MONOTONIC: until then it is who ends the program's; or 0 */
    unsigned references;
    int timeout;                     /* ms that a piece of work may take */
    atomic_uint waiting;             /* threads, for the lock */
    bool always;                     /* session = always */
    atomic_bool shares_slots;        /* its way in does not forget what is loaded: wire.h */
    struct lct_lines *log;           /* NULL: no trace is kept */
    pthread_mutex_t lock;            /* guards what follows */
    struct lct_allowance *allowance; /* of the piece of work that has it */
    unsigned long forks;             /* fork generation that it was last used in */
    struct lct_channel *channel;     /* NULL: not connected */
    struct lct_space *space;         /* what we have loaded by it; NULL only if never connected */
    TSS2_SYS_CONTEXT *sys;
    bool inherited; /* it is a parent's: to be used only if none of our own can be opened */
    bool broken;    /* the transport failed in this turn */
    bool used;      /* the resident key was loaded or has signed in this turn */
    bool once;      /* this piece of work is not to be done again */
    bool bereft;  /* a session or a parent of ours was gone, in this turn: nothing was done by it */
    bool afresh;  /* it is done again, and every response had come: before, it left nothing */
    bool exposed; /* something secret was put into SAPI's context, in the clear, in this turn */
    struct lct_tpm_session session; /* HMAC: what is secret travels by it */
    struct lct_tpm_session policy;  /* of sealed keys */
    bool policy_begun;              /* something was said in it since it was opened or restarted */
    /* By which state the sealed key of that Name was last used: all zeros, that of its sealing. */
    struct lct_name satisfied;
    uint8_t satisfied_by[LCT_POLICY_DIGEST];
    struct lct_tpm_ticket ticket;
    /* What we may have left in the TPM: objects, by their Names; sessions, and one that we do not
     * know, which was not among those before. */
    int64_t debris_since; /* ms of CLOCK_MONOTONIC */
    size_t num_debris;
    struct lct_name debris[LCT_MAX_DEBRIS];
    size_t num_known; /* keys that were loaded so far: the newest overwrites the oldest */
    struct lct_name known[LCT_MAX_KNOWN];
    TPM2_HANDLE stale_sessions[LCT_MAX_STALE]; /* 0: free */
    bool lost_session;
    struct lct_lost_primary lost_primary;
    TPML_HANDLE sessions_before;
    bool has_signed; /* in this process: one that signs once holds no slot */
    int64_t used_at; /* ms of CLOCK_MONOTONIC: when the resident key was last seen to be there */
    struct lct_name checked; /* Name of what was last seen behind a persistent handle */
    TPM2_HANDLE checked_handle;
    int64_t checked_at; /* ms of CLOCK_MONOTONIC */
    size_t num_missed;  /* so far: the newest overwrites the oldest */
    struct lct_tpm_missed missed[LCT_MAX_MISSED];
    size_t num_counters; /* that were seen at their indices: the newest overwrites the oldest */
    struct lct_name counters[LCT_MAX_COUNTERS_SEEN];
    unsigned crowded; /* signatures to go before we ask again for a slot to keep */
};

/*
 * Does a piece of work with the connection taken, opening it if need be; `arg` is the work's own.
 * Once more if the connection broke in it, since the TPM or its resource manager was restarted, if
 * slots are everybody's and none was free, or if it failed since a session or a parent was gone: so
 * it begins from nothing each time. Not after LCT_ERR_TIMEOUT: nobody waits twice; nor if the work
 * says `once`. All that it waits for, other threads among it, takes no longer than the timeout, but
 * for keys that are made: struct lct_allowance.
 */
enum lct_code lct_tpm_run(struct lct_tpm *tpm, const char *label,
                          enum lct_code (*work)(struct lct_tpm *tpm, void *arg,
                                                struct lct_err *err),
                          void *arg, struct lct_err *err);

/* The same, where several pieces of work share one allowance; NULL: one of its own. */
enum lct_code
lct_tpm_run_within(struct lct_tpm *tpm, struct lct_allowance *allowance, const char *label,
                   enum lct_code (*work)(struct lct_tpm *tpm, void *arg, struct lct_err *err),
                   void *arg, struct lct_err *err);

/* What a SAPI call returned, as an error about `label`. After a failure of the transport nothing
 * more is sent in this piece of work that matters. */
enum lct_code lct_tpm_result(struct lct_tpm *tpm, const char *label, TPM2_CC command, TSS2_RC rc,
                             struct lct_err *err);

/* A Name as TSS has it; empty if it is longer than any. */
struct lct_name lct_tpm_name(const TPM2B_NAME *from);

/* Flushes a transient object of ours, whose Name is `name`, or a session; if the TPM refuses or
 * cannot be told, later. */
void lct_tpm_flush(struct lct_tpm *tpm, TPM2_HANDLE handle, const struct lct_name *name);
void lct_tpm_flush_session(struct lct_tpm *tpm, TPM2_HANDLE session);

/*
 * Whether the resident key is still behind its handle. Without a resource manager another program
 * may have flushed it and loaded its own: so unless this turn has used it its Name is read; if it
 * is not to be learned, the key is debris.
 */
bool lct_tpm_holds_resident(struct lct_tpm *tpm);

/* What is behind the handle of a transient object of ours. */
enum lct_behind { LCT_BEHIND_OURS, LCT_BEHIND_OTHER, LCT_BEHIND_UNKNOWN };

/*
 * By its Name: without a resource manager another program may have flushed it, and then its handle
 * is nobody's or another object's or sequence's, which is not ours to flush. Unknown: that is not
 * to be learned, or a resource manager keeps handles apart.
 */
enum lct_behind lct_tpm_look_behind(struct lct_tpm *tpm, TPM2_HANDLE handle,
                                    const struct lct_name *name);

/* Whether it is known to be another's, or nobody's. */
bool lct_tpm_is_displaced(struct lct_tpm *tpm, TPM2_HANDLE handle, const struct lct_name *name);

/* Flushes the resident key, if there is one; what another program has put in its place is left
 * alone. */
void lct_tpm_flush_resident(struct lct_tpm *tpm);

/*
 * An object of that Name may be in the TPM that we have no handle of, or none that is surely ours:
 * the command that loaded or flushed it had no response. Where no resource manager forgets it with
 * the connection, it is looked for by its Name at once, before others may have loaded the like of
 * it.
 */
void lct_tpm_note_debris(struct lct_tpm *tpm, const struct lct_name *name);
void lct_tpm_sweep(struct lct_tpm *tpm);

/*
 * Where there is no slot: flushes what is of a Name that is remembered, those of lct_tpm_prepare
 * among them, since a process that was killed may have left it. One that lives and has loaded it
 * loads it again. Without a resource manager only.
 */
void lct_tpm_remember(struct lct_tpm *tpm, const struct lct_name *name);
void lct_tpm_make_slot(struct lct_tpm *tpm);

/* The same for a primary key whose Name is not known yet: once it has been made again,
 * lct_tpm_had_lost_primary says that there may be two. Not after a while: then it may be another
 * program's. */
void lct_tpm_note_lost_primary(struct lct_tpm *tpm, TPM2_HANDLE hierarchy, bool rsa);
bool lct_tpm_had_lost_primary(struct lct_tpm *tpm, TPM2_HANDLE hierarchy, bool rsa);

/* The same for a session; 0: TPM2_StartAuthSession had no response, and which one it is shows by
 * those that were there before: lct_tpm_list_sessions. */
void lct_tpm_note_session(struct lct_tpm *tpm, TPM2_HANDLE session);
enum lct_code lct_tpm_list_sessions(struct lct_tpm *tpm, const char *label, struct lct_err *err);
void lct_tpm_forget_stale(struct lct_tpm *tpm);
bool lct_tpm_has_stale(const struct lct_tpm *tpm);

/* The password session of an object or hierarchy without an authorization value (TPM 2.0 Part
 * 1, 19.4). */
extern const TSS2L_SYS_AUTH_COMMAND lct_tpm_no_auth;

#endif
