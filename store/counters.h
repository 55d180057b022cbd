/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_STORE_COUNTERS_H
#define LCT_STORE_COUNTERS_H

#include "base/descriptor.h"
#include "base/error.h"
#include "store/store.h"
#include "tpm/tpm.h"

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * NV counters (tpm/tpm.h) and the records that speak of them. A counter is made before the record
 * of its key, and goes after it: what a crash leaves in between is of no identity. The stores of
 * one machine share its TPM, and another's counter is of no identity here either: so each is marked
 * with the store that it was made for, and nobody else takes it away.
 */

/*
 * For whom counters of new identities are made: the store that these go to. That is a random number
 * in its file .maker, where it is, and the machine (machine-id(5)): a store that is not mounted, or
 * of another container, has the path, and perhaps the machine, of one whose counters are in use.
 * The number is drawn by `libctx` where there is none, if that is not NULL. *maker is the caller's
 * to free. NULL: there is none, or none can be had by who may not write there, and then nobody
 * takes the counter away. LCT_ERR_STORE; LCT_ERR_BAD_RECORD: the file is damaged.
 */
enum lct_code lct_counters_maker(char **maker, const struct lct_store *store, OSSL_LIB_CTX *libctx,
                                 struct lct_err *err);

/*
 * Keeps these apart: who makes a counter, or brings an identity back that may have one, holds the
 * lock, with others, until the record of its key is in place; who removes counters of no identity
 * has it `alone` when it looks for them. lct_descriptor_close lets it go. Others are waited for at
 * most 10 s: LCT_ERR_STORE. There is none where there is no store, or to make one for a store
 * that may not be read.
 */
enum lct_code lct_counters_lock(struct lct_descriptor *lock, const struct lct_store *store,
                                bool alone, struct lct_err *err);

/* Counters of no identity in any of the stores. */
struct lct_counter_findings {
    size_t num;
    struct lct_counter_finding {
        struct lct_counter counter; /* without its value */
        bool ours;                  /* made for the store that new identities go to */
    } all[LCT_MAX_COUNTERS];
    bool unread;                 /* not every record could be read, which may speak of one */
    char holder[LCT_MAX_ID + 1]; /* an identity that has one of the others */
};

/* How many of them are ours. */
size_t lct_counters_ours(const struct lct_counter_findings *findings);

/*
 * Whether a counter that a record spoke of, which does not any more, is to be taken away: it was
 * made for the store that new identities go to, and no record in any of the stores has it. Whoever
 * may write to an identity's directory can name any counter there, and without its counter a key is
 * lost for ever. The caller has the lock, `alone`. In sentences of it: LCT_ERR_EXISTS: another
 * identity has it; LCT_ERR_UNSUPPORTED: it was made for another store; and errors of
 * lct_counters_sort. Sends the TPM nothing.
 */
enum lct_code lct_counters_check(const struct lct_store *store,
                                 const struct lct_tpm_counter *counter, OSSL_LIB_CTX *libctx,
                                 struct lct_err *err);

/*
 * Finds these among the counters in the TPM, to which it sends nothing. An identity that is being
 * made has no record yet, so its counter is found as well. Errors of
 * lct_counters_maker; where there are any of ours also of lct_store_list and lct_store_get_record,
 * since a record that cannot be read may speak of one: of another user's it says how root finds
 * out.
 */
enum lct_code lct_counters_sort(struct lct_counter_findings *findings,
                                const struct lct_store *store, const struct lct_tpm_counters *there,
                                OSSL_LIB_CTX *libctx, struct lct_err *err);

#endif
