/* SPDX-License-Identifier: Apache-2.0 */
#include "tpm/connection.h"

#include "tpm/result.h"

#include <stdlib.h>
#include <string.h>

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
    for (struct lct_tpm *tpm = process.first; tpm != NULL; tpm = tpm->next)
        (void)pthread_mutex_init(&tpm->lock, NULL);
}

static struct lct_tpm *find(const char *tcti)
{
    struct lct_tpm *tpm = process.first;

    while (tpm != NULL &&
           (tcti == NULL || tpm->tcti == NULL ? tpm->tcti != tcti : strcmp(tpm->tcti, tcti) != 0))
        tpm = tpm->next;
    return tpm;
}

static struct lct_tpm *add(const char *tcti)
{
    struct lct_tpm *tpm = calloc(1, sizeof *tpm);

    if (tpm == NULL)
        return NULL;
    tpm->tcti = tcti != NULL ? strdup(tcti) : NULL;
    if ((tcti != NULL && tpm->tcti == NULL) || pthread_mutex_init(&tpm->lock, NULL) != 0) {
        free(tpm->tcti);
        free(tpm);
        return NULL;
    }
    tpm->next = process.first;
    process.first = tpm;
    return tpm;
}

enum lct_code lct_tpm_open(struct lct_tpm **tpm, const char *tcti, struct lct_err *err)
{
    pthread_mutex_lock(&process.lock);
    if (!process.watches_forks)
        process.watches_forks = pthread_atfork(NULL, NULL, after_fork) == 0;
    *tpm = find(tcti);
    if (*tpm == NULL)
        *tpm = add(tcti);
    if (*tpm != NULL)
        (*tpm)->references++;
    pthread_mutex_unlock(&process.lock);
    return *tpm != NULL ? LCT_OK : LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
}

/*
 * On a TPM without a resource manager the resident key may still be there, or another program's in
 * its place: that is asked before the handle is used or flushed. With one, a handle of the old
 * connection must not even be named.
 */
static void disconnect(struct lct_tpm *tpm)
{
    if (tpm->channel != NULL && tpm->channel->wire->private_handles)
        tpm->resident.len = 0;
    if (tpm->sys != NULL)
        Tss2_Sys_Finalize(tpm->sys);
    free(tpm->sys);
    tpm->sys = NULL;
    lct_channel_free(tpm->channel);
    tpm->channel = NULL;
    tpm->broken = false;
    tpm->suspect = true;
}

/*
 * In a child, the parent's connection: left without a word, since what the child says on it the
 * parent would be answered. A TCTI module has no such way out: its context stays behind.
 */
static void abandon(struct lct_tpm *tpm)
{
    struct lct_wire *wire = tpm->channel != NULL ? lct_channel_abandon(tpm->channel) : NULL;

    if (tpm->sys != NULL)
        Tss2_Sys_Finalize(tpm->sys);
    free(tpm->sys);
    tpm->sys = NULL;
    tpm->channel = NULL;
    if (wire == NULL)
        return;
    pthread_mutex_lock(&process.lock);
    wire->next = process.abandoned;
    process.abandoned = wire;
    pthread_mutex_unlock(&process.lock);
}

static void forget_if_inherited(struct lct_tpm *tpm)
{
    if (tpm->forks == process.forks)
        return;
    tpm->forks = process.forks;
    tpm->resident.len = 0;
    tpm->broken = false;
    abandon(tpm);
}

static enum lct_code connect_tpm(struct lct_tpm *tpm, struct lct_err *err)
{
    size_t size = Tss2_Sys_GetContextSize(LCT_MAX_MESSAGE);
    enum lct_code code = lct_channel_open(&tpm->channel, tpm->tcti, err);

    if (code != LCT_OK)
        return code;
    tpm->sys = calloc(1, size);
    if (tpm->sys != NULL &&
        Tss2_Sys_Initialize(tpm->sys, size, (TSS2_TCTI_CONTEXT *)&tpm->channel->tcti, NULL) ==
            TSS2_RC_SUCCESS)
        return LCT_OK;
    free(tpm->sys);
    tpm->sys = NULL;
    lct_channel_free(tpm->channel);
    tpm->channel = NULL;
    return LCT_FAIL(err, LCT_ERR_INTERNAL, "tpm2-tss gives no context");
}

void lct_tpm_close(struct lct_tpm *tpm)
{
    if (tpm == NULL)
        return;
    pthread_mutex_lock(&process.lock);
    bool last = --tpm->references == 0;
    for (struct lct_tpm **link = &process.first; last && *link != NULL; link = &(*link)->next)
        if (*link == tpm) {
            *link = tpm->next;
            break;
        }
    pthread_mutex_unlock(&process.lock);
    if (!last)
        return;
    forget_if_inherited(tpm);
    if (tpm->resident.len != 0 && (tpm->channel != NULL || connect_tpm(tpm, NULL) == LCT_OK))
        lct_tpm_flush_resident(tpm);
    disconnect(tpm);
    pthread_mutex_destroy(&tpm->lock);
    free(tpm->tcti);
    free(tpm);
}

enum lct_code lct_tpm_take(struct lct_tpm *tpm, const char *label, struct lct_err *err)
{
    pthread_mutex_lock(&tpm->lock);
    forget_if_inherited(tpm);
    if (tpm->channel != NULL || connect_tpm(tpm, err) == LCT_OK)
        return LCT_OK;
    pthread_mutex_unlock(&tpm->lock);
    return lct_err_prefix(err, label);
}

void lct_tpm_give(struct lct_tpm *tpm)
{
    if (tpm->broken)
        disconnect(tpm);
    pthread_mutex_unlock(&tpm->lock);
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
    if (tpm->channel != NULL && tpm->channel->failure.code != LCT_OK) {
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

void lct_tpm_flush(struct lct_tpm *tpm, TPM2_HANDLE handle)
{
    if (tpm->sys != NULL)
        (void)lct_tpm_result(tpm, "flush", TPM2_CC_FlushContext,
                             Tss2_Sys_FlushContext(tpm->sys, handle), NULL);
}

/* Whether the object behind the resident key's handle has its Name. */
static bool is_resident(struct lct_tpm *tpm)
{
    TPM2B_PUBLIC public_area = {0};
    TPM2B_NAME tpm_name = {0}, qualified = {0};
    TSS2L_SYS_AUTH_RESPONSE auths = {0};
    TSS2_RC rc = Tss2_Sys_ReadPublic(tpm->sys, tpm->resident_handle, NULL, &public_area, &tpm_name,
                                     &qualified, &auths);
    const struct lct_name name = lct_tpm_name(&tpm_name);

    return lct_tpm_result(tpm, "flush", TPM2_CC_ReadPublic, rc, NULL) == LCT_OK &&
           lct_name_equal(&name, &tpm->resident);
}

void lct_tpm_flush_resident(struct lct_tpm *tpm)
{
    if (tpm->resident.len != 0 && (!tpm->suspect || is_resident(tpm)))
        lct_tpm_flush(tpm, tpm->resident_handle);
    tpm->resident.len = 0;
    tpm->suspect = false;
}
