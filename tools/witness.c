/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/json.h"
#include "tools/signing.h"
#include "tools/tool.h"

#include "proof/jws.h"
#include "proof/succession.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* What the command line says. */
struct asked {
    const char *id, *verdict, *statement;
};

/* A compact JWS without the end of its line; the caller frees it. NULL in *verdict: there is none.
 */
static enum lct_code read_verdict(char **verdict, const char *file, struct lct_err *err)
{
    uint8_t *text = NULL;
    size_t text_len = 0;

    *verdict = NULL;
    if (file == NULL)
        return LCT_OK;
    enum lct_code code = lct_tool_read_sent(&text, &text_len, file, LCT_MAX_JWS + 2, err);
    if (code != LCT_OK)
        return code;
    *verdict = (char *)text;
    (*verdict)[strcspn(*verdict, "\r\n")] = '\0';
    if (strspn(*verdict + strlen(*verdict) + 1, "\r\n") + strlen(*verdict) + 1 < text_len)
        return LCT_FAIL(err, LCT_ERR_BAD_EVIDENCE,
                        "%s: it is no signed verdict, which is one line, as lct attest issue "
                        "--verdict writes it",
                        lct_tool_file(file));
    return LCT_OK;
}

static enum lct_code print(const struct lct_jws_general *jws, struct lct_err *err)
{
    char *text = lct_jws_general_write(jws);
    enum lct_code code = text != NULL ? lct_tool_print(err, "%s\n", text)
                                      : LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");

    free(text);
    return code;
}

/* What is worth less than it looks is said to whoever signs it. */
static void say(const struct lct_jws_general *jws, const struct lct_succession *succession,
                const char *verdict)
{
    if (lct_jws_general_find(jws, LCT_ROLE_OLD) == NULL)
        lct_tool_warn(NULL,
                      "the old key has not signed that lct:%s has another one: that it is so "
                      "is for you to know",
                      succession->id);
    if (verdict == NULL)
        lct_tool_warn(NULL,
                      "without --verdict you are a witness that the keys signed, and not that "
                      "the new one of lct:%s is in a TPM",
                      succession->id);
}

static enum lct_code witness(struct lct_jws_general *jws, const struct lct_signing *signing,
                             const char *file, const char *verdict, struct lct_err *err)
{
    struct lct_signer signer = lct_signing_signer(signing);
    struct lct_succession succession;
    enum lct_code code = lct_succession_read(&succession, signer.libctx, jws, err);

    if (code != LCT_OK)
        return lct_err_prefix(err, lct_tool_file(file));
    code = lct_succession_witness(jws, &succession, &signer, verdict, time(NULL), err);
    if (code != LCT_OK)
        (void)lct_err_prefix(err, signing->key->label);
    if (code == LCT_OK)
        say(jws, &succession, verdict);
    return code;
}

static enum lct_code run(struct lct_tool *tool, const struct asked *asked, const char *verdict,
                         struct lct_err *err)
{
    struct lct_signing signing = {0};
    struct lct_jws_general jws = {0};
    uint8_t *text = NULL;
    size_t text_len = 0;
    const char *id = NULL;
    enum lct_code code =
        lct_tool_read_sent(&text, &text_len, asked->statement, LCT_MAX_JWS_GENERAL, err);

    if (code == LCT_OK)
        code = lct_jws_general_read(&jws, text, text_len, err);
    if (code == LCT_ERR_BAD_EVIDENCE)
        (void)lct_err_prefix(err, lct_tool_file(asked->statement));
    if (code == LCT_OK)
        code = lct_tool_id(tool, &id, asked->id, err);
    if (code == LCT_OK)
        code = lct_tool_open(tool, err);
    if (code == LCT_OK)
        code = lct_signing_open(&signing, tool, id, err);
    if (code == LCT_OK)
        code = witness(&jws, &signing, asked->statement, verdict, err);
    if (code == LCT_OK)
        code = print(&jws, err);
    lct_signing_close(&signing);
    lct_jws_general_clear(&jws);
    free(text);
    return code;
}

enum lct_code lct_witness_run(struct lct_tool *tool, int argc, char **argv, struct lct_err *err)
{
    struct asked asked = {0};
    const struct lct_option options[] = {{"as", &asked.id, NULL},
                                         {"verdict", &asked.verdict, NULL}};
    char *verdict = NULL;
    char **operands;
    int num_operands;
    enum lct_code code =
        lct_options_parse(tool, argc, argv, options, 2, 1, 1, &operands, &num_operands, err);

    if (code != LCT_OK)
        return code;
    asked.statement = operands[0];
    if (asked.id == NULL)
        return LCT_FAIL(err, LCT_ERR_USAGE, "--as ID says who the witness is");
    if (asked.verdict != NULL && strcmp(asked.verdict, "-") == 0 &&
        strcmp(asked.statement, "-") == 0)
        return LCT_FAIL(err, LCT_ERR_USAGE, "only one file can be standard input");
    code = read_verdict(&verdict, asked.verdict, err);
    if (code == LCT_OK)
        code = run(tool, &asked, verdict, err);
    free(verdict);
    return code;
}
