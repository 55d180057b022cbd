/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/signed_statement.h"

#include "proof/document.h"
#include "proof/json.h"
#include "proof/payload.h"
#include "proof/subject.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { VERSION = 1 };

static const char type[] = "lct-statement";

bool lct_is_statement_kind(const char *text)
{
    size_t len = strlen(text);

    return len > 0 && len <= LCT_MAX_STATEMENT_KIND &&
           strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789.-") == len;
}

enum lct_code lct_signed_statement_sign(struct lct_jws_general *jws,
                                        const struct lct_signed_statement *statement,
                                        const struct lct_signer *signer, struct lct_err *err)
{
    const struct lct_jws_as as = {.role = LCT_ROLE_SIGNER};
    struct lct_signed_statement again = {.content = NULL};

    *jws = (struct lct_jws_general){.payload = NULL};
    if (!lct_is_statement_kind(statement->kind))
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "the type of a statement is 1 to %d of a-z, 0-9, dot and hyphen",
                        (int)LCT_MAX_STATEMENT_KIND);
    if (statement->content_len > LCT_MAX_STATEMENT_CONTENT)
        return LCT_FAIL(err, LCT_ERR_USAGE, "what a statement says has %d bytes at most",
                        (int)LCT_MAX_STATEMENT_CONTENT);
    enum lct_code code = lct_payload_begin(
        jws,
        json_pack("{s:s, s:i, s:s, s:I, s:s, s:s, s:o}", "type", type, "version", VERSION, "id",
                  statement->id, "generation", (json_int_t)statement->generation, "created",
                  statement->created, "kind", statement->kind, "content",
                  lct_document_of_bytes(statement->content, statement->content_len)),
        err);
    if (code == LCT_OK)
        code = lct_jws_general_sign(jws, signer, &as, err);
    if (code == LCT_OK && lct_signed_statement_read(&again, jws, NULL) != LCT_OK)
        code = LCT_FAIL(err, LCT_ERR_INTERNAL, "the statement that was made cannot be read");
    lct_signed_statement_clear(&again);
    return code;
}

static bool take_content(struct lct_signed_statement *statement, const json_t *json)
{
    if (json_is_string(json) && json_string_length(json) == 0) {
        statement->content = calloc(1, 1);
        return statement->content != NULL;
    }
    statement->content =
        lct_document_take_bytes(&statement->content_len, LCT_MAX_STATEMENT_CONTENT, json);
    return statement->content != NULL;
}

static enum lct_code take(struct lct_signed_statement *statement, json_t *json, struct lct_err *err)
{
    const char *named, *id, *created, *kind;
    json_int_t version, generation;
    json_t *content;

    if (json_unpack_ex(json, NULL, JSON_STRICT, "{s:s, s:I, s:s, s:I, s:s, s:s, s:o}", "type",
                       &named, "version", &version, "id", &id, "generation", &generation, "created",
                       &created, "kind", &kind, "content", &content) != 0 ||
        !lct_offer_take_id(statement->id, id) ||
        !lct_payload_number(&statement->generation, LCT_MAX_SUBJECT_GENERATION, generation) ||
        !lct_payload_time(statement->created, created) || !lct_is_statement_kind(kind) ||
        !lct_json_text(statement->kind, sizeof statement->kind, kind) ||
        !take_content(statement, content))
        return LCT_FAIL(err, LCT_ERR_BAD_EVIDENCE,
                        "the statement is malformed: a member is missing, wrong or not known");
    return LCT_OK;
}

enum lct_code lct_signed_statement_read(struct lct_signed_statement *statement,
                                        const struct lct_jws_general *jws, struct lct_err *err)
{
    json_t *json;
    enum lct_code code = lct_payload_read(&json, jws, type, err);

    *statement = (struct lct_signed_statement){.content = NULL};
    if (code == LCT_OK)
        code = take(statement, json, err);
    json_decref(json);
    return code == LCT_OK ? lct_payload_check_alone(jws, LCT_ROLE_SIGNER, err) : code;
}

void lct_signed_statement_clear(struct lct_signed_statement *statement)
{
    free(statement->content);
    *statement = (struct lct_signed_statement){.content = NULL};
}

void lct_signed_statement_judge(struct lct_judgement *judgement, OSSL_LIB_CTX *libctx,
                                const struct lct_signed_statement *statement,
                                const struct lct_jws_general *jws,
                                const struct lct_judgement_request *request)
{
    lct_judgement_begin(judgement, jws);
    if (request->key != NULL)
        lct_judgement_signature(judgement, libctx, jws, 0, request->key);
    else
        lct_judgement_fail(judgement, "whose key it has to be by is not known");
    lct_judgement_check_time(judgement, statement->created, request->now);
    judgement->holds = judgement->reason[0] == '\0';
}
