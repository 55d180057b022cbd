/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_PROOF_ENDING_H
#define LCT_PROOF_ENDING_H

#include "base/error.h"
#include "proof/judgement.h"
#include "proof/jws_general.h"
#include "proof/offer.h"
#include "proof/signer.h"
#include "proof/subject.h"

#include <openssl/types.h>
#include <stdbool.h>

/*
 * That an identity has come to its end: a statement over the canonical JSON
 *
 *     {"type": "lct-end", "version": 1, "id": "alice", "counter": 2,
 *      "ending": "retired" | "revoked", "reason": null | "compromise", "created": "...",
 *      "key": {...}}                                                -- proof/subject.h
 *
 * signed by that key alone, in the role "subject". One that is revoked has a reason, and one that
 * is retired has none.
 */
struct lct_end {
    char id[LCT_MAX_OFFER_ID + 1];
    unsigned counter; /* from 1: of statements on this identity's life */
    bool revoked;     /* else retired */
    char reason[16];  /* one of lct_end_reasons; "": none */
    char created[21];
    struct lct_subject key;
};

/* The statement, signed. LCT_ERR_WRONG_KEY: the signer's key is another; LCT_ERR_INTERNAL: a value
 * in it is none that can be written; errors of lct_jws_general_sign. lct_jws_general_clear,
 * whatever comes back. */
enum lct_code lct_end_sign(struct lct_jws_general *jws, const struct lct_end *end,
                           const struct lct_signer *signer, struct lct_err *err);

/* Strict, and believes nothing. LCT_ERR_BAD_EVIDENCE; LCT_ERR_UNSUPPORTED: another version. */
enum lct_code lct_end_read(struct lct_end *end, OSSL_LIB_CTX *libctx,
                           const struct lct_jws_general *jws, struct lct_err *err);

/* Judges it. Holds: it is by its key, which is the one that is known; the counter is beyond the
 * last one; `created` is no time of the future. */
void lct_end_judge(struct lct_judgement *judgement, OSSL_LIB_CTX *libctx, const struct lct_end *end,
                   const struct lct_jws_general *jws, const struct lct_judgement_request *request);

#endif
