/* SPDX-License-Identifier: Apache-2.0 */
#include "export/token.h"

#include "base/encode.h"
#include "export/cbor.h"
#include "export/cose.h"
#include "export/multikey.h"
#include "proof/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char lct_token_typ[] = "web4-lct+jws";
const char lct_token_content_type[] = "application/web4+cbor";

/* RFC 9711, 4.2.18 and 4.2.18.2; RFC 9781, 2; RFC 9053, 2: SHA-256 of RFC 9054. */
enum { UCCS = 601, SUBMODS = 266, SHA256 = -16 };

enum { MAX_BINDING = 5 };

/* The schema's. */
static const char *const entities[] = {"human",   "ai",     "society",        "organization",
                                       "role",    "task",   "resource",       "device",
                                       "service", "oracle", "accumulator",    "dictionary",
                                       "hybrid",  "policy", "infrastructure", "agent"};

bool lct_token_is_entity(const char *entity_type)
{
    for (size_t i = 0; i < sizeof entities / sizeof entities[0]; i++)
        if (strcmp(entities[i], entity_type) == 0)
            return true;
    return false;
}

enum lct_code lct_token_payload(uint8_t **bytes, size_t *len, const json_t *binding,
                                struct lct_err *err)
{
    static const char *const names[] = {"entity_type", "public_key", "created_at",
                                        "hardware_anchor"};
    struct lct_cbor_member members[MAX_BINDING];
    size_t num = 0;

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *text = json_string_value(json_object_get(binding, names[i]));
        if (text != NULL)
            members[num++] = (struct lct_cbor_member){names[i], lct_cbor_text(text)};
    }
    return lct_cbor_encode(bytes, len, lct_cbor_map(members, num), err);
}

enum lct_code lct_token_anchor(uint8_t **bytes, size_t *len, const uint8_t evidence[32],
                               struct lct_err *err)
{
    cbor_item_t *digest[] = {lct_cbor_negative(SHA256), lct_cbor_bytes(evidence, 32)};
    struct lct_cbor_member member = {"lct-attestation-evidence", lct_cbor_array(digest, 2)};
    const struct cbor_pair pair = {lct_cbor_number(SUBMODS), lct_cbor_map(&member, 1)};

    return lct_cbor_encode(bytes, len, lct_cbor_tagged(UCCS, lct_cbor_pairs(&pair, 1)), err);
}

/* A prefix, and bytes in base64url. */
static json_t *prefixed(const char *prefix, const uint8_t *bytes, size_t len)
{
    char *text = malloc(lct_base64url_size(len) + 1);
    json_t *json = NULL;

    if (text != NULL) {
        lct_base64url_encode(text, bytes, len);
        json = json_sprintf("%s%s", prefix, text);
    }
    free(text);
    return json;
}

static enum lct_code set(json_t *object, const char *name, json_t *value, struct lct_err *err)
{
    return json_object_set_new(object, name, value) == 0
               ? LCT_OK
               : LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
}

static enum lct_code add_anchor(json_t *binding, const uint8_t evidence[32], struct lct_err *err)
{
    uint8_t *bytes = NULL;
    size_t len = 0;
    enum lct_code code = lct_token_anchor(&bytes, &len, evidence, err);

    if (code == LCT_OK)
        code = set(binding, "hardware_anchor", prefixed("eat:", bytes, len), err);
    free(bytes);
    return code;
}

static enum lct_code add_proof(json_t *binding, const char *name, const struct lct_signer *signer,
                               struct lct_err *err)
{
    uint8_t *payload = NULL, *proof = NULL;
    size_t payload_len = 0, proof_len = 0;
    enum lct_code code = lct_token_payload(&payload, &payload_len, binding, err);

    if (code == LCT_OK)
        code = lct_cose_sign1(&proof, &proof_len, signer, lct_token_content_type, name, payload,
                              payload_len, err);
    if (code == LCT_OK)
        code = set(binding, "binding_proof", prefixed("cose:", proof, proof_len), err);
    free(payload);
    free(proof);
    return code;
}

static enum lct_code make_binding(json_t **binding, const char *name, const char *multikey,
                                  const struct lct_token_request *request, struct lct_err *err)
{
    enum lct_code code = LCT_OK;

    *binding = json_pack("{s:s, s:s, s:s}", "entity_type", request->entity_type, "public_key",
                         multikey, "created_at", request->created);
    if (*binding == NULL)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    if (request->evidence != NULL)
        code = add_anchor(*binding, request->evidence, err);
    if (code == LCT_OK && request->signer != NULL)
        code = add_proof(*binding, name, request->signer, err);
    return code;
}

/* What only society can say of it is said by nobody here: the least that the schema takes. A zero
 * is a whole number, as RFC 8785 writes it. */
static json_t *without_society(const char *name, const char *multikey, json_t *binding)
{
    char now[21];

    lct_json_now(now);
    return json_pack("{s:[s], s:s, s:s, s:o, s:O, s:{s:[], s:[], s:[], s:i, s:s}, s:{s:[], s:{}},"
                     " s:{s:f, s:f, s:f, s:f}, s:{s:i, s:i, s:i, s:i}}",
                     "@context", "https://web4.io/contexts/lct.jsonld", "@type",
                     "web4:LinkedContextToken", "lct_id", name, "subject",
                     json_sprintf("did:web4:key:%s", multikey), "binding", binding, "mrh", "bound",
                     "paired", "witnessing", "horizon_depth", 3, "last_updated", now, "policy",
                     "capabilities", "constraints", "t3_tensor", "talent", 0.1, "training", 0.1,
                     "temperament", 0.1, "composite_score", 0.1, "v3_tensor", "valuation", 0,
                     "veracity", 0, "validity", 0, "composite_score", 0);
}

/* Empty is left out. */
static enum lct_code add_lineage(json_t *token, const struct lct_token_request *request,
                                 struct lct_err *err)
{
    json_t *lineage = json_array();

    for (size_t i = 0; i < request->num_parents; i++)
        if (json_array_append_new(lineage, json_pack("{s:s, s:s, s:s}", "parent",
                                                     request->parents[i].name, "reason", "rotation",
                                                     "ts", request->parents[i].time)) != 0) {
            json_decref(lineage);
            return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
        }
    if (request->num_parents > 0)
        return set(token, "lineage", lineage, err);
    json_decref(lineage);
    return LCT_OK;
}

enum lct_code lct_token_make(json_t **token, OSSL_LIB_CTX *libctx,
                             const struct lct_token_request *request, struct lct_err *err)
{
    char name[LCT_WEB4_NAME], multikey[LCT_MULTIKEY];
    json_t *binding = NULL;
    enum lct_code code = lct_web4_name(name, libctx, request->key, err);

    *token = NULL;
    if (code == LCT_OK)
        code = lct_multikey_encode(multikey, request->key, err);
    if (code == LCT_OK)
        code = make_binding(&binding, name, multikey, request, err);
    if (code == LCT_OK && (*token = without_society(name, multikey, binding)) == NULL)
        code = LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    if (code == LCT_OK)
        code = add_lineage(*token, request, err);
    if (code == LCT_OK)
        code = set(*token, "revocation",
                   json_pack("{s:s, s:s?, s:s?}", "status",
                             request->ended != NULL ? "revoked" : "active", "ts", request->ended,
                             "reason", request->reason),
                   err);
    json_decref(binding);
    if (code != LCT_OK) {
        json_decref(*token);
        *token = NULL;
    }
    return code;
}

/* Its members are ASCII, so that their order is that of RFC 8785 too, and 15 digits write 0.1 as
 * that does. */
char *lct_token_text(const json_t *token)
{
    return lct_json_dump(token, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(15));
}
