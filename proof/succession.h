/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_PROOF_SUCCESSION_H
#define LCT_PROOF_SUCCESSION_H

#include "base/error.h"
#include "proof/judgement.h"
#include "proof/jws_general.h"
#include "proof/offer.h"
#include "proof/signer.h"
#include "proof/subject.h"

#include <openssl/types.h>
#include <time.h>

/*
 * That one key of an identity is followed by another: a statement (proof/jws_general.h) over the
 * canonical JSON (proof/jcs.h)
 *
 *     {"type": "lct-succession", "version": 1, "id": "alice", "counter": 1,
 *      "reason": "superseded", "created": "2026-11-30T00:00:00Z",
 *      "old": {...}, "new": {...},                                  -- proof/subject.h
 *      "evidence": "<hex>" | null}      -- lct_document_digest of evidence of the new key
 *
 * signed by the new key in the role "new", by the old one in the role "old" unless that is gone,
 * and by any number of witnesses, whose signature covers what they have found out of the new key
 * by a challenge of their own: a signed verdict.
 */
struct lct_succession {
    char id[LCT_MAX_OFFER_ID + 1];
    unsigned counter; /* from 1: of statements on this identity's life */
    char reason[16];  /* one of lct_end_reasons */
    char created[21];
    struct lct_subject old_key, new_key;
    char evidence[65]; /* "": there was none */
};

/* The statement, without a signature. LCT_ERR_INTERNAL: a value in it is none that can be written,
 * or out of memory. lct_jws_general_clear, whatever comes back. */
enum lct_code lct_succession_begin(struct lct_jws_general *jws,
                                   const struct lct_succession *succession, OSSL_LIB_CTX *libctx,
                                   struct lct_err *err);

/* Adds the signature of the old or of the new key: LCT_ROLE_OLD, LCT_ROLE_NEW. LCT_ERR_WRONG_KEY:
 * the signer's key is another; errors of lct_jws_general_sign. */
enum lct_code lct_succession_sign(struct lct_jws_general *jws,
                                  const struct lct_succession *succession, enum lct_role role,
                                  const struct lct_signer *signer, struct lct_err *err);

/* Strict, and believes nothing: the payload is of this kind and canonical, the keys are two and of
 * growing generations, the signatures of roles that it has. LCT_ERR_BAD_EVIDENCE;
 * LCT_ERR_UNSUPPORTED: another version. */
enum lct_code lct_succession_read(struct lct_succession *succession, OSSL_LIB_CTX *libctx,
                                  const struct lct_jws_general *jws, struct lct_err *err);

/*
 * Adds the signature of a witness at `now`, with its verdict (a compact JWS) or NULL. What is not
 * sound is not witnessed: LCT_ERR_REFUSED: the keys' signatures are not good or the new one is not
 * there, the statement is of the future, the signer is one of the two keys or has signed it
 * already, or the verdict is not the signer's, of another key, expired, or holds not.
 */
enum lct_code lct_succession_witness(struct lct_jws_general *jws,
                                     const struct lct_succession *succession,
                                     const struct lct_signer *signer, const char *verdict,
                                     time_t now, struct lct_err *err);

/*
 * Judges it. Holds: it is by the new key, and by the old one or, without that signature, by one
 * witness more than are needed, two at least; the old key is the one that is known; the counter is
 * beyond the last one; `created` is no time of the future; and as many witnesses as are needed
 * count. One counts whose key is trusted (proof/trust.h: "witnesses"), is neither of the two and no
 * other witness's, whose signature is good and whose verdict, where there is one, is its own, of
 * the new key, not expired when it signed, and holds. A witness that nobody trusts is not counted,
 * and spoils nothing; a trusted one whose signature or verdict is bad does.
 */
void lct_succession_judge(struct lct_judgement *judgement, OSSL_LIB_CTX *libctx,
                          const struct lct_succession *succession,
                          const struct lct_jws_general *jws,
                          const struct lct_judgement_request *request);

#endif
