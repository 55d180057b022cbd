/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/seal.h"

#include "base/encode.h"
#include "base/unconst.h"
#include "proof/json.h"

#include <string.h>

/* What each kind has, by name in the record. */
static const struct {
    const char *name;
    enum lct_seal_kind kind;
    bool pcrs, digest, authority, counter; /* `pcrs`: they have to be there */
} kinds[] = {
    {"auth", LCT_SEAL_AUTH, false, false, false, false},
    {"strict", LCT_SEAL_STRICT, true, true, false, false},
    {"authority", LCT_SEAL_AUTHORITY, false, false, true, true},
    {"either", LCT_SEAL_EITHER, true, true, true, false},
};

enum { NUM_KINDS = sizeof kinds / sizeof kinds[0] };

/* Adds a member that only some have. False if out of memory. */
static bool add(json_t *object, const char *name, bool has,
                json_t *(*make)(const struct lct_seal *), const struct lct_seal *seal)
{
    return !has || json_object_set_new(object, name, make(seal)) == 0;
}

static json_t *pcrs_of(const struct lct_seal *seal)
{
    return lct_json_of_pcrs(&seal->pcrs.pcrs);
}

static json_t *values_of(const struct lct_seal *seal)
{
    return lct_json_of_values(&seal->pcrs);
}

static json_t *digest_of(const struct lct_seal *seal)
{
    return lct_json_of_bytes(seal->pcr_digest, sizeof seal->pcr_digest);
}

static json_t *authority_of(const struct lct_seal *seal)
{
    return lct_json_of_bytes(seal->authority, seal->authority_len);
}

static json_t *ref_of(const struct lct_seal *seal)
{
    return lct_json_of_bytes(seal->ref, seal->ref_len);
}

static json_t *counter_of(const struct lct_seal *seal)
{
    return lct_json_of_counter(&seal->counter);
}

json_t *lct_seal_json(const struct lct_seal *seal)
{
    size_t row = 0;

    while (row < NUM_KINDS && kinds[row].kind != seal->kind)
        row++;
    if (row == NUM_KINDS)
        return json_null();
    json_t *object = json_pack("{s:s}", "kind", kinds[row].name);
    if (object != NULL && add(object, "pcrs", seal->pcrs.pcrs.num_banks > 0, pcrs_of, seal) &&
        add(object, "values", kinds[row].digest && seal->has_values, values_of, seal) &&
        add(object, "pcr_digest", kinds[row].digest, digest_of, seal) &&
        add(object, "authority", kinds[row].authority, authority_of, seal) &&
        add(object, "policy_ref", kinds[row].authority, ref_of, seal) &&
        add(object, "counter", kinds[row].counter && seal->counter.handle != 0, counter_of, seal))
        return object;
    json_decref(object);
    return NULL;
}

static bool read_authority(struct lct_seal *seal, const char *authority, const char *ref)
{
    struct lct_public public_area;

    return lct_hex_decode(seal->authority, &seal->authority_len, sizeof seal->authority,
                          authority) &&
           lct_public_decode(&public_area, seal->authority, seal->authority_len, NULL) == LCT_OK &&
           lct_hex_decode(seal->ref, &seal->ref_len, sizeof seal->ref, ref);
}

bool lct_seal_from_json(struct lct_seal *seal, const json_t *json)
{
    const char *kind, *pcrs = NULL, *digest = NULL, *authority = NULL, *ref = NULL;
    json_t *values = NULL, *counter = NULL;
    size_t row = 0;

    memset(seal, 0, sizeof *seal);
    if (json_unpack_ex(lct_unconst(json), NULL, JSON_STRICT,
                       "{s:s, s?:s, s?:o, s?:s, s?:s, s?:s, s?:o}", "kind", &kind, "pcrs", &pcrs,
                       "values", &values, "pcr_digest", &digest, "authority", &authority,
                       "policy_ref", &ref, "counter", &counter) != 0)
        return false;
    while (row < NUM_KINDS && strcmp(kinds[row].name, kind) != 0)
        row++;
    if (row == NUM_KINDS || (digest != NULL) != kinds[row].digest ||
        (authority != NULL) != kinds[row].authority || (ref != NULL) != kinds[row].authority ||
        (pcrs == NULL && kinds[row].pcrs) || (pcrs != NULL && kinds[row].kind == LCT_SEAL_AUTH) ||
        (values != NULL && !kinds[row].digest) || (counter != NULL && !kinds[row].counter))
        return false;
    seal->kind = kinds[row].kind;
    seal->has_values = values != NULL;
    return (pcrs == NULL || lct_json_pcrs(&seal->pcrs.pcrs, pcrs)) &&
           (values == NULL || lct_json_values(&seal->pcrs, values)) &&
           (digest == NULL || lct_json_bytes(seal->pcr_digest, sizeof seal->pcr_digest, digest)) &&
           (authority == NULL || read_authority(seal, authority, ref)) &&
           (counter == NULL ||
            (lct_json_counter(&seal->counter, counter) && seal->counter.handle != 0));
}
