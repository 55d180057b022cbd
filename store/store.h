/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_STORE_STORE_H
#define LCT_STORE_STORE_H

#include "base/config.h"
#include "base/error.h"
#include "store/file.h"
#include "store/key.h"
#include "store/record.h"
#include "tcg/crypto.h"

#include <stddef.h>

/*
 * Where identities are, a directory each:
 *
 *     <dir>/<id>/identity.json   the record
 *     <dir>/<id>/key-N.pem       the key file of generation N, never rewritten; none if its key is
 *                                at a persistent handle
 *     <dir>/<id>/certs-N.pem     its certificates, where it has some: store/certs.h
 *     <dir>/.authority.pub.pem   who approves other boot states: store/authority.h
 *     <dir>/.approvals/          what was approved: store/approval.h
 *     <dir>/.new/                what is being made or removed
 *
 * Looked in, in this order: the one configured store; else the user's own, then the system's. A
 * store that is not there is empty. Plain data; nothing in it is opened until it is used.
 */
struct lct_store {
    size_t num_dirs;
    char *dirs[2];
    size_t create_in; /* index of the one that new identities go to */
};

/* LCT_ERR_INTERNAL alone. lct_store_close frees what it holds. */
enum lct_code lct_store_open(struct lct_store *store, const struct lct_config *config,
                             struct lct_err *err);
void lct_store_close(struct lct_store *store);

/*
 * Reads the record of an id. *dir, if asked for, is the store it was found in, borrowed from
 * `store`. The caller frees *record with free(). LCT_ERR_BAD_ID; LCT_ERR_NOT_FOUND;
 * LCT_ERR_BAD_RECORD; LCT_ERR_STORE (may not be read).
 */
enum lct_code lct_store_get_record(const struct lct_store *store, const char *id,
                                   struct lct_record **record, const char **dir,
                                   struct lct_err *err);

/* The key of an id, of generation `generation` or with 0 of the active one. Errors also as
 * lct_key_new. */
enum lct_code lct_store_get_key(const struct lct_store *store, struct lct_crypto *crypto,
                                const char *id, unsigned generation, struct lct_key **key,
                                struct lct_err *err);

/*
 * The directory of an id, for what else is kept in it: *fd is opened with O_PATH and the caller's
 * to close, *dir the store it was found in, borrowed from `store`. Errors as lct_store_get_record,
 * without LCT_ERR_BAD_RECORD.
 */
enum lct_code lct_store_open_identity(const struct lct_store *store, const char *id, int *fd,
                                      const char **dir, struct lct_err *err);

/* The ids in all stores, sorted, each once. The caller frees with lct_store_free_ids.
 * LCT_ERR_STORE. */
enum lct_code lct_store_list(const struct lct_store *store, char ***ids, size_t *num_ids,
                             struct lct_err *err);
void lct_store_free_ids(char **ids, size_t num_ids);

/*
 * Puts a new identity of one generation into the store, with its key file, or NULL: it has none;
 * all of it or, whatever happens, nothing; of
 * two at once one wins. LCT_ERR_EXISTS; LCT_ERR_STORE.
 */
enum lct_code lct_store_create(const struct lct_store *store, const struct lct_record *record,
                               const uint8_t *pem, size_t pem_len, const struct lct_owner *owner,
                               struct lct_err *err);

/* Whether lct_store_create can be expected to work: the store can be made and written to.
 * LCT_ERR_STORE. */
enum lct_code lct_store_check_writable(const struct lct_store *store, struct lct_err *err);

/* Whether there is such an identity, in whatever state: a damaged one can be deleted. Errors as
 * lct_store_get_record. */
enum lct_code lct_store_exists(const struct lct_store *store, const char *id, struct lct_err *err);

/* Removes an identity, all of it or nothing. LCT_ERR_NOT_FOUND; LCT_ERR_STORE. */
enum lct_code lct_store_delete(const struct lct_store *store, const char *id, struct lct_err *err);

/* Puts "lct:ID: WHERE: " before the sentence of a failure; WHERE, perhaps NULL, is the store to
 * look in. Returns `code`; after LCT_OK *err is left alone. */
enum lct_code lct_store_about(const char *id, const char *where, enum lct_code code,
                              struct lct_err *err);

#endif
