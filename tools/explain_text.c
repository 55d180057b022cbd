/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/explain_text.h"

#include "base/unconst.h"
#include "tcg/pcr.h"
#include "tools/tool.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { MAX_TEXT = 1024, MS_A_MINUTE = 60000, MINUTES_AN_HOUR = 60, HOURS_A_DAY = 24 };

/* Every value that is printed goes through this. */
static const char *printable(char text[MAX_TEXT], const json_t *value)
{
    static const char cut[] = "...";
    const char *from = json_string_value(value);
    size_t len = json_string_length(value), i = 0;

    if (json_is_integer(value))
        (void)snprintf(text, MAX_TEXT, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_boolean(value))
        (void)snprintf(text, MAX_TEXT, "%s", json_is_true(value) ? "yes" : "no");
    else if (from == NULL)
        (void)snprintf(text, MAX_TEXT, "%s", json_is_null(value) ? "none" : "?");
    if (from == NULL)
        return text;
    for (; i < len && i < MAX_TEXT - sizeof cut; i++)
        text[i] = (char)(from[i] >= ' ' && from[i] <= '~' ? from[i] : '?');
    memcpy(text + i, i < len ? cut : "", i < len ? sizeof cut : 1);
    return text;
}

/* A line of an object: what it is called, and which member it is. */
struct line {
    const char *label, *member;
};

/* Those of the lines that there is something for. */
static enum lct_code print_lines(const json_t *json, const struct line *lines, size_t num,
                                 struct lct_err *err)
{
    char text[MAX_TEXT];
    enum lct_code code = LCT_OK;

    for (size_t i = 0; i < num && code == LCT_OK; i++) {
        const json_t *value = json_object_get(json, lines[i].member);
        if (value != NULL)
            code = lct_tool_print(err, "%-12s %s\n", lines[i].label,
                                  *printable(text, value) != '\0' ? text : "none");
    }
    return code;
}

static enum lct_code print_one(const char *label, const char *text, struct lct_err *err)
{
    return lct_tool_print(err, "%-12s %s\n", label, text);
}

/* What cannot be decoded says why. */
static bool is_error(const json_t *json)
{
    return json_object_get(json, "error") != NULL;
}

static enum lct_code print_public(const char *label, const json_t *json, struct lct_err *err)
{
    static const struct line lines[] = {{"  name", "name"},
                                        {"  SHA-256", "sha256"},
                                        {"  attributes", "attributes"},
                                        {"  unusable", "error"}};
    const struct line head = {label, "algorithm"};

    if (!json_is_object(json))
        return print_one(label, "none", err);
    enum lct_code code = print_lines(json, &head, 1, err);
    return code == LCT_OK ? print_lines(json, lines, sizeof lines / sizeof lines[0], err) : code;
}

static enum lct_code print_certificate(const char *label, const json_t *json, struct lct_err *err)
{
    static const struct line lines[] = {
        {"  subject", "subject"}, {"  issuer", "issuer"}, {"  serial", "serial"},
        {"  from", "not_before"}, {"  to", "not_after"},  {"  SHA-256", "sha256"},
        {"  maker", "maker"},     {"  model", "model"},   {"  version", "version"}};
    const struct line wrong = {label, "error"};
    char until[MAX_TEXT];

    if (!json_is_object(json))
        return print_one(label, "none", err);
    if (is_error(json))
        return print_lines(json, &wrong, 1, err);
    bool expired = json_is_true(json_object_get(json, "expired"));
    enum lct_code code =
        lct_tool_print(err, "%-12s %s %.10s\n", label, expired ? "expired" : "until",
                       printable(until, json_object_get(json, "not_after")));
    return code == LCT_OK ? print_lines(json, lines, sizeof lines / sizeof lines[0], err) : code;
}

static enum lct_code print_certificates(const char *label, const json_t *array, struct lct_err *err)
{
    enum lct_code code = LCT_OK;

    for (size_t i = 0; i < json_array_size(array) && code == LCT_OK; i++)
        code = print_certificate(label, json_array_get(array, i), err);
    return code;
}

static enum lct_code print_seal(const json_t *json, struct lct_err *err)
{
    static const struct line lines[] = {{"seal", "text"}, {"  authority", "fingerprint"}};

    return json_is_object(json) ? print_lines(json, lines, sizeof lines / sizeof lines[0], err)
                                : print_one("seal", "none", err);
}

static enum lct_code print_offer(const json_t *json, struct lct_err *err)
{
    static const struct line lines[] = {{"identity", "id"},
                                        {"generation", "generation"},
                                        {"tpm", "tpm"},
                                        {"  software", "software_tpm"},
                                        {"passphrase", "passphrase"}};
    const json_t *ak = json_object_get(json, "ak"), *eks = json_object_get(json, "eks");
    enum lct_code code = print_lines(json, lines, sizeof lines / sizeof lines[0], err);

    if (code == LCT_OK)
        code = print_seal(json_object_get(json, "seal"), err);
    if (code == LCT_OK)
        code = print_public("key", json_object_get(json, "key"), err);
    if (code == LCT_OK)
        code = print_public("parent", json_object_get(json, "parent"), err);
    if (code == LCT_OK)
        code = print_public("AK", ak, err);
    if (code == LCT_OK)
        code = print_certificates("certificate", json_object_get(ak, "certificates"), err);
    for (size_t i = 0; i < json_array_size(eks) && code == LCT_OK; i++) {
        const json_t *ek = json_array_get(eks, i);
        code = print_public("EK", ek, err);
        if (code == LCT_OK)
            code = print_certificate("certificate", json_object_get(ek, "certificate"), err);
    }
    return code == LCT_OK ? print_certificates("issuer", json_object_get(json, "issuers"), err)
                          : code;
}

static enum lct_code print_challenge(const json_t *json, struct lct_err *err)
{
    static const struct line lines[] = {{"challenge", "number"},  {"  mode", "mode"},
                                        {"  created", "created"}, {"  expires", "expires"},
                                        {"  nonce", "nonce"},     {"  PCRs", "pcrs"},
                                        {"  to the EK", "ek"},    {"  credential", "credential"}};

    return print_lines(json, lines, sizeof lines / sizeof lines[0], err);
}

/* Milliseconds for which the TPM has been on, over all its life (Part 1, 36.2). */
static enum lct_code print_clock(const json_t *json, struct lct_err *err)
{
    uint64_t minutes = (uint64_t)json_integer_value(json_object_get(json, "clock")) / MS_A_MINUTE;
    uint64_t hours = minutes / MINUTES_AN_HOUR;

    return lct_tool_print(err, "%-12s %ju days, %ju hours, %ju minutes\n", "  clock",
                          (uintmax_t)(hours / HOURS_A_DAY), (uintmax_t)(hours % HOURS_A_DAY),
                          (uintmax_t)(minutes % MINUTES_AN_HOUR));
}

static enum lct_code print_scheme(const char *label, const json_t *json, struct lct_err *err)
{
    char scheme[MAX_TEXT], hash[MAX_TEXT];
    const struct line wrong = {label, "error"};

    if (is_error(json))
        return print_lines(json, &wrong, 1, err);
    return lct_tool_print(err, "%-12s %s, %s\n", label,
                          printable(scheme, json_object_get(json, "scheme")),
                          printable(hash, json_object_get(json, "hash")));
}

/* What TPM2_Certify or TPM2_Quote attests. */
static enum lct_code print_attested(const char *label, const json_t *json, struct lct_err *err)
{
    static const struct line lines[] = {
        {"  name", "name"},          {"  qualified", "qualified_name"},
        {"  PCRs", "pcrs"},          {"  PCR digest", "pcr_digest"},
        {"  signed by", "signer"},   {"  nonce", "nonce"},
        {"  resets", "reset_count"}, {"  restarts", "restart_count"},
        {"  safe", "safe"},          {"  firmware", "firmware_version"}};
    const struct line wrong = {label, "error"};

    if (!json_is_object(json))
        return print_one(label, "none", err);
    if (is_error(json))
        return print_lines(json, &wrong, 1, err);
    enum lct_code code = print_scheme(label, json_object_get(json, "signature"), err);
    if (code == LCT_OK)
        code = print_lines(json, lines, sizeof lines / sizeof lines[0], err);
    return code == LCT_OK ? print_clock(json, err) : code;
}

static enum lct_code print_values(const json_t *banks, struct lct_err *err)
{
    char text[MAX_TEXT], number[16], label[32];
    const char *bank;
    json_t *values;
    enum lct_code code = LCT_OK;

    for (void *at = json_object_iter(lct_unconst(banks)); at != NULL && code == LCT_OK;
         at = json_object_iter_next(lct_unconst(banks), at)) {
        bank = json_object_iter_key(at);
        values = json_object_iter_value(at);
        for (unsigned pcr = 0; pcr < LCT_NUM_PCRS && code == LCT_OK; pcr++) {
            (void)snprintf(number, sizeof number, "%u", pcr);
            (void)snprintf(label, sizeof label, "  %.10s:%u", bank, pcr);
            const json_t *value = json_object_get(values, number);
            if (value != NULL)
                code = lct_tool_print(err, "%-12s %s\n%-12s %s\n", label, printable(text, value),
                                      "", lct_pcr_meaning(pcr));
        }
    }
    return code;
}

/* What an event's digest is not of is in brackets. */
static enum lct_code print_event(const json_t *json, struct lct_err *err)
{
    bool measured = json_is_true(json_object_get(json, "measured"));
    json_int_t pcr = json_integer_value(json_object_get(json, "pcr"));
    char type[MAX_TEXT], digest[MAX_TEXT], text[MAX_TEXT], place[24] = "no PCR";

    printable(text, json_object_get(json, "text"));
    bool bare = measured || text[0] == '\0';
    if (pcr < LCT_NUM_PCRS)
        (void)snprintf(place, sizeof place, "PCR %d", (int)pcr);
    return lct_tool_print(
        err, "  %-5d %-6s %s %s %s%s%s\n", (int)json_integer_value(json_object_get(json, "number")),
        place, printable(type, json_object_get(json, "type")),
        printable(digest, json_object_get(json, "digest")), bare ? "" : "[", text, bare ? "" : "]");
}

static enum lct_code print_eventlog(const json_t *json, struct lct_err *err)
{
    const json_t *explains = json_object_get(json, "explains_values");
    const json_t *events = json_object_get(json, "events");
    char outcome[MAX_TEXT], reason[MAX_TEXT], bank[MAX_TEXT];
    static const struct line wrong = {"  ends in", "error"};

    if (!json_is_object(json))
        return print_one("event log", "none", err);
    enum lct_code code =
        lct_tool_print(err,
                       "event log    %zu events; in brackets, what the %s digest is not of\n"
                       "  explains   %s: %s\n",
                       json_array_size(events), printable(bank, json_object_get(json, "bank")),
                       printable(outcome, json_object_get(explains, "outcome")),
                       printable(reason, json_object_get(explains, "reason")));
    for (size_t i = 0; i < json_array_size(events) && code == LCT_OK; i++)
        code = print_event(json_array_get(events, i), err);
    return code == LCT_OK ? print_lines(json, &wrong, 1, err) : code;
}

static enum lct_code print_evidence(const json_t *json, struct lct_err *err)
{
    static const struct line activation = {"activation", "activation"};
    const json_t *quote = json_object_get(json, "quote");
    enum lct_code code = print_lines(json, &activation, 1, err);

    if (code == LCT_OK)
        code = print_scheme("possession", json_object_get(json, "possession"), err);
    if (code == LCT_OK)
        code = print_attested("certify", json_object_get(json, "certify"), err);
    if (code == LCT_OK)
        code = print_attested("quote", quote, err);
    if (code == LCT_OK)
        code = print_values(json_object_get(quote, "values"), err);
    return code == LCT_OK ? print_eventlog(json_object_get(json, "eventlog"), err) : code;
}

static enum lct_code print_claims(const json_t *claims, struct lct_err *err)
{
    char outcome[MAX_TEXT], claim[MAX_TEXT], reason[MAX_TEXT];
    enum lct_code code = LCT_OK;

    for (void *at = json_object_iter(lct_unconst(claims)); at != NULL && code == LCT_OK;
         at = json_object_iter_next(lct_unconst(claims), at)) {
        const json_t *finding = json_object_iter_value(at);
        json_t *name = json_string(json_object_iter_key(at));
        code = lct_tool_print(
            err, "%-11s  %-15s  %s\n", printable(outcome, json_object_get(finding, "outcome")),
            printable(claim, name), printable(reason, json_object_get(finding, "reason")));
        json_decref(name);
    }
    return code;
}

static enum lct_code print_verdict(const json_t *json, struct lct_err *err)
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
    enum lct_code code = print_lines(json, lines, sizeof lines / sizeof lines[0], err);

    if (code == LCT_OK)
        code = print_public("key", json_object_get(json, "key"), err);
    return code == LCT_OK ? print_claims(json_object_get(json, "claims"), err) : code;
}

enum lct_code lct_explain_print(const json_t *json, struct lct_err *err)
{
    static const struct {
        const char *member;
        enum lct_code (*print)(const json_t *json, struct lct_err *err);
    } parts[] = {{"challenge", print_challenge},
                 {"offer", print_offer},
                 {"evidence", print_evidence},
                 {"verdict", print_verdict}};
    static const struct line used = {"  used", "used"};
    char kind[MAX_TEXT];
    enum lct_code code =
        lct_tool_print(err, "%s: nothing of it is verified, it is what somebody says\n",
                       printable(kind, json_object_get(json, "kind")));

    for (size_t i = 0; i < sizeof parts / sizeof parts[0] && code == LCT_OK; i++) {
        const json_t *part = json_object_get(json, parts[i].member);
        code = part != NULL ? parts[i].print(part, err) : LCT_OK;
    }
    return code == LCT_OK ? print_lines(json, &used, 1, err) : code;
}
