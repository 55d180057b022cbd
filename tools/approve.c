/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/approver.h"
#include "tools/authority.h"
#include "tools/json.h"
#include "tools/sealing.h"
#include "tools/tool.h"

#include "store/approval.h"
#include "store/life.h"
#include "store/seal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_FILE = 1 << 20 };

struct request {
    const char *key_file, *pcrs, *out, *import;
    struct lct_prediction prediction;
};

/* What a file of lct pcrs asks to be approved. */
struct asked {
    struct lct_pcr_values values;
    struct lct_approval under;
    char id[LCT_MAX_ID + 1];
};

static enum lct_code read_asked(struct asked *asked, const char *file, struct lct_err *err)
{
    uint8_t *text = NULL;
    size_t text_len = 0;
    enum lct_code code = lct_tool_read(&text, &text_len, file, MAX_FILE, err);

    if (code != LCT_OK)
        return code;
    code = lct_pcrs_read(&asked->values, &asked->under, asked->id, text, text_len, err);
    if (code != LCT_OK)
        (void)lct_err_prefix(err, lct_tool_file(file));
    free(text);
    return code;
}

/* The store whose authority this is; LCT_ERR_WRONG_KEY: that of new identities has another. */
static enum lct_code find_own_store(struct lct_authority *authority,
                                    const struct lct_approver *approver, struct lct_err *err)
{
    struct lct_tool *tool = approver->tool;
    enum lct_code code = lct_authority_get(authority, &tool->store, NULL, tool->crypto, err);

    if (code == LCT_OK && strcmp(authority->fingerprint, approver->fingerprint) != 0)
        code = LCT_FAIL(err, LCT_ERR_WRONG_KEY,
                        "the authority of %s is %.*s, and %s is the key of %.*s; --out FILE writes "
                        "the approval for another machine",
                        authority->dir, LCT_FINGERPRINT_SHORT, authority->fingerprint,
                        approver->file, LCT_FINGERPRINT_SHORT, approver->fingerprint);
    return code;
}

/*
 * A request comes from a machine that may have been taken over. A policyRef that is not the
 * identity's own, by its id and counter, could be that of another, or of one whose approvals are
 * revoked by a counter that the request leaves out.
 */
static enum lct_code check_ref(const struct lct_approver *approver, const struct asked *asked,
                               struct lct_err *err)
{
    struct lct_seal own = {.counter = asked->under.counter};

    if (asked->under.ref_len == 0)
        return LCT_OK;
    enum lct_code code = lct_seal_bind(&own, approver->libctx, asked->id, err);
    if (code != LCT_OK || (asked->id[0] != '\0' && asked->under.ref_len == own.ref_len &&
                           memcmp(asked->under.ref, own.ref, own.ref_len) == 0))
        return code;
    return LCT_FAIL(err, LCT_ERR_BAD_RECORD,
                    "the policyRef in the request is not the one of lct:%s; nothing is approved "
                    "for it but by its id, on its own machine",
                    asked->id);
}

/* No revocation reaches an approval for more than the counter will be counted to, and what that is
 * only the machine knows that asks. */
static void warn_of_counter(const char *whom, const struct lct_counter *counter)
{
    if (counter->handle != 0)
        lct_tool_warn(whom,
                      "what it asks for holds until its counter is over %llu: compare that with "
                      "the last approval, since lct reseal --revoke leaves one of a higher counter",
                      (unsigned long long)counter->value);
}

/* The store that the identity is in, which may be another, and whether that signs. Of one that is
 * not on this machine nothing is known. */
static enum lct_code find_store_of(const char **dir, const struct lct_approver *approver,
                                   const char *id, const char *label, struct lct_err *err)
{
    struct lct_record *record = NULL;
    enum lct_code code = LCT_OK;

    if (lct_store_get_record(&approver->tool->store, id, &record, dir, NULL) == LCT_OK) {
        const struct lct_life life = lct_record_life(record, lct_record_generation(record, 0));
        code = lct_life_check(&life, label, time(NULL), err);
    }
    free(record);
    return code;
}

/* Just as it was asked for, perhaps on another machine. */
static enum lct_code approve_asked(struct lct_approver *approver, const struct asked *asked,
                                   struct lct_err *err)
{
    struct lct_authority authority = {0};
    char whom[sizeof "lct:" + LCT_MAX_ID] = "whatever this authority seals";
    const char *dir = "";
    enum lct_code code = LCT_OK;

    if (asked->id[0] != '\0')
        (void)snprintf(whom, sizeof whom, "lct:%s", asked->id);
    code = check_ref(approver, asked, err);
    if (code == LCT_OK && approver->out == NULL) {
        code = find_own_store(&authority, approver, err);
        dir = authority.dir;
        if (code == LCT_OK && asked->id[0] != '\0')
            code = find_store_of(&dir, approver, asked->id, whom, err);
    }
    if (code == LCT_OK)
        code = lct_approver_plan_asked(approver, &asked->under, &asked->values, dir, whom, err);
    if (code == LCT_OK)
        warn_of_counter(whom, &asked->under.counter);
    lct_authority_clear(&authority);
    return code;
}

/* Nothing is sealed here but perhaps files: the PCRs that new keys are sealed to. */
static enum lct_code approve_default(struct lct_approver *approver, struct lct_err *err)
{
    struct asked asked = {.id = ""};
    struct lct_seal seal = {0};
    enum lct_code code = lct_sealing_default_pcrs(&seal, approver->tool, err);

    asked.values.pcrs = seal.pcrs.pcrs;
    if (code == LCT_OK)
        code = lct_approver_read(approver, &asked.values, "lct approve", err);
    return code == LCT_OK ? approve_asked(approver, &asked, err) : code;
}

/* What can be left out when all are approved for, and is told: what is of PCRs that are not there
 * or cannot be predicted, or of a counter that is gone. */
static bool may_skip(enum lct_code code)
{
    return code == LCT_ERR_UNSUPPORTED || code == LCT_ERR_OTHER_TPM;
}

/* Those that this authority seals; a damaged one is told, and the others are approved for. */
static enum lct_code approve_all(struct lct_approver *approver, struct lct_err *err)
{
    const struct lct_store *store = &approver->tool->store;
    struct lct_err one;
    char **ids = NULL;
    size_t num_ids = 0, num = 0, num_skipped = 0;
    enum lct_code skipped = LCT_OK;
    enum lct_code code = lct_store_list(store, &ids, &num_ids, err);

    for (size_t i = 0; i < num_ids && code == LCT_OK; i++) {
        struct lct_record *record = NULL;
        if (lct_store_get_record(store, ids[i], &record, NULL, &one) != LCT_OK) {
            lct_tool_warn(NULL, "%s", one.text);
        } else if (lct_approver_serves(approver, record)) {
            code = lct_approver_plan(approver, ids[i], NULL, err);
            num++;
        }
        free(record);
        if (!may_skip(code))
            continue;
        lct_tool_warn(NULL, "%s", err->text);
        skipped = code;
        code = LCT_OK;
        num_skipped++;
    }
    lct_store_free_ids(ids, num_ids);
    if (code == LCT_OK && num == 0)
        return approve_default(approver, err);
    if (code != LCT_OK || num > num_skipped)
        return code;
    return approver->prediction != NULL
               ? LCT_FAIL(err, skipped, "nothing could be predicted for any identity")
               : LCT_FAIL(err, skipped, "there was nothing to approve for any identity");
}

static enum lct_code approve_each(struct lct_approver *approver, char *const *operands,
                                  int num_operands, const struct lct_pcr_values *values,
                                  struct lct_err *err)
{
    enum lct_code code = LCT_OK;

    for (int i = 0; i < num_operands && code == LCT_OK; i++) {
        const char *id = NULL;
        code = lct_tool_id(approver->tool, &id, operands[i], err);
        if (code == LCT_OK)
            code = lct_approver_plan(approver, id, values, err);
    }
    return code;
}

/* The key may be at hand where no TPM is. */
static enum lct_code suggest_file(struct lct_err *err)
{
    struct lct_err why = *err;

    return LCT_FAIL(err, why.code, "%.500s; or give the values with --pcrs FILE", why.text);
}

static enum lct_code approve(struct lct_tool *tool, const struct request *request,
                             char *const *operands, int num_operands, struct lct_err *err)
{
    bool current = request->pcrs == NULL || strcmp(request->pcrs, "current") == 0;
    struct asked asked = {.id = ""};
    struct lct_approver approver = {.out = request->out};
    const struct lct_prediction *prediction = &request->prediction;
    const struct lct_pcr_values *values = current ? NULL : &asked.values;
    enum lct_code code = current ? LCT_OK : read_asked(&asked, request->pcrs, err);

    if (code == LCT_OK && !current)
        code = lct_prediction_apply(&asked.values, tool, prediction, err);
    if (code == LCT_OK)
        code = lct_approver_open(&approver, tool, request->key_file, err);
    approver.prediction = current && prediction->asked ? prediction : NULL;
    approver.whose = prediction->asked ? "as predicted" : current ? "as they are now" : "as given";
    if (code == LCT_OK && num_operands > 0)
        code = approve_each(&approver, operands, num_operands, values, err);
    else if (code == LCT_OK)
        code = current ? approve_all(&approver, err) : approve_asked(&approver, &asked, err);
    if (code == LCT_ERR_NO_TPM && current)
        code = suggest_file(err);
    if (code == LCT_OK)
        code = lct_approver_finish(&approver, err);
    lct_approver_close(&approver);
    return code;
}

static enum lct_code say_taken(const struct lct_tool *tool, size_t num, const char *fingerprint,
                               const char *file, struct lct_err *err)
{
    if (tool->json)
        return lct_tool_print_json(json_pack("{s:i, s:I, s:s}", "version", 1, "taken",
                                             (json_int_t)num, "authority", fingerprint),
                                   err);
    return lct_tool_say(tool, err, "took %zu approval%s by %.*s from %s\n", num,
                        num == 1 ? "" : "s", LCT_FINGERPRINT_SHORT, fingerprint,
                        lct_tool_file(file));
}

static enum lct_code import(struct lct_tool *tool, const char *file, struct lct_err *err)
{
    struct lct_authority authority = {0};
    struct lct_approvals approvals = {0};
    uint8_t *text = NULL;
    size_t text_len = 0;
    OSSL_LIB_CTX *libctx = lct_crypto_get(tool->crypto, err);
    enum lct_code code =
        libctx != NULL ? lct_tool_read(&text, &text_len, file, MAX_FILE, err) : LCT_ERR_INTERNAL;

    if (code == LCT_OK)
        code = lct_authority_get(&authority, &tool->store, NULL, tool->crypto, err);
    if (code == LCT_OK) {
        code = lct_approvals_read(&approvals, text, text_len, authority.public_area,
                                  authority.public_len, libctx, err);
        if (code == LCT_OK && approvals.num == 0)
            code = LCT_FAIL(err, LCT_ERR_BAD_RECORD,
                            "the approval was altered: what it says of PCRs and counter is not "
                            "what was signed");
        if (code != LCT_OK)
            (void)lct_err_prefix(err, lct_tool_file(file));
    }
    for (size_t i = 0; i < approvals.num && code == LCT_OK; i++)
        code = lct_approval_put(authority.dir, &approvals.all[i], authority.fingerprint, true, err);
    if (code == LCT_OK)
        code = say_taken(tool, approvals.num, authority.fingerprint, file, err);
    free(text);
    lct_approvals_clear(&approvals);
    lct_authority_clear(&authority);
    return code;
}

enum lct_code lct_approve_run(struct lct_tool *tool, int argc, char **argv, struct lct_err *err)
{
    struct request request = {0};
    const struct lct_option options[] = {
        {"authority", &request.key_file, NULL},
        {"pcrs", &request.pcrs, NULL},
        {"out", &request.out, NULL},
        {"import", &request.import, NULL},
        {"predict", request.prediction.changes, &request.prediction.asked},
        {"eventlog", &request.prediction.eventlog, NULL},
        {"cmdline", &request.prediction.cmdline, NULL},
        {"json", NULL, &tool->json},
    };
    char **operands;
    int num_operands;
    enum lct_code code =
        lct_options_parse(tool, argc, argv, options, sizeof options / sizeof options[0], 0, -1,
                          &operands, &num_operands, err);

    if (code != LCT_OK)
        return code;
    bool signs = request.key_file != NULL;
    bool more =
        request.pcrs != NULL || request.out != NULL || request.prediction.asked || num_operands > 0;
    if (!signs && request.import == NULL)
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "whose approval? --authority KEY.pem, the file that lct authority init "
                        "wrote, or --import one that is made already");
    if (signs == (request.import != NULL) || (request.import != NULL && more))
        return LCT_FAIL(err, LCT_ERR_USAGE, "usage: lct approve %s",
                        lct_subcommand_by_name("approve")->arguments);
    code = lct_prediction_check(&request.prediction, err);
    if (code == LCT_OK)
        code = lct_tool_open(tool, err);
    if (code != LCT_OK)
        return code;
    return signs ? approve(tool, &request, operands, num_operands, err)
                 : import(tool, request.import, err);
}
