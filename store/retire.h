/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_STORE_RETIRE_H
#define LCT_STORE_RETIRE_H

#include "proof/signer.h"
#include "store/store.h"

/* How an identity comes to its end. */
struct lct_retirement {
    const char *id;
    enum lct_ending ending;
    const char *reason;          /* of LCT_REVOKED: one of lct_end_reasons; else NULL */
    const struct lct_key *key;   /* the active one, which signs the statement; NULL: no statement */
    const struct lct_signer *by; /* of that */
};

/*
 * Ends an identity: none of its keys signs any more. *statement (proof/ending.h), which is kept in
 * ending.json as well, is signed before that, and the caller's to free with free(); NULL without a
 * key. What fails leaves the identity as it was. LCT_ERR_ENDED: it has ended already;
 * LCT_ERR_STORE: also if the active key is another by now; errors of lct_end_sign.
 */
enum lct_code lct_retire(char **statement, const struct lct_store *store,
                         const struct lct_retirement *retirement, struct lct_err *err);

/* The statement that is kept of an identity that has ended; the caller frees it with free().
 * LCT_ERR_NOT_FOUND: there is none of this end, or it has not ended; LCT_ERR_BAD_RECORD: it is
 * damaged. */
enum lct_code lct_retire_statement(char **statement, const struct lct_store *store,
                                   struct lct_crypto *crypto, const char *id, struct lct_err *err);

#endif
