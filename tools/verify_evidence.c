/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/json.h"
#include "tools/report.h"
#include "tools/tool.h"
#include "tools/verify_kinds.h"

#include "base/encode.h"
#include "proof/issue.h"
#include "proof/json.h"
#include "proof/spki.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_TEXT = 2 * sizeof((struct lct_name *)0)->data + 1, ALGORITHM_TEXT = 32 };

/* What a verdict is about, whoever gave it. */
struct subject {
    const char *kind, *id;
    unsigned generation;
    char algorithm[ALGORITHM_TEXT];
    char name[NAME_TEXT], ak[NAME_TEXT]; /* "": none */
    char fingerprint[65], ek[65];        /* "": none */
    char *pem;                           /* owned */
};

static void describe_algorithm(char text[ALGORITHM_TEXT], const struct lct_public *area)
{
    const struct lct_algorithm *algorithm = lct_public_algorithm(area);
    const struct lct_curve *curve = lct_curve_by_id(area->curve);

    if (algorithm != NULL)
        (void)snprintf(text, ALGORITHM_TEXT, "%s", algorithm->name);
    else if (area->type == TPM2_ALG_RSA)
        (void)snprintf(text, ALGORITHM_TEXT, "rsa-%u", area->bits);
    else
        (void)snprintf(text, ALGORITHM_TEXT, "%s", curve != NULL ? curve->group : "ec");
}

static enum lct_code describe_key(struct subject *subject, OSSL_LIB_CTX *libctx,
                                  const struct lct_offered_public *key, struct lct_err *err)
{
    EVP_PKEY *pkey = lct_public_pkey(&key->area, libctx, err);

    if (pkey == NULL)
        return err->code;
    describe_algorithm(subject->algorithm, &key->area);
    lct_hex_encode(subject->name, key->name.data, key->name.len);
    subject->pem = lct_report_pem(pkey, libctx);
    bool good = subject->pem != NULL &&
                lct_spki_fingerprint(subject->fingerprint, pkey, libctx, err) == LCT_OK;
    EVP_PKEY_free(pkey);
    return good ? LCT_OK : LCT_FAIL(err, LCT_ERR_INTERNAL, "a public key cannot be written");
}

/* The EK that was asked. */
static void describe_ek(struct subject *subject, OSSL_LIB_CTX *libctx,
                        const struct lct_challenge *challenge)
{
    const struct lct_offer *offer = challenge->offer;
    size_t i = 0;

    while (i < offer->num_eks && (!challenge->has_credential ||
                                  !lct_name_equal(&offer->eks[i].public_area.name, &challenge->ek)))
        i++;
    EVP_PKEY *pkey =
        i < offer->num_eks ? lct_public_pkey(&offer->eks[i].public_area.area, libctx, NULL) : NULL;
    if (pkey != NULL)
        (void)lct_spki_fingerprint(subject->ek, pkey, libctx, NULL);
    EVP_PKEY_free(pkey);
}

static enum lct_code describe_evidence(struct subject *subject, const struct lct_case *judged,
                                       struct lct_err *err)
{
    const struct lct_challenge *challenge = &judged->evidence->challenge;
    const struct lct_offer *offer = challenge->offer;

    *subject =
        (struct subject){.kind = "evidence", .id = offer->id, .generation = offer->generation};
    if (!challenge->direct)
        lct_hex_encode(subject->ak, offer->ak.name.data, offer->ak.name.len);
    describe_ek(subject, judged->libctx, challenge);
    return describe_key(subject, judged->libctx, &offer->key, err);
}

/* {member: text}, or null. */
static json_t *maybe(const char *member, const char *text)
{
    return text[0] != '\0' ? json_pack("{s:s}", member, text) : json_null();
}

static json_t *subject_json(const struct subject *subject, const struct lct_verdict *verdict,
                            bool holds)
{
    return json_pack("{s:i, s:b, s:s, s:s, s:i, s:{s:s, s:s, s:s, s:s}, s:o, s:o, s:o}", "version",
                     1, "holds", (int)holds, "kind", subject->kind, "id", subject->id, "generation",
                     (int)subject->generation, "key", "algorithm", subject->algorithm, "name",
                     subject->name, "sha256", subject->fingerprint, "public_key", subject->pem,
                     "ek", maybe("sha256", subject->ek), "ak", maybe("name", subject->ak), "claims",
                     lct_verdict_json(verdict));
}

static enum lct_code print_subject(const struct subject *subject, struct lct_err *err)
{
    return lct_tool_print(
        err, "key          lct:%s generation %u\nalgorithm    %s\nSHA-256      %s\n", subject->id,
        subject->generation, subject->algorithm, subject->fingerprint);
}

/* One of the attestations, as it stands there; null: there is none. */
static json_t *attested_json(const struct lct_evidence_attested *attested)
{
    struct lct_attest attest;

    if (attested->attest_len == 0 ||
        lct_attest_decode(&attest, attested->attest, attested->attest_len, NULL) != LCT_OK)
        return json_null();
    return lct_report_attested(&attest);
}

static json_t *quote_json(const struct lct_evidence *evidence)
{
    json_t *json = attested_json(&evidence->quote);

    if (json_is_object(json) &&
        json_object_set_new(json, "values", lct_json_of_values(&evidence->values)) != 0) {
        json_decref(json);
        return NULL;
    }
    return json;
}

static json_t *evidence_json(const struct lct_case *judged, const struct subject *subject,
                             bool holds)
{
    const struct lct_evidence *evidence = judged->evidence;
    json_t *json = subject_json(subject, &judged->verdict, holds);
    json_t *more = json_pack("{s:s, s:s, s:{s:o, s:o}}", "challenge", evidence->challenge.number,
                             "created", evidence->challenge.created, "attested", "certify",
                             attested_json(&evidence->certify), "quote", quote_json(evidence));

    if (json != NULL && (more == NULL || json_object_update(json, more) != 0)) {
        json_decref(json);
        json = NULL;
    }
    json_decref(more);
    return json;
}

static enum lct_code show_evidence(const struct lct_case *judged, bool json, struct lct_err *err)
{
    const struct lct_challenge *challenge = &judged->evidence->challenge;
    struct subject subject = {.id = NULL};
    bool holds = lct_case_conclude(judged, NULL) == LCT_OK;
    enum lct_code code = describe_evidence(&subject, judged, err);

    if (code == LCT_OK && json)
        code = lct_tool_print_json(evidence_json(judged, &subject, holds), err);
    else if (code == LCT_OK)
        code = print_subject(&subject, err);
    if (code == LCT_OK && !json)
        code = lct_tool_print(err, "challenge    %s, made %s\n", challenge->number,
                              challenge->created);
    if (code == LCT_OK && !json)
        code = lct_report_print(&judged->verdict, err);
    free(subject.pem);
    return code;
}

enum lct_code lct_verify_evidence(const struct lct_verify_asked *asked, OSSL_LIB_CTX *libctx,
                                  const char *file, const json_t *document, struct lct_err *err)
{
    struct lct_case judged = {.trust = NULL};
    enum lct_code code = lct_case_open(&judged, libctx, &asked->judging, err);

    if (code == LCT_OK)
        code = lct_case_judge(&judged, file, document, asked->judging.state, err);
    if (code == LCT_OK)
        code = lct_case_use_up(&judged, err);
    if (code == LCT_OK)
        code = show_evidence(&judged, asked->json, err);
    if (code == LCT_OK)
        code = lct_case_conclude(&judged, err);
    lct_case_close(&judged);
    return code;
}

static enum lct_code show_issued(const struct lct_issued_verdict *issued, OSSL_LIB_CTX *libctx,
                                 bool holds, bool json, struct lct_err *err)
{
    struct subject subject = {
        .kind = "verdict", .id = issued->id, .generation = issued->generation};

    lct_hex_encode(subject.ak, issued->ak.data, issued->ak.len);
    memcpy(subject.ek, issued->ek, sizeof subject.ek);
    enum lct_code code = describe_key(&subject, libctx, &issued->key, err);
    if (code == LCT_OK && json) {
        json_t *document = subject_json(&subject, &issued->verdict, holds);
        json_t *more = json_pack("{s:s, s:s, s:s}", "issuer", issued->issuer, "issued",
                                 issued->issued, "expires", issued->expires);
        if (more != NULL)
            (void)json_object_update(document, more);
        json_decref(more);
        code = lct_tool_print_json(document, err);
    } else if (code == LCT_OK) {
        code = print_subject(&subject, err);
        if (code == LCT_OK)
            code = lct_tool_print(err, "verdict      of %s until %s\nissuer       SHA-256 %s\n",
                                  issued->issued, issued->expires, issued->issuer);
        if (code == LCT_OK)
            code = lct_report_print(&issued->verdict, err);
    }
    free(subject.pem);
    return code;
}

static enum lct_code check_issued(const struct lct_verify_asked *asked, struct lct_err *err)
{
    const struct lct_judging *judging = &asked->judging;

    if (judging->trust == NULL)
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "this is a signed verdict; --trust says whose verdicts are believed");
    if (judging->state != NULL || judging->expected != NULL)
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "this is a signed verdict, of somebody else's challenge: --state and "
                        "--expect-pcrs are for evidence");
    return LCT_OK;
}

enum lct_code lct_verify_issued(const struct lct_verify_asked *asked, OSSL_LIB_CTX *libctx,
                                const char *file, const char *jws, size_t jws_len,
                                struct lct_err *err)
{
    struct lct_case judged = {.trust = NULL};
    struct lct_issued_verdict issued;
    enum lct_code code = check_issued(asked, err);

    memset(&issued, 0, sizeof issued);
    if (code == LCT_OK)
        code = lct_case_open(&judged, libctx, &asked->judging, err);
    if (code != LCT_OK)
        goto out;
    code = lct_issued_verdict_judge(&issued, libctx, jws, jws_len, judged.trust, judged.key.pkey,
                                    judged.now, err);
    if (code != LCT_OK) {
        code = lct_err_prefix(err, file);
        goto out;
    }
    judged.required |= lct_issued_verdict_claims();
    bool holds = lct_report_conclude(&issued.verdict, judged.required, NULL) == LCT_OK;
    code = show_issued(&issued, libctx, holds, asked->json, err);
    if (code == LCT_OK)
        code = lct_report_conclude(&issued.verdict, judged.required, err);
out:
    lct_case_close(&judged);
    return code;
}
