/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_PROOF_SIGNED_STATEMENT_H
#define LCT_PROOF_SIGNED_STATEMENT_H

#include "base/error.h"
#include "proof/judgement.h"
#include "proof/jws_general.h"
#include "proof/offer.h"
#include "proof/signer.h"

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Whatever an identity says of other things: a statement over the canonical JSON
 *
 *     {"type": "lct-statement", "version": 1, "id": "alice", "generation": 1, "created": "...",
 *      "kind": "delegation", "content": "<base64url of the bytes>"}
 *
 * signed by its key in the role "signer". Content of one kind is never content of another, nor
 * anything else that a key signs: the kind is in what is signed.
 */
enum { LCT_MAX_STATEMENT_KIND = 64, LCT_MAX_STATEMENT_CONTENT = 1 << 20 /* bytes */ };

/* Zero is none. */
struct lct_signed_statement {
    char id[LCT_MAX_OFFER_ID + 1];
    unsigned generation;
    char created[21];
    char kind[LCT_MAX_STATEMENT_KIND + 1];
    size_t content_len;
    uint8_t *content; /* may be empty */
};

/* Whether it is 1 to LCT_MAX_STATEMENT_KIND of a-z, 0-9, dot and hyphen. */
bool lct_is_statement_kind(const char *text);

/* The statement, signed; `content` is borrowed. LCT_ERR_USAGE: the kind is none, or the content is
 * longer than LCT_MAX_STATEMENT_CONTENT; LCT_ERR_INTERNAL; errors of lct_jws_general_sign.
 * lct_jws_general_clear, whatever comes back. */
enum lct_code lct_signed_statement_sign(struct lct_jws_general *jws,
                                        const struct lct_signed_statement *statement,
                                        const struct lct_signer *signer, struct lct_err *err);

/* Strict, and believes nothing. LCT_ERR_BAD_EVIDENCE; LCT_ERR_UNSUPPORTED: another version. The
 * caller clears it, whatever comes back. */
enum lct_code lct_signed_statement_read(struct lct_signed_statement *statement,
                                        const struct lct_jws_general *jws, struct lct_err *err);
void lct_signed_statement_clear(struct lct_signed_statement *statement);

/* Judges it. Holds: it is by the key that is known, without which nothing can be verified, and
 * `created` is no time of the future. */
void lct_signed_statement_judge(struct lct_judgement *judgement, OSSL_LIB_CTX *libctx,
                                const struct lct_signed_statement *statement,
                                const struct lct_jws_general *jws,
                                const struct lct_judgement_request *request);

#endif
