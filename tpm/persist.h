/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TPM_PERSIST_H
#define LCT_TPM_PERSIST_H

#include "tpm/probe.h"
#include "tpm/tpm.h"

/*
 * Keys at persistent handles (TPM2_EvictControl: TPM 2.0 Part 3, 28.5). The TPM's owner may put
 * anything there and take anything away, so a handle says nothing of what is behind it; the Name
 * does. Both ways are authorized in an HMAC session, even where the owner's authorization is empty:
 * its cpHash has the Names of what is put and of what goes (Part 1, 16 and 18.7), so what another
 * program has put behind the handle in between is refused, and not evicted in place of the key.
 */

/* Where ours are: in the owner's range (TCG Registry of Reserved TPM 2.0 Handles, 2.3.1), beyond
 * the handles that others take by convention. */
static const uint32_t lct_persist_first = 0x81000100, lct_persist_last = 0x817fffff;

/* Who asks, and what it takes: values, borrowed. */
struct lct_tpm_owner {
    const char *label;             /* "lct:alice", for messages */
    const struct lct_secret *auth; /* the TPM owner's; NULL or empty: none is known */
    OSSL_LIB_CTX *libctx;
};

/*
 * Puts a wrapped key at the persistent handle *handle or, with 0, at the first one of ours that is
 * free; *handle is where it is then, which was read there by its Name. One that is there already
 * is left as it is, at whichever handle of ours with 0; *made says whether it was not. Its private
 * area stays good. LCT_ERR_EXISTS: something else is at the handle; LCT_ERR_TPM_FULL: no room in
 * the NV memory; LCT_ERR_AUTH: the owner's authorization is needed, or wrong; LCT_ERR_WRONG_KEY:
 * another program has put something in the key's place on the way; LCT_ERR_UNSUPPORTED: the
 * parent's hierarchy keeps none for the owner; and as lct_tpm_inspect.
 */
enum lct_code lct_tpm_persist(struct lct_tpm *tpm, uint32_t *handle, bool *made,
                              const struct lct_tpm_key *key, const struct lct_tpm_owner *owner,
                              struct lct_err *err);

/* Takes the key of that Name away from a persistent handle. LCT_ERR_OTHER_TPM: nothing is there, or
 * something else, which stays; LCT_ERR_AUTH; LCT_ERR_WRONG_KEY as above. */
enum lct_code lct_tpm_evict(struct lct_tpm *tpm, uint32_t handle, const struct lct_name *name,
                            const struct lct_tpm_owner *owner, struct lct_err *err);

/* What is at the persistent handles of ours, in order, with Names as the TPM says them; neither
 * `hierarchy` nor `attributes` is asked for. */
enum lct_code lct_tpm_list_persistent(struct lct_tpm *tpm, struct lct_objects *objects,
                                      const char *label, struct lct_err *err);

/* The Name of what is at a persistent handle, as the TPM says it; empty: there is nothing, or what
 * TSS does not know. */
enum lct_code lct_tpm_name_at(struct lct_tpm *tpm, struct lct_name *name, uint32_t handle,
                              const char *label, struct lct_err *err);

#endif
