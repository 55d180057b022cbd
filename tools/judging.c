/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/judging.h"

#include "proof/json.h"
#include "tools/report.h"
#include "tools/tool.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_FILE = 65536 };

enum lct_code lct_judging_time(time_t *now, const char *text, struct lct_err *err)
{
    *now = time(NULL);
    if (text == NULL || lct_json_seconds(now, text))
        return LCT_OK;
    return LCT_FAIL(err, LCT_ERR_USAGE, "--time takes a time as in 2026-11-29T12:00:00Z");
}

static enum lct_code read_key(struct lct_ak *key, OSSL_LIB_CTX *libctx, const char *file,
                              bool identity, struct lct_err *err)
{
    uint8_t *bytes = NULL;
    size_t bytes_len = 0;
    enum lct_code code = lct_tool_read(&bytes, &bytes_len, file, MAX_FILE, err);

    if (code == LCT_OK) {
        code = identity ? lct_ak_decode_identity(key, libctx, bytes, bytes_len, err)
                        : lct_ak_decode(key, libctx, bytes, bytes_len, err);
        if (code != LCT_OK)
            (void)lct_err_prefix(err, lct_tool_file(file));
    }
    free(bytes);
    return code;
}

enum lct_code lct_judging_key(struct lct_ak *key, OSSL_LIB_CTX *libctx, const char *file,
                              struct lct_err *err)
{
    return read_key(key, libctx, file, false, err);
}

enum lct_code lct_judging_identity(struct lct_ak *key, OSSL_LIB_CTX *libctx, const char *file,
                                   struct lct_err *err)
{
    return read_key(key, libctx, file, true, err);
}

static enum lct_code take_expected(struct lct_case *opened, const char *file, struct lct_err *err)
{
    uint8_t *text = NULL;
    size_t text_len = 0;
    enum lct_code code = lct_tool_read(&text, &text_len, file, MAX_FILE, err);

    if (code == LCT_OK) {
        code = lct_json_pcrs_file(&opened->expected, text, text_len, err);
        if (code != LCT_OK)
            (void)lct_err_prefix(err, lct_tool_file(file));
    }
    free(text);
    opened->has_expected = code == LCT_OK;
    return code;
}

enum lct_code lct_case_open(struct lct_case *opened, OSSL_LIB_CTX *libctx,
                            const struct lct_judging *judging, struct lct_err *err)
{
    *opened = (struct lct_case){.libctx = libctx, .state.fd = -1};
    enum lct_code code = lct_report_claims(&opened->required, judging->required, err);

    if (code == LCT_OK)
        code = lct_judging_time(&opened->now, judging->time, err);
    if (code == LCT_OK && judging->trust != NULL)
        code = lct_trust_read(&opened->trust, libctx, judging->trust, err);
    if (code == LCT_OK && judging->key != NULL)
        code = lct_judging_key(&opened->key, libctx, judging->key, err);
    return code == LCT_OK && judging->expected != NULL
               ? take_expected(opened, judging->expected, err)
               : code;
}

/* Neither another verifier's challenge nor a second answer to this one uses it up. */
static enum lct_code open_state(struct lct_case *opened, const char *file, struct lct_err *err)
{
    enum lct_code code = lct_state_open(&opened->state, opened->libctx, file, err);
    const struct lct_challenge_state *content = &opened->state.content;

    if (code != LCT_OK)
        return code;
    if (strcmp(content->challenge.number, opened->evidence->challenge.number) != 0)
        return LCT_FAIL(err, LCT_ERR_REFUSED,
                        "the evidence answers challenge %s, and %s is of challenge %s",
                        opened->evidence->challenge.number, file, content->challenge.number);
    if (content->used)
        return LCT_FAIL(err, LCT_ERR_REFUSED,
                        "%s was used already: a challenge is good for one judgement; make another "
                        "one with lct attest challenge",
                        file);
    return LCT_OK;
}

static enum lct_code judge(struct lct_case *opened, struct lct_err *err)
{
    const struct lct_evidence_request request = {
        .trust = opened->trust,
        .state = opened->state.file != NULL ? &opened->state.content : NULL,
        .expected = opened->has_expected ? &opened->expected : NULL,
        .key = opened->key.pkey,
        .now = opened->now,
    };

    opened->required |= lct_evidence_claims(opened->evidence, &request);
    return lct_evidence_judge(&opened->verdict, opened->libctx, opened->evidence, &request, err);
}

enum lct_code lct_case_judge(struct lct_case *opened, const char *file, const json_t *document,
                             const char *state, struct lct_err *err)
{
    enum lct_code code = lct_evidence_read(&opened->evidence, opened->libctx, document, err);

    if (code != LCT_OK)
        return lct_err_prefix(err, file);
    if (state != NULL)
        code = open_state(opened, state, err);
    if (code != LCT_OK)
        return code;
    code = judge(opened, err);
    return code == LCT_OK ? LCT_OK : lct_err_prefix(err, file);
}

enum lct_code lct_case_use_up(struct lct_case *opened, struct lct_err *err)
{
    return opened->state.file != NULL ? lct_state_use_up(&opened->state, err) : LCT_OK;
}

enum lct_code lct_case_conclude(const struct lct_case *opened, struct lct_err *err)
{
    return lct_report_conclude_bound(&opened->verdict, opened->required, err);
}

void lct_case_close(struct lct_case *opened)
{
    lct_state_close(&opened->state);
    lct_evidence_free(opened->evidence);
    lct_ak_clear(&opened->key);
    lct_trust_free(opened->trust);
    *opened = (struct lct_case){.state.fd = -1};
}
