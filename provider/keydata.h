/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_PROVIDER_KEYDATA_H
#define LCT_PROVIDER_KEYDATA_H

#include "provider/context.h"
#include "store/key.h"

#include <openssl/types.h>
#include <stdbool.h>

/*
 * What libcrypto holds for a key of ours. Every key has an EVP_PKEY of the private library context
 * that answers for its public part. With `key` set the private part is in the TPM; without, the
 * whole key is that EVP_PKEY: somebody else's software key, which our keymgmt got because it is
 * listed first. No algorithm is implemented again.
 */
struct lct_keydata {
    struct lct_provider *provider;
    const char *type;    /* "EC" or "RSA" */
    EVP_PKEY *pkey;      /* NULL: empty */
    struct lct_key *key; /* NULL: a software key, or empty */
    int has;             /* OSSL_KEYMGMT_SELECT_*: what is there */
};

/* NULL if out of memory, which is raised. */
struct lct_keydata *lct_keydata_new(struct lct_provider *provider, const char *type);
void lct_keydata_free(struct lct_keydata *keydata);

/* A key in the TPM; takes the reference over, even on failure. NULL if out of memory, which
 * is raised. */
struct lct_keydata *lct_keydata_from_key(struct lct_provider *provider, struct lct_key *key);

/*
 * Hands a key to libcrypto, from a store or a decoder: by a reference to keydata, which our
 * keymgmt's load takes out. Takes the keydata over; NULL is handed to nobody. What object_cb
 * returned.
 */
int lct_keydata_give(struct lct_keydata *keydata, OSSL_CALLBACK *object_cb, void *object_cbarg);

/* The public half of a key in the TPM, as a software key. */
struct lct_keydata *lct_keydata_public(struct lct_provider *provider, const struct lct_key *key);

/* Fills an empty keydata with `pkey`, taken over, and finds out what it has. */
void lct_keydata_take(struct lct_keydata *keydata, EVP_PKEY *pkey);

/* Finds out again, after pkey has changed. */
void lct_keydata_update(struct lct_keydata *keydata);

#endif
