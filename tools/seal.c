/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/making.h"
#include "tools/sealing.h"
#include "tools/tool.h"

#include "store/sealed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What sealing takes, and what it makes; a `make` of lct_making_run. */
struct attempt {
    struct lct_tool *tool;
    struct lct_sealed_request request;
    uint8_t *secret;
    size_t secret_len;
    char *text;
};

static enum lct_code make(void *arg, bool *made_srk, struct lct_err *err)
{
    struct attempt *attempt = arg;
    const struct lct_tool *tool = attempt->tool;

    return lct_sealed_make(&attempt->text, made_srk, tool->tpm, tool->crypto, &attempt->request,
                           attempt->secret, attempt->secret_len, err);
}

/* Whether no approval that is there is for the state of this boot: it is unsealed as it will be. */
static bool is_refused(struct lct_tool *tool, const char *text, const struct lct_secret *passphrase)
{
    struct lct_key *key = NULL;
    uint8_t *secret = NULL;
    size_t secret_len = 0;
    enum lct_code code = lct_sealed_read(&key, tool->crypto, &tool->store, &tool->config,
                                         "the secret", (const uint8_t *)text, strlen(text), NULL);

    if (code == LCT_OK) {
        key->passphrase = *passphrase;
        code = lct_sealed_open(&secret, &secret_len, key, tool->tpm, (const uint8_t *)text,
                               strlen(text), NULL);
    }
    if (secret != NULL)
        explicit_bzero(secret, secret_len);
    free(secret);
    lct_key_free(key);
    return code == LCT_ERR_SEALED;
}

/* What only the authority's approvals open: what to do next. Standard output is the file. */
static void say_approvals(struct lct_tool *tool, const struct lct_seal *seal, const char *text,
                          const struct lct_secret *passphrase)
{
    char pcrs[LCT_PCRS_TEXT];

    if (seal->kind != LCT_SEAL_AUTHORITY || !is_refused(tool, text, passphrase))
        return;
    lct_pcrs_text(pcrs, &seal->pcrs.pcrs);
    lct_tool_note(tool,
                  "it is unsealed once a state is approved: lct pcrs %s | lct approve --authority "
                  "KEY.pem --pcrs - --out - | lct approve --import -",
                  pcrs);
}

static enum lct_code seal_input(struct lct_tool *tool, const struct lct_sealing_request *sealing,
                                struct lct_seal *seal, struct lct_making *making, bool new_parent,
                                struct lct_err *err)
{
    struct attempt attempt = {.tool = tool,
                              .request = {.seal = seal,
                                          .provision = !tool->config.no_provision,
                                          .pin = {&tool->store, new_parent},
                                          .passphrase = &making->passphrase,
                                          .owner_auth = &making->owner_auth}};
    enum lct_code code =
        lct_tool_read(&attempt.secret, &attempt.secret_len, "-", LCT_MAX_SECRET, err);

    if (code == LCT_OK && attempt.secret_len == 0)
        code = LCT_FAIL(err, LCT_ERR_USAGE, "there is nothing to seal: standard input is empty");
    if (code == LCT_OK)
        code = lct_sealing_complete(seal, tool, sealing, err);
    if (code == LCT_OK)
        code = lct_making_run(making, make, &attempt, err);
    if (attempt.secret != NULL)
        explicit_bzero(attempt.secret, attempt.secret_len);
    free(attempt.secret);
    if (code == LCT_OK)
        code = lct_tool_print(err, "%s", attempt.text);
    if (code == LCT_OK)
        say_approvals(tool, seal, attempt.text, &making->passphrase);
    free(attempt.text);
    return code;
}

enum lct_code lct_seal_run(struct lct_tool *tool, int argc, char **argv, struct lct_err *err)
{
    struct lct_sealing_request sealing = {.label = "the secret"};
    bool passphrase = false, new_parent = false;
    const struct lct_option options[] = {{"seal", &sealing.spec, NULL},
                                         {"passphrase", NULL, &passphrase},
                                         {"new-parent", NULL, &new_parent}};
    struct lct_making making = {0};
    struct lct_seal seal;
    char **operands;
    int num_operands;
    enum lct_code code =
        lct_options_parse(tool, argc, argv, options, sizeof options / sizeof options[0], 0, 0,
                          &operands, &num_operands, err);

    if (code == LCT_OK)
        code = lct_tool_open(tool, err);
    if (code == LCT_OK)
        code = lct_sealing_parse(&seal, tool, &sealing, err);
    if (code == LCT_OK)
        code = lct_making_begin(&making, tool, passphrase, err);
    sealing.owner_auth = &making.owner_auth;
    if (code == LCT_OK)
        code = seal_input(tool, &sealing, &seal, &making, new_parent, err);
    lct_making_end(&making);
    return code;
}
