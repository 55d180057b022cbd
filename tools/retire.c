/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/subject.h"
#include "store/retire.h"
#include "tools/signing.h"
#include "tools/tool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What both commands take. */
struct request {
    const char *id, *reason;
    enum lct_ending ending;
    bool yes, unsigned_end, statement;
};

static enum lct_code check_reason(const struct request *request, struct lct_err *err)
{
    if (request->ending != LCT_REVOKED || request->statement ||
        (request->reason != NULL && lct_is_end_reason(request->reason)))
        return LCT_OK;
    return LCT_FAIL(err, LCT_ERR_USAGE,
                    "lct:%s: what is it revoked for? --reason compromise, superseded, expired or "
                    "violation",
                    request->id);
}

/* What can be known before anybody is asked. */
static enum lct_code check_state(const struct lct_tool *tool, const struct request *request,
                                 struct lct_err *err)
{
    struct lct_record *record = NULL;
    enum lct_code code = lct_store_get_record(&tool->store, request->id, &record, NULL, err);

    if (code == LCT_OK && record->ending == LCT_RETIRED && request->ending == LCT_REVOKED &&
        !request->unsigned_end)
        code = LCT_FAIL(err, LCT_ERR_ENDED,
                        "lct:%s: it was retired and signs no more, not even a statement; lct "
                        "revoke %s --reason %s --without-signature revokes it without one",
                        request->id, request->id, request->reason);
    free(record);
    return code;
}

/* A key that cannot be used any more has to come to its end all the same. */
static enum lct_code hint(const struct request *request, enum lct_code code, struct lct_err *err)
{
    size_t len = strlen(err->text);
    bool revokes = request->ending == LCT_REVOKED;

    if (code != LCT_ERR_ENDED && code != LCT_ERR_NOT_FOUND && code != LCT_ERR_BAD_ID)
        (void)snprintf(err->text + len, sizeof err->text - len,
                       "; lct %s %s%s%s --without-signature does it without its key",
                       revokes ? "revoke" : "retire", request->id, revokes ? " --reason " : "",
                       revokes ? request->reason : "");
    return code;
}

static enum lct_code confirm(const struct request *request, struct lct_err *err)
{
    char label[sizeof "lct:" + LCT_MAX_ID], question[sizeof label + 64];

    (void)snprintf(label, sizeof label, "lct:%s", request->id);
    (void)snprintf(question, sizeof question, "%s %s, whose keys then sign no more, for ever?",
                   request->ending == LCT_REVOKED ? "Revoke" : "Retire", label);
    return lct_tool_confirm(label, question, "its keys would sign no more, for ever", request->yes,
                            err);
}

static enum lct_code say(const struct lct_tool *tool, const struct request *request,
                         const char *statement, struct lct_err *err)
{
    static const char format[] = "lct:%s: %s; it signs no more%s\n";
    const char *done = request->ending == LCT_REVOKED ? "revoked" : "retired";

    if (statement == NULL)
        return lct_tool_say(tool, err, format, request->id, done,
                            ", and there is no statement of it");
    if (!tool->quiet)
        (void)fprintf(stderr, format, request->id, done, "");
    return lct_tool_print(err, "%s\n", statement);
}

static enum lct_code end(struct lct_tool *tool, const struct request *request, struct lct_err *err)
{
    struct lct_retirement retirement = {
        .id = request->id, .ending = request->ending, .reason = request->reason};
    struct lct_signing signing = {0};
    struct lct_signer signer;
    char *statement = NULL;
    enum lct_code code = LCT_OK;

    if (!request->unsigned_end) {
        code = lct_signing_open(&signing, tool, request->id, err);
        if (code != LCT_OK)
            code = hint(request, code, err);
    }
    if (code == LCT_OK && !request->unsigned_end) {
        signer = lct_signing_signer(&signing);
        retirement.key = signing.key;
        retirement.by = &signer;
    }
    if (code == LCT_OK) {
        code = lct_retire(&statement, &tool->store, &retirement, err);
        if (code != LCT_OK && code != LCT_ERR_STORE && !request->unsigned_end)
            code = hint(request, code, err);
    }
    lct_signing_close(&signing);
    if (code == LCT_OK)
        code = say(tool, request, statement, err);
    free(statement);
    return code;
}

static enum lct_code print_again(struct lct_tool *tool, const char *id, struct lct_err *err)
{
    char *statement = NULL;
    enum lct_code code = lct_retire_statement(&statement, &tool->store, tool->crypto, id, err);

    if (code == LCT_OK)
        code = lct_tool_print(err, "%s\n", statement);
    free(statement);
    return code;
}

static enum lct_code run(struct lct_tool *tool, struct request *request, int argc, char **argv,
                         struct lct_err *err)
{
    const struct lct_option options[] = {{"yes", NULL, &request->yes},
                                         {"without-signature", NULL, &request->unsigned_end},
                                         {"statement", NULL, &request->statement},
                                         {"reason", &request->reason, NULL}};
    size_t num = sizeof options / sizeof options[0] - (request->ending != LCT_REVOKED);
    enum lct_code code = lct_tool_begin(tool, argc, argv, options, num, &request->id, err);

    if (code == LCT_OK)
        code = check_reason(request, err);
    if (code == LCT_OK && request->statement)
        return print_again(tool, request->id, err);
    if (code == LCT_OK)
        code = check_state(tool, request, err);
    if (code == LCT_OK)
        code = confirm(request, err);
    return code == LCT_OK ? end(tool, request, err) : code;
}

enum lct_code lct_retire_run(struct lct_tool *tool, int argc, char **argv, struct lct_err *err)
{
    struct request request = {.ending = LCT_RETIRED};

    return run(tool, &request, argc, argv, err);
}

enum lct_code lct_revoke_run(struct lct_tool *tool, int argc, char **argv, struct lct_err *err)
{
    struct request request = {.ending = LCT_REVOKED};

    return run(tool, &request, argc, argv, err);
}
