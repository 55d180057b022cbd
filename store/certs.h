/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_STORE_CERTS_H
#define LCT_STORE_CERTS_H

#include "base/error.h"
#include "store/change.h"
#include "store/key.h"
#include "store/store.h"
#include "tcg/crypto.h"

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The certificates of a generation: the file certs-N.pem beside its key-N.pem. The leaf, which is
 * of that key, comes first, then the certificate that issued it, and so on, as TLS sends them. The
 * file is replaced in one step and never changed; who reads it gets the old chain or the new one.
 * Nothing here speaks to the TPM.
 */
enum { LCT_MAX_CERTS = 16, LCT_MAX_CERTS_FILE = 256 * 1024 };

/* A certificate as it was given, and taken apart in the private library context. */
struct lct_cert {
    X509 *x509;
    uint8_t *der;
    size_t der_len;
};

/* A chain, or none: `num` is 0 then. Zero is none. */
struct lct_certs {
    size_t num;
    struct lct_cert certs[LCT_MAX_CERTS];
};

void lct_certs_clear(struct lct_certs *certs);

/*
 * Takes a chain out of PEM: one to LCT_MAX_CERTS blocks of the label CERTIFICATE and no other
 * block; text around them is skipped. LCT_ERR_BAD_RECORD: anything else, a private key above all,
 * and a certificate without a public key or dates that can be read. lct_certs_clear frees it.
 */
enum lct_code lct_certs_parse(struct lct_certs *certs, struct lct_crypto *crypto,
                              const uint8_t *pem, size_t pem_len, struct lct_err *err);

/* The chain as PEM, blocks alone; the caller frees *pem with OPENSSL_free. LCT_ERR_INTERNAL. */
enum lct_code lct_certs_write(uint8_t **pem, size_t *pem_len, const struct lct_certs *certs,
                              struct lct_err *err);

/* Whether the first certificate is of `key`: LCT_ERR_WRONG_KEY. */
enum lct_code lct_certs_check_leaf(const struct lct_certs *certs, const struct lct_key *key,
                                   struct lct_err *err);

/* Whether each further certificate issued the one before it, by name and by signature, whenever
 * they may be valid: LCT_ERR_BAD_RECORD. */
enum lct_code lct_certs_check_chain(const struct lct_certs *certs, struct lct_err *err);

/*
 * The chain of generation `number` (0: the active one) of an id, none if it has none. Not compared
 * with the key. Errors of lct_store_get_record, which is asked only for 0; LCT_ERR_BAD_RECORD and
 * LCT_ERR_STORE of the file. lct_certs_clear frees it.
 */
enum lct_code lct_certs_read(const struct lct_store *store, struct lct_crypto *crypto,
                             const char *id, unsigned number, struct lct_certs *certs,
                             struct lct_err *err);

/*
 * Keeps a chain for `key`, which is the key of `id`, in place of the one there is: after both
 * checks above, on disk when it returns, with the owner and group of the identity's directory. Two
 * at once take turns, and the later one stays. Errors of the checks; LCT_ERR_STORE.
 */
enum lct_code lct_certs_set(const struct lct_store *store, const char *id,
                            const struct lct_key *key, const struct lct_certs *certs,
                            struct lct_err *err);

/* The same for a key of the identity that is being changed, before the change is committed. */
enum lct_code lct_certs_put(struct lct_change *change, const struct lct_key *key,
                            const struct lct_certs *certs, struct lct_err *err);

/* Whether there is a chain for generation `number` in the directory of an identity, in whatever
 * state. */
bool lct_certs_are_kept(int dir, unsigned number);

/* Removes what there is for a generation that the caller knows, in whatever state.
 * LCT_ERR_NOT_FOUND: nothing; LCT_ERR_STORE. */
enum lct_code lct_certs_remove(const struct lct_store *store, const char *id, unsigned number,
                               struct lct_err *err);

#endif
