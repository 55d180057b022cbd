/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_STORE_IMPORT_H
#define LCT_STORE_IMPORT_H

#include "store/identity.h"

/* A key that was made elsewhere, and the identity that it is to be. One of three kinds. */
struct lct_import_request {
    const char *id;
    struct lct_owner owner;
    uint32_t handle;                   /* 1: it is in this TPM, at a persistent handle; or 0 */
    const EVP_PKEY *expected;          /* 1: the public key that it has to have; NULL: any */
    const struct lct_keyfile *keyfile; /* 2: a TSS2 PRIVATE KEY; or NULL */
    const EVP_PKEY *software;          /* 3: it was in a file, in the clear or under a passphrase */
    bool passphrase, no_passphrase;    /* 1, 2: it has one, or none, whatever the key file says */
    bool provision;                    /* 3: a storage root key may be made and persisted */
    bool new_parent;                   /* as in struct lct_pin */
    const struct lct_secret *new_passphrase; /* 3: signing shall take it; NULL or empty: none */
    struct lct_tpm_auths auths;
    const struct lct_unlocker *unlocker; /* 1, 2: asks for the passphrase it has */
};

/*
 * Makes an identity of a key that was made elsewhere: asks the TPM for it, pins its Name and its
 * parent's, finds out what can be done with it, and signs once, where a policy of it
 * lets it. *key is the key; *made_srk whether
 * a storage root key was made, on failure too. What fails leaves nothing in the store or the TPM,
 * but a storage root key. A wrong passphrase is tried once.
 *
 * LCT_ERR_UNSUPPORTED: it is no signing key that programs can use (a restricted one, a storage or
 * decryption key, sealed data, one with a policy that the key file does not say or that we do not
 * follow, or an unknown scheme), in a sentence each. LCT_ERR_BAD_RECORD: its policy is not what the
 * file says. LCT_ERR_WRONG_KEY: at the handle is another key than `expected`, in a sentence
 * that says what is there. LCT_ERR_OTHER_TPM; LCT_ERR_AUTH; the errors of lct_identity_create.
 */
enum lct_code lct_identity_import(const struct lct_store *store, struct lct_tpm *tpm,
                                  struct lct_crypto *crypto,
                                  const struct lct_import_request *request, struct lct_key **key,
                                  bool *made_srk, struct lct_err *err);

#endif
