/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TPM_PARENT_H
#define LCT_TPM_PARENT_H

#include "tpm/connection.h"

/* Inside of the room, with the connection taken: the storage key that wraps ours; and what else is
 * made anew in a hierarchy for each use, or is behind a persistent handle. */
struct lct_parent {
    uint32_t where;     /* lct_srk_handle, another persistent handle, or a hierarchy */
    TPM2_HANDLE handle; /* what to name in a command */
    bool transient;     /* made for this use: lct_parent_leave flushes it */
    bool made;          /* made and persisted just now */
    bool twin;          /* the same one may be in the TPM twice: request->again */
    struct lct_name name;
    struct lct_public public_area; /* what `name` is of; type 0: not read */
    size_t public_len;             /* the same as a TPM2B_PUBLIC */
    uint8_t public_bytes[LCT_MAX_BLOB];
};

/* What such an object is for, in words, if it is no parent. */
struct lct_parent_role {
    const char *name;  /* "its parent" */
    const char *needs; /* what takes the hierarchy's authorization: "making its parent anew" */
    bool any;          /* it need not be a storage key */
};

/* Whom a parent is for, and what making one takes: values, borrowed. */
struct lct_parent_request {
    const char *label;
    uint32_t where;                      /* a persistent handle, or a hierarchy: TPM2_RH_* */
    bool rsa;                            /* in a hierarchy: of the RSA template, not the ECC one */
    const TPM2B_PUBLIC *template;        /* in a hierarchy: of this one, not the storage template */
    const struct lct_parent_role *role;  /* NULL: it is a parent */
    const struct lct_name *pinned;       /* its Name; NULL or empty: not known */
    const struct lct_secret *owner_auth; /* the hierarchy's; NULL: not known */
    bool again; /* it was begun before: what was made then may be there still, if the connection
                 * broke in it. Of the storage templates this is known without */
    OSSL_LIB_CTX *libctx;
};

/*
 * Makes the parent usable in the next command. A persistent one is there, at no cost: unless
 * `read`, nothing is asked (`name` is the pinned one), TPM2_Load refuses a wrong one. In a
 * hierarchy the storage template is made anew (TCG EK Credential Profile, H-2, or H-1 for RSA),
 * which takes the authorization of the owner's and the endorsement one, if it is set. What is read
 * or made must have the Name pinned; without one, it must be a storage key that is fixed to this
 * TPM. LCT_ERR_OTHER_TPM: there is none, or another one. LCT_ERR_UNSUPPORTED: it is no storage key,
 * or `where` is no place for one. LCT_ERR_AUTH: the hierarchy's authorization is needed, or wrong.
 */
enum lct_code lct_parent_enter(struct lct_tpm *tpm, struct lct_parent *parent,
                               const struct lct_parent_request *request, bool read,
                               struct lct_err *err);

/*
 * The parent for a new key: the storage key at lct_srk_handle whatever its algorithm, made if
 * absent and `provision`, else a transient one. LCT_ERR_UNSUPPORTED: what is at the handle is no
 * storage key that stays in this TPM. LCT_ERR_OTHER_TPM: it is not the one pinned, wherever it is;
 * parent->name is its Name, and it is neither persisted nor left behind.
 */
enum lct_code lct_parent_for_creation(struct lct_tpm *tpm, struct lct_parent *parent,
                                      const struct lct_parent_request *request, bool provision,
                                      struct lct_err *err);

/*
 * Flushes a transient one; and its twin, which holds a slot, too. `seen`: by the last command,
 * which made it or has done what none but it could. If not, its Name is read first without a
 * resource manager, and what another program has put in its place is left alone.
 */
void lct_parent_leave(struct lct_tpm *tpm, struct lct_parent *parent, bool seen);

/*
 * The same after sessions alone were salted to it, which ended with `code`: that they were does not
 * show that it was there. If another object was, they are of no use, and are closed: LCT_ERR_TPM,
 * and the work is begun again.
 */
enum lct_code lct_parent_leave_salted(struct lct_tpm *tpm, struct lct_parent *parent,
                                      const char *label, enum lct_code code, struct lct_err *err);

/*
 * After a command under it ended with *code, by `rc`: whether it was refused since another program
 * has flushed a transient one. Then it is not the refusal that tells what is wrong, *code is
 * LCT_ERR_TPM, and the work is begun again. What is behind the handle by now is left alone.
 */
bool lct_parent_is_gone(struct lct_tpm *tpm, struct lct_parent *parent, const char *label,
                        enum lct_code *code, TSS2_RC rc, struct lct_err *err);

/* Whether the persistent parent is there and what it should be, as above. What it is in *parent. */
enum lct_code lct_parent_verify(struct lct_tpm *tpm, struct lct_parent *parent,
                                const struct lct_parent_request *request, struct lct_err *err);

/* Whether it is a place where something is, not a hierarchy to make it anew in. */
bool lct_parent_is_persistent(uint32_t where);

/* Whether a hierarchy has an authorization that is not empty; of the owner's and the endorsement
 * one alone, others have none that we know of. */
enum lct_code lct_parent_takes_auth(struct lct_tpm *tpm, bool *takes, uint32_t where,
                                    const char *label, struct lct_err *err);

/*
 * Before a command of a hierarchy's (TPM2_RH_OWNER, TPM2_RH_ENDORSEMENT): a session for the
 * authorization in `request`, if there is one. The session that is open is another's and is closed.
 * An authorization that the user knows but the TPM does not have, since it was cleared, is not
 * used: then request->owner_auth is NULL. LCT_ERR_AUTH is for the command itself to say.
 */
enum lct_code lct_parent_begin_as(struct lct_tpm *tpm, struct lct_parent_request *request,
                                  uint32_t where, struct lct_err *err);

/* After such a command was refused: LCT_ERR_AUTH, in words. */
enum lct_code lct_parent_fail_unauthorized(const struct lct_parent_request *request, uint32_t where,
                                           struct lct_err *err);

/*
 * A new session for a hierarchy's authorization, where no storage root key's Name is known: salted
 * to a primary key of the null hierarchy, which takes no authorization. That hides the session's
 * key from who only listens.
 */
enum lct_code lct_parent_open_session(struct lct_tpm *tpm, const char *label, OSSL_LIB_CTX *libctx,
                                      struct lct_err *err);

#endif
