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
    bool provision;              /* a storage root key may be made and persisted */
    bool new_parent;             /* as in struct lct_pin */
    const struct lct_seal *seal; /* of lct_seal_prepare, which the record keeps; NULL: none */
    const struct lct_secret *passphrase; /* signing shall take it; NULL: none */
    const struct lct_secret *owner_auth; /* of the TPM's owner; NULL: not known */
};

/* A key that was made in the TPM and is in no store yet, which knows of no life of an identity.
 * Zero is none. */
struct lct_made_key {
    struct lct_record *record; /* of an identity that has this generation alone */
    struct lct_key *key;
    uint8_t *pem; /* its key file */
    size_t pem_len;
};

/*
 * Makes a key in the TPM, under a storage root key that the store knows, if it knows any, and finds
 * out what this TPM can do with it. *made_srk, if asked for, is
 * whether a storage root key was made, on failure too. A counter in the seal stays in the TPM, for
 * the caller to abandon. Errors of lct_pin_create. lct_made_key_clear after success.
 */
enum lct_code lct_identity_make_key(struct lct_made_key *made, const struct lct_store *store,
                                    struct lct_tpm *tpm, struct lct_crypto *crypto,
                                    const struct lct_identity_request *request, bool *made_srk,
                                    struct lct_err *err);
void lct_made_key_clear(struct lct_made_key *made);

/*
 * Makes an identity: its key of lct_identity_make_key, its record and key file in the store in one
 * step. *key is the new key. What fails leaves nothing in the store, except that an identity that
 * could not be written to disk for sure is there whole. Errors of lct_id_check_new,
 * lct_store_create and lct_identity_make_key.
 */
enum lct_code lct_identity_create(const struct lct_store *store, struct lct_tpm *tpm,
                                  struct lct_crypto *crypto,
                                  const struct lct_identity_request *request, struct lct_key **key,
                                  bool *made_srk, struct lct_err *err);

/*
 * The same with a key in software, of an algorithm that is made there, encrypted under the
 * passphrase of the request, which takes neither a seal nor what is the TPM's. *key is open. What
 * fails leaves nothing in the store. Whether the configuration allows it is the caller's to ask.
 * Errors of lct_id_check_new and lct_store_create.
 */
enum lct_code lct_identity_create_software(const struct lct_store *store, struct lct_crypto *crypto,
                                           const struct lct_identity_request *request,
                                           struct lct_key **key, struct lct_err *err);

/* One line of a check: what is asked, whether it holds, and if it does not, why. */
struct lct_check_finding {
    const char *what;
    bool good;
    bool note; /* good, and not what a key of lct_identity_create is */
    char why[sizeof((struct lct_err *)0)->text];
};

enum { LCT_MAX_CHECK_FINDINGS = 10 };

/* Gives a locked key its passphrase, perhaps by asking for it. */
struct lct_unlocker {
    enum lct_code (*unlock)(void *arg, struct lct_key *key, struct lct_err *err);
    void *arg;
};

/* What a check is to find, and how. */
struct lct_check_request {
    const char *id;
    bool bound; /* a key that can leave the TPM, or was outside of it, is a finding that is not good
                 */
    const struct lct_unlocker *unlocker;
    bool no_signature; /* nothing is asked of the TPM that takes the key's passphrase */
};

/*
 * Checks an identity against the TPM: it loads there under the pinned parent, or is there at its
 * persistent handle, has the recorded Name and the attributes of a signing key, as the TPM reports
 * them, and makes a signature that verifies; of a sealed key it says that none is made without its
 * policy, and LCT_ERR_SEALED is what comes of a signature in another state of the boot. That it can
 * leave the TPM is a note: an imported key may; so is that a wrapped key is not at the persistent
 * handle where lct_persist_key has put it; and that it is in software, of which the TPM is asked
 * nothing, and `tpm` may be NULL. Stops at the first thing that fails to be asked,
 * which is the error, and a finding as well unless there is no such identity or no TPM to ask.
 * LCT_ERR_CHECK if all could be asked and a finding is not good.
 */
enum lct_code lct_identity_check(const struct lct_store *store, struct lct_tpm *tpm,
                                 struct lct_crypto *crypto, const struct lct_check_request *request,
                                 struct lct_check_finding findings[LCT_MAX_CHECK_FINDINGS],
                                 size_t *num_findings, struct lct_err *err);

#endif
