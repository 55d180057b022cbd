/* SPDX-License-Identifier: Apache-2.0 */
#include "store/record.h"

#include "base/encode.h"
#include "proof/json.h"
#include "proof/seal.h"
#include "tpm/persist.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { VERSION = 1 };

static const char *const ending_names[] = {
    [LCT_NOT_ENDED] = "active", [LCT_RETIRED] = "retired", [LCT_REVOKED] = "revoked"};

const char *lct_ending_name(enum lct_ending ending)
{
    return ending_names[ending];
}

const char *lct_custody_name(enum lct_custody custody)
{
    return custody == LCT_CUSTODY_SOFTWARE ? "software" : "tpm";
}

const char *lct_pss_salt_name(enum lct_pss_salt salt)
{
    switch (salt) {
    case LCT_SALT_DIGEST:
        return "digest";
    case LCT_SALT_MAX:
        return "max";
    case LCT_SALT_NONE:
        break;
    }
    return NULL;
}

static bool read_salt(enum lct_pss_salt *salt, const json_t *value)
{
    const char *name = json_string_value(value);

    *salt = LCT_SALT_NONE;
    if (json_is_null(value))
        return true;
    if (name != NULL && strcmp(name, "digest") == 0)
        *salt = LCT_SALT_DIGEST;
    else if (name != NULL && strcmp(name, "max") == 0)
        *salt = LCT_SALT_MAX;
    return *salt != LCT_SALT_NONE;
}

static bool read_hashes(struct lct_generation *generation, const json_t *array)
{
    size_t i;
    json_t *entry;

    if (!json_is_array(array) || json_array_size(array) > LCT_MAX_HASHES)
        return false;
    json_array_foreach (array, i, entry) {
        const char *name = json_string_value(entry);
        const struct lct_hash *hash = name != NULL ? lct_hash_by_name(name) : NULL;
        if (hash == NULL)
            return false;
        generation->hashes[generation->num_hashes++] = hash;
    }
    return true;
}

/* A key at a persistent handle: both members or neither. What sessions for it are salted to may
 * have no Name: a key of the null hierarchy has another one after each reset. */
static bool read_place(struct lct_generation *generation, const char *handle, const char *public,
                       const char *parent_name)
{
    bool nameless = parent_name[0] == '\0';

    if ((handle == NULL) != (public == NULL))
        return false;
    if (handle != NULL && (!lct_json_handle(&generation->handle, handle) ||
                           generation->handle >> TPM2_HR_SHIFT != TPM2_HT_PERSISTENT ||
                           !lct_hex_decode(generation->public_area, &generation->public_len,
                                           sizeof generation->public_area, public)))
        return false;
    if (nameless)
        return handle != NULL && generation->parent == TPM2_RH_NULL;
    return lct_json_name(&generation->parent_name, parent_name);
}

/* null: it is not sealed. */
static bool read_seal(struct lct_seal *seal, const json_t *json)
{
    return json_is_null(json) || lct_seal_from_json(seal, json);
}

/* What is not there, since it does not apply, is "" or 0. */
static bool read_time(char text[21], const char *value)
{
    text[0] = '\0';
    return value == NULL || lct_json_time(text, value);
}

/* Only where lct persist puts keys: what is elsewhere, a storage root key say, is not ours to
 * evict, whatever a record says. */
static bool read_persistent(struct lct_generation *generation, const char *value)
{
    return value == NULL ||
           (generation->handle == 0 && lct_json_handle(&generation->persistent, value) &&
            generation->persistent >= lct_persist_first &&
            generation->persistent <= lct_persist_last);
}

static bool read_tpm_generation(struct lct_generation *generation, json_t *object)
{
    const char *custody, *algorithm, *created, *name, *parent, *parent_name, *tpm;
    const char *handle = NULL, *public = NULL, *persistent = NULL, *until = NULL;
    json_t *seal, *hashes, *salt;
    json_int_t number;
    int software_tpm, passphrase = 0;

    if (json_unpack_ex(object, NULL, JSON_STRICT,
                       "{s:I, s:s, s:s, s:s, s?:s, s:s, s?:s, s?:s, s?:s, s:{s:s, s:s}, s:o, s:o, "
                       "s:o, s?:b, s:s, s:b}",
                       "generation", &number, "custody", &custody, "algorithm", &algorithm,
                       "created", &created, "until", &until, "name", &name, "handle", &handle,
                       "public", &public, "persistent", &persistent, "parent", "handle", &parent,
                       "name", &parent_name, "seal", &seal, "hashes", &hashes, "pss_salt", &salt,
                       "passphrase", &passphrase, "tpm", &tpm, "software_tpm", &software_tpm) != 0)
        return false;
    generation->algorithm = lct_algorithm_by_name(algorithm);
    generation->software_tpm = software_tpm != 0;
    generation->passphrase = passphrase != 0;
    return generation->algorithm != NULL && generation->algorithm->tpm &&
           read_seal(&generation->seal, seal) && lct_json_time(generation->created, created) &&
           read_time(generation->until, until) && lct_json_name(&generation->name, name) &&
           lct_json_handle(&generation->parent, parent) && lct_tpm_is_parent(generation->parent) &&
           read_place(generation, handle, public, parent_name) &&
           read_persistent(generation, persistent) && read_hashes(generation, hashes) &&
           read_salt(&generation->pss_salt, salt) &&
           lct_json_text(generation->tpm, sizeof generation->tpm, tpm);
}

static bool read_software_generation(struct lct_generation *generation, json_t *object)
{
    const char *custody, *algorithm, *created, *public, *until = NULL;
    json_int_t number;

    if (json_unpack_ex(object, NULL, JSON_STRICT, "{s:I, s:s, s:s, s:s, s?:s, s:s}", "generation",
                       &number, "custody", &custody, "algorithm", &algorithm, "created", &created,
                       "until", &until, "public", &public) != 0)
        return false;
    generation->algorithm = lct_algorithm_by_name(algorithm);
    generation->passphrase = true;
    return generation->algorithm != NULL && generation->algorithm->software &&
           lct_json_time(generation->created, created) && read_time(generation->until, until) &&
           lct_hex_decode(generation->public_area, &generation->public_len,
                          sizeof generation->public_area, public) &&
           generation->public_len > 0;
}

static bool read_generation(struct lct_generation *generation, json_t *object)
{
    const char *custody = json_string_value(json_object_get(object, "custody"));
    json_int_t number = json_integer_value(json_object_get(object, "generation"));

    if (custody == NULL || number <= 0 || number > LCT_MAX_NUMBER)
        return false;
    generation->number = (unsigned)number;
    if (strcmp(custody, lct_custody_name(LCT_CUSTODY_TPM)) == 0)
        return read_tpm_generation(generation, object);
    generation->custody = LCT_CUSTODY_SOFTWARE;
    return strcmp(custody, lct_custody_name(LCT_CUSTODY_SOFTWARE)) == 0 &&
           read_software_generation(generation, object);
}

/* A generation says until when it signs if another one has followed it, and only then; at most one
 * is to follow. */
static bool is_in_order(const struct lct_record *record)
{
    size_t num_pending = 0;

    for (size_t i = 0; i < record->num_generations; i++) {
        const struct lct_generation *generation = &record->generations[i];
        if ((generation->number < record->active) != (generation->until[0] != '\0') ||
            (i > 0 && generation->number <= generation[-1].number))
            return false;
        num_pending += generation->number > record->active ? 1 : 0;
    }
    return num_pending <= 1;
}

static enum lct_code read_generations(struct lct_record *record, const json_t *generations,
                                      struct lct_err *err)
{
    json_t *entry;
    size_t i;

    json_array_foreach (generations, i, entry)
        if (!read_generation(&record->generations[record->num_generations++], entry))
            return LCT_FAIL(
                err, LCT_ERR_BAD_RECORD,
                "entry %zu of the record's generations is wrong; restore it from a backup", i + 1);
    if (lct_record_generation(record, 0) == NULL)
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD,
                        "the record has no generation %u, its active one; restore it from a backup",
                        record->active);
    if (!is_in_order(record))
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD,
                        "the record's generations do not follow each other; restore it from a "
                        "backup");
    return LCT_OK;
}

struct lct_record *lct_record_new(size_t num_generations)
{
    return calloc(1, sizeof(struct lct_record) + num_generations * sizeof(struct lct_generation));
}

/* How and when it ended; null: it has not. */
static bool read_ending(struct lct_record *record, const char *state, json_t *ended)
{
    const char *reason = NULL, *time = NULL;
    json_t *why = NULL;

    for (int ending = LCT_NOT_ENDED; ending <= LCT_REVOKED; ending++)
        if (strcmp(state, ending_names[ending]) == 0) {
            record->ending = (enum lct_ending)ending;
            if (ending == LCT_NOT_ENDED)
                return json_is_null(ended);
            if (json_unpack_ex(ended, NULL, JSON_STRICT, "{s:o, s:s}", "reason", &why, "time",
                               &time) != 0 ||
                !lct_json_maybe(&reason, why) || (reason != NULL) != (ending == LCT_REVOKED))
                return false;
            return (reason == NULL ||
                    (lct_is_end_reason(reason) &&
                     lct_json_text(record->reason, sizeof record->reason, reason))) &&
                   lct_json_time(record->ended, time);
        }
    return false;
}

static bool read_head(struct lct_record *head, json_t **generations, json_t *object)
{
    const char *id, *state, *created;
    json_int_t version, active, counter;
    json_t *ended;

    if (json_unpack_ex(object, NULL, JSON_STRICT, "{s:I, s:s, s:s, s:o, s:I, s:s, s:I, s:o}",
                       "version", &version, "id", &id, "state", &state, "ended", &ended, "counter",
                       &counter, "created", &created, "active", &active, "generations",
                       generations) != 0 ||
        version != VERSION || active <= 0 || active > LCT_MAX_NUMBER || counter < 0 ||
        counter > LCT_MAX_NUMBER)
        return false;
    head->active = (unsigned)active;
    head->counter = (unsigned)counter;
    return lct_id_check(id, NULL) == LCT_OK && lct_json_text(head->id, sizeof head->id, id) &&
           lct_json_time(head->created, created) && read_ending(head, state, ended) &&
           json_is_array(*generations) && json_array_size(*generations) <= LCT_MAX_GENERATIONS;
}

static enum lct_code read_object(struct lct_record **record, json_t *object, struct lct_err *err)
{
    struct lct_record head = {0};
    json_t *generations;
    json_int_t version = 0;

    if (json_unpack(object, "{s:I}", "version", &version) == 0 && version > VERSION)
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD,
                        "the record has version %lld and this lct knows %d; use a newer lct",
                        (long long)version, VERSION);
    if (!read_head(&head, &generations, object))
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD,
                        "the record is not one that this lct knows; restore it from a backup");
    *record = lct_record_new(json_array_size(generations) + 1);
    if (*record == NULL)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    **record = head;
    return read_generations(*record, generations, err);
}

static enum lct_code read_text(struct lct_record **record, const uint8_t *text, size_t text_len,
                               struct lct_err *err)
{
    json_error_t where;
    json_t *object = lct_json_load(text, text_len, &where);

    if (object == NULL)
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD,
                        "the record is not JSON (line %d: %.80s); restore it from a backup",
                        where.line, where.text);
    enum lct_code code = read_object(record, object, err);
    json_decref(object);
    return code;
}

/* json_unpack(3) does not say whether what failed is the text or the memory; malloc(3) does. */
enum lct_code lct_record_read(struct lct_record **record, const uint8_t *text, size_t text_len,
                              struct lct_err *err)
{
    *record = NULL;
    errno = 0;
    enum lct_code code = read_text(record, text, text_len, err);
    if (code == LCT_ERR_BAD_RECORD && errno == ENOMEM)
        code = LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    if (code != LCT_OK) {
        free(*record);
        *record = NULL;
    }
    return code;
}

static json_t *hashes_json(const struct lct_generation *generation)
{
    json_t *hashes = json_array();

    for (size_t i = 0; i < generation->num_hashes; i++)
        if (json_array_append_new(hashes, json_string(generation->hashes[i]->name)) != 0) {
            json_decref(hashes);
            return NULL;
        }
    return hashes;
}

/* Adds where a key that is in the TPM is. False if out of memory. */
static bool add_place(json_t *object, const struct lct_generation *generation)
{
    if (generation->handle == 0)
        return true;
    return json_object_set_new(object, "handle", json_sprintf("0x%08x", generation->handle)) == 0 &&
           json_object_set_new(
               object, "public",
               lct_json_of_bytes(generation->public_area, generation->public_len)) == 0;
}

/* NULL if out of memory: json_pack fails if one of its parts is NULL. */
static json_t *tpm_generation_json(const struct lct_generation *generation)
{
    return json_pack("{s:s, s:o, s:{s:o, s:o}, s:o, s:o, s:s?, s:b, s:s, s:b}", "algorithm",
                     generation->algorithm->name, "name",
                     lct_json_of_bytes(generation->name.data, generation->name.len), "parent",
                     "handle", json_sprintf("0x%08x", generation->parent), "name",
                     lct_json_of_bytes(generation->parent_name.data, generation->parent_name.len),
                     "seal", lct_seal_json(&generation->seal), "hashes", hashes_json(generation),
                     "pss_salt", lct_pss_salt_name(generation->pss_salt), "passphrase",
                     generation->passphrase, "tpm", generation->tpm, "software_tpm",
                     generation->software_tpm);
}

static json_t *software_generation_json(const struct lct_generation *generation)
{
    return json_pack("{s:s, s:o}", "algorithm", generation->algorithm->name, "public",
                     lct_json_of_bytes(generation->public_area, generation->public_len));
}

/* Adds what only some have. False if out of memory. */
static bool add_rest(json_t *object, const struct lct_generation *generation)
{
    bool good = generation->custody == LCT_CUSTODY_SOFTWARE || add_place(object, generation);

    if (good && generation->persistent != 0)
        good = json_object_set_new(object, "persistent",
                                   json_sprintf("0x%08x", generation->persistent)) == 0;
    if (good && generation->until[0] != '\0')
        good = json_object_set_new(object, "until", json_string(generation->until)) == 0;
    return good;
}

static json_t *generation_json(const struct lct_generation *generation)
{
    json_t *object =
        json_pack("{s:i, s:s, s:s}", "generation", (int)generation->number, "custody",
                  lct_custody_name(generation->custody), "created", generation->created);
    json_t *more = generation->custody == LCT_CUSTODY_SOFTWARE
                       ? software_generation_json(generation)
                       : tpm_generation_json(generation);
    bool good = object != NULL && more != NULL && json_object_update(object, more) == 0 &&
                add_rest(object, generation);

    json_decref(more);
    if (good)
        return object;
    json_decref(object);
    return NULL;
}

static json_t *ended_json(const struct lct_record *record)
{
    if (record->ending == LCT_NOT_ENDED)
        return json_null();
    return json_pack("{s:s?, s:s}", "reason", record->reason[0] != '\0' ? record->reason : NULL,
                     "time", record->ended);
}

char *lct_record_write(const struct lct_record *record)
{
    json_t *generations = json_array();
    char *text = NULL;

    for (size_t i = 0; i < record->num_generations; i++)
        if (json_array_append_new(generations, generation_json(&record->generations[i])) != 0) {
            json_decref(generations);
            return NULL;
        }
    json_t *object = json_pack(
        "{s:i, s:s, s:s, s:o, s:i, s:s, s:i, s:o}", "version", VERSION, "id", record->id, "state",
        ending_names[record->ending], "ended", ended_json(record), "counter", (int)record->counter,
        "created", record->created, "active", (int)record->active, "generations", generations);
    if (object != NULL)
        text = lct_json_dump(object, JSON_INDENT(2));
    json_decref(object);
    return text;
}

const struct lct_generation *lct_record_generation(const struct lct_record *record, unsigned number)
{
    for (size_t i = 0; i < record->num_generations; i++)
        if (record->generations[i].number == (number != 0 ? number : record->active))
            return &record->generations[i];
    return NULL;
}

bool lct_generation_is_of_key(const struct lct_generation *a, const struct lct_generation *b)
{
    if (a->custody != b->custody)
        return false;
    if (a->custody == LCT_CUSTODY_TPM)
        return lct_name_equal(&a->name, &b->name);
    return a->public_len == b->public_len &&
           memcmp(a->public_area, b->public_area, a->public_len) == 0;
}

bool lct_record_has_counter(const struct lct_record *record)
{
    for (size_t i = 0; i < record->num_generations; i++)
        if (record->generations[i].seal.counter.handle != 0)
            return true;
    return false;
}

const struct lct_generation *lct_record_pending(const struct lct_record *record)
{
    const struct lct_generation *last = &record->generations[record->num_generations - 1];

    return last->number > record->active ? last : NULL;
}

struct lct_life lct_record_life(const struct lct_record *record,
                                const struct lct_generation *generation)
{
    struct lct_life life = {.number = generation->number,
                            .active = record->active,
                            .counter = record->counter,
                            .ending = record->ending};

    memcpy(life.reason, record->reason, sizeof life.reason);
    memcpy(life.ended, record->ended, sizeof life.ended);
    memcpy(life.until, generation->until, sizeof life.until);
    return life;
}
