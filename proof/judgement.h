/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_PROOF_JUDGEMENT_H
#define LCT_PROOF_JUDGEMENT_H

#include "base/attribute.h"
#include "proof/jws_general.h"
#include "proof/trust.h"

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

/*
 * How a statement (proof/jws_general.h) is judged: by signatures, trust and counting. What is found
 * of it is a judgement; a verdict (proof/verdict.h) is what is found of evidence.
 */

/* What a statement is judged by; what does not apply to its kind is not looked at. Borrowed. */
struct lct_judgement_request {
    const struct lct_trust *trust; /* whose witnesses count; NULL: nobody's */
    unsigned threshold;            /* how many witnesses have to count */
    bool require_verdicts;         /* a witness counts only with a verdict on the new key */
    EVP_PKEY *key;    /* the key that was known before: the old one, the subject, or the signer;
                         NULL: whoever it says */
    unsigned counter; /* of the last statement that was seen of this identity; 0: none was */
    time_t now;
};

/* One signature, and what it is worth. */
struct lct_signature_finding {
    enum lct_role role;
    char kid[65];
    bool good;     /* it was verified, and is by who it has to be by */
    bool bad;      /* it is not, or its verdict is bad: the statement does not hold for that. Of one
                      by a key that is not known it is neither */
    bool counted;  /* it is one of the witnesses that are counted */
    char time[21]; /* of a witness; else "" */
    char reason[256];
    /* The witness's verdict on the new key, where it is one that holds; "": there is none. */
    char issued[21], expires[21], evidence[65];
};

/* Plain data. */
struct lct_judgement {
    bool holds;
    char reason[256];         /* the first thing for which it does not hold; "": it does */
    unsigned needed, counted; /* witnesses */
    size_t num_signatures;
    struct lct_signature_finding signatures[LCT_MAX_JWS_SIGNATURES];
};

/* What the kinds of statements have in common. A judgement begins with all signatures, of which
 * nothing is known. */
void lct_judgement_begin(struct lct_judgement *judgement, const struct lct_jws_general *jws);

/* Why it does not hold, for people; the first reason stays. */
void lct_judgement_fail(struct lct_judgement *judgement, const char *format, ...) LCT_PRINTF(2, 3);

/* Whether a time is none, or has not come; clocks may be a minute apart. */
bool lct_judgement_is_future(const char *text, time_t now);

/* The counter is beyond the last one; the time has come; the key that was given, perhaps NULL, is
 * this one, which messages call `what`. */
void lct_judgement_check_counter(struct lct_judgement *judgement, unsigned counter, unsigned last);
void lct_judgement_check_time(struct lct_judgement *judgement, const char *created, time_t now);
void lct_judgement_check_key(struct lct_judgement *judgement, const char *what, EVP_PKEY *known,
                             EVP_PKEY *pkey);

/* Signature `i` has to be by this key. */
void lct_judgement_signature(struct lct_judgement *judgement, OSSL_LIB_CTX *libctx,
                             const struct lct_jws_general *jws, size_t i, EVP_PKEY *pkey);

#endif
