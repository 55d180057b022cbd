/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TPM_CONNECTION_H
#define LCT_TPM_CONNECTION_H

#include "tpm/channel.h"
#include "tpm/tpm.h"

#include <pthread.h>
#include <tss2/tss2_sys.h>

/*
 * Inside of the room: the connection that lct_tpm_open shares. Whoever sends commands takes it,
 * uses `sys`, reports each result to lct_tpm_result, and gives it back; in between, no other thread
 * sends anything.
 */
struct lct_tpm {
    struct lct_tpm *next; /* of the process's connections */
    unsigned references;
    char *tcti;
    pthread_mutex_t lock;        /* guards what follows */
    unsigned long forks;         /* fork generation in which the channel was opened */
    struct lct_channel *channel; /* NULL: not connected */
    bool broken;                 /* the transport failed: closed when given back */
    TSS2_SYS_CONTEXT *sys;
    struct lct_name resident; /* Name of the key we keep loaded, empty: none */
    TPM2_HANDLE resident_handle;
    bool suspect; /* the handle may be another program's by now */
};

/* Takes the connection, opening it if need be. On failure it is not taken. */
enum lct_code lct_tpm_take(struct lct_tpm *tpm, const char *label, struct lct_err *err);
void lct_tpm_give(struct lct_tpm *tpm);

/*
 * What a SAPI call returned, as an error about `label`. After a failure of the transport the
 * connection is dropped when it is given back, and the next taker opens a new one.
 */
enum lct_code lct_tpm_result(struct lct_tpm *tpm, const char *label, TPM2_CC command, TSS2_RC rc,
                             struct lct_err *err);

/* A Name as TSS has it; empty if it is longer than any. */
struct lct_name lct_tpm_name(const TPM2B_NAME *from);

/* Flushes a transient object of ours. Best effort: on a broken connection there is nothing left to
 * flush. */
void lct_tpm_flush(struct lct_tpm *tpm, TPM2_HANDLE handle);

/* Flushes the resident key, if there is one; where it is suspect only after its Name has been read.
 */
void lct_tpm_flush_resident(struct lct_tpm *tpm);

/* The password session of an object or hierarchy without an authorization value (TPM 2.0 Part
 * 1, 19.4). */
extern const TSS2L_SYS_AUTH_COMMAND lct_tpm_no_auth;

#endif
