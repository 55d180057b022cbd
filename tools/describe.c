/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/describe.h"

#include "proof/seal.h"
#include "store/certs.h"
#include "store/life.h"
#include "tools/json.h"
#include "tools/seal_text.h"
#include "tools/tool.h"

#include <stdio.h>

const char *lct_describe_custody(const struct lct_generation *generation, const struct lct_key *key)
{
    bool software = generation->software_tpm;

    if (generation->custody == LCT_CUSTODY_SOFTWARE)
        return "software";
    if (key != NULL && !lct_key_is_bound(key))
        return software ? "tpm (software), imported" : "tpm, imported";
    return software ? "tpm (software)" : "tpm";
}

/* As the record has it, and in words; null for none. */
static json_t *seal_json(const struct lct_generation *generation, OSSL_LIB_CTX *libctx)
{
    char words[LCT_SEAL_WORDS];
    json_t *json = lct_seal_json(&generation->seal);

    if (json_is_object(json))
        (void)json_object_set_new(
            json, "text",
            json_string(lct_seal_words(words, &generation->seal, generation->created, libctx)));
    return json;
}

enum lct_code lct_describe_certificate(struct lct_certificate *certificate, size_t *num,
                                       const struct lct_tool *tool, const char *id, unsigned number,
                                       const struct lct_key *key, struct lct_err *err)
{
    struct lct_certs certs;
    enum lct_code code = lct_certs_read(&tool->store, tool->crypto, id, number, &certs, err);

    *num = certs.num;
    if (code == LCT_OK && certs.num > 0 && key != NULL &&
        lct_certs_check_leaf(&certs, key, err) != LCT_OK)
        code = lct_err_prefix(err, key->label);
    if (code == LCT_OK && certs.num > 0)
        code = lct_certificate_describe(certificate, certs.certs[0].x509, tool->crypto, err);
    lct_certs_clear(&certs);
    return code;
}

/* One generation, and where it is in its life now. */
static json_t *generation_json(const struct lct_record *record,
                               const struct lct_generation *generation)
{
    const struct lct_life life = lct_record_life(record, generation);
    const char *until = generation->until[0] != '\0' ? generation->until : NULL;
    json_t *persistent =
        generation->persistent != 0 ? json_sprintf("0x%08x", generation->persistent) : json_null();

    return json_pack("{s:i, s:s, s:s?, s:s, s:s, s:s, s:o}", "generation", (int)generation->number,
                     "stage", lct_stage_name(lct_life_stage(&life, time(NULL))), "until", until,
                     "algorithm", generation->algorithm->name, "custody",
                     lct_custody_name(generation->custody), "created", generation->created,
                     "persistent", persistent);
}

static json_t *generations_json(const struct lct_record *record)
{
    json_t *array = json_array();

    for (size_t i = 0; i < record->num_generations; i++)
        (void)json_array_append_new(array, generation_json(record, &record->generations[i]));
    return array;
}

/* Adds what a record says of the life of its identity. */
static void add_life(json_t *json, const struct lct_record *record)
{
    const bool ended = record->ending != LCT_NOT_ENDED;
    json_t *life = json_pack("{s:s, s:s?, s:s?, s:i, s:i, s:o}", "state",
                             lct_ending_name(record->ending), "ended", ended ? record->ended : NULL,
                             "reason", record->reason[0] != '\0' ? record->reason : NULL, "counter",
                             (int)record->counter, "generation", (int)record->active, "generations",
                             generations_json(record));

    (void)json_object_update(json, life);
    json_decref(life);
}

json_t *lct_describe_json(const struct lct_record *record, const struct lct_key *key,
                          const char *dir)
{
    const struct lct_generation *generation = lct_record_generation(record, 0);
    json_t *json =
        json_pack("{s:i, s:s, s:s, s:s, s:s?, s:b, s:b, s:b, s:o, s:n, s:s, s:o}", "version", 1,
                  "id", record->id, "algorithm", generation->algorithm->name, "custody",
                  lct_custody_name(generation->custody), "tpm",
                  lct_key_is_software(key) ? NULL : generation->tpm, "software_tpm",
                  generation->software_tpm, "hardware_bound", lct_key_is_bound(key), "passphrase",
                  generation->passphrase, "seal", seal_json(generation, key->libctx), "certificate",
                  "created", record->created, "store", lct_tool_json_text(dir));

    if (json != NULL)
        add_life(json, record);
    return json;
}

/* "until" or "since" and the time at which an earlier key ends or has ended; else nothing. */
static void end_text(char text[32], const struct lct_generation *generation, enum lct_stage stage)
{
    const char *word = stage == LCT_STAGE_OVERLAP      ? " until "
                       : stage == LCT_STAGE_SUPERSEDED ? " since "
                                                       : NULL;

    text[0] = '\0';
    if (word != NULL)
        (void)snprintf(text, 32, "%s%s", word, generation->until);
}

/* Another generation than the active one. */
static void describe_other(struct lct_sheet *sheet, const struct lct_record *record,
                           const struct lct_generation *generation)
{
    const struct lct_life life = lct_record_life(record, generation);
    const enum lct_stage stage = lct_life_stage(&life, time(NULL));
    char end[32], place[32] = "";

    end_text(end, generation, stage);
    if (generation->persistent != 0)
        (void)snprintf(place, sizeof place, ", at 0x%08x", generation->persistent);
    lct_sheet_say(sheet, "  generation", "%u  %s%s, %s, %s%s", generation->number,
                  lct_stage_name(stage), end, generation->algorithm->name,
                  lct_custody_name(generation->custody), place);
}

void lct_describe_life(struct lct_sheet *sheet, const struct lct_record *record)
{
    if (record->ending != LCT_NOT_ENDED)
        lct_sheet_say(sheet, "state", "%s at %s%s%s, generation %u",
                      lct_ending_name(record->ending), record->ended,
                      record->reason[0] != '\0' ? " for " : "", record->reason, record->active);
    else
        lct_sheet_say(sheet, "state", "active, generation %u", record->active);
    for (size_t i = 0; i < record->num_generations; i++)
        if (record->generations[i].number != record->active)
            describe_other(sheet, record, &record->generations[i]);
}
