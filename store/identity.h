/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_STORE_IDENTITY_H
#define LCT_STORE_IDENTITY_H

#include "base/config.h"
#include "base/error.h"
#include "store/store.h"
#include "tpm/tpm.h"

/* What an identity is to be. */
struct lct_identity_request {
    const char *id;
    const struct lct_algorithm *algorithm;
    struct lct_owner owner;
    bool provision;                      /* a storage root key may be made and persisted */
    const struct lct_secret *passphrase; /* signing shall take it; NULL: none */
    const struct lct_secret *owner_auth; /* of the TPM's owner; NULL: not known */
};

/*
 * Makes an identity: its key in the TPM, what this TPM can do with it found out, its record and key
 * file in the store in one step. *key is the new key; *made_srk, if asked for, whether a storage
 * root key was made, on failure too. What fails leaves nothing in the store, except that an
 * identity that could not be written to disk for sure is there whole. Errors of lct_id_check_new,
 * lct_store_create and lct_tpm_create.
 */
enum lct_code lct_identity_create(const struct lct_store *store, struct lct_tpm *tpm,
                                  struct lct_crypto *crypto,
                                  const struct lct_identity_request *request, struct lct_key **key,
                                  bool *made_srk, struct lct_err *err);

/* One line of a check: what is asked, whether it holds, and if it does not, why. */
struct lct_finding {
    const char *what;
    bool good;
    char why[sizeof((struct lct_err *)0)->text];
};

enum { LCT_MAX_FINDINGS = 9 };

/* Gives a locked key its passphrase, perhaps by asking for it. */
struct lct_unlocker {
    enum lct_code (*unlock)(void *arg, struct lct_key *key, struct lct_err *err);
    void *arg;
};

/*
 * Checks an identity against the TPM: it loads there under the pinned parent, or is there at its
 * persistent handle, has the recorded Name and the attributes of a signing key, as the TPM reports
 * them, and makes a signature that verifies. Whether it can leave the TPM is a finding that is
 * good either way: an imported key may. Stops at the first thing that fails to be asked, which is
 * the error, and a finding as well unless there is no such identity or no TPM to ask. LCT_ERR_CHECK
 * if all could be asked and a finding is not good.
 */
enum lct_code lct_identity_check(const struct lct_store *store, struct lct_tpm *tpm,
                                 struct lct_crypto *crypto, const char *id,
                                 const struct lct_unlocker *unlocker,
                                 struct lct_finding findings[LCT_MAX_FINDINGS],
                                 size_t *num_findings, struct lct_err *err);

#endif
