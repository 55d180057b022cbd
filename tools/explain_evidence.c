/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/explain.h"

#include "proof/bootlog.h"
#include "proof/json.h"
#include "tcg/attest.h"
#include "tcg/event_text.h"
#include "tcg/eventlog.h"
#include "tools/json.h"
#include "tools/report.h"

#include <openssl/evp.h>
#include <stdbool.h>
#include <string.h>

static const char *scheme_name(uint16_t id)
{
    return id == TPM2_ALG_ECDSA ? "ecdsa" : id == TPM2_ALG_RSAPSS ? "rsapss" : "rsassa";
}

static json_t *of_scheme(const struct lct_scheme *scheme)
{
    return json_pack("{s:s, s:s}", "scheme", scheme_name(scheme->id), "hash", scheme->hash->name);
}

static json_t *of_signature(const struct lct_evidence_attested *attested)
{
    struct lct_signature signature;
    struct lct_scheme scheme;
    struct lct_err err = {.code = LCT_OK};

    if (lct_attest_signature(&signature, &scheme, attested->signature, attested->signature_len,
                             &err) != LCT_OK)
        return json_pack("{s:o}", "error", lct_tool_json_text(err.text));
    return of_scheme(&scheme);
}

/* NULL where it is of another kind: what is said of it would be of nothing that is in it. */
static json_t *of_attested(const struct lct_evidence_attested *attested, uint16_t type)
{
    struct lct_attest attest;
    struct lct_err err = {.code = LCT_OK};

    if (attested->attest_len == 0)
        return json_null();
    if (lct_attest_decode(&attest, attested->attest, attested->attest_len, &err) == LCT_OK &&
        attest.type != type)
        (void)LCT_FAIL(&err, LCT_ERR_BAD_EVIDENCE, "it attests something else");
    if (err.code != LCT_OK)
        return json_pack("{s:o}", "error", lct_tool_json_text(err.text));
    json_t *json = lct_report_attested(&attest);
    (void)json_object_set_new(json, "signature", of_signature(attested));
    return json;
}

static json_t *of_quote(const struct lct_evidence *evidence)
{
    json_t *json = of_attested(&evidence->quote, TPM2_ST_ATTEST_QUOTE);

    if (json_is_object(json))
        (void)json_object_set_new(json, "values", lct_json_of_values(&evidence->values));
    return json;
}

/* A log that is being shown, by the digests of one of its banks. */
struct shown_log {
    OSSL_LIB_CTX *libctx;
    struct lct_eventlog log;
    const struct lct_hash *hash;
    uint32_t explained; /* PCRs of that bank whose value it leads to */
    json_t *events;
};

/* Whether the digest is that of what the event says, and the log leads to its PCR, which then bears
 * it out. */
static bool is_measured(const struct shown_log *shown, const struct lct_event *event,
                        const uint8_t *digest)
{
    uint8_t own[LCT_MAX_HASH];

    return digest != NULL && event->type != LCT_EV_NO_ACTION &&
           (shown->explained >> event->pcr & 1) != 0 &&
           EVP_Q_digest(shown->libctx, shown->hash->openssl, NULL, event->bytes, event->bytes_len,
                        own, NULL) == 1 &&
           memcmp(own, digest, shown->hash->size) == 0;
}

static bool add_event(struct shown_log *shown, const struct lct_event *event)
{
    size_t bank = lct_eventlog_bank(&shown->log, shown->hash->id);
    const uint8_t *digest = bank < shown->log.num_banks ? event->digests[bank] : NULL;
    char name[LCT_EVENT_NAME], text[LCT_EVENT_TEXT];

    lct_event_text(text, event);
    json_t *json =
        json_pack("{s:I, s:I, s:s, s:o, s:s, s:b}", "number", (json_int_t)event->number, "pcr",
                  (json_int_t)event->pcr, "type", lct_event_name(name, event->type), "digest",
                  digest != NULL ? lct_json_of_bytes(digest, shown->hash->size) : json_null(),
                  "text", text, "measured", (int)is_measured(shown, event, digest));
    return json_array_append_new(shown->events, json) == 0;
}

static enum lct_code add_events(struct shown_log *shown, const struct lct_evidence *evidence,
                                struct lct_err *err)
{
    struct lct_event event;
    enum lct_code code =
        lct_eventlog_begin(&shown->log, evidence->eventlog, evidence->eventlog_len, err);

    while (code == LCT_OK && !lct_eventlog_at_end(&shown->log)) {
        code = lct_eventlog_next(&event, &shown->log, err);
        if (code == LCT_OK && !add_event(shown, &event))
            code = LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    }
    return code;
}

/* There is a quote where there is a log. */
static json_t *of_eventlog(OSSL_LIB_CTX *libctx, const struct lct_evidence *evidence)
{
    struct shown_log shown = {.libctx = libctx, .hash = evidence->values.pcrs.banks[0].hash};
    struct lct_finding finding = {.outcome = LCT_NOT_CLAIMED};
    struct lct_pcrs explained;
    struct lct_err err = {.code = LCT_OK};

    if (evidence->eventlog == NULL)
        return json_null();
    lct_bootlog_judge(&finding, &explained, libctx, &evidence->values, evidence->eventlog,
                      evidence->eventlog_len);
    int row = lct_pcrs_find(&explained, shown.hash->id);
    shown.explained = row >= 0 ? explained.banks[row].pcrs : 0;
    shown.events = json_array();
    enum lct_code code = add_events(&shown, evidence, &err);
    return json_pack("{s:{s:s, s:s}, s:s, s:s*, s:o}", "explains_values", "outcome",
                     lct_outcome_name(finding.outcome), "reason", finding.reason, "bank",
                     shown.hash->name, "error", code != LCT_OK ? err.text : NULL, "events",
                     shown.events);
}

json_t *lct_explain_evidence(struct lct_crypto *crypto, const struct lct_evidence *evidence)
{
    OSSL_LIB_CTX *libctx = lct_crypto_get(crypto, NULL);

    if (libctx == NULL)
        return NULL;
    return json_pack("{s:b, s:o, s:o, s:o, s:o}", "activation", (int)evidence->has_activation,
                     "certify", of_attested(&evidence->certify, TPM2_ST_ATTEST_CERTIFY), "quote",
                     of_quote(evidence), "possession", of_scheme(&evidence->scheme), "eventlog",
                     of_eventlog(libctx, evidence));
}

json_t *lct_explain_verdict(struct lct_crypto *crypto, const struct lct_issued_verdict *issued)
{
    json_t *ak =
        issued->ak.len > 0 ? lct_json_of_bytes(issued->ak.data, issued->ak.len) : json_null();

    return json_pack(
        "{s:s, s:s, s:s, s:s, s:i, s:s, s:s, s:o, s:s?, s:o, s:o}", "issuer", issued->issuer,
        "issued", issued->issued, "expires", issued->expires, "id", issued->id, "generation",
        (int)issued->generation, "challenge", issued->challenge, "evidence", issued->evidence, "ak",
        ak, "ek", issued->ek[0] != '\0' ? issued->ek : NULL, "key",
        lct_explain_public(crypto, &issued->key), "claims", lct_verdict_json(&issued->verdict));
}
