/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_STORE_ROTATE_H
#define LCT_STORE_ROTATE_H

#include "base/error.h"
#include "proof/succession.h"
#include "store/certs.h"
#include "store/identity.h"
#include "store/store.h"

/*
 * How one key of an identity is followed by another (store/life.h says what that means): the new
 * one is pending, with a statement on it (proof/succession.h) in succession-N.json, until it
 * becomes the active one. Each step is one change (store/change.h): a crash leaves what was before,
 * and at most files that the record does not know, which the next one replaces.
 */
struct lct_rotation {
    const char *id;
    const char *reason;          /* one of lct_end_reasons */
    const struct lct_key *key;   /* the active one */
    const struct lct_signer *by; /* of that; NULL: it is gone, and its signature is missing */
    const struct lct_signer *to; /* of the one that is to follow, wherever that is */
    const char *evidence;        /* lct_document_digest of evidence of that in hex; NULL: none */
};

/*
 * Adds a key to the identity as its pending generation, *number, with the statement. The caller
 * frees *statement with free(). What fails leaves nothing. LCT_ERR_STORE: also if the active key is
 * another by now; errors of lct_life_add, lct_life_count, lct_succession_sign.
 */
enum lct_code lct_rotate_add(char **statement, unsigned *number, const struct lct_store *store,
                             const struct lct_rotation *rotation, const struct lct_made_key *made,
                             struct lct_err *err);

/* Makes the statement on the pending key `pending` anew, in place of the one there is, with a
 * counter of its own. Errors as above; LCT_ERR_NOT_FOUND: that key is not the pending one. */
enum lct_code lct_rotate_restate(char **statement, const struct lct_store *store,
                                 const struct lct_rotation *rotation, const struct lct_key *pending,
                                 struct lct_err *err);

/* The statement that is kept on generation `number`, for the caller to free with free(), and what
 * is in it. LCT_ERR_NOT_FOUND: there is none; LCT_ERR_BAD_RECORD: it is damaged, or of another
 * identity or generation. */
enum lct_code lct_rotate_statement(char **statement, struct lct_succession *succession,
                                   const struct lct_store *store, struct lct_crypto *crypto,
                                   const char *id, unsigned number, struct lct_err *err);

/* How long the key of before goes on signing: seconds, or by the reason of the statement:
 * LCT_OVERLAP_DEFAULT, and not at all if the reason is "compromise". */
enum { LCT_OVERLAP_BY_REASON = -1 };

/* What came of it. */
struct lct_rotated {
    unsigned before, now; /* generations */
    char until[21];       /* when that of before stops */
};

/*
 * Makes the pending generation the active one, with the chain `certs`, whose leaf is of its key, or
 * NULL: with what it has. Key and chain change in one step. LCT_ERR_NOT_FOUND: there is no pending
 * one; LCT_ERR_USAGE: the active one has certificates, and the pending one has none, nor gets it;
 * LCT_ERR_ENDED; LCT_ERR_WRONG_KEY and LCT_ERR_BAD_RECORD: of `certs`; errors of
 * lct_rotate_statement.
 */
enum lct_code lct_rotate_commit(struct lct_rotated *rotated, const struct lct_store *store,
                                struct lct_crypto *crypto, const char *id, int overlap,
                                const struct lct_certs *certs, struct lct_err *err);

/* Lets no key that another one has followed sign longer than `overlap` seconds from now, *until.
 * Errors of lct_life_shorten. */
enum lct_code lct_rotate_shorten(char until[21], const struct lct_store *store, const char *id,
                                 unsigned overlap, struct lct_err *err);

/* A key that is taken back, and what it has in the TPM. */
struct lct_withdrawal {
    /* Removes what nobody would know to be ours without a record, first, while nobody changes the
     * identity. */
    void (*evict)(void *arg, const char *id, const struct lct_generation *pending);
    void *arg;
    struct lct_generation withdrawn; /* what there was of it: the caller removes the rest */
};

/* Takes the pending generation back. LCT_ERR_NOT_FOUND: there is none. */
enum lct_code lct_rotate_withdraw(struct lct_withdrawal *withdrawal, const struct lct_store *store,
                                  const char *id, struct lct_err *err);

#endif
