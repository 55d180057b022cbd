/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/explain_sheet.h"

#include "base/unconst.h"
#include "tcg/event_text.h"
#include "tcg/pcr.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum { MS_A_MINUTE = 60000, MINUTES_AN_HOUR = 60, HOURS_A_DAY = 24 };

/* A line of an object: what it is called, and which member it is. */
struct line {
    const char *label, *member;
};

/* Those of the lines that there is something for. */
static void say_lines(struct lct_sheet *sheet, const json_t *json, const struct line *lines,
                      size_t num)
{
    for (size_t i = 0; i < num; i++)
        lct_sheet_json(sheet, lines[i].label, json_object_get(json, lines[i].member));
}

static const char *string_of(const json_t *json, const char *member)
{
    const char *string = json_string_value(json_object_get(json, member));

    return string != NULL ? string : "none";
}

/* What cannot be decoded says why, and nothing else. */
static bool say_error(struct lct_sheet *sheet, const char *label, const json_t *json)
{
    const json_t *error = json_object_get(json, "error");

    lct_sheet_json(sheet, label, error);
    return error != NULL;
}

static void say_public(struct lct_sheet *sheet, const char *label, const json_t *json)
{
    static const struct line lines[] = {{"  name", "name"},
                                        {"  SHA-256", "sha256"},
                                        {"  attributes", "attributes"},
                                        {"  unusable", "error"}};

    if (!json_is_object(json)) {
        lct_sheet_say(sheet, label, "none");
        return;
    }
    lct_sheet_json(sheet, label, json_object_get(json, "algorithm"));
    say_lines(sheet, json, lines, sizeof lines / sizeof lines[0]);
}

static void say_certificate(struct lct_sheet *sheet, const char *label, const json_t *json)
{
    static const struct line lines[] = {
        {"  subject", "subject"}, {"  issuer", "issuer"}, {"  serial", "serial"},
        {"  from", "not_before"}, {"  to", "not_after"},  {"  SHA-256", "sha256"},
        {"  maker", "maker"},     {"  model", "model"},   {"  version", "version"}};

    if (!json_is_object(json)) {
        lct_sheet_say(sheet, label, "none");
        return;
    }
    if (say_error(sheet, label, json))
        return;
    bool expired = json_is_true(json_object_get(json, "expired"));
    lct_sheet_say(sheet, label, "%s %.10s", expired ? "expired" : "until",
                  string_of(json, "not_after"));
    say_lines(sheet, json, lines, sizeof lines / sizeof lines[0]);
}

static void say_certificates(struct lct_sheet *sheet, const char *label, const json_t *array)
{
    for (size_t i = 0; i < json_array_size(array); i++)
        say_certificate(sheet, label, json_array_get(array, i));
}

static void say_seal(struct lct_sheet *sheet, const json_t *json)
{
    static const struct line lines[] = {{"seal", "text"}, {"  authority", "fingerprint"}};

    if (json_is_object(json))
        say_lines(sheet, json, lines, sizeof lines / sizeof lines[0]);
    else
        lct_sheet_say(sheet, "seal", "none");
}

static void say_offer(struct lct_sheet *sheet, const json_t *json)
{
    static const struct line lines[] = {{"identity", "id"},
                                        {"generation", "generation"},
                                        {"tpm", "tpm"},
                                        {"  software", "software_tpm"},
                                        {"passphrase", "passphrase"}};
    const json_t *ak = json_object_get(json, "ak"), *eks = json_object_get(json, "eks");

    lct_sheet_part(sheet, "What was offered");
    say_lines(sheet, json, lines, sizeof lines / sizeof lines[0]);
    say_seal(sheet, json_object_get(json, "seal"));
    say_public(sheet, "key", json_object_get(json, "key"));
    say_public(sheet, "parent", json_object_get(json, "parent"));
    lct_sheet_part(sheet, "Attestation key");
    say_public(sheet, "AK", ak);
    say_certificates(sheet, "certificate", json_object_get(ak, "certificates"));
    for (size_t i = 0; i < json_array_size(eks); i++) {
        const json_t *ek = json_array_get(eks, i);
        lct_sheet_part(sheet, "Endorsement key");
        say_public(sheet, "EK", ek);
        say_certificate(sheet, "certificate", json_object_get(ek, "certificate"));
    }
    if (json_array_size(json_object_get(json, "issuers")) > 0)
        lct_sheet_part(sheet, "Issuers");
    say_certificates(sheet, "issuer", json_object_get(json, "issuers"));
}

static void say_challenge(struct lct_sheet *sheet, const json_t *json)
{
    static const struct line lines[] = {{"challenge", "number"},  {"  mode", "mode"},
                                        {"  created", "created"}, {"  expires", "expires"},
                                        {"  nonce", "nonce"},     {"  PCRs", "pcrs"},
                                        {"  to the EK", "ek"},    {"  credential", "credential"}};

    lct_sheet_part(sheet, "Challenge");
    say_lines(sheet, json, lines, sizeof lines / sizeof lines[0]);
}

/* Milliseconds for which the TPM has been on, over all its life (Part 1, 36.2). */
static void say_clock(struct lct_sheet *sheet, const json_t *json)
{
    uint64_t minutes = (uint64_t)json_integer_value(json_object_get(json, "clock")) / MS_A_MINUTE;
    uint64_t hours = minutes / MINUTES_AN_HOUR;

    lct_sheet_say(sheet, "  clock", "%ju days, %ju hours, %ju minutes",
                  (uintmax_t)(hours / HOURS_A_DAY), (uintmax_t)(hours % HOURS_A_DAY),
                  (uintmax_t)(minutes % MINUTES_AN_HOUR));
}

static void say_scheme(struct lct_sheet *sheet, const char *label, const json_t *json)
{
    if (!say_error(sheet, label, json))
        lct_sheet_say(sheet, label, "%s, %s", string_of(json, "scheme"), string_of(json, "hash"));
}

/* What TPM2_Certify or TPM2_Quote attests. */
static void say_attested(struct lct_sheet *sheet, const char *label, const json_t *json)
{
    static const struct line lines[] = {
        {"  name", "name"},          {"  qualified", "qualified_name"},
        {"  PCRs", "pcrs"},          {"  PCR digest", "pcr_digest"},
        {"  signed by", "signer"},   {"  nonce", "nonce"},
        {"  resets", "reset_count"}, {"  restarts", "restart_count"},
        {"  safe", "safe"},          {"  firmware", "firmware_version"}};

    if (!json_is_object(json)) {
        lct_sheet_say(sheet, label, "none");
        return;
    }
    if (say_error(sheet, label, json))
        return;
    say_scheme(sheet, label, json_object_get(json, "signature"));
    say_lines(sheet, json, lines, sizeof lines / sizeof lines[0]);
    say_clock(sheet, json);
}

static void say_values(struct lct_sheet *sheet, const json_t *banks)
{
    char number[16], label[32];

    if (json_object_size(banks) > 0)
        lct_sheet_part(sheet, "Values of the PCRs");
    for (void *at = json_object_iter(lct_unconst(banks)); at != NULL;
         at = json_object_iter_next(lct_unconst(banks), at)) {
        const char *bank = json_object_iter_key(at);
        const json_t *values = json_object_iter_value(at);
        for (unsigned pcr = 0; pcr < LCT_NUM_PCRS; pcr++) {
            (void)snprintf(number, sizeof number, "%u", pcr);
            (void)snprintf(label, sizeof label, "  %.10s:%u", bank, pcr);
            const json_t *value = json_object_get(values, number);
            lct_sheet_json(sheet, label, value);
            if (value != NULL)
                lct_sheet_note(sheet, lct_pcr_meaning(pcr));
        }
    }
}

/* What an event's digest is not of is in brackets. */
static void say_event(struct lct_sheet *sheet, const json_t *json)
{
    const char *text = string_of(json, "text");
    json_int_t pcr = json_integer_value(json_object_get(json, "pcr"));
    bool bare = json_is_true(json_object_get(json, "measured")) || text[0] == '\0';
    char number[24], place[24] = "no PCR", said[LCT_EVENT_TEXT + 2];
    const char *const cells[] = {number, place, string_of(json, "type"), string_of(json, "digest"),
                                 said};

    (void)snprintf(number, sizeof number, "  %d",
                   (int)json_integer_value(json_object_get(json, "number")));
    if (pcr < LCT_NUM_PCRS)
        (void)snprintf(place, sizeof place, "PCR %d", (int)pcr);
    (void)snprintf(said, sizeof said, "%s%s%s", bare ? "" : "[", text, bare ? "" : "]");
    lct_sheet_cells(sheet, cells);
}

static void say_eventlog(struct lct_sheet *sheet, const json_t *json)
{
    static const struct lct_column columns[] = {{"event", 7, false},
                                                {"PCR", 6, false},
                                                {"type", 0, false},
                                                {"digest", 0, false},
                                                {"what it says", 0, false}};
    const json_t *explains = json_object_get(json, "explains_values");
    const json_t *events = json_object_get(json, "events");

    lct_sheet_part(sheet, "Event log");
    if (!json_is_object(json)) {
        lct_sheet_say(sheet, "event log", "none");
        return;
    }
    lct_sheet_say(sheet, "event log", "%zu events; in brackets, what the %s digest is not of",
                  json_array_size(events), string_of(json, "bank"));
    lct_sheet_say(sheet, "  explains", "%s: %s", string_of(explains, "outcome"),
                  string_of(explains, "reason"));
    if (json_array_size(events) > 0)
        lct_sheet_table(sheet, columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < json_array_size(events); i++)
        say_event(sheet, json_array_get(events, i));
    (void)say_error(sheet, "  ends in", json);
}

static void say_evidence(struct lct_sheet *sheet, const json_t *json)
{
    const json_t *quote = json_object_get(json, "quote");

    lct_sheet_part(sheet, "What the TPM attests");
    lct_sheet_json(sheet, "activation", json_object_get(json, "activation"));
    say_scheme(sheet, "possession", json_object_get(json, "possession"));
    say_attested(sheet, "certify", json_object_get(json, "certify"));
    say_attested(sheet, "quote", quote);
    say_values(sheet, json_object_get(quote, "values"));
    say_eventlog(sheet, json_object_get(json, "eventlog"));
}

static void say_claims(struct lct_sheet *sheet, const json_t *claims)
{
    static const struct lct_column columns[] = {
        {"outcome", 12, true}, {"claim", 16, false}, {"why", 0, false}};

    lct_sheet_part(sheet, "Claims");
    lct_sheet_table(sheet, columns, sizeof columns / sizeof columns[0]);
    for (void *at = json_object_iter(lct_unconst(claims)); at != NULL;
         at = json_object_iter_next(lct_unconst(claims), at)) {
        const json_t *finding = json_object_iter_value(at);
        const char *const cells[] = {string_of(finding, "outcome"), json_object_iter_key(at),
                                     string_of(finding, "reason")};
        lct_sheet_cells(sheet, cells);
    }
}

static void say_verdict(struct lct_sheet *sheet, const json_t *json)
{
    static const struct line lines[] = {{"signed by", "issuer"},
                                        {"  issued", "issued"},
                                        {"  expires", "expires"},
                                        {"identity", "id"},
                                        {"generation", "generation"},
                                        {"challenge", "challenge"},
                                        {"evidence", "evidence"},
                                        {"AK", "ak"},
                                        {"EK", "ek"}};

    lct_sheet_part(sheet, "Verdict");
    say_lines(sheet, json, lines, sizeof lines / sizeof lines[0]);
    say_public(sheet, "key", json_object_get(json, "key"));
    say_claims(sheet, json_object_get(json, "claims"));
}

/* A text begins with the sentence that a page has in its head. */
static void begin(struct lct_sheet *sheet, const char *kind)
{
    static const char sentence[] = "nothing of it is verified, it is what somebody says";
    char title[64], line[sizeof sentence + 64];

    (void)snprintf(title, sizeof title, "lct attest show: %s", kind);
    (void)snprintf(line, sizeof line, "%s: %s", kind, sentence);
    lct_sheet_begin(sheet, title, LCT_SHEET_NOTE, "not verified", sentence);
    lct_sheet_head(sheet, line);
}

void lct_explain_say(struct lct_sheet *sheet, const json_t *json)
{
    static const struct {
        const char *member;
        void (*say)(struct lct_sheet *sheet, const json_t *json);
    } parts[] = {{"challenge", say_challenge},
                 {"offer", say_offer},
                 {"evidence", say_evidence},
                 {"verdict", say_verdict}};

    begin(sheet, string_of(json, "kind"));
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        const json_t *part = json_object_get(json, parts[i].member);
        if (part != NULL)
            parts[i].say(sheet, part);
    }
    lct_sheet_json(sheet, "  used", json_object_get(json, "used"));
}
