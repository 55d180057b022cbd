/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/verify.h"

#include "base/unconst.h"
#include "proof/document.h"
#include "proof/evidence.h"
#include "proof/issue.h"
#include "proof/json.h"
#include "tools/explain.h"
#include "tools/explain_sheet.h"
#include "tools/json.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static const char no_document[] = "it is no offer, challenge, evidence, state or signed verdict";

/* What is shown: `json` is added to. */
struct shown {
    struct lct_crypto *crypto;
    OSSL_LIB_CTX *libctx;
    json_t *json;
};

static enum lct_code add(const struct shown *shown, const char *member, json_t *value,
                         struct lct_err *err)
{
    return json_object_set_new(shown->json, member, value) == 0
               ? LCT_OK
               : LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
}

static enum lct_code add_challenge(const struct shown *shown, const struct lct_challenge *challenge,
                                   struct lct_err *err)
{
    enum lct_code code = add(shown, "challenge", lct_explain_challenge(challenge), err);

    return code == LCT_OK
               ? add(shown, "offer", lct_explain_offer(shown->crypto, challenge->offer), err)
               : code;
}

static enum lct_code show_offer(const struct shown *shown, const json_t *document,
                                struct lct_err *err)
{
    struct lct_offer *offer = NULL;
    enum lct_code code = lct_offer_read(&offer, shown->libctx, document, err);

    if (code == LCT_OK)
        code = add(shown, "offer", lct_explain_offer(shown->crypto, offer), err);
    lct_offer_free(offer);
    return code;
}

static enum lct_code show_challenge(const struct shown *shown, const json_t *document,
                                    struct lct_err *err)
{
    struct lct_challenge challenge;
    enum lct_code code = lct_challenge_read(&challenge, shown->libctx, document, err);

    if (code != LCT_OK)
        return code;
    code = add_challenge(shown, &challenge, err);
    lct_challenge_clear(&challenge);
    return code;
}

static enum lct_code show_evidence(const struct shown *shown, const json_t *document,
                                   struct lct_err *err)
{
    struct lct_evidence *evidence = NULL;
    enum lct_code code = lct_evidence_read(&evidence, shown->libctx, document, err);

    if (code == LCT_OK)
        code = add_challenge(shown, &evidence->challenge, err);
    if (code == LCT_OK)
        code = add(shown, "evidence", lct_explain_evidence(shown->crypto, evidence), err);
    lct_evidence_free(evidence);
    return code;
}

/* Of what is the verifier's alone no more than which challenge it is of. */
static enum lct_code show_state(const struct shown *shown, const json_t *document,
                                struct lct_err *err)
{
    struct lct_challenge_state state;
    enum lct_code code = lct_challenge_state_read(&state, shown->libctx, document, err);

    lct_challenge_state_forget(lct_unconst(document));
    if (code != LCT_OK)
        return code;
    code = add(shown, "challenge", lct_explain_challenge(&state.challenge), err);
    if (code == LCT_OK)
        code = add(shown, "used", json_boolean(state.used), err);
    lct_challenge_state_clear(&state);
    return code;
}

static const struct kind {
    const char *type, *name;
    enum lct_code (*show)(const struct shown *shown, const json_t *document, struct lct_err *err);
} kinds[] = {
    {"lct-attestation-offer", "offer", show_offer},
    {"lct-attestation-challenge", "challenge", show_challenge},
    {"lct-attestation-evidence", "evidence", show_evidence},
    {"lct-attestation-state", "state", show_state},
};

static enum lct_code show_document(const struct shown *shown, const uint8_t *text, size_t text_len,
                                   struct lct_err *err)
{
    json_t *document = NULL;
    const char *type = NULL;
    size_t i = 0;
    enum lct_code code = lct_document_read(&document, &type, text, text_len, err);

    if (code != LCT_OK)
        return code;
    while (i < sizeof kinds / sizeof kinds[0] && (type == NULL || strcmp(kinds[i].type, type) != 0))
        i++;
    if (i == sizeof kinds / sizeof kinds[0]) {
        code = LCT_FAIL(err, LCT_ERR_BAD_EVIDENCE, "%s", no_document);
    } else {
        code = add(shown, "kind", json_string(kinds[i].name), err);
        if (code == LCT_OK)
            code = kinds[i].show(shown, document, err);
    }
    json_decref(document);
    return code;
}

static enum lct_code show_verdict(const struct shown *shown, const char *text, size_t text_len,
                                  struct lct_err *err)
{
    struct lct_issued_verdict issued;
    enum lct_code code = lct_issued_verdict_read(&issued, shown->libctx, text, text_len, err);

    if (code == LCT_OK)
        code = add(shown, "kind", json_string("verdict"), err);
    return code == LCT_OK ? add(shown, "verdict", lct_explain_verdict(shown->crypto, &issued), err)
                          : code;
}

/* A document is JSON, an object; a signed verdict is not. */
static enum lct_code show(const struct shown *shown, const uint8_t *bytes, size_t bytes_len,
                          struct lct_err *err)
{
    const char *text = (const char *)bytes;

    if (text[strspn(text, " \t\r\n")] == '{')
        return show_document(shown, bytes, bytes_len, err);
    if (strchr(text, '.') != NULL)
        return show_verdict(shown, text, bytes_len, err);
    return LCT_FAIL(err, LCT_ERR_BAD_EVIDENCE, "%s", no_document);
}

/* In ASCII; DEL alone would be left as it is. */
static enum lct_code print_json(const json_t *json, struct lct_err *err)
{
    char *text = lct_json_dump(json, JSON_INDENT(2) | JSON_ENSURE_ASCII);

    if (text == NULL)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    for (char *at = text; (at = strchr(at, '\x7f')) != NULL;)
        *at = '?';
    enum lct_code code = lct_tool_print(err, "%s\n", text);
    free(text);
    return code;
}

static enum lct_code tell(const json_t *json, const struct lct_sheet_request *request,
                          struct lct_err *err)
{
    struct lct_sheet sheet = {.page = request->html, .strangers = true};

    if (request->json)
        return print_json(json, err);
    lct_explain_say(&sheet, json);
    return lct_sheet_end(&sheet, request->out, err);
}

static enum lct_code show_file(const char *file, const struct lct_sheet_request *request,
                               struct lct_crypto *crypto, struct lct_err *err)
{
    struct shown shown = {.crypto = crypto, .libctx = lct_crypto_get(crypto, err)};
    uint8_t *bytes = NULL;
    size_t bytes_len = 0;

    if (shown.libctx == NULL)
        return LCT_ERR_INTERNAL;
    enum lct_code code = lct_tool_read_sent(&bytes, &bytes_len, file, LCT_MAX_EVIDENCE, err);
    if (code != LCT_OK)
        return code;
    shown.json = json_pack("{s:i, s:b}", "version", 1, "verified", 0);
    code = show(&shown, bytes, bytes_len, err);
    if (code != LCT_OK)
        (void)lct_err_prefix(err, lct_tool_file(file));
    else
        code = tell(shown.json, request, err);
    explicit_bzero(bytes, bytes_len); /* it may be a state */
    free(bytes);
    json_decref(shown.json);
    return code;
}

enum lct_code lct_attest_show_run(struct lct_tool *tool, int argc, char **argv, struct lct_err *err)
{
    struct lct_sheet_request request = {.out = NULL};
    const struct lct_option options[] = {
        {"json", NULL, &request.json}, {"html", NULL, &request.html}, {"out", &request.out, NULL}};
    char **operands;
    int num_operands;
    enum lct_code code =
        lct_options_parse(tool, argc, argv, options, 3, 1, 1, &operands, &num_operands, err);

    if (code == LCT_OK)
        code = lct_sheet_check(&request, argv[0], err);
    if (code != LCT_OK)
        return code;
    struct lct_crypto *crypto = lct_crypto_new();
    code = crypto != NULL ? show_file(operands[0], &request, crypto, err)
                          : LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    lct_crypto_free(crypto);
    return code;
}
