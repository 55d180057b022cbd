/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_STORE_STORE_H
#define LCT_STORE_STORE_H

#include "base/config.h"
#include "base/error.h"
#include "store/file.h"
#include "store/key.h"
#include "store/record.h"
#include "tcg/crypto.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Where identities are, a directory each:
 *
 *     <dir>/<id>/identity.json   the record
 *     <dir>/<id>/key-N.pem       the key file of generation N, never rewritten; none if its key is
 *                                at a persistent handle
 *     <dir>/<id>/certs-N.pem     its certificates, where it has some: store/certs.h
 *     <dir>/<id>/succession-N.json  the statement that it follows another key: store/rotate.h
 *     <dir>/<id>/ending.json     the statement that the identity has ended: store/retire.h
 *     <dir>/.authority.pub.pem   who approves other boot states: store/authority.h
 *     <dir>/.approvals/          what was approved: store/approval.h
 *     <dir>/.ended/              of ended identities that were deleted: store/tombstone.h
 *     <dir>/.index/              names that follow from keys: store/names.h
 *     <dir>/.parent              the storage root key that its keys are under: store/pin.h
 *     <dir>/.maker               whose NV counters are: store/counters.h
 *     <dir>/.new/                what is being made or removed
 *
 * Looked in, in this order: the one configured store; else the user's own, then the system's. The
 * user's own is where the environment says, so it is passed over unless it, and what leads to it
 * from there, belongs to the effective user or to root, and nobody else may write to it. A store
 * that is not there is empty. Plain data; nothing in it is opened until it is used.
 *
 * Where an id is taken, a name that follows from a key is, too (store/names.h), for that one key.
 * What is of an identity as a whole takes it only of the active generation: LCT_ERR_WRONG_KEY.
 */
struct lct_store {
    size_t num_dirs;
    char *dirs[2];
    size_t create_in;  /* index of the one that new identities go to */
    char *passed_over; /* a sentence: which one is there and is not looked in, and why; or NULL */
};

/* LCT_ERR_INTERNAL alone. lct_store_close frees what it holds. */
enum lct_code lct_store_open(struct lct_store *store, const struct lct_config *config,
                             struct lct_err *err);
void lct_store_close(struct lct_store *store);

/* The one store that new identities go to, alone; borrowed from `store`, and not closed. */
struct lct_store lct_store_of_new(const struct lct_store *store);

/*
 * Reads the record of an id. *dir, if asked for, is the store it was found in, borrowed from
 * `store`. The caller frees *record with free(). LCT_ERR_BAD_ID; LCT_ERR_NOT_FOUND;
 * LCT_ERR_BAD_RECORD; LCT_ERR_STORE (may not be read).
 */
enum lct_code lct_store_get_record(const struct lct_store *store, const char *id,
                                   struct lct_record **record, const char **dir,
                                   struct lct_err *err);

/* The record in the directory of an identity, which is open. Errors of lct_file_read and
 * lct_record_read, without the id; LCT_ERR_BAD_RECORD: it is of another id, or not there. The
 * caller frees *record with free(). */
enum lct_code lct_store_read_record(int fd, const char *id, struct lct_record **record,
                                    struct lct_err *err);

/* The key in that directory, of generation `generation` or with 0 of the active one, which looks
 * for approvals nowhere. Errors of lct_store_read_record and lct_key_new, without the id. */
enum lct_code lct_store_read_key(int fd, struct lct_crypto *crypto, const char *id,
                                 unsigned generation, struct lct_key **key, struct lct_err *err);

/* "identity.json" */
extern const char lct_record_file[];

/* The key of an id, of generation `generation` or with 0 of the active one. Errors also as
 * lct_key_new. */
enum lct_code lct_store_get_key(const struct lct_store *store, struct lct_crypto *crypto,
                                const char *id, unsigned generation, struct lct_key **key,
                                struct lct_err *err);

/*
 * What an id, or a name, is of: where its directory is, its id, and of a name the generation.
 * `crypto` may be NULL. The caller closes named->fd. Errors as lct_store_get_record, without
 * LCT_ERR_BAD_RECORD, and of lct_names_find.
 */
struct lct_named;
enum lct_code lct_store_find(struct lct_named *named, const struct lct_store *store,
                             struct lct_crypto *crypto, const char *id, struct lct_err *err);

/* The same of an identity as a whole: LCT_ERR_WRONG_KEY for the name of a key that is not its
 * active one. */
enum lct_code lct_store_find_identity(struct lct_named *named, const struct lct_store *store,
                                      const char *id, struct lct_err *err);

/*
 * The directory of an id or a name, for what else is kept in it: *fd is opened with O_PATH and the
 * caller's to close, *dir the store it was found in, borrowed from `store`. Errors of
 * lct_store_find.
 */
enum lct_code lct_store_open_identity(const struct lct_store *store, const char *id, int *fd,
                                      const char **dir, struct lct_err *err);

/*
 * The ids in all stores, sorted, each once: also of what is damaged, has lost its record or cannot
 * be looked into, so that nobody takes what is an identity's for nobody's. The caller frees with
 * lct_store_free_ids. LCT_ERR_STORE.
 */
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

/* A file of an identity's directory. */
struct lct_store_file {
    const char *name;
    const uint8_t *bytes;
    size_t bytes_len;
};

/* The same of all the files of an identity, its record among them. */
enum lct_code lct_store_put(const struct lct_store *store, const char *id,
                            const struct lct_store_file *files, size_t num_files,
                            const struct lct_owner *owner, struct lct_err *err);

/* Whether lct_store_create can be expected to work: the store can be made and written to.
 * LCT_ERR_STORE. */
enum lct_code lct_store_check_writable(const struct lct_store *store, struct lct_err *err);

/* Whether there is such an identity, in whatever state: a damaged one can be deleted. Errors as
 * lct_store_get_record. */
enum lct_code lct_store_exists(const struct lct_store *store, const char *id, struct lct_err *err);

/* The same, and whether lct_store_delete can be expected to work: what goes before it would be lost
 * for nothing. LCT_ERR_NOT_FOUND: also a directory that has other files than an identity's, and
 * none of these; LCT_ERR_STORE. */
enum lct_code lct_store_check_delete(const struct lct_store *store, const char *id,
                                     struct lct_err *err);

/* How an identity is to be removed: borrowed. */
struct lct_deletion {
    bool shred;                    /* its key files are overwritten when it is gone */
    const struct lct_record *seen; /* what somebody was asked about; NULL: whatever it is by now */
    /* What goes before it, by its record, or NULL: that cannot be read. Nobody changes the identity
     * meanwhile. What it fails with, in a sentence without the id, keeps the identity. NULL: none.
     */
    enum lct_code (*before)(void *arg, const struct lct_record *record, struct lct_err *err);
    void *arg;
};

/* What is gone: the record, for the caller to free with free(), or NULL: it could not be read; and
 * the store that it was in, borrowed. */
struct lct_deleted {
    struct lct_record *record;
    const char *dir;
};

/*
 * Removes an identity, all of it or nothing, once nobody changes it; of one that has ended a
 * tombstone stays. LCT_ERR_NOT_FOUND, as above; LCT_ERR_STORE: also if its record is not the one
 * that was seen, and, once it is gone, a key file that could not be overwritten; errors of
 * `before`. In *deleted there is something to free whatever comes back.
 */
enum lct_code lct_store_delete(struct lct_deleted *deleted, const struct lct_store *store,
                               const char *id, const struct lct_deletion *deletion,
                               struct lct_err *err);

/* Puts "lct:ID: WHERE: " before the sentence of a failure; WHERE, perhaps NULL, is the store to
 * look in. Returns `code`; after LCT_OK *err is left alone. */
enum lct_code lct_store_about(const char *id, const char *where, enum lct_code code,
                              struct lct_err *err);

#endif
