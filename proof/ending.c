/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/ending.h"

#include "proof/json.h"
#include "proof/payload.h"

#include <jansson.h>
#include <limits.h>
#include <openssl/evp.h>
#include <string.h>

enum { VERSION = 1 };

static const char type[] = "lct-end", retired[] = "retired", revoked[] = "revoked";

static json_t *maybe(const char *text)
{
    return text[0] != '\0' ? json_string(text) : json_null();
}

static bool is_key(const struct lct_end *end, const struct lct_signer *signer)
{
    EVP_PKEY *pkey = lct_subject_pkey(&end->key, signer->libctx);
    bool same = pkey != NULL && EVP_PKEY_eq(pkey, signer->pkey) == 1;

    EVP_PKEY_free(pkey);
    return same;
}

enum lct_code lct_end_sign(struct lct_jws_general *jws, const struct lct_end *end,
                           const struct lct_signer *signer, struct lct_err *err)
{
    const struct lct_jws_as as = {.role = LCT_ROLE_SUBJECT};
    struct lct_end again;

    *jws = (struct lct_jws_general){.payload = NULL};
    if (!is_key(end, signer))
        return LCT_FAIL(err, LCT_ERR_WRONG_KEY,
                        "the key that was to sign is not the one that ends");
    enum lct_code code = lct_payload_begin(
        jws,
        json_pack("{s:s, s:i, s:s, s:I, s:s, s:o, s:s, s:o}", "type", type, "version", VERSION,
                  "id", end->id, "counter", (json_int_t)end->counter, "ending",
                  end->revoked ? revoked : retired, "reason", maybe(end->reason), "created",
                  end->created, "key", lct_subject_json(&end->key)),
        err);
    if (code == LCT_OK)
        code = lct_jws_general_sign(jws, signer, &as, err);
    if (code == LCT_OK && lct_end_read(&again, signer->libctx, jws, NULL) != LCT_OK)
        code = LCT_FAIL(err, LCT_ERR_INTERNAL, "the statement that was made cannot be read");
    return code;
}

static bool take_ending(struct lct_end *end, const char *ending, const json_t *json)
{
    const char *reason;

    end->revoked = strcmp(ending, revoked) == 0;
    if (!end->revoked)
        return strcmp(ending, retired) == 0 && json_is_null(json);
    return lct_json_maybe(&reason, json) && reason != NULL && lct_is_end_reason(reason) &&
           lct_json_text(end->reason, sizeof end->reason, reason);
}

static enum lct_code take(struct lct_end *end, OSSL_LIB_CTX *libctx, json_t *json,
                          struct lct_err *err)
{
    const char *named, *id, *ending, *created;
    json_int_t version, counter;
    json_t *reason, *key;

    if (json_unpack_ex(json, NULL, JSON_STRICT, "{s:s, s:I, s:s, s:I, s:s, s:o, s:s, s:o}", "type",
                       &named, "version", &version, "id", &id, "counter", &counter, "ending",
                       &ending, "reason", &reason, "created", &created, "key", &key) != 0 ||
        !lct_offer_take_id(end->id, id) || !lct_payload_number(&end->counter, UINT_MAX, counter) ||
        !take_ending(end, ending, reason) || !lct_payload_time(end->created, created) ||
        !lct_subject_read(&end->key, libctx, key))
        return LCT_FAIL(err, LCT_ERR_BAD_EVIDENCE,
                        "the statement is malformed: a member is missing, wrong or not known");
    return LCT_OK;
}

enum lct_code lct_end_read(struct lct_end *end, OSSL_LIB_CTX *libctx,
                           const struct lct_jws_general *jws, struct lct_err *err)
{
    json_t *json;
    enum lct_code code = lct_payload_read(&json, jws, type, err);

    memset(end, 0, sizeof *end);
    if (code == LCT_OK)
        code = take(end, libctx, json, err);
    json_decref(json);
    return code == LCT_OK ? lct_payload_check_alone(jws, LCT_ROLE_SUBJECT, err) : code;
}

void lct_end_judge(struct lct_judgement *judgement, OSSL_LIB_CTX *libctx, const struct lct_end *end,
                   const struct lct_jws_general *jws, const struct lct_judgement_request *request)
{
    EVP_PKEY *pkey = lct_subject_pkey(&end->key, libctx);

    lct_judgement_begin(judgement, jws);
    lct_judgement_signature(judgement, libctx, jws, 0, pkey);
    lct_judgement_check_time(judgement, end->created, request->now);
    lct_judgement_check_key(judgement, "the key", request->key, pkey);
    lct_judgement_check_counter(judgement, end->counter, request->counter);
    judgement->holds = judgement->reason[0] == '\0';
    EVP_PKEY_free(pkey);
}
