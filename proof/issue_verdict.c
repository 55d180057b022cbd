/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/issue.h"

#include "proof/document.h"
#include "proof/json.h"
#include "proof/jws.h"
#include "proof/spki.h"

#include <jansson.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

enum { VERSION = 1, DAY = 24 * 60 * 60 /* seconds */, DIGEST = 32, NUMBER = 16 };

static const char type[] = "lct-attestation-verdict", jose_type[] = "lct-verdict+jws";

/* The EK's fingerprint, or null. */
static json_t *of_ek(OSSL_LIB_CTX *libctx, const struct lct_evidence *evidence)
{
    char fingerprint[65];
    const struct lct_offered_ek *ek = lct_evidence_ek(evidence);

    if (ek == NULL)
        return json_null();
    EVP_PKEY *pkey = lct_public_pkey(&ek->public_area.area, libctx, NULL);
    bool good = pkey != NULL && lct_spki_fingerprint(fingerprint, pkey, libctx, NULL) == LCT_OK;
    EVP_PKEY_free(pkey);
    return good ? json_string(fingerprint) : NULL;
}

static json_t *of_evidence(OSSL_LIB_CTX *libctx, const struct lct_evidence *evidence)
{
    uint8_t digest[DIGEST];
    json_t *json = lct_evidence_json(evidence);
    bool good = json != NULL && lct_document_digest(digest, libctx, json, NULL) == LCT_OK;

    json_decref(json);
    return good ? lct_json_of_bytes(digest, sizeof digest) : NULL;
}

static json_t *payload_of(OSSL_LIB_CTX *libctx, const struct lct_evidence *evidence,
                          const struct lct_verdict *verdict, const struct lct_issue *issue)
{
    const struct lct_challenge *challenge = &evidence->challenge;
    const struct lct_offer *offer = challenge->offer;
    char issued[21], expires[21];

    if (!lct_json_of_time(issued, issue->now) ||
        !lct_json_of_time(expires, issue->now + (time_t)issue->days * DAY))
        return NULL;
    return json_pack("{s:s, s:i, s:s, s:s, s:s, s:i, s:o, s:o, s:o, s:o, s:s, s:o, s:o}", "type",
                     type, "version", VERSION, "issued", issued, "expires", expires, "id",
                     offer->id, "generation", (int)offer->generation, "key",
                     lct_document_of_bytes(offer->key.bytes, offer->key.len), "name",
                     lct_json_of_bytes(offer->key.name.data, offer->key.name.len), "ak",
                     challenge->direct ? json_null()
                                       : lct_json_of_bytes(offer->ak.name.data, offer->ak.name.len),
                     "ek", of_ek(libctx, evidence), "challenge", challenge->number, "evidence",
                     of_evidence(libctx, evidence), "claims", lct_verdict_json(verdict));
}

/* Whether others will take it. */
static bool is_sound(const char *jws, OSSL_LIB_CTX *libctx, const struct lct_issue *issue)
{
    struct lct_issued_verdict *issued = calloc(1, sizeof *issued);
    struct lct_jws read = {0};
    bool sound = issued != NULL &&
                 lct_issued_verdict_read(issued, libctx, jws, strlen(jws), NULL) == LCT_OK &&
                 lct_jws_read(&read, jws, strlen(jws), NULL) == LCT_OK &&
                 lct_jws_is_by(&read, issue->signer->pkey, libctx);

    lct_jws_clear(&read);
    free(issued);
    return sound;
}

enum lct_code lct_issue_verdict(char **jws, OSSL_LIB_CTX *libctx,
                                const struct lct_evidence *evidence,
                                const struct lct_verdict *verdict, const struct lct_issue *issue,
                                struct lct_err *err)
{
    char kid[65];

    *jws = NULL;
    if (issue->days == 0 || issue->days > LCT_MAX_ISSUE_DAYS)
        return LCT_FAIL(err, LCT_ERR_USAGE, "a signed verdict is for 1 to %d days",
                        (int)LCT_MAX_ISSUE_DAYS);
    json_t *payload = payload_of(libctx, evidence, verdict, issue);
    char *text = payload != NULL ? lct_json_dump(payload, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    json_decref(payload);
    if (text == NULL || lct_spki_fingerprint(kid, issue->signer->pkey, libctx, NULL) != LCT_OK) {
        free(text);
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "the verdict cannot be encoded");
    }
    enum lct_code code = lct_jws_compact(jws, issue->signer, kid, jose_type, (const uint8_t *)text,
                                         strlen(text), err);
    free(text);
    if (code != LCT_OK || is_sound(*jws, libctx, issue))
        return code;
    free(*jws);
    *jws = NULL;
    return LCT_FAIL(err, LCT_ERR_INTERNAL, "the signed verdict that was made does not verify");
}

static enum lct_code fail_form(const char *what, struct lct_err *err)
{
    return LCT_FAIL(err, LCT_ERR_BAD_EVIDENCE, "the signed verdict is malformed: %s", what);
}

/* So many bytes in hexadecimal, kept as text. */
static bool take_digits(char *text, size_t bytes_len, const char *value)
{
    uint8_t bytes[DIGEST];

    return lct_json_bytes(bytes, bytes_len, value) && lct_json_text(text, 2 * bytes_len + 1, value);
}

/* AK and EK, each perhaps null. */
static bool take_others(struct lct_issued_verdict *issued, const json_t *ak, const json_t *ek)
{
    const char *ak_text, *ek_text;

    return lct_json_maybe(&ak_text, ak) &&
           (ak_text == NULL || lct_json_name(&issued->ak, ak_text)) &&
           lct_json_maybe(&ek_text, ek) &&
           (ek_text == NULL || take_digits(issued->ek, DIGEST, ek_text));
}

static enum lct_code take_key(struct lct_issued_verdict *issued, OSSL_LIB_CTX *libctx,
                              const json_t *key, const char *name_text, struct lct_err *err)
{
    uint8_t bytes[LCT_MAX_OFFER_PUBLIC];
    struct lct_name name;
    size_t len;

    if (!lct_document_bytes(bytes, &len, sizeof bytes, key))
        return fail_form("its key", err);
    enum lct_code code = lct_offered_public_set(&issued->key, libctx, bytes, len, err);
    if (code == LCT_OK &&
        (!lct_json_name(&name, name_text) || !lct_name_equal(&name, &issued->key.name)))
        code = fail_form("the Name is not the key's", err);
    return code;
}

static enum lct_code take(struct lct_issued_verdict *issued, OSSL_LIB_CTX *libctx, json_t *json,
                          struct lct_err *err)
{
    const char *named, *when, *until, *id, *name, *challenge, *evidence;
    json_t *key, *ak, *ek, *claims;
    json_int_t version, generation;
    enum lct_code code = lct_document_check(json, type, err);

    if (code != LCT_OK)
        return code;
    if (json_unpack_ex(json, NULL, JSON_STRICT,
                       "{s:s, s:I, s:s, s:s, s:s, s:I, s:o, s:s, s:o, s:o, s:s, s:s, s:o}", "type",
                       &named, "version", &version, "issued", &when, "expires", &until, "id", &id,
                       "generation", &generation, "key", &key, "name", &name, "ak", &ak, "ek", &ek,
                       "challenge", &challenge, "evidence", &evidence, "claims", &claims) != 0 ||
        generation < 1 || generation > INT_MAX || !lct_offer_take_id(issued->id, id) ||
        !lct_json_time(issued->issued, when) || !lct_json_time(issued->expires, until) ||
        !take_others(issued, ak, ek) || !take_digits(issued->challenge, NUMBER, challenge) ||
        !take_digits(issued->evidence, DIGEST, evidence))
        return fail_form("a member is missing, wrong or not known", err);
    if (!lct_verdict_from_json(&issued->verdict, claims))
        return fail_form("its claims", err);
    issued->generation = (unsigned)generation;
    return take_key(issued, libctx, key, name, err);
}

static enum lct_code take_jws(struct lct_issued_verdict *issued, OSSL_LIB_CTX *libctx,
                              const struct lct_jws *jws, struct lct_err *err)
{
    if (strcmp(jws->typ, jose_type) != 0)
        return fail_form("its \"typ\" is another", err);
    if (!take_digits(issued->issuer, DIGEST, jws->kid))
        return fail_form("its \"kid\" is no SHA-256", err);
    json_t *json = lct_json_load(jws->payload, jws->payload_len, NULL);
    enum lct_code code = take(issued, libctx, json, err);
    json_decref(json);
    return code;
}

enum lct_code lct_issued_verdict_read(struct lct_issued_verdict *issued, OSSL_LIB_CTX *libctx,
                                      const char *jws, size_t jws_len, struct lct_err *err)
{
    struct lct_jws parts;
    enum lct_code code = lct_jws_read(&parts, jws, jws_len, err);

    *issued = (struct lct_issued_verdict){0};
    if (code == LCT_OK)
        code = take_jws(issued, libctx, &parts, err);
    lct_jws_clear(&parts);
    return code;
}
