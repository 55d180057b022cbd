/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/evidence.h"

#include "base/unconst.h"
#include "proof/document.h"
#include "proof/json.h"
#include "tcg/eventlog.h"

#include <openssl/rsa.h>
#include <stdlib.h>
#include <string.h>

enum { VERSION = 1 };

static const char type[] = "lct-attestation-evidence";

/* How the key itself signs, by name in the document. */
static const struct {
    const char *name;
    uint16_t id;
} schemes[] = {{"ecdsa", TPM2_ALG_ECDSA}, {"rsassa", TPM2_ALG_RSASSA}, {"rsapss", TPM2_ALG_RSAPSS}};

enum { NUM_SCHEMES = sizeof schemes / sizeof schemes[0] };

struct lct_evidence *lct_evidence_new(void)
{
    return calloc(1, sizeof(struct lct_evidence));
}

void lct_evidence_free(struct lct_evidence *evidence)
{
    if (evidence == NULL)
        return;
    lct_challenge_clear(&evidence->challenge);
    free(evidence->eventlog);
    free(evidence);
}

const struct lct_offered_ek *lct_evidence_ek(const struct lct_evidence *evidence)
{
    const struct lct_offer *offer = evidence->challenge.offer;

    for (size_t i = 0; i < offer->num_eks && evidence->challenge.has_credential; i++)
        if (lct_name_equal(&offer->eks[i].public_area.name, &evidence->challenge.ek))
            return &offer->eks[i];
    return NULL;
}

static json_t *of_certify(const struct lct_evidence_attested *attested)
{
    if (attested->attest_len == 0)
        return json_null();
    return json_pack("{s:o, s:o}", "attest",
                     lct_document_of_bytes(attested->attest, attested->attest_len), "signature",
                     lct_document_of_bytes(attested->signature, attested->signature_len));
}

static json_t *of_quote(const struct lct_evidence *evidence)
{
    json_t *json = of_certify(&evidence->quote);

    if (json_is_object(json) &&
        json_object_set_new(json, "values", lct_json_of_values(&evidence->values)) != 0) {
        json_decref(json);
        return NULL;
    }
    return json;
}

static json_t *of_possession(const struct lct_evidence *evidence)
{
    size_t row = 0;

    while (row < NUM_SCHEMES && schemes[row].id != evidence->scheme.id)
        row++;
    if (row == NUM_SCHEMES || evidence->scheme.hash == NULL)
        return NULL;
    return json_pack("{s:s, s:s, s:o}", "scheme", schemes[row].name, "hash",
                     evidence->scheme.hash->name, "signature",
                     lct_document_of_bytes(evidence->possession.data, evidence->possession.len));
}

json_t *lct_evidence_json(const struct lct_evidence *evidence)
{
    return json_pack("{s:s, s:i, s:o, s:o, s:o, s:o, s:o, s:o}", "type", type, "version", VERSION,
                     "challenge", lct_challenge_json(&evidence->challenge), "activation",
                     evidence->has_activation
                         ? lct_json_of_bytes(evidence->activation, sizeof evidence->activation)
                         : json_null(),
                     "certify", of_certify(&evidence->certify), "quote", of_quote(evidence),
                     "possession", of_possession(evidence), "eventlog",
                     evidence->eventlog_len > 0
                         ? lct_document_of_bytes(evidence->eventlog, evidence->eventlog_len)
                         : json_null());
}

static bool take_attested(struct lct_evidence_attested *attested, const json_t *attest,
                          const json_t *signature)
{
    return lct_document_bytes(attested->attest, &attested->attest_len, sizeof attested->attest,
                              attest) &&
           lct_document_bytes(attested->signature, &attested->signature_len,
                              sizeof attested->signature, signature) &&
           attested->attest_len > 0;
}

static bool take_certify(struct lct_evidence *evidence, const json_t *json)
{
    json_t *attest, *signature;

    return json_is_null(json) || (json_unpack_ex(lct_unconst(json), NULL, JSON_STRICT, "{s:o, s:o}",
                                                 "attest", &attest, "signature", &signature) == 0 &&
                                  take_attested(&evidence->certify, attest, signature));
}

/* The values are of the PCRs that the challenge asks for. */
static bool take_quote(struct lct_evidence *evidence, const json_t *json)
{
    json_t *attest, *signature, *values;

    if (json_is_null(json))
        return true;
    evidence->values.pcrs = evidence->challenge.pcrs;
    return json_unpack_ex(lct_unconst(json), NULL, JSON_STRICT, "{s:o, s:o, s:o}", "attest",
                          &attest, "signature", &signature, "values", &values) == 0 &&
           take_attested(&evidence->quote, attest, signature) &&
           lct_json_values(&evidence->values, values);
}

static bool take_possession(struct lct_evidence *evidence, const json_t *json)
{
    const char *scheme, *hash;
    json_t *signature;
    size_t row = 0;

    if (json_unpack_ex(lct_unconst(json), NULL, JSON_STRICT, "{s:s, s:s, s:o}", "scheme", &scheme,
                       "hash", &hash, "signature", &signature) != 0)
        return false;
    while (row < NUM_SCHEMES && strcmp(schemes[row].name, scheme) != 0)
        row++;
    evidence->scheme.hash = lct_hash_by_name(hash);
    evidence->scheme.salt_len = RSA_PSS_SALTLEN_AUTO;
    evidence->scheme.id = row < NUM_SCHEMES ? schemes[row].id : 0;
    return row < NUM_SCHEMES && evidence->scheme.hash != NULL &&
           lct_document_bytes(evidence->possession.data, &evidence->possession.len,
                              sizeof evidence->possession.data, signature);
}

static bool take_activation(struct lct_evidence *evidence, const json_t *json)
{
    evidence->has_activation = json_is_string(json);
    return evidence->has_activation
               ? lct_json_bytes(evidence->activation, sizeof evidence->activation,
                                json_string_value(json))
               : json_is_null(json);
}

static bool take_eventlog(struct lct_evidence *evidence, const json_t *json)
{
    if (json_is_null(json))
        return true;
    evidence->eventlog =
        lct_document_take_bytes(&evidence->eventlog_len, LCT_EVENTLOG_MAX_LEN, json);
    return evidence->eventlog != NULL;
}

/* What is asked for is there, and nothing else. */
static bool answers(const struct lct_evidence *evidence)
{
    const struct lct_challenge *challenge = &evidence->challenge;

    return evidence->has_activation == challenge->has_credential &&
           (evidence->certify.attest_len > 0) == !challenge->direct &&
           (evidence->quote.attest_len > 0) == (challenge->pcrs.num_banks > 0) &&
           (evidence->eventlog == NULL || evidence->quote.attest_len > 0);
}

static enum lct_code take(struct lct_evidence *evidence, OSSL_LIB_CTX *libctx, const json_t *json,
                          struct lct_err *err)
{
    json_t *challenge, *activation, *certify, *quote, *possession, *eventlog;
    const char *named;
    int version;
    enum lct_code code = lct_document_check(json, type, err);

    if (code != LCT_OK)
        return code;
    if (json_unpack_ex(lct_unconst(json), NULL, JSON_STRICT,
                       "{s:s, s:i, s:o, s:o, s:o, s:o, s:o, s:o}", "type", &named, "version",
                       &version, "challenge", &challenge, "activation", &activation, "certify",
                       &certify, "quote", &quote, "possession", &possession, "eventlog",
                       &eventlog) != 0)
        return LCT_FAIL(err, LCT_ERR_BAD_EVIDENCE,
                        "the evidence is malformed: a member is "
                        "missing, wrong or not known");
    code = lct_challenge_read(&evidence->challenge, libctx, challenge, err);
    if (code != LCT_OK)
        return code;
    if (!take_activation(evidence, activation) || !take_certify(evidence, certify) ||
        !take_quote(evidence, quote) || !take_possession(evidence, possession) ||
        !take_eventlog(evidence, eventlog))
        return LCT_FAIL(err, LCT_ERR_BAD_EVIDENCE, "the evidence is malformed");
    if (!answers(evidence))
        return LCT_FAIL(err, LCT_ERR_BAD_EVIDENCE,
                        "the evidence has not the parts that its challenge asks for");
    return LCT_OK;
}

enum lct_code lct_evidence_read(struct lct_evidence **evidence, OSSL_LIB_CTX *libctx,
                                const json_t *json, struct lct_err *err)
{
    *evidence = lct_evidence_new();
    if (*evidence == NULL)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    enum lct_code code = take(*evidence, libctx, json, err);
    if (code == LCT_OK)
        return LCT_OK;
    lct_evidence_free(*evidence);
    *evidence = NULL;
    return code;
}
