/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_STORE_BACKUP_H
#define LCT_STORE_BACKUP_H

#include "base/error.h"
#include "store/record.h"
#include "store/store.h"
#include "tcg/crypto.h"

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A backup of a store: its identities, its recovery authority with the approvals of that, and its
 * tombstones. It never has a private key in the clear: what goes in was read by the readers that
 * the store has, and so was what comes out. As bytes it is the manifest, a line break, and the
 * files that the manifest names, in its order:
 *
 *     {"version": 1, "created": "2026-11-30T00:00:00Z",
 *      "tpm": {"description": "...", "storage_root_key": "<Name, hex>" | null} | null,
 *      "identities": [{"id": "alice", "user": "root" | null, "group": "ssl-cert" | null,
 *                      "files": [{"name": "key-1.pem", "size": 1, "sha256": "<hex>"}, ...]}, ...],
 *      "store": [{"name": ".authority.pub.pem", ...}, {"name": ".approvals/...", ...},
 *                {"name": ".ended/...", ...}]}
 *
 * "tpm" is for people; whose a key is, its record says. Nothing here speaks to the TPM.
 */
struct lct_backup_file {
    char *name;
    uint8_t *bytes; /* a NUL follows them */
    size_t bytes_len;
};

struct lct_backup_files {
    size_t num, room;
    struct lct_backup_file *all;
};

enum { LCT_MAX_OWNER = 32 };

struct lct_backup_identity {
    struct lct_record *record;
    char user[LCT_MAX_OWNER + 1], group[LCT_MAX_OWNER + 1]; /* of its directory; "": not known */
    struct lct_backup_files files;                          /* its record is the last */
};

struct lct_backup {
    char created[21];
    bool has_tpm;
    char tpm[64];        /* what the TPM called itself */
    struct lct_name srk; /* of its storage root key; empty: it keeps none */
    size_t num_identities, room;
    struct lct_backup_identity *identities;
    struct lct_backup_files store; /* the authority first */
};

enum { LCT_MAX_BACKUP = 256 << 20, LCT_MAX_MANIFEST = 8 << 20 }; /* bytes */
extern const char lct_manifest_file[];                           /* "manifest.json" */

/* Frees what it holds. Zero is an empty one. */
void lct_backup_clear(struct lct_backup *backup);

/*
 * Takes an identity of the store, which has one directory, as it is between two changes: under its
 * lock. Errors of lct_store_get_record; LCT_ERR_BAD_RECORD: also a key file that is none, or holds
 * a private key in the clear, and a chain of certificates that is damaged. What failed is not in
 * the backup.
 */
enum lct_code lct_backup_take(struct lct_backup *backup, const struct lct_store *store,
                              struct lct_crypto *crypto, const char *id, struct lct_err *err);

/* Takes what the store keeps besides identities. LCT_ERR_BAD_RECORD: the authority is damaged;
 * approvals and tombstones that are none are left out. LCT_ERR_STORE. */
enum lct_code lct_backup_take_store(struct lct_backup *backup, const struct lct_store *store,
                                    struct lct_crypto *crypto, struct lct_err *err);

/* The manifest, with its line break; the caller frees it. NULL if out of memory. */
char *lct_backup_manifest(const struct lct_backup *backup, OSSL_LIB_CTX *libctx);

/*
 * Reads one, which may be anybody's. Strict: every byte of it is what the manifest says, every file
 * is one of ours and goes with its record, every identity is there once. LCT_ERR_BAD_RECORD, in a
 * sentence. The caller clears it, whatever comes back.
 */
enum lct_code lct_backup_read(struct lct_backup *backup, struct lct_crypto *crypto,
                              const uint8_t *bytes, size_t bytes_len, struct lct_err *err);

/* Inside of it, for the reader: what every identity and every other file has to be, wherever it was
 * read; the bytes of a file are taken over, on failure too. */
enum lct_code lct_backup_check(const struct lct_backup_identity *identity,
                               struct lct_crypto *crypto, struct lct_err *err);
enum lct_code lct_backup_check_store(const struct lct_backup *backup, struct lct_crypto *crypto,
                                     const struct lct_backup_file *file, struct lct_err *err);
enum lct_code lct_backup_add_file(struct lct_backup_files *files, const char *name, uint8_t *bytes,
                                  size_t bytes_len, struct lct_err *err);
struct lct_backup_identity *lct_backup_add_identity(struct lct_backup *backup, struct lct_err *err);

/* A file by name, or NULL. */
const struct lct_backup_file *lct_backup_find(const struct lct_backup_files *files,
                                              const char *name);

#endif
