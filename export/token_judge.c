/* SPDX-License-Identifier: Apache-2.0 */
#include "export/token.h"

#include "base/encode.h"
#include "base/unconst.h"
#include "export/cose.h"
#include "export/multikey.h"
#include "proof/document.h"
#include "proof/json.h"
#include "proof/jws.h"

#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EARLIER = 60 /* seconds that clocks may be apart */, MAX_PARENTS = 1024 };

static const char cose_prefix[] = "cose:", eat_prefix[] = "eat:";

const char *lct_token_claim_name(enum lct_token_claim claim)
{
    static const char *const names[] = {[LCT_TOKEN_ID] = "id",
                                        [LCT_TOKEN_BINDING] = "binding",
                                        [LCT_TOKEN_DOCUMENT] = "document",
                                        [LCT_TOKEN_KEY] = "key",
                                        [LCT_TOKEN_LINEAGE] = "lineage",
                                        [LCT_TOKEN_ACTIVE] = "active",
                                        [LCT_TOKEN_HARDWARE] = "hardware",
                                        [LCT_TOKEN_OTHERS] = "others"};

    return names[claim];
}

bool lct_token_is(const json_t *document)
{
    return json_object_get(document, "lct_id") != NULL &&
           json_object_get(document, "binding") != NULL;
}

bool lct_token_is_jws(const char *jws, size_t jws_len)
{
    struct lct_jws parts;
    bool is =
        lct_jws_read(&parts, jws, jws_len, NULL) == LCT_OK && strcmp(parts.typ, lct_token_typ) == 0;

    lct_jws_clear(&parts);
    return is;
}

static enum lct_code fail_shape(const char *what, struct lct_err *err)
{
    return LCT_FAIL(err, LCT_ERR_BAD_EVIDENCE, "it is no Web4 document as its schema has it: %s",
                    what);
}

static bool are_strings(const json_t *array)
{
    size_t i;
    json_t *item;

    json_array_foreach (array, i, item)
        if (!json_is_string(item))
            return false;
    return json_is_array(array);
}

static bool is_context(const json_t *context)
{
    const char *first = json_string_value(json_array_get(context, 0));

    return are_strings(context) && first != NULL &&
           strcmp(first, "https://web4.io/contexts/lct.jsonld") == 0;
}

/* Numbers from 0 to 1, as the schema names them, and what else may be with them. */
static bool is_tensor(const json_t *tensor, const char *const names[4])
{
    for (size_t i = 0; i < 4; i++) {
        const json_t *number = json_object_get(tensor, names[i]);
        if (!json_is_number(number) || !(json_number_value(number) >= 0) ||
            !(json_number_value(number) <= 1))
            return false;
    }
    return true;
}

static bool are_tensors(const json_t *t3, const json_t *v3)
{
    static const char *const trust[] = {"talent", "training", "temperament", "composite_score"};
    static const char *const value[] = {"valuation", "veracity", "validity", "composite_score"};

    return is_tensor(t3, trust) && is_tensor(v3, value);
}

static bool are_relations(const json_t *mrh, const json_t *policy)
{
    return json_is_array(json_object_get(mrh, "bound")) &&
           json_is_array(json_object_get(mrh, "paired")) &&
           json_is_array(json_object_get(mrh, "witnessing")) &&
           json_integer_value(json_object_get(mrh, "horizon_depth")) >= 1 &&
           are_strings(json_object_get(policy, "capabilities"));
}

/* The parts of a document, borrowed from it. */
struct parts {
    const char *id, *subject;                               /* */
    const char *entity_type, *public_key, *created;         /* of the binding */
    const char *proof, *anchor;                             /* of it, too; NULL: none */
    const char *status, *ended, *reason;                    /* of the revocation */
    const json_t *binding, *lineage, *birth, *attestations; /* NULL: none */
};

static enum lct_code take_parts(struct parts *parts, const json_t *document, struct lct_err *err)
{
    json_t *json = lct_unconst(document), *context, *binding, *mrh, *policy, *t3, *v3;
    json_t *birth = NULL, *attestations = NULL, *lineage = NULL, *revocation;
    json_t *ended = NULL, *reason = NULL;
    const char *type;

    if (json_unpack_ex(json, NULL, JSON_STRICT,
                       "{s:o, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s?o, s?o, s?o}",
                       "@context", &context, "@type", &type, "lct_id", &parts->id, "subject",
                       &parts->subject, "binding", &binding, "mrh", &mrh, "policy", &policy,
                       "t3_tensor", &t3, "v3_tensor", &v3, "revocation", &revocation, "lineage",
                       &lineage, "birth_certificate", &birth, "attestations", &attestations) != 0)
        return fail_shape("its members", err);
    if (strcmp(type, "web4:LinkedContextToken") != 0 || !is_context(context))
        return fail_shape("its @type or @context", err);
    if (!are_tensors(t3, v3) || !are_relations(mrh, policy))
        return fail_shape("its tensors, mrh or policy", err);
    if (json_unpack_ex(binding, NULL, JSON_STRICT, "{s:s, s:s, s:s, s?s, s?s}", "entity_type",
                       &parts->entity_type, "public_key", &parts->public_key, "created_at",
                       &parts->created, "binding_proof", &parts->proof, "hardware_anchor",
                       &parts->anchor) != 0)
        return fail_shape("its binding", err);
    if (json_unpack_ex(revocation, NULL, JSON_STRICT, "{s:s, s?o, s?o}", "status", &parts->status,
                       "ts", &ended, "reason", &reason) != 0 ||
        (ended != NULL && !lct_json_maybe(&parts->ended, ended)) ||
        (reason != NULL && !lct_json_maybe(&parts->reason, reason)))
        return fail_shape("its revocation", err);
    parts->binding = binding;
    parts->lineage = lineage;
    parts->birth = birth;
    parts->attestations = attestations;
    return LCT_OK;
}

static void find(struct lct_token *token, enum lct_token_claim claim, enum lct_outcome outcome,
                 const char *format, ...) LCT_PRINTF(4, 5);

static void find(struct lct_token *token, enum lct_token_claim claim, enum lct_outcome outcome,
                 const char *format, ...)
{
    va_list args;

    va_start(args, format);
    lct_finding_set_args(&token->findings[claim], outcome, format, args);
    va_end(args);
}

static enum lct_code take_values(struct lct_token *token, OSSL_LIB_CTX *libctx,
                                 const struct parts *parts, struct lct_err *err)
{
    if (!lct_json_text(token->id, sizeof token->id, parts->id))
        return fail_shape("its lct_id is no name that follows from a key", err);
    if (!lct_token_is_entity(parts->entity_type) ||
        !lct_json_text(token->entity_type, sizeof token->entity_type, parts->entity_type))
        return fail_shape("its entity_type is none", err);
    if (!lct_json_time(token->created, parts->created))
        return fail_shape("its created_at is not as in 2026-11-29T12:00:00Z", err);
    token->key = lct_multikey_decode(libctx, parts->public_key, err);
    return token->key != NULL ? LCT_OK : LCT_ERR_BAD_EVIDENCE;
}

static void judge_id(struct lct_token *token, OSSL_LIB_CTX *libctx, const struct parts *parts)
{
    static const char did[] = "did:web4:key:";
    char name[LCT_WEB4_NAME] = "";

    if (lct_web4_name(name, libctx, token->key, NULL) != LCT_OK || strcmp(name, token->id) != 0)
        find(token, LCT_TOKEN_ID, LCT_FAILED,
             "its lct_id is the name of another key: this one's is "
             "%s",
             name);
    else if (strncmp(parts->subject, did, sizeof did - 1) != 0 ||
             strcmp(parts->subject + sizeof did - 1, parts->public_key) != 0)
        find(token, LCT_TOKEN_ID, LCT_FAILED,
             "its subject is not did:web4:key: and its public key");
    else
        find(token, LCT_TOKEN_ID, LCT_PASSED, "lct_id and subject follow from its public key");
}

/* Bytes in base64url behind a prefix; NULL: they are not. The caller frees them. */
static uint8_t *take_bytes(size_t *len, const char *prefix, const char *text)
{
    size_t prefix_len = strlen(prefix), size = strlen(text);
    uint8_t *bytes = NULL;

    if (size <= prefix_len || size > LCT_MAX_COSE || strncmp(text, prefix, prefix_len) != 0)
        return NULL;
    bytes = malloc(size);
    if (bytes != NULL &&
        lct_base64url_decode(bytes, len, size, text + prefix_len, size - prefix_len))
        return bytes;
    free(bytes);
    return NULL;
}

/* Why the proof is none of this binding; NULL: it is one. */
static const char *proof_fault(const struct lct_token *token, OSSL_LIB_CTX *libctx,
                               const struct lct_cose *cose, const uint8_t *payload,
                               size_t payload_len)
{
    if (strcmp(cose->content_type, lct_token_content_type) != 0)
        return "its content type is not application/web4+cbor";
    if (strcmp(cose->kid, token->id) != 0)
        return "its kid is not the lct_id";
    if (cose->payload_len != payload_len || memcmp(cose->payload, payload, payload_len) != 0)
        return "it is a proof of another binding";
    return lct_cose_is_by(cose, token->key, libctx) ? NULL
                                                    : "its signature is not by the public key";
}

static void judge_proof(struct lct_token *token, OSSL_LIB_CTX *libctx, const struct parts *parts)
{
    struct lct_err err = {.code = LCT_OK};
    struct lct_cose cose;
    size_t len = 0, payload_len = 0;
    uint8_t *payload = NULL, *bytes = take_bytes(&len, cose_prefix, parts->proof);

    if (bytes == NULL)
        find(token, LCT_TOKEN_BINDING, LCT_FAILED,
             "its binding_proof is not cose: and base64url of at most %d bytes", (int)LCT_MAX_COSE);
    else if (lct_cose_read(&cose, bytes, len, &err) != LCT_OK ||
             lct_token_payload(&payload, &payload_len, parts->binding, &err) != LCT_OK)
        find(token, LCT_TOKEN_BINDING, LCT_FAILED, "its binding_proof: %.200s", err.text);
    else {
        const char *fault = proof_fault(token, libctx, &cose, payload, payload_len);
        find(token, LCT_TOKEN_BINDING, fault != NULL ? LCT_FAILED : LCT_PASSED, "%s%s",
             fault != NULL ? "its binding_proof: " : "",
             fault != NULL ? fault : "whoever holds the key signed the binding");
    }
    free(payload);
    free(bytes);
}

static void judge_binding(struct lct_token *token, OSSL_LIB_CTX *libctx, const struct parts *parts,
                          time_t now)
{
    time_t created = 0;

    if (!lct_json_seconds(&created, token->created) || created > now + EARLIER)
        find(token, LCT_TOKEN_BINDING, LCT_FAILED,
             "its created_at is no time, or one that has not come");
    else if (parts->proof == NULL)
        find(token, LCT_TOKEN_BINDING, LCT_NOT_CLAIMED, "it has no binding_proof");
    else
        judge_proof(token, libctx, parts);
}

/* "lct:web4:mb32:b" and 52 digits. */
static bool is_name(const char *text)
{
    static const char prefix[] = "lct:web4:mb32:b";
    size_t len = sizeof prefix - 1;

    return strlen(text) == LCT_WEB4_NAME - 1 && strncmp(text, prefix, len) == 0 &&
           strspn(text + len, "abcdefghijklmnopqrstuvwxyz234567") == LCT_WEB4_NAME - 1 - len &&
           (text[LCT_WEB4_NAME - 2] == 'a' || text[LCT_WEB4_NAME - 2] == 'q');
}

/* Why an entry of the lineage is none; NULL: it is one. */
static const char *parent_fault(const struct lct_token *token, const json_t *lineage, size_t at,
                                const char **before)
{
    static const char *const reasons[] = {"genesis", "rotation", "fork", "upgrade", "derived_from"};
    const char *parent, *reason, *time = NULL;
    bool known = false;
    char text[21];

    if (json_unpack_ex(json_array_get(lineage, at), NULL, JSON_STRICT, "{s:s, s:s, s?s}", "parent",
                       &parent, "reason", &reason, "ts", &time) != 0)
        return "an entry is not parent, reason and ts";
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
        known = known || strcmp(reasons[i], reason) == 0;
    if (!is_name(parent) || !known || (time != NULL && !lct_json_time(text, time)))
        return "an entry has a parent, a reason or a time that is none";
    if (strcmp(parent, token->id) == 0)
        return "it is its own parent";
    for (size_t i = 0; i < at; i++)
        if (strcmp(json_string_value(json_object_get(json_array_get(lineage, i), "parent")),
                   parent) == 0)
            return "a parent is there twice";
    if (time != NULL && *before != NULL && strcmp(*before, time) > 0)
        return "its times are not in order";
    *before = time != NULL ? time : *before;
    return NULL;
}

static void judge_lineage(struct lct_token *token, const struct parts *parts)
{
    const char *fault = NULL, *before = NULL;

    if (parts->lineage == NULL) {
        find(token, LCT_TOKEN_LINEAGE, LCT_NOT_CLAIMED, "it names no earlier key");
        return;
    }
    token->num_parents = json_array_size(parts->lineage);
    if (!json_is_array(parts->lineage) || token->num_parents == 0 ||
        token->num_parents > MAX_PARENTS)
        fault = "it is no list, or an empty or endless one";
    for (size_t i = 0; fault == NULL && i < token->num_parents; i++)
        fault = parent_fault(token, parts->lineage, i, &before);
    if (fault != NULL)
        find(token, LCT_TOKEN_LINEAGE, LCT_FAILED, "its lineage: %s", fault);
    else
        find(token, LCT_TOKEN_LINEAGE, LCT_NOT_CLAIMED,
             "%zu earlier keys are named, which have not signed this: the statements of their "
             "successions prove it",
             token->num_parents);
}

static void judge_revocation(struct lct_token *token, const struct parts *parts)
{
    char reason[64] = "", ended[64] = "";
    bool timed = parts->ended == NULL || lct_json_time(ended, parts->ended);
    bool worded = parts->reason == NULL || lct_json_text(reason, sizeof reason, parts->reason);

    if (!timed || !worded)
        find(token, LCT_TOKEN_ACTIVE, LCT_FAILED,
             "its revocation has a time or reason that is none");
    else if (strcmp(parts->status, "active") == 0 && parts->ended == NULL && parts->reason == NULL)
        find(token, LCT_TOKEN_ACTIVE, LCT_NOT_CLAIMED,
             "it says so of itself; whether it was revoked since, who keeps its registry knows");
    else if (strcmp(parts->status, "revoked") == 0 || strcmp(parts->status, "suspended") == 0)
        find(token, LCT_TOKEN_ACTIVE, LCT_FAILED, "it is %s%s%s%s%s", parts->status,
             ended[0] != '\0' ? " since " : "", ended, reason[0] != '\0' ? ": " : "", reason);
    else
        find(token, LCT_TOKEN_ACTIVE, LCT_FAILED, "its revocation contradicts itself");
}

/* The evidence that an anchor names: claims that we would have written. */
static bool take_evidence(char text[65], const char *anchor)
{
    size_t len = 0, again_len = 0;
    uint8_t *again = NULL, *bytes = take_bytes(&len, eat_prefix, anchor);
    bool same = bytes != NULL && len > 32 &&
                lct_token_anchor(&again, &again_len, bytes + len - 32, NULL) == LCT_OK &&
                again_len == len && memcmp(again, bytes, len) == 0;

    if (same)
        lct_hex_encode(text, bytes + len - 32, 32);
    free(again);
    free(bytes);
    return same;
}

static void judge_hardware(struct lct_token *token, const struct parts *parts)
{
    if (parts->anchor == NULL)
        find(token, LCT_TOKEN_HARDWARE, LCT_NOT_CLAIMED, "it names no evidence");
    else if (take_evidence(token->evidence, parts->anchor))
        find(token, LCT_TOKEN_HARDWARE, LCT_NOT_CLAIMED,
             "it names evidence, which is judged by itself: SHA-256 %s", token->evidence);
    else
        find(token, LCT_TOKEN_HARDWARE, LCT_NOT_CLAIMED,
             "its hardware_anchor is of a kind that this lct does not know");
}

static void judge_rest(struct lct_token *token, const struct parts *parts, const EVP_PKEY *key)
{
    if (key == NULL)
        find(token, LCT_TOKEN_KEY, LCT_NOT_CLAIMED,
             "whose key it is, it does not show: --key says which one it has to be");
    else if (EVP_PKEY_eq(token->key, key) == 1)
        find(token, LCT_TOKEN_KEY, LCT_PASSED, "it is the key that was asked for");
    else
        find(token, LCT_TOKEN_KEY, LCT_FAILED, "it is of another key than was asked for");
    find(token, LCT_TOKEN_DOCUMENT, LCT_NOT_CLAIMED,
         "nothing but the binding is signed: anybody can have written the rest");
    find(token, LCT_TOKEN_OTHERS, LCT_NOT_CLAIMED, "%s",
         parts->birth != NULL || parts->attestations != NULL
             ? "its birth certificate and attestations are others', and not judged"
             : "it has no birth certificate and no attestations");
}

enum lct_code lct_token_judge(struct lct_token *token, OSSL_LIB_CTX *libctx, const json_t *document,
                              const EVP_PKEY *key, time_t now, struct lct_err *err)
{
    struct parts parts = {.id = NULL};

    *token = (struct lct_token){.key = NULL};
    enum lct_code code = take_parts(&parts, document, err);
    if (code == LCT_OK)
        code = take_values(token, libctx, &parts, err);
    if (code != LCT_OK)
        return code;
    judge_id(token, libctx, &parts);
    judge_binding(token, libctx, &parts, now);
    judge_lineage(token, &parts);
    judge_revocation(token, &parts);
    judge_hardware(token, &parts);
    judge_rest(token, &parts, key);
    return LCT_OK;
}

enum lct_code lct_token_judge_jws(struct lct_token *token, OSSL_LIB_CTX *libctx, const char *jws,
                                  size_t jws_len, const EVP_PKEY *key, time_t now,
                                  struct lct_err *err)
{
    struct lct_jws parts;
    json_t *document = NULL;
    const char *type;
    enum lct_code code = lct_jws_read(&parts, jws, jws_len, err);

    *token = (struct lct_token){.key = NULL};
    if (code == LCT_OK)
        code = lct_document_read(&document, &type, parts.payload, parts.payload_len, err);
    if (code == LCT_OK)
        code = lct_token_judge(token, libctx, document, key, now, err);
    if (code == LCT_OK) {
        bool ours = strcmp(parts.typ, lct_token_typ) == 0 && strcmp(parts.kid, token->id) == 0;
        bool by = ours && lct_jws_is_by(&parts, token->key, libctx);
        token->jws = true;
        find(token, LCT_TOKEN_DOCUMENT, by ? LCT_PASSED : LCT_FAILED, "%s",
             by     ? "whoever holds the key signed all of it"
             : ours ? "its signature is not by the public key in it"
                    : "its header has another typ, or a kid that is not the lct_id");
    }
    json_decref(document);
    lct_jws_clear(&parts);
    return code;
}

void lct_token_clear(struct lct_token *token)
{
    EVP_PKEY_free(token->key);
    *token = (struct lct_token){.key = NULL};
}

enum lct_code lct_token_conclude(const struct lct_token *token, struct lct_err *err)
{
    for (size_t i = 0; i < LCT_NUM_TOKEN_CLAIMS; i++)
        if (token->findings[i].outcome == LCT_FAILED)
            return LCT_FAIL(err, LCT_ERR_REFUSED, "%s: %s",
                            lct_token_claim_name((enum lct_token_claim)i),
                            token->findings[i].reason);
    if (token->findings[LCT_TOKEN_BINDING].outcome != LCT_PASSED)
        return LCT_FAIL(err, LCT_ERR_REFUSED, "binding is not claimed: %s",
                        token->findings[LCT_TOKEN_BINDING].reason);
    return LCT_OK;
}
