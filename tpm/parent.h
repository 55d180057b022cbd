/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TPM_PARENT_H
#define LCT_TPM_PARENT_H

#include "tpm/connection.h"

/* Inside of the room, with the connection taken: the storage key that wraps ours. */
struct lct_parent {
    uint32_t where;     /* lct_srk_handle, another persistent handle, or TPM2_RH_OWNER */
    TPM2_HANDLE handle; /* what to name in a command */
    bool transient;     /* made for this use: lct_parent_leave flushes it */
    bool made;          /* made and persisted just now */
    struct lct_name name;
};

/*
 * Makes the parent at `where` usable in the next command. A persistent one is there, at no cost:
 * its Name is not read
 * (`name` is empty), TPM2_Load refuses a wrong one. TPM2_RH_OWNER: the SRK's template is made anew,
 * and must have the Name `pinned` (LCT_ERR_OTHER_TPM).
 */
enum lct_code lct_parent_enter(struct lct_tpm *tpm, struct lct_parent *parent, const char *label,
                               uint32_t where, const struct lct_name *pinned, struct lct_err *err);

/*
 * The parent for a new key: the storage key at lct_srk_handle whatever its algorithm, made if
 * absent and `provision`, else a transient one. LCT_ERR_UNSUPPORTED: what is at the handle is no
 * storage key that stays in this TPM.
 */
enum lct_code lct_parent_for_creation(struct lct_tpm *tpm, struct lct_parent *parent,
                                      const char *label, bool provision, struct lct_err *err);

void lct_parent_leave(struct lct_tpm *tpm, struct lct_parent *parent);

/* Whether the persistent parent `where` is there and the pinned one: LCT_ERR_OTHER_TPM if not. */
enum lct_code lct_parent_verify(struct lct_tpm *tpm, const char *label, uint32_t where,
                                const struct lct_name *pinned, struct lct_err *err);

#endif
