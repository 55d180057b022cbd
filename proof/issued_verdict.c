/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/issue.h"

#include "proof/json.h"
#include "proof/jws.h"
#include "proof/spki.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <string.h>

enum { EARLIER = 60 /* seconds that clocks may be apart */ };

static bool is_named(const struct lct_issued_verdict *issued, EVP_PKEY *issuer,
                     OSSL_LIB_CTX *libctx)
{
    char fingerprint[65];

    return lct_spki_fingerprint(fingerprint, issuer, libctx, NULL) == LCT_OK &&
           strcmp(fingerprint, issued->issuer) == 0;
}

/* The trusted issuer that the verdict names, borrowed; NULL: it names none. */
static EVP_PKEY *find_issuer(const struct lct_issued_verdict *issued, OSSL_LIB_CTX *libctx,
                             const struct lct_trust *trust, time_t now)
{
    EVP_PKEY *pkey;

    for (size_t i = 0; (pkey = lct_trust_verdict_issuer(trust, i, now)) != NULL; i++)
        if (is_named(issued, pkey, libctx))
            return pkey;
    return NULL;
}

static bool is_signed_by(const char *jws, size_t jws_len, EVP_PKEY *issuer, OSSL_LIB_CTX *libctx)
{
    struct lct_jws parts;
    bool by =
        lct_jws_read(&parts, jws, jws_len, NULL) == LCT_OK && lct_jws_is_by(&parts, issuer, libctx);

    lct_jws_clear(&parts);
    return by;
}

/* Why it is not of this time; NULL: it is. */
static const char *time_fault(const struct lct_issued_verdict *issued, time_t now)
{
    time_t from, until;

    if (!lct_json_seconds(&from, issued->issued) || !lct_json_seconds(&until, issued->expires))
        return "its times are none";
    if (from > now + EARLIER)
        return "it is of a time that has not come";
    return until <= now ? "it is expired; --time is another time to judge it at" : NULL;
}

static bool is_of(const struct lct_issued_verdict *issued, OSSL_LIB_CTX *libctx,
                  const EVP_PKEY *key)
{
    EVP_PKEY *pkey = lct_public_pkey(&issued->key.area, libctx, NULL);
    bool same = pkey != NULL && EVP_PKEY_eq(pkey, key) == 1;

    EVP_PKEY_free(pkey);
    return same;
}

/* Each claim as the issuer's own, with when it was. */
static void take_over(struct lct_verdict *verdict, const struct lct_issued_verdict *issued)
{
    for (size_t i = 0; i < LCT_NUM_CLAIMS; i++) {
        const struct lct_finding *finding = &issued->verdict.findings[i];
        enum lct_claim claim = (enum lct_claim)i;
        if (claim == LCT_CLAIM_FRESH || claim == LCT_CLAIM_KEY_USABLE_NOW)
            lct_verdict_set(verdict, claim, LCT_NOT_CLAIMED, "it was for the issuer, at %s",
                            issued->issued);
        else if (claim != LCT_CLAIM_SIGNED || finding->outcome == LCT_FAILED)
            lct_verdict_set(verdict, claim, finding->outcome, "issuer %.16s at %s: %s",
                            issued->issuer, issued->issued, finding->reason);
    }
}

static void leave_all(struct lct_verdict *verdict, const char *reason)
{
    for (size_t i = 0; i < LCT_NUM_CLAIMS; i++)
        lct_verdict_set(verdict, (enum lct_claim)i, LCT_NOT_CLAIMED, "%s", reason);
}

static void judge(struct lct_verdict *verdict, OSSL_LIB_CTX *libctx,
                  const struct lct_issued_verdict *issued, EVP_PKEY *issuer, bool by, EVP_PKEY *key,
                  time_t now)
{
    const char *fault =
        issuer == NULL
            ? "no issuer of verdicts that is trusted has the key it names, or its certificate is "
              "not valid"
        : !by ? "its signature is not by the issuer that it names"
              : time_fault(issued, now);

    leave_all(verdict, "nothing vouches for what it says");
    if (fault != NULL) {
        lct_verdict_set(verdict, LCT_CLAIM_SIGNED, LCT_FAILED, "%s (issuer %s)", fault,
                        issued->issuer);
        return;
    }
    leave_all(verdict, "it is said of another key");
    lct_verdict_set(verdict, LCT_CLAIM_SIGNED, LCT_PASSED, "by issuer %s, from %s until %s",
                    issued->issuer, issued->issued, issued->expires);
    if (key == NULL || is_of(issued, libctx, key))
        take_over(verdict, issued);
    else
        lct_verdict_set(verdict, LCT_CLAIM_KEY_RESIDENT, LCT_FAILED,
                        "it is of another key than the one that was asked for");
}

/* `issuer` is the one by whose key it has to be, or NULL. */
static void judge_by(struct lct_issued_verdict *issued, OSSL_LIB_CTX *libctx, const char *jws,
                     size_t jws_len, EVP_PKEY *issuer, EVP_PKEY *key, time_t now)
{
    struct lct_verdict verdict = {0};

    (void)ERR_set_mark();
    bool by = issuer != NULL && is_signed_by(jws, jws_len, issuer, libctx);
    judge(&verdict, libctx, issued, issuer, by, key, now);
    (void)ERR_pop_to_mark();
    issued->verdict = verdict;
}

enum lct_code lct_issued_verdict_judge(struct lct_issued_verdict *issued, OSSL_LIB_CTX *libctx,
                                       const char *jws, size_t jws_len,
                                       const struct lct_trust *trust, EVP_PKEY *key, time_t now,
                                       struct lct_err *err)
{
    enum lct_code code = lct_issued_verdict_read(issued, libctx, jws, jws_len, err);

    if (code == LCT_OK)
        judge_by(issued, libctx, jws, jws_len, find_issuer(issued, libctx, trust, now), key, now);
    return code;
}

enum lct_code lct_issued_verdict_judge_by(struct lct_issued_verdict *issued, OSSL_LIB_CTX *libctx,
                                          const char *jws, size_t jws_len, EVP_PKEY *issuer,
                                          EVP_PKEY *key, time_t now, struct lct_err *err)
{
    enum lct_code code = lct_issued_verdict_read(issued, libctx, jws, jws_len, err);

    if (code == LCT_OK)
        judge_by(issued, libctx, jws, jws_len, is_named(issued, issuer, libctx) ? issuer : NULL,
                 key, now);
    return code;
}

unsigned lct_issued_verdict_claims(void)
{
    return 1u << LCT_CLAIM_KEY_RESIDENT | 1u << LCT_CLAIM_NON_EXTRACTABLE | 1u << LCT_CLAIM_KEY_FIT;
}
