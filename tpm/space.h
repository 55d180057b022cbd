/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TPM_SPACE_H
#define LCT_TPM_SPACE_H

#include "base/error.h"
#include "tcg/public.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * What we keep loaded by way of one connection, and whose turn it is. Processes that have inherited
 * a descriptor of the kernel's resource manager have one connection in common: then this is memory
 * that they share, and they take turns under a lock that survives whoever dies holding it. Threads
 * of one process agree on theirs before they get here.
 */
struct lct_space {
    bool shared;
    pthread_mutex_t next; /* if shared: who holds it has the next turn, so that all get theirs */
    pthread_mutex_t turn; /* if shared */
    bool dirty;   /* a turn did not end well: a response may be unread, an object left over */
    bool stalled; /* because the TPM did not answer in time */
    struct lct_name resident; /* Name of the key that is loaded, empty: none */
    uint32_t resident_handle;
    uint32_t session; /* one that lasts for this turn only, 0: none */
};

/* NULL if out of memory. */
struct lct_space *lct_space_new(bool shared);

/* Frees this process's view of it. */
void lct_space_free(struct lct_space *space);

/* Waits `timeout` ms at most for the turn, and says in what state the last one left it.
 * LCT_ERR_TIMEOUT. */
enum lct_code lct_space_enter(struct lct_space *space, bool *dirty, int timeout,
                              struct lct_err *err);

/* Ends the turn; `clean`: every command had its response, and what is loaded is known. */
void lct_space_leave(struct lct_space *space, bool clean);

#endif
