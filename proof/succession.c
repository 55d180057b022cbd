/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/succession.h"

#include "proof/issue.h"
#include "proof/json.h"
#include "proof/payload.h"
#include "proof/spki.h"

#include <jansson.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

enum { VERSION = 1, EARLIER = 60 /* seconds that clocks may be apart */ };

static const char type[] = "lct-succession";

static json_t *maybe(const char *text)
{
    return text[0] != '\0' ? json_string(text) : json_null();
}

enum lct_code lct_succession_begin(struct lct_jws_general *jws,
                                   const struct lct_succession *succession, OSSL_LIB_CTX *libctx,
                                   struct lct_err *err)
{
    struct lct_succession again;
    enum lct_code code = lct_payload_begin(
        jws,
        json_pack("{s:s, s:i, s:s, s:I, s:s, s:s, s:o, s:o, s:o}", "type", type, "version", VERSION,
                  "id", succession->id, "counter", (json_int_t)succession->counter, "reason",
                  succession->reason, "created", succession->created, "old",
                  lct_subject_json(&succession->old_key), "new",
                  lct_subject_json(&succession->new_key), "evidence", maybe(succession->evidence)),
        err);

    if (code == LCT_OK && lct_succession_read(&again, libctx, jws, NULL) != LCT_OK)
        code = LCT_FAIL(err, LCT_ERR_INTERNAL, "the succession that was made cannot be read");
    return code;
}

static enum lct_code fail_form(struct lct_err *err, const char *what)
{
    return LCT_FAIL(err, LCT_ERR_BAD_EVIDENCE, "the succession is malformed: %s", what);
}

static bool take_digest(char text[65], const json_t *json)
{
    const char *value;
    uint8_t digest[32];

    return lct_json_maybe(&value, json) &&
           (value == NULL ||
            (lct_json_bytes(digest, sizeof digest, value) && lct_json_text(text, 65, value)));
}

/* Two keys, one after the other. */
static enum lct_code check_order(const struct lct_succession *succession, struct lct_err *err)
{
    const struct lct_subject *from = &succession->old_key, *to = &succession->new_key;

    if (from->spki_len == to->spki_len && memcmp(from->spki, to->spki, to->spki_len) == 0)
        return fail_form(err, "the new key is the old one");
    if (from->generation >= to->generation)
        return fail_form(err, "the new key's generation does not follow the old one's");
    return LCT_OK;
}

static enum lct_code take(struct lct_succession *succession, OSSL_LIB_CTX *libctx, json_t *json,
                          struct lct_err *err)
{
    const char *named, *id, *reason, *created;
    json_int_t version, counter;
    json_t *old_key, *new_key, *evidence;

    if (json_unpack_ex(json, NULL, JSON_STRICT, "{s:s, s:I, s:s, s:I, s:s, s:s, s:o, s:o, s:o}",
                       "type", &named, "version", &version, "id", &id, "counter", &counter,
                       "reason", &reason, "created", &created, "old", &old_key, "new", &new_key,
                       "evidence", &evidence) != 0 ||
        !lct_offer_take_id(succession->id, id) ||
        !lct_payload_number(&succession->counter, UINT_MAX, counter) ||
        !lct_is_end_reason(reason) ||
        !lct_json_text(succession->reason, sizeof succession->reason, reason) ||
        !lct_payload_time(succession->created, created) ||
        !take_digest(succession->evidence, evidence))
        return fail_form(err, "a member is missing, wrong or not known");
    if (!lct_subject_read(&succession->old_key, libctx, old_key))
        return fail_form(err, "the old key is none, or written in another way than it has to be");
    if (!lct_subject_read(&succession->new_key, libctx, new_key))
        return fail_form(err, "the new key is none, or written in another way than it has to be");
    return check_order(succession, err);
}

static enum lct_code check_roles(const struct lct_jws_general *jws, struct lct_err *err)
{
    for (size_t i = 0; i < jws->num_signatures; i++)
        if (jws->signatures[i].role != LCT_ROLE_OLD && jws->signatures[i].role != LCT_ROLE_NEW &&
            jws->signatures[i].role != LCT_ROLE_WITNESS)
            return fail_form(err, "a signature has a role that successions have not");
    return LCT_OK;
}

enum lct_code lct_succession_read(struct lct_succession *succession, OSSL_LIB_CTX *libctx,
                                  const struct lct_jws_general *jws, struct lct_err *err)
{
    json_t *json;
    enum lct_code code = lct_payload_read(&json, jws, type, err);

    memset(succession, 0, sizeof *succession);
    if (code == LCT_OK)
        code = take(succession, libctx, json, err);
    json_decref(json);
    return code == LCT_OK ? check_roles(jws, err) : code;
}

/* Whether a signer is one of the keys. */
static bool is_subject(const struct lct_subject *subject, const EVP_PKEY *signer,
                       OSSL_LIB_CTX *libctx)
{
    EVP_PKEY *pkey = lct_subject_pkey(subject, libctx);
    bool same = pkey != NULL && EVP_PKEY_eq(pkey, signer) == 1;

    EVP_PKEY_free(pkey);
    return same;
}

enum lct_code lct_succession_sign(struct lct_jws_general *jws,
                                  const struct lct_succession *succession, enum lct_role role,
                                  const struct lct_signer *signer, struct lct_err *err)
{
    const struct lct_jws_as as = {.role = role};
    bool is_old = role == LCT_ROLE_OLD;

    if (!is_subject(is_old ? &succession->old_key : &succession->new_key, signer->pkey,
                    signer->libctx))
        return LCT_FAIL(err, LCT_ERR_WRONG_KEY, "the key that was to sign is not the %s one",
                        is_old ? "old" : "new");
    return lct_jws_general_sign(jws, signer, &as, err);
}

/* A succession as it is judged. */
struct judging {
    struct lct_judgement *judgement;
    OSSL_LIB_CTX *libctx;
    const struct lct_succession *succession;
    const struct lct_jws_general *jws;
    const struct lct_judgement_request *request;
    EVP_PKEY *old_key, *new_key;
    /* Of the signatures, the trusted witness that each is by; NULL: none. */
    EVP_PKEY *witnesses[LCT_MAX_JWS_SIGNATURES];
};

/* Of a verdict by `witness`, that it is on the new key and holds as of `when`. */
static bool is_sound_verdict(const struct judging *judging, struct lct_issued_verdict *issued,
                             const char *jws, EVP_PKEY *witness, time_t when, const char **fault)
{
    const struct lct_succession *succession = judging->succession;
    unsigned needed = lct_issued_verdict_claims() | 1u << LCT_CLAIM_SIGNED;

    *fault = NULL;
    if (lct_issued_verdict_judge_by(issued, judging->libctx, jws, strlen(jws), witness,
                                    judging->new_key, when, NULL) != LCT_OK)
        *fault = "is none that can be read";
    else if (issued->verdict.findings[LCT_CLAIM_SIGNED].outcome != LCT_PASSED)
        *fault = "is not its own, or was not valid when it signed";
    else if (issued->verdict.findings[LCT_CLAIM_KEY_RESIDENT].outcome == LCT_FAILED)
        *fault = "is not that the new key is in a TPM, or is of another key";
    else if (strcmp(issued->id, succession->id) != 0 ||
             issued->generation != succession->new_key.generation)
        *fault = "is of another identity or generation";
    else if (!lct_verdict_holds(&issued->verdict))
        *fault = "does not hold";
    for (unsigned i = 0; i < LCT_NUM_CLAIMS && *fault == NULL; i++)
        if ((needed & 1u << i) != 0 && issued->verdict.findings[i].outcome != LCT_PASSED)
            *fault = "does not say that the new key is in a TPM and cannot leave it";
    return *fault == NULL;
}

/* Whether it is one of the identity's own, unless libcrypto can say that it is not. */
static bool is_own(const struct judging *judging, EVP_PKEY *key)
{
    return judging->old_key == NULL || judging->new_key == NULL ||
           EVP_PKEY_eq(key, judging->old_key) == 1 || EVP_PKEY_eq(key, judging->new_key) == 1;
}

/* What has to be so that a trusted witness's signature is worth something; in words that follow
 * "it ". NULL: it is so. */
static const char *witness_fault(const struct judging *judging, size_t i)
{
    EVP_PKEY *witness = judging->witnesses[i];
    const struct lct_jws_signature *signature = &judging->jws->signatures[i];
    time_t when, created;

    if (is_own(judging, witness))
        return "is a key of the identity itself, which cannot be its own witness";
    for (size_t other = 0; other < i; other++)
        if (judging->witnesses[other] != NULL &&
            EVP_PKEY_eq(witness, judging->witnesses[other]) == 1)
            return "is a witness that has signed it twice";
    if (!lct_jws_general_is_by(judging->jws, i, witness, judging->libctx))
        return "is not by the witness that it names: the statement was changed, or is forged";
    if (!lct_json_seconds(&when, signature->time) ||
        lct_judgement_is_future(signature->time, judging->request->now))
        return "is of a time that has not come";
    if (!lct_json_seconds(&created, judging->succession->created) || when + EARLIER < created)
        return "is of a time before the statement was made";
    return NULL;
}

static void spoil(struct judging *judging, size_t i, const char *what, const char *fault)
{
    struct lct_signature_finding *finding = &judging->judgement->signatures[i];

    finding->bad = true;
    (void)snprintf(finding->reason, sizeof finding->reason, "%s %s", what, fault);
    lct_judgement_fail(judging->judgement, "the signature of witness %.16s...: %s %s", finding->kid,
                       what, fault);
}

/* Whether its verdict, if it has one, is sound. */
static bool take_verdict(struct judging *judging, size_t i)
{
    const struct lct_jws_signature *signature = &judging->jws->signatures[i];
    struct lct_signature_finding *finding = &judging->judgement->signatures[i];
    struct lct_issued_verdict issued;
    const char *fault = "is of no time";
    time_t when;

    if (signature->verdict == NULL)
        return true;
    if (!lct_json_seconds(&when, signature->time) ||
        !is_sound_verdict(judging, &issued, signature->verdict, judging->witnesses[i], when,
                          &fault)) {
        spoil(judging, i, "its verdict", fault);
        return false;
    }
    memcpy(finding->issued, issued.issued, sizeof finding->issued);
    memcpy(finding->expires, issued.expires, sizeof finding->expires);
    memcpy(finding->evidence, issued.evidence, sizeof finding->evidence);
    return true;
}

/* The trusted key that a signature names, borrowed; NULL: there is none. */
static EVP_PKEY *find_witness(const struct judging *judging, const char *kid)
{
    const struct lct_judgement_request *request = judging->request;
    char fingerprint[65];
    EVP_PKEY *pkey;

    for (size_t i = 0; request->trust != NULL &&
                       (pkey = lct_trust_witness(request->trust, i, request->now)) != NULL;
         i++)
        if (lct_spki_fingerprint(fingerprint, pkey, judging->libctx, NULL) == LCT_OK &&
            strcmp(fingerprint, kid) == 0)
            return pkey;
    return NULL;
}

/* One that nobody trusts spoils nothing, unless it is one of the two keys. */
static void judge_stranger(struct judging *judging, size_t i)
{
    struct lct_signature_finding *finding = &judging->judgement->signatures[i];
    char old_kid[65], new_kid[65];

    (void)snprintf(finding->reason, sizeof finding->reason,
                   "no witness that is trusted has this key, or its certificate is not valid; it "
                   "was not verified");
    if (lct_subject_kid(old_kid, &judging->succession->old_key, judging->libctx, NULL) != LCT_OK ||
        lct_subject_kid(new_kid, &judging->succession->new_key, judging->libctx, NULL) != LCT_OK ||
        strcmp(finding->kid, old_kid) == 0 || strcmp(finding->kid, new_kid) == 0)
        spoil(judging, i, "it", "is by a key of the identity itself, which cannot be its witness");
}

static void judge_witness(struct judging *judging, size_t i)
{
    struct lct_signature_finding *finding = &judging->judgement->signatures[i];
    bool has_verdict = judging->jws->signatures[i].verdict != NULL;

    judging->witnesses[i] = find_witness(judging, finding->kid);
    if (judging->witnesses[i] == NULL) {
        judge_stranger(judging, i);
        return;
    }
    const char *fault = witness_fault(judging, i);
    if (fault != NULL) {
        spoil(judging, i, "it", fault);
        return;
    }
    if (!take_verdict(judging, i))
        return;
    finding->good = true;
    finding->counted = has_verdict || !judging->request->require_verdicts;
    judging->judgement->counted += finding->counted ? 1 : 0;
    (void)snprintf(finding->reason, sizeof finding->reason, "%s",
                   has_verdict ? "it is by a trusted witness, whose verdict on the new key holds"
                   : finding->counted ? "it is by a trusted witness, without a verdict"
                                      : "it is by a trusted witness, but has no verdict");
}

/* All but how many witnesses there are. */
static void judge_signatures(struct judging *judging)
{
    const struct lct_jws_general *jws = judging->jws;

    lct_judgement_begin(judging->judgement, jws);
    if (lct_jws_general_find(jws, LCT_ROLE_NEW) == NULL)
        lct_judgement_fail(judging->judgement, "the new key has not signed it");
    for (size_t i = 0; i < jws->num_signatures; i++)
        if (jws->signatures[i].role == LCT_ROLE_WITNESS)
            judge_witness(judging, i);
        else
            lct_judgement_signature(judging->judgement, judging->libctx, jws, i,
                                    jws->signatures[i].role == LCT_ROLE_OLD ? judging->old_key
                                                                            : judging->new_key);
    lct_judgement_check_time(judging->judgement, judging->succession->created,
                             judging->request->now);
}

/* Without the old key's word there has to be more of others'. */
static void judge_witnesses(struct judging *judging)
{
    struct lct_judgement *judgement = judging->judgement;
    unsigned threshold = judging->request->threshold;
    bool by_old = lct_jws_general_find(judging->jws, LCT_ROLE_OLD) != NULL;

    judgement->needed = by_old ? threshold : threshold < 1 ? 2 : threshold + 1;
    if (judgement->counted >= judgement->needed)
        return;
    lct_judgement_fail(judgement, "%s%u of the %u witnesses that are needed count%s",
                       by_old ? "" : "the old key has not signed it, and ", judgement->counted,
                       judgement->needed,
                       judging->request->trust == NULL ? "; --trust says who is trusted" : "");
}

void lct_succession_judge(struct lct_judgement *judgement, OSSL_LIB_CTX *libctx,
                          const struct lct_succession *succession,
                          const struct lct_jws_general *jws,
                          const struct lct_judgement_request *request)
{
    struct judging judging = {
        .judgement = judgement,
        .libctx = libctx,
        .succession = succession,
        .jws = jws,
        .request = request,
        .old_key = lct_subject_pkey(&succession->old_key, libctx),
        .new_key = lct_subject_pkey(&succession->new_key, libctx),
    };

    judge_signatures(&judging);
    lct_judgement_check_key(judgement, "the old key", request->key, judging.old_key);
    lct_judgement_check_counter(judgement, succession->counter, request->counter);
    judge_witnesses(&judging);
    judgement->holds = judgement->reason[0] == '\0';
    EVP_PKEY_free(judging.old_key);
    EVP_PKEY_free(judging.new_key);
}

/* What a witness would sign, sound or not. */
static enum lct_code check_for_witness(struct judging *judging, const struct lct_signer *signer,
                                       const char *verdict, struct lct_err *err)
{
    struct lct_issued_verdict issued;
    const char *fault;

    judge_signatures(judging);
    if (judging->judgement->reason[0] != '\0')
        return LCT_FAIL(err, LCT_ERR_REFUSED, "it is not to be witnessed: %s",
                        judging->judgement->reason);
    if (is_own(judging, signer->pkey))
        return LCT_FAIL(err, LCT_ERR_REFUSED,
                        "the witness is a key of the identity itself, which cannot be its own "
                        "witness");
    if (verdict != NULL &&
        !is_sound_verdict(judging, &issued, verdict, signer->pkey, judging->request->now, &fault))
        return LCT_FAIL(err, LCT_ERR_REFUSED, "the verdict %s", fault);
    return LCT_OK;
}

static enum lct_code check_once(const struct lct_jws_general *jws, const struct lct_signer *signer,
                                struct lct_err *err)
{
    char kid[65];
    enum lct_code code = lct_spki_fingerprint(kid, signer->pkey, signer->libctx, err);

    for (size_t i = 0; i < jws->num_signatures && code == LCT_OK; i++)
        if (strcmp(jws->signatures[i].kid, kid) == 0)
            return LCT_FAIL(err, LCT_ERR_REFUSED, "the witness has signed it already");
    return code;
}

enum lct_code lct_succession_witness(struct lct_jws_general *jws,
                                     const struct lct_succession *succession,
                                     const struct lct_signer *signer, const char *verdict,
                                     time_t now, struct lct_err *err)
{
    const struct lct_judgement_request request = {.now = now};
    struct lct_judgement judgement;
    struct judging judging = {
        .judgement = &judgement,
        .libctx = signer->libctx,
        .succession = succession,
        .jws = jws,
        .request = &request,
        .old_key = lct_subject_pkey(&succession->old_key, signer->libctx),
        .new_key = lct_subject_pkey(&succession->new_key, signer->libctx),
    };
    char when[21];
    const struct lct_jws_as as = {LCT_ROLE_WITNESS, when, verdict};

    enum lct_code code = check_for_witness(&judging, signer, verdict, err);
    EVP_PKEY_free(judging.old_key);
    EVP_PKEY_free(judging.new_key);
    if (code == LCT_OK)
        code = check_once(jws, signer, err);
    if (code == LCT_OK && !lct_json_of_time(when, now))
        code = LCT_FAIL(err, LCT_ERR_INTERNAL, "the clock is of no year of four digits");
    return code == LCT_OK ? lct_jws_general_sign(jws, signer, &as, err) : code;
}
