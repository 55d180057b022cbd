/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/doctor.h"

#include "base/text.h"
#include "tools/json.h"
#include "tools/sheet.h"
#include "tools/terminal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name, *heading;
} topics[] = {
    [LCT_TOPIC_TPM] = {"tpm", "TPM"},
    [LCT_TOPIC_SECRET] = {"secret", "secrets"},
    [LCT_TOPIC_WAY] = {"way", "way in"},
    [LCT_TOPIC_BOOT] = {"boot", "boot"},
    [LCT_TOPIC_OPENSSL] = {"openssl", "OpenSSL"},
    [LCT_TOPIC_STORE] = {"store", "store"},
    [LCT_TOPIC_SIGNATURE] = {"signature", "signature"},
    [LCT_TOPIC_IDENTITY] = {"identity", "identity"},
};

static json_t *add(struct lct_doctor *doctor, enum lct_topic topic, const char *severity,
                   const char *command, char *text)
{
    json_t *finding, *typed = command != NULL ? json_string(command) : json_null();

    lct_text_disarm(text);
    lct_tool_make_utf8(text);
    finding = json_pack("{s:i, s:s, s:s, s:s, s:o}", "version", 1, "topic", topics[topic].name,
                        "severity", severity, "text", text, "command",
                        typed != NULL ? typed : json_null());
    return json_array_append_new(doctor->findings, finding) == 0 ? finding : NULL;
}

json_t *lct_doctor_find(struct lct_doctor *doctor, enum lct_topic topic, enum lct_severity severity,
                        const char *command, const char *format, ...)
{
    static const char *const names[] = {"ok", "note", "warning"};
    char text[sizeof doctor->first.text];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return add(doctor, topic, names[severity], command, text);
}

json_t *lct_doctor_problem(struct lct_doctor *doctor, enum lct_topic topic, enum lct_code code,
                           const char *command, const char *format, ...)
{
    char text[sizeof doctor->first.text];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (doctor->first.code == LCT_OK)
        (void)LCT_FAIL(&doctor->first, code, "%s", text);
    return add(doctor, topic, "problem", command, text);
}

void lct_doctor_list(struct lct_doctor_list *list, const char *separator, const char *format, ...)
{
    enum { FOR_MORE = 24 }; /* " and 64 more" */
    size_t len = strlen(list->text), room = sizeof list->text - len - FOR_MORE;
    char thing[sizeof list->text];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(thing, sizeof thing, format, args);
    va_end(args);
    list->num++;
    if (len == 0)
        separator = "";
    if (list->more > 0 || strlen(separator) + strlen(thing) >= room)
        list->more++;
    else
        (void)snprintf(list->text + len, room, "%s%s", separator, thing);
}

const char *lct_doctor_list_end(struct lct_doctor_list *list)
{
    size_t len = strlen(list->text);

    if (list->more > 0)
        (void)snprintf(list->text + len, sizeof list->text - len, " and %zu more", list->more);
    return list->text;
}

static const char *member(const json_t *finding, const char *key)
{
    return json_string_value(json_object_get(finding, key));
}

/* One screen for a person: what is to type, under what it is for. */
static enum lct_code print_topic(const struct lct_doctor *doctor, size_t topic, struct lct_err *err)
{
    enum lct_code code = LCT_OK;
    const char *heading = topics[topic].heading;
    char word[LCT_TERMINAL_WORD];

    for (size_t i = 0; i < json_array_size(doctor->findings) && code == LCT_OK; i++) {
        const json_t *finding = json_array_get(doctor->findings, i);
        const char *command = member(finding, "command");
        if (strcmp(member(finding, "topic"), topics[topic].name) != 0)
            continue;
        code = lct_tool_print(err, "%-10s %s ", heading,
                              lct_terminal_word(word, member(finding, "severity"), 8));
        if (code == LCT_OK)
            code = lct_terminal_print(err, 20, member(finding, "text"));
        if (code == LCT_OK && command != NULL)
            code = lct_tool_print(err, "%-19s   $ %s\n", "", command);
        heading = "";
    }
    return code;
}

static size_t count(const struct lct_doctor *doctor, const char *severity)
{
    size_t num = 0;

    for (size_t i = 0; i < json_array_size(doctor->findings); i++)
        if (strcmp(member(json_array_get(doctor->findings, i), "severity"), severity) == 0)
            num++;
    return num;
}

/* What a page begins with: how bad it is, and what is to be seen to first. */
static void begin_page(struct lct_sheet *sheet, const struct lct_doctor *doctor)
{
    const size_t problems = count(doctor, "problem"), warnings = count(doctor, "warning");
    char title[LCT_MAX_ID + 32], num[24] = "no", sentence[sizeof doctor->first.text + 80];

    (void)snprintf(title, sizeof title, "lct doctor%s%s", doctor->id != NULL ? ": lct:" : "",
                   doctor->id != NULL ? doctor->id : "");
    if (problems > 0)
        (void)snprintf(num, sizeof num, "%zu", problems);
    (void)snprintf(sentence, sizeof sentence, "%s problem%s, %zu warning%s%s%s", num,
                   problems == 1 ? "" : "s", warnings, warnings == 1 ? "" : "s",
                   problems > 0 ? "; the first problem: " : "", doctor->first.text);
    lct_sheet_begin(sheet, title,
                    problems > 0   ? LCT_SHEET_PROBLEM
                    : warnings > 0 ? LCT_SHEET_WARNING
                                   : LCT_SHEET_OK,
                    problems > 0   ? "problem"
                    : warnings > 0 ? "warning"
                                   : "ok",
                    sentence);
}

static void put_topic(struct lct_sheet *sheet, const struct lct_doctor *doctor, size_t topic)
{
    static const struct lct_column columns[] = {{"severity", 0, true}, {"finding", 0, false}};
    bool begun = false;

    for (size_t i = 0; i < json_array_size(doctor->findings); i++) {
        const json_t *finding = json_array_get(doctor->findings, i);
        const char *command = member(finding, "command");
        const char *const cells[] = {member(finding, "severity"), member(finding, "text")};
        if (strcmp(member(finding, "topic"), topics[topic].name) != 0)
            continue;
        if (!begun) {
            lct_sheet_part(sheet, topics[topic].heading);
            lct_sheet_table(sheet, columns, sizeof columns / sizeof columns[0]);
            begun = true;
        }
        lct_sheet_cells(sheet, cells);
        if (command != NULL)
            lct_sheet_command(sheet, command);
    }
}

static enum lct_code print_page(const struct lct_doctor *doctor, const char *out,
                                struct lct_err *err)
{
    struct lct_sheet sheet = {.page = true};

    begin_page(&sheet, doctor);
    for (size_t i = 0; i < sizeof topics / sizeof topics[0]; i++)
        put_topic(&sheet, doctor, i);
    return lct_sheet_end(&sheet, out, err);
}

static enum lct_code print(const struct lct_doctor *doctor, const struct lct_sheet_request *request,
                           struct lct_err *err)
{
    enum lct_code code = LCT_OK;

    if (request->html)
        return print_page(doctor, request->out, err);
    if (request->json)
        return lct_tool_print_json(json_incref(doctor->findings), err);
    for (size_t i = 0; i < sizeof topics / sizeof topics[0] && code == LCT_OK; i++)
        code = print_topic(doctor, i, err);
    return code;
}

/*
 * With a configuration that cannot be read it is not known which TPM and store are meant: those are
 * not looked at.
 */
static void examine(struct lct_doctor *doctor)
{
    struct lct_err err = {.code = LCT_OK};
    bool configured = lct_tool_open(doctor->tool, &err) == LCT_OK;

    if (!configured)
        (void)lct_doctor_problem(doctor, LCT_TOPIC_OPENSSL, err.code, NULL, "%s", err.text);
    bool usable = lct_doctor_machine(doctor);
    bool opens = configured && lct_doctor_ways(doctor) && usable;
    if (opens)
        lct_doctor_tpm(doctor);
    if (doctor->probed)
        lct_doctor_slots(doctor);
    lct_doctor_persist(doctor);
    if (doctor->probed)
        lct_doctor_counters(doctor);
    if (configured)
        lct_doctor_secrets(doctor);
    lct_doctor_openssl(doctor, configured);
    if (configured) {
        lct_doctor_store(doctor);
        lct_doctor_authority(doctor);
    }
    if (doctor->probed)
        lct_doctor_authorities(doctor);
    if (opens && doctor->id != NULL)
        lct_doctor_seal(doctor);
    else if (opens)
        lct_doctor_seals(doctor);
    if (opens)
        lct_doctor_sign(doctor);
}

/* --metrics is something else, in which a finding has no place. */
static enum lct_code check_request(const struct lct_sheet_request *request, bool metrics,
                                   bool of_something, struct lct_err *err)
{
    if (request->out != NULL && !request->html && !metrics)
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "--out goes with --html or --metrics; see lct help doctor");
    if (!metrics)
        return lct_sheet_check(request, "doctor", err);
    if (request->json || request->html || of_something)
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "--metrics is of this machine, and goes with --out alone; see lct help "
                        "doctor");
    return LCT_OK;
}

enum lct_code lct_doctor_run(struct lct_tool *tool, int argc, char **argv, struct lct_err *err)
{
    struct lct_doctor doctor = {.tool = tool, .root = ""};
    struct lct_sheet_request request = {.out = NULL};
    bool metrics = false;
    const struct lct_option options[] = {{"json", NULL, &request.json},
                                         {"html", NULL, &request.html},
                                         {"root", &doctor.root, NULL},
                                         {"metrics", NULL, &metrics},
                                         {"out", &request.out, NULL}};
    char **operands;
    int num_operands;
    enum lct_code code =
        lct_options_parse(tool, argc, argv, options, 5, 0, 1, &operands, &num_operands, err);

    if (code == LCT_OK)
        code = check_request(&request, metrics, *doctor.root != '\0' || num_operands > 0, err);
    if (code == LCT_OK && metrics)
        return lct_doctor_metrics(tool, request.out, err);
    if (code == LCT_OK && num_operands == 1)
        code = lct_tool_id(tool, &doctor.id, operands[0], err);
    if (code != LCT_OK)
        return code;
    (void)setenv("TSS2_LOG", "all+none", 1); /* what TSS would print is found out and told here */
    doctor.findings = json_array();
    examine(&doctor);
    code = print(&doctor, &request, err);
    json_decref(doctor.findings);
    if (code == LCT_OK && doctor.first.code != LCT_OK)
        *err = doctor.first;
    return code == LCT_OK ? doctor.first.code : code;
}
