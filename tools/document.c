/* SPDX-License-Identifier: Apache-2.0 */
#include "export/token.h"
#include "proof/document.h"
#include "proof/evidence.h"
#include "proof/json.h"
#include "proof/jws.h"
#include "store/life.h"
#include "store/names.h"
#include "tools/json.h"
#include "tools/signing.h"
#include "tools/tool.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* What is asked for, and what it is made of. */
struct made {
    struct lct_tool *tool;
    const char *id, *entity_type, *evidence_file;
    bool jose;
    struct lct_signing signing; /* its key */
    struct lct_named named;
    struct lct_record *record;
    struct lct_life life;
    bool signs;
    uint8_t evidence[32];
    struct lct_token_parent parents[LCT_MAX_GENERATIONS];
    size_t num_parents;
};

static enum lct_code check(const struct made *made, struct lct_err *err)
{
    if (lct_token_is_entity(made->entity_type))
        return LCT_OK;
    return LCT_FAIL(err, LCT_ERR_USAGE,
                    "Web4 knows of no entity \"%s\"; human, ai, society, organization, role, task, "
                    "resource, device, service, oracle, accumulator, dictionary, hybrid, policy, "
                    "infrastructure or agent",
                    made->entity_type);
}

/* The record and the key that is meant, which belong together. */
static enum lct_code take_identity(struct made *made, struct lct_key **key, struct lct_err *err)
{
    struct lct_tool *tool = made->tool;
    struct lct_generation generation;
    enum lct_code code = lct_store_find(&made->named, &tool->store, tool->crypto, made->id, err);

    if (code != LCT_OK)
        return code;
    code = lct_store_about(
        made->named.id, made->named.dir,
        lct_store_read_record(made->named.fd, made->named.id, &made->record, err), err);
    if (code == LCT_OK)
        code = lct_store_get_key(&tool->store, tool->crypto, made->id, 0, key, err);
    if (code == LCT_OK)
        made->life = lct_record_life(made->record, lct_key_generation(&generation, *key));
    return code;
}

/* What has not followed yet has no place in a lineage. */
static enum lct_code check_life(struct made *made, const struct lct_key *key, struct lct_err *err)
{
    enum lct_stage stage = lct_life_stage(&made->life, time(NULL));

    made->signs = stage == LCT_STAGE_ACTIVE || stage == LCT_STAGE_OVERLAP;
    if (stage == LCT_STAGE_PENDING)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                        "%s: generation %u is pending, and has no document before lct rotate %s "
                        "--commit",
                        key->label, made->life.number, made->named.id);
    return made->jose ? lct_life_check(&made->life, key->label, time(NULL), err) : LCT_OK;
}

/* The evidence has to be there, and of this key; nobody judges it here. */
static enum lct_code take_evidence(struct made *made, const struct lct_key *key,
                                   struct lct_err *err)
{
    const char *file = made->evidence_file;
    struct lct_evidence *evidence = NULL;
    json_t *document = NULL;
    EVP_PKEY *pkey = NULL;
    enum lct_code code = lct_tool_document(&document, file, LCT_MAX_EVIDENCE, err);

    if (code != LCT_OK)
        return code;
    code = lct_evidence_read(&evidence, key->libctx, document, err);
    if (code == LCT_OK &&
        (pkey = lct_public_pkey(&evidence->challenge.offer->key.area, key->libctx, err)) == NULL)
        code = LCT_ERR_BAD_EVIDENCE;
    if (code == LCT_OK && EVP_PKEY_eq(pkey, key->pkey) != 1)
        code =
            LCT_FAIL(err, LCT_ERR_WRONG_KEY, "it is evidence of another key than %s", key->label);
    if (code == LCT_OK)
        code = lct_document_digest(made->evidence, key->libctx, document, err);
    EVP_PKEY_free(pkey);
    lct_evidence_free(evidence);
    json_decref(document);
    return code == LCT_OK ? LCT_OK : lct_err_prefix(err, lct_tool_file(file));
}

/* The name of an earlier key. A key that has none is no parent that Web4 could name. */
static enum lct_code take_parent(struct made *made, const struct lct_generation *generation,
                                 const char *followed, struct lct_err *err)
{
    struct lct_token_parent *parent = &made->parents[made->num_parents];
    struct lct_key *key = NULL;
    enum lct_code code =
        lct_store_about(made->named.id, made->named.dir,
                        lct_store_read_key(made->named.fd, made->tool->crypto, made->named.id,
                                           generation->number, &key, err),
                        err);

    if (code != LCT_OK)
        return code;
    if (lct_web4_name(parent->name, key->libctx, key->pkey, NULL) == LCT_OK) {
        (void)snprintf(parent->time, sizeof parent->time, "%s", followed);
        made->num_parents++;
    }
    lct_key_free(key);
    return LCT_OK;
}

static enum lct_code take_parents(struct made *made, struct lct_err *err)
{
    const struct lct_record *record = made->record;
    enum lct_code code = LCT_OK;

    for (size_t i = 0; code == LCT_OK && i + 1 < record->num_generations &&
                       record->generations[i].number < made->life.number;
         i++)
        code = take_parent(made, &record->generations[i], record->generations[i + 1].created, err);
    return code;
}

/* When and why it ended, in Web4's words where it has some. */
static void take_end(struct lct_token_request *request, const struct lct_life *life)
{
    switch (lct_life_stage(life, time(NULL))) {
    case LCT_STAGE_SUPERSEDED:
        request->ended = life->until;
        request->reason = "superseded";
        break;
    case LCT_STAGE_RETIRED:
        request->ended = life->ended;
        request->reason = "retired";
        break;
    case LCT_STAGE_REVOKED:
        request->ended = life->ended;
        request->reason = life->reason;
        break;
    default:
        break;
    }
}

static enum lct_code write_jws(const json_t *token, const struct lct_signer *signer,
                               struct lct_err *err)
{
    char *text = lct_token_text(token), *jws = NULL;
    const char *name = json_string_value(json_object_get(token, "lct_id"));
    enum lct_code code = text != NULL ? lct_jws_compact(&jws, signer, name, lct_token_typ,
                                                        (const uint8_t *)text, strlen(text), err)
                                      : LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");

    if (code == LCT_OK)
        code = lct_tool_print(err, "%s\n", jws);
    free(jws);
    free(text);
    return code;
}

static enum lct_code write_token(const json_t *token, struct lct_err *err)
{
    char *text = lct_json_dump(token, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
    enum lct_code code = text != NULL ? lct_tool_print(err, "%s\n", text)
                                      : LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");

    free(text);
    return code;
}

static enum lct_code make(struct made *made, struct lct_err *err)
{
    const struct lct_key *key = made->signing.key;
    struct lct_generation generation;
    struct lct_signer signer = lct_signing_signer(&made->signing);
    struct lct_token_request request = {
        .entity_type = made->entity_type,
        .key = key->pkey,
        .created = lct_key_generation(&generation, key)->created,
        .evidence = made->evidence_file != NULL ? made->evidence : NULL,
        .parents = made->parents,
        .num_parents = made->num_parents,
        .signer = made->signs ? &signer : NULL,
    };
    json_t *token = NULL;

    take_end(&request, &made->life);
    enum lct_code code = lct_token_make(&token, key->libctx, &request, err);
    if (code == LCT_OK)
        code = made->jose ? write_jws(token, &signer, err) : write_token(token, err);
    json_decref(token);
    if (code == LCT_ERR_UNSUPPORTED)
        return lct_err_prefix(err, key->label);
    if (code == LCT_OK && !made->signs)
        lct_tool_warn(key->label, "it signs no more, so the document has no binding proof");
    return code;
}

/* The key is taken over. One that Web4 has no name for is refused before it is used. */
static enum lct_code open_key(struct made *made, struct lct_key *key, struct lct_err *err)
{
    char name[LCT_WEB4_NAME];

    made->signing = (struct lct_signing){.tool = made->tool, .key = key};
    enum lct_code code = lct_web4_name(name, key->libctx, key->pkey, err);
    if (code != LCT_OK)
        return lct_err_prefix(err, key->label);
    code = check_life(made, key, err);
    if (code == LCT_OK && made->evidence_file != NULL)
        code = take_evidence(made, key, err);
    if (code == LCT_OK)
        code = take_parents(made, err);
    return code == LCT_OK && made->signs ? lct_signing_take(&made->signing, made->tool, key, err)
                                         : code;
}

enum lct_code lct_document_run(struct lct_tool *tool, int argc, char **argv, struct lct_err *err)
{
    struct made made = {.tool = tool, .named = {.fd = -1}};
    const struct lct_option options[] = {{"entity-type", &made.entity_type, NULL},
                                         {"evidence", &made.evidence_file, NULL},
                                         {"jose", NULL, &made.jose}};
    struct lct_key *key = NULL;
    enum lct_code code = lct_tool_begin(tool, argc, argv, options,
                                        sizeof options / sizeof options[0], &made.id, err);

    if (made.entity_type == NULL)
        made.entity_type = "device";
    if (code == LCT_OK)
        code = check(&made, err);
    if (code == LCT_OK)
        code = take_identity(&made, &key, err);
    if (code == LCT_OK)
        code = open_key(&made, key, err);
    if (code == LCT_OK)
        code = make(&made, err);
    lct_signing_close(&made.signing);
    free(made.record);
    if (made.named.fd >= 0)
        close(made.named.fd);
    return code;
}
