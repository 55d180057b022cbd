/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_STORE_PERSIST_H
#define LCT_STORE_PERSIST_H

#include "base/error.h"
#include "base/secret.h"
#include "store/record.h"
#include "store/store.h"
#include "tpm/persist.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Keys of identities at persistent handles, beside their key files. Losing such a handle loses
 * nothing: the key is loaded from its file, as it was before.
 *
 * What a crash leaves, between the TPM and the record, which nothing changes at once:
 *
 * - To persist, the key goes to its handle first, then the handle into the record, then an older
 *   copy away. In between there is a key in the TPM that its record does not speak of: its Name
 *   says whose it is, so lct_persist_key finds it again, and so does lct_persist_sort. In the other
 *   order the record would name what is not there, or is somebody else's.
 * - To undo that, the key goes away first, then the handle out of the record. In between the record
 *   names an empty handle, and the key is loaded from its file; once more ends it. In the other
 *   order the key would stay, and be taken for one that a crash left, to be recorded again.
 * - To delete an identity, the same: when its record is gone, nobody knows that the key was ours.
 */

/* Whose key, and where to: values, borrowed. */
struct lct_persist_request {
    const char *id;
    unsigned generation; /* 0: the active one */
    uint32_t handle;     /* one of lct_persist_first to _last; 0: the first that is free */
    const struct lct_tpm_auths *auths; /* the owner's, and that of the parent's hierarchy */
};

/*
 * Puts the key of an identity at a persistent handle, *handle, and records that; with another one
 * before, that is evicted, unless another identity was imported from there. With no handle wanted,
 * one that is where its record says stays there. What is there already is recorded, but not where
 * another identity was imported from: LCT_ERR_EXISTS. LCT_ERR_NOT_FOUND: no such identity or
 * generation; LCT_ERR_ENDED: the key signs no more; LCT_ERR_UNSUPPORTED: it is in software, or was
 * imported at a handle; LCT_ERR_STORE; LCT_ERR_BAD_RECORD; and those of lct_tpm_persist.
 */
enum lct_code lct_persist_key(const struct lct_store *store, struct lct_tpm *tpm,
                              struct lct_crypto *crypto, const struct lct_persist_request *request,
                              uint32_t *handle, struct lct_err *err);

/* Undoes that: evicts the key from *handle, where its record said it is, if it is there still
 * (*evicted), and takes the handle out of the record. LCT_ERR_NOT_FOUND: also where it is at none;
 * LCT_ERR_STORE; LCT_ERR_AUTH. */
enum lct_code lct_persist_undo(const struct lct_store *store, struct lct_tpm *tpm,
                               struct lct_crypto *crypto, const struct lct_persist_request *request,
                               uint32_t *handle, bool *evicted, struct lct_err *err);

/*
 * Evicts what lct_persist_key has put into the TPM of a generation, if anything; its record is the
 * caller's affair, and changes afterwards. Whatever else is at the handle stays, and so does a key
 * that was imported there. What has the recorded Name stays, too, unless the key file loads as that
 * key: a record alone could have the Name of anybody's. Errors of lct_store_get_key and
 * lct_tpm_inspect for that; LCT_ERR_UNSUPPORTED: another identity was imported from there; and
 * errors of lct_tpm_evict but LCT_ERR_OTHER_TPM.
 */
enum lct_code lct_persist_remove(const struct lct_store *store, struct lct_tpm *tpm,
                                 struct lct_crypto *crypto, const char *id,
                                 const struct lct_generation *generation,
                                 const struct lct_tpm_auths *auths, bool *evicted,
                                 struct lct_err *err);

/* What a persistent handle and the records of a store say of each other. */
enum lct_persist_state {
    LCT_PERSIST_RECORDED, /* it is where its record says */
    LCT_PERSIST_IMPORTED, /* of an identity that was imported from there: not ours to evict */
    LCT_PERSIST_ORPHAN,   /* of an identity whose record names no place where it is */
    LCT_PERSIST_SPARE,    /* of a key that is recorded elsewhere, or signs no more */
    LCT_PERSIST_FOREIGN,  /* of no identity here: somebody else's */
    LCT_PERSIST_LOST /* it signs, its record names this handle, and it is not there nor elsewhere */
};

struct lct_persist_finding {
    enum lct_persist_state state;
    uint32_t handle;
    struct lct_name name;
    char id[LCT_MAX_ID + 1]; /* empty: of none */
    unsigned generation;
    bool recorded; /* its record names this handle */
    bool taken;    /* of LCT_PERSIST_LOST: something else is there */
};

struct lct_persist_findings {
    size_t num;
    struct lct_persist_finding *all;
};

/*
 * Compares objects in the TPM with the records of a store. Objects outside of the handles of ours
 * are told only where a record names their handle. A record that cannot be read says nothing, and
 * what would be its identity's is somebody else's. Sends the TPM nothing. LCT_ERR_STORE;
 * LCT_ERR_INTERNAL. The caller frees with lct_persist_clear, which takes zero, too.
 */
enum lct_code lct_persist_sort(struct lct_persist_findings *findings, const struct lct_store *store,
                               const struct lct_objects *objects, struct lct_err *err);
void lct_persist_clear(struct lct_persist_findings *findings);

/* Records where an LCT_PERSIST_ORPHAN is. LCT_ERR_STORE; LCT_ERR_BAD_RECORD; LCT_ERR_OTHER_TPM: the
 * identity has changed since, and it is none any more. */
enum lct_code lct_persist_adopt(const struct lct_store *store,
                                const struct lct_persist_finding *finding, struct lct_err *err);

/* Evicts an LCT_PERSIST_ORPHAN or _SPARE, by its Name, and takes it out of its record if that names
 * it. Errors of lct_persist_undo; LCT_ERR_OTHER_TPM: it is not there, or recorded by now. */
enum lct_code lct_persist_evict(const struct lct_store *store, struct lct_tpm *tpm,
                                struct lct_crypto *crypto,
                                const struct lct_persist_finding *finding,
                                const struct lct_tpm_auths *auths, struct lct_err *err);

#endif
