/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TPM_SPACE_H
#define LCT_TPM_SPACE_H

#include "base/descriptor.h"
#include "base/error.h"
#include "tcg/public.h"
#include "tpm/deadline.h"

#include <stdbool.h>
#include <stdint.h>

struct lct_space_page;

/*
 * What we keep loaded by way of one connection, and whose turn it is. Processes that have inherited
 * a descriptor of the kernel's resource manager have one connection in common: then what is here is
 * copied from and to a page that they share, and they take turns by locks, which the kernel
 * releases for whoever dies. Such a process may have other privileges: nothing in the page is
 * believed that could harm more than the descriptor itself could, and none can take it away from
 * the others. Threads of one process agree on theirs before they get here.
 */
struct lct_space {
    bool stalled;             /* the last turn ended because the TPM did not answer in time */
    struct lct_name resident; /* Name of the key that is loaded, empty: none */
    uint32_t resident_handle;
    struct lct_space_page *page; /* NULL: not shared, and all below unused */
    struct lct_descriptor lock;  /* what is locked */
    bool dirty;                  /* not shared: the last turn did not end well */
};

/* NULL, with errno, if out of memory or descriptors: a shared one has one, and for a moment takes
 * two. */
struct lct_space *lct_space_new(bool shared);

/*
 * Whether the program has closed what is locked. No other file has its inode, so where the
 * connection's descriptor is none that is known again this one tells: programs that close what they
 * do not know of close both.
 */
bool lct_space_is_closed(const struct lct_space *space);

/* Frees this process's view of it. */
void lct_space_free(struct lct_space *space);

/*
 * Waits until the deadline for the turn. `dirty`: the last one did not end well, so a response
 * may be unread and an object or a session left over. LCT_ERR_TIMEOUT; LCT_ERR_NO_TPM: the program
 * has closed the descriptor.
 */
enum lct_code lct_space_enter(struct lct_space *space, bool *dirty,
                              const struct lct_deadline *deadline, struct lct_err *err);

/* Ends the turn; `clean`: every command had its response, and what is loaded is known. */
void lct_space_leave(struct lct_space *space, bool clean);

#endif
