/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/json.h"
#include "tools/state.h"
#include "tools/tool.h"
#include "tools/verify.h"

#include "proof/challenge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_FILE = 2 << 20, LIFETIME = 300, MAX_LIFETIME = 7 * 24 * 60 * 60 /* seconds */ };

/* What the boot measures, on PCs (PC Client Platform Firmware Profile, 3.3.4) and by Linux; but not
 * 10, which IMA extends all the time. */
static const char usual_pcrs[] = "sha256:0,1,2,3,4,5,6,7,8,9,11,12,13,14,15";

/* What the command line says. */
struct asked {
    const char *trust, *state, *mode, *pcrs, *lifetime, *offer;
};

static enum lct_code take_lifetime(unsigned *seconds, const char *text, struct lct_err *err)
{
    char *end = NULL;

    *seconds = LIFETIME;
    if (text == NULL)
        return LCT_OK;
    unsigned long number = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || number == 0 || number > MAX_LIFETIME)
        return LCT_FAIL(err, LCT_ERR_USAGE, "--lifetime takes 1 to %d seconds", MAX_LIFETIME);
    *seconds = (unsigned)number;
    return LCT_OK;
}

static enum lct_code take_pcrs(struct lct_challenge_request *request, struct lct_pcrs *pcrs,
                               const char *text, struct lct_err *err)
{
    if (text == NULL && !request->direct)
        text = usual_pcrs;
    if (text == NULL || strcmp(text, "none") == 0)
        return LCT_OK;
    request->pcrs = pcrs;
    return lct_pcrs_parse(pcrs, text, strlen(text), err);
}

static enum lct_code take_request(struct lct_challenge_request *request, struct lct_pcrs *pcrs,
                                  const struct asked *asked, struct lct_err *err)
{
    const char *mode = asked->mode != NULL ? asked->mode : "ak";

    if (asked->trust == NULL || asked->state == NULL)
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "--trust and --state are needed: whose TPMs are believed, and a new file "
                        "for what only you may know of this challenge");
    if (asked->state[0] == '\0' || strcmp(asked->state, "-") == 0)
        return LCT_FAIL(err, LCT_ERR_USAGE, "--state takes the name of a new file");
    request->direct = strcmp(mode, "direct") == 0;
    if (!request->direct && strcmp(mode, "ak") != 0)
        return LCT_FAIL(err, LCT_ERR_USAGE, "--mode is ak or direct");
    request->now = time(NULL);
    enum lct_code code = take_lifetime(&request->lifetime, asked->lifetime, err);
    return code == LCT_OK ? take_pcrs(request, pcrs, asked->pcrs, err) : code;
}

static enum lct_code read_offer(void *offer, OSSL_LIB_CTX *libctx, const json_t *document,
                                struct lct_err *err)
{
    return lct_offer_read(offer, libctx, document, err);
}

/* The state is on disk before anybody sees the challenge, and not there without one. */
static enum lct_code write_both(const struct lct_challenge_state *state, const char *file,
                                struct lct_err *err)
{
    enum lct_code code = lct_state_make(file, state, err);

    if (code != LCT_OK)
        return code;
    code = lct_tool_print_json(lct_challenge_json(&state->challenge), err);
    if (code == LCT_OK && fflush(stdout) != 0)
        code = LCT_FAIL(err, LCT_ERR_IO, "standard output cannot be written");
    if (code != LCT_OK)
        (void)unlink(file);
    return code;
}

static enum lct_code challenge(OSSL_LIB_CTX *libctx, struct lct_challenge_request *request,
                               const struct asked *asked, struct lct_err *err)
{
    struct lct_challenge_state state = {.used = false};
    struct lct_trust *trust = NULL;
    struct lct_offer *offer = NULL;
    enum lct_code code = lct_trust_read(&trust, libctx, asked->trust, err);

    request->trust = trust;
    if (code == LCT_OK)
        code = lct_tool_document_into(&offer, libctx, asked->offer, MAX_FILE, read_offer, err);
    if (code == LCT_OK)
        code = lct_challenge_make(&state, libctx, offer, request, err);
    if (code == LCT_OK)
        code = write_both(&state, asked->state, err);
    lct_challenge_state_clear(&state);
    lct_trust_free(trust);
    return code;
}

enum lct_code lct_attest_challenge_run(struct lct_tool *tool, int argc, char **argv,
                                       struct lct_err *err)
{
    struct asked asked = {0};
    struct lct_challenge_request request = {0};
    struct lct_pcrs pcrs = {0};
    const struct lct_option options[] = {
        {"trust", &asked.trust, NULL},       {"state", &asked.state, NULL},
        {"mode", &asked.mode, NULL},         {"pcrs", &asked.pcrs, NULL},
        {"lifetime", &asked.lifetime, NULL},
    };
    char **operands;
    int num_operands;
    enum lct_code code =
        lct_options_parse(tool, argc, argv, options, sizeof options / sizeof options[0], 1, 1,
                          &operands, &num_operands, err);

    if (code == LCT_OK)
        code = take_request(&request, &pcrs, &asked, err);
    if (code != LCT_OK)
        return code;
    asked.offer = operands[0];
    struct lct_crypto *crypto = lct_crypto_new();
    OSSL_LIB_CTX *libctx = crypto != NULL ? lct_crypto_get(crypto, err) : NULL;
    code = libctx != NULL ? challenge(libctx, &request, &asked, err)
                          : LCT_FAIL(err, LCT_ERR_INTERNAL, "libcrypto cannot be used");
    lct_crypto_free(crypto);
    return code;
}
