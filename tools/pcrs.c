/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/predict.h"
#include "tools/sealing.h"
#include "tools/tool.h"

#include "store/seal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Whose PCRs are printed. */
struct whose {
    const char *id;       /* NULL: nobody's */
    struct lct_seal seal; /* its PCRs; of an identity, policyRef and counter too */
};

/* Of an identity: what its approvals have to be for, as of now. */
static enum lct_code find_identity(struct whose *whose, struct lct_tool *tool, const char *operand,
                                   struct lct_err *err)
{
    struct lct_record *record = NULL;
    enum lct_code code = lct_tool_id(tool, &whose->id, operand, err);

    if (code == LCT_OK)
        code = lct_store_get_record(&tool->store, whose->id, &record, NULL, err);
    if (code == LCT_OK)
        whose->seal = lct_record_generation(record, 0)->seal;
    free(record);
    if (code == LCT_OK && whose->seal.pcrs.pcrs.num_banks == 0)
        code = LCT_FAIL(err, LCT_ERR_USAGE,
                        "lct:%s: it is not sealed to PCRs; lct pcrs SPEC prints others, as in "
                        "sha256:0,7",
                        whose->id);
    return code;
}

static enum lct_code find_whose(struct whose *whose, struct lct_tool *tool, const char *operand,
                                struct lct_err *err)
{
    if (operand == NULL)
        return lct_sealing_default_pcrs(&whose->seal, tool, err);
    if (!lct_uri_is_ours(operand) &&
        lct_pcrs_parse(&whose->seal.pcrs.pcrs, operand, strlen(operand), NULL) == LCT_OK)
        return LCT_OK;
    return find_identity(whose, tool, operand, err);
}

static enum lct_code print(struct lct_tool *tool, struct whose *whose,
                           const struct lct_prediction *prediction, struct lct_err *err)
{
    char label[sizeof "lct:" + LCT_MAX_ID] = "lct pcrs";
    struct lct_pcr_values values = {.pcrs = whose->seal.pcrs.pcrs};
    const struct lct_tpm_counter_request request = {.label = label,
                                                    .libctx = lct_crypto_get(tool->crypto, err)};
    char *text = NULL;

    if (whose->id != NULL)
        (void)snprintf(label, sizeof label, "lct:%s", whose->id);
    enum lct_code code = request.libctx != NULL ? lct_tpm_read_pcrs(tool->tpm, &values, label, err)
                                                : LCT_ERR_INTERNAL;
    if (code == LCT_OK)
        code = lct_prediction_apply(&values, tool, prediction, err);
    if (code == LCT_OK && whose->seal.counter.handle != 0)
        code = lct_tpm_counter_read(tool->tpm, &whose->seal.counter, &request, err);
    if (code == LCT_OK)
        text = lct_pcrs_write(&values, whose->id, &whose->seal);
    if (code == LCT_OK)
        code = text != NULL
                   ? lct_tool_print(err, "%s%s", text, text[strlen(text) - 1] == '\n' ? "" : "\n")
                   : LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    free(text);
    return code;
}

enum lct_code lct_pcrs_run(struct lct_tool *tool, int argc, char **argv, struct lct_err *err)
{
    struct whose whose = {0};
    struct lct_prediction prediction = {.asked = false};
    const struct lct_option options[] = {{"predict", prediction.changes, &prediction.asked},
                                         {"eventlog", &prediction.eventlog, NULL},
                                         {"cmdline", &prediction.cmdline, NULL}};
    char **operands;
    int num_operands;
    enum lct_code code =
        lct_options_parse(tool, argc, argv, options, sizeof options / sizeof options[0], 0, 1,
                          &operands, &num_operands, err);

    if (code == LCT_OK)
        code = lct_prediction_check(&prediction, err);
    if (code == LCT_OK)
        code = lct_tool_open(tool, err);
    if (code == LCT_OK)
        code = find_whose(&whose, tool, num_operands == 1 ? operands[0] : NULL, err);
    return code == LCT_OK ? print(tool, &whose, &prediction, err) : code;
}
