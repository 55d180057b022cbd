/* SPDX-License-Identifier: Apache-2.0 */
#include "store/record.h"

#include "base/encode.h"
#include "proof/json.h"
#include "proof/seal.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { VERSION = 1 };

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

static bool read_generation(struct lct_generation *generation, json_t *object)
{
    const char *algorithm, *created, *name, *parent, *parent_name, *tpm;
    const char *handle = NULL, *public = NULL;
    json_t *seal, *hashes, *salt;
    json_int_t number;
    int software_tpm, passphrase = 0;

    if (json_unpack_ex(object, NULL, JSON_STRICT,
                       "{s:I, s:s, s:s, s:s, s?:s, s?:s, s:{s:s, s:s}, s:o, s:o, s:o, s?:b, s:s, "
                       "s:b}",
                       "generation", &number, "algorithm", &algorithm, "created", &created, "name",
                       &name, "handle", &handle, "public", &public, "parent", "handle", &parent,
                       "name", &parent_name, "seal", &seal, "hashes", &hashes, "pss_salt", &salt,
                       "passphrase", &passphrase, "tpm", &tpm, "software_tpm", &software_tpm) != 0)
        return false;
    generation->number = (unsigned)number;
    generation->algorithm = lct_algorithm_by_name(algorithm);
    generation->software_tpm = software_tpm != 0;
    generation->passphrase = passphrase != 0;
    return number > 0 && number <= LCT_MAX_NUMBER && generation->algorithm != NULL &&
           read_seal(&generation->seal, seal) && lct_json_time(generation->created, created) &&
           lct_json_name(&generation->name, name) && lct_json_handle(&generation->parent, parent) &&
           lct_tpm_is_parent(generation->parent) &&
           read_place(generation, handle, public, parent_name) && read_hashes(generation, hashes) &&
           read_salt(&generation->pss_salt, salt) &&
           lct_json_text(generation->tpm, sizeof generation->tpm, tpm);
}

static enum lct_code read_generations(struct lct_record *record, const json_t *generations,
                                      struct lct_err *err)
{
    json_t *entry;
    size_t i;

    json_array_foreach (generations, i, entry)
        if (!read_generation(&record->generations[record->num_generations++], entry) ||
            (i > 0 && record->generations[i].number <= record->generations[i - 1].number))
            return LCT_FAIL(
                err, LCT_ERR_BAD_RECORD,
                "entry %zu of the record's generations is wrong; restore it from a backup", i + 1);
    if (lct_record_generation(record, 0) == NULL)
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD,
                        "the record has no generation %u, its active one; restore it from a backup",
                        record->active);
    return LCT_OK;
}

struct lct_record *lct_record_new(size_t num_generations)
{
    return calloc(1, sizeof(struct lct_record) + num_generations * sizeof(struct lct_generation));
}

static enum lct_code read_object(struct lct_record **record, json_t *object, struct lct_err *err)
{
    const char *id, *custody, *state, *created;
    struct lct_record head = {0};
    json_t *generations;
    json_int_t version = 0, active = 0;

    if (json_unpack(object, "{s:I}", "version", &version) == 0 && version > VERSION)
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD,
                        "the record has version %lld and this lct knows %d; use a newer lct",
                        (long long)version, VERSION);
    if (json_unpack_ex(object, NULL, JSON_STRICT, "{s:I, s:s, s:s, s:s, s:s, s:I, s:o}", "version",
                       &version, "id", &id, "custody", &custody, "state", &state, "created",
                       &created, "active", &active, "generations", &generations) != 0 ||
        version != VERSION || active <= 0 || active > LCT_MAX_NUMBER ||
        strcmp(custody, "tpm") != 0 || strcmp(state, "active") != 0 ||
        lct_id_check(id, NULL) != LCT_OK || !lct_json_time(head.created, created) ||
        !json_is_array(generations) || json_array_size(generations) > LCT_MAX_GENERATIONS)
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD,
                        "the record is not one that this lct knows; restore it from a backup");
    (void)lct_json_text(head.id, sizeof head.id, id);
    head.active = (unsigned)active;
    *record = lct_record_new(json_array_size(generations));
    if (*record == NULL)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    **record = head;
    return read_generations(*record, generations, err);
}

enum lct_code lct_record_read(struct lct_record **record, const uint8_t *text, size_t text_len,
                              struct lct_err *err)
{
    json_error_t where;
    json_t *object = json_loadb((const char *)text, text_len, JSON_REJECT_DUPLICATES, &where);

    *record = NULL;
    if (object == NULL)
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD,
                        "the record is not JSON (line %d: %.80s); restore it from a backup",
                        where.line, where.text);
    enum lct_code code = read_object(record, object, err);
    json_decref(object);
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
static json_t *generation_json(const struct lct_generation *generation)
{
    json_t *object = json_pack(
        "{s:i, s:s, s:s, s:o, s:{s:o, s:o}, s:o, s:o, s:s?, s:b, s:s, s:b}", "generation",
        (int)generation->number, "algorithm", generation->algorithm->name, "created",
        generation->created, "name", lct_json_of_bytes(generation->name.data, generation->name.len),
        "parent", "handle", json_sprintf("0x%08x", generation->parent), "name",
        lct_json_of_bytes(generation->parent_name.data, generation->parent_name.len), "seal",
        lct_seal_json(&generation->seal), "hashes", hashes_json(generation), "pss_salt",
        lct_pss_salt_name(generation->pss_salt), "passphrase", generation->passphrase, "tpm",
        generation->tpm, "software_tpm", generation->software_tpm);

    if (object != NULL && add_place(object, generation))
        return object;
    json_decref(object);
    return NULL;
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
    json_t *object =
        json_pack("{s:i, s:s, s:s, s:s, s:s, s:i, s:o}", "version", VERSION, "id", record->id,
                  "custody", "tpm", "state", "active", "created", record->created, "active",
                  (int)record->active, "generations", generations);
    if (object != NULL)
        text = json_dumps(object, JSON_INDENT(2));
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
