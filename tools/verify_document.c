/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/verify_kinds.h"

#include "export/token.h"
#include "proof/spki.h"
#include "tools/json.h"
#include "tools/tool.h"

#include <openssl/evp.h>

static enum lct_code check_options(const struct lct_verify_asked *asked, struct lct_err *err)
{
    const struct lct_judging *judging = &asked->judging;

    if (judging->trust != NULL || judging->state != NULL || judging->expected != NULL ||
        judging->required != NULL || asked->offline)
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "this is a Web4 document, which its own key signed: --key says which key "
                        "that has to be; --trust, --state, --offline, --expect-pcrs and --require "
                        "are for evidence");
    return LCT_OK;
}

static json_t *claims_json(const struct lct_token *token)
{
    json_t *claims = json_object();

    for (size_t i = 0; i < LCT_NUM_TOKEN_CLAIMS; i++) {
        const struct lct_finding *finding = &token->findings[i];
        (void)json_object_set_new(claims, lct_token_claim_name((enum lct_token_claim)i),
                                  json_pack("{s:s, s:s}", "outcome",
                                            lct_outcome_name(finding->outcome), "reason",
                                            finding->reason));
    }
    return claims;
}

static json_t *token_json(const struct lct_token *token, const char *sha256)
{
    return json_pack("{s:i, s:b, s:s, s:s, s:s, s:s, s:s, s:s, s:s*, s:I, s:o}", "version", 1,
                     "holds", (int)(lct_token_conclude(token, NULL) == LCT_OK), "kind",
                     "web4-document", "form", token->jws ? "jws" : "json-ld", "lct_id", token->id,
                     "entity_type", token->entity_type, "created", token->created, "sha256", sha256,
                     "evidence", token->evidence[0] != '\0' ? token->evidence : NULL, "parents",
                     (json_int_t)token->num_parents, "claims", claims_json(token));
}

static enum lct_code print_token(const struct lct_token *token, const char *sha256,
                                 struct lct_err *err)
{
    enum lct_code code =
        lct_tool_print(err, "document     of %s\nentity       %s, made %s\nSHA-256      %s\n",
                       token->id, token->entity_type, token->created, sha256);

    for (size_t i = 0; i < LCT_NUM_TOKEN_CLAIMS && code == LCT_OK; i++)
        code = lct_tool_print(
            err, "%-11s  %-8s  %s\n", lct_outcome_name(token->findings[i].outcome),
            lct_token_claim_name((enum lct_token_claim)i), token->findings[i].reason);
    return code == LCT_OK
               ? lct_tool_print(err,
                                "It does not show who holds the key, nor that hardware does.\n")
               : code;
}

enum lct_code lct_verify_document(const struct lct_verify_asked *asked, OSSL_LIB_CTX *libctx,
                                  const char *file, const json_t *document, const char *jws,
                                  size_t jws_len, struct lct_err *err)
{
    struct lct_token token = {.key = NULL};
    struct lct_ak key = {.pkey = NULL};
    char sha256[65];
    time_t now = 0;
    enum lct_code code = check_options(asked, err);

    if (code == LCT_OK)
        code = lct_judging_time(&now, asked->judging.time, err);
    if (code == LCT_OK && asked->judging.key != NULL)
        code = lct_judging_identity(&key, libctx, asked->judging.key, err);
    if (code != LCT_OK)
        return code;
    code = jws != NULL ? lct_token_judge_jws(&token, libctx, jws, jws_len, key.pkey, now, err)
                       : lct_token_judge(&token, libctx, document, key.pkey, now, err);
    if (code != LCT_OK)
        (void)lct_err_prefix(err, file);
    else
        code = lct_spki_fingerprint(sha256, token.key, libctx, err);
    if (code == LCT_OK)
        code = asked->json ? lct_tool_print_json(token_json(&token, sha256), err)
                           : print_token(&token, sha256, err);
    if (code == LCT_OK)
        code = lct_token_conclude(&token, err);
    lct_token_clear(&token);
    lct_ak_clear(&key);
    return code;
}
