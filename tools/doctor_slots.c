/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/doctor.h"

#include "base/encode.h"

#include <stdlib.h>

static const enum lct_topic topic = LCT_TOPIC_TPM;

/* Objects in the TPM, and the ids of those that are identities' keys, borrowed. */
struct owned {
    const struct lct_objects *objects;
    const char *ids[LCT_MAX_HANDLES];
};

static void match(struct owned *owned, const struct lct_record *record, const char *id)
{
    for (size_t i = 0; i < owned->objects->num; i++)
        for (size_t j = 0; j < record->num_generations; j++)
            if (lct_name_equal(&owned->objects->objects[i].name, &record->generations[j].name))
                owned->ids[i] = id;
}

/* The Name says whose it is, the handle nothing. What cannot be read is told with the store. */
static void match_all(struct owned *transient, struct owned *persistent,
                      const struct lct_store *store, char *const *ids, size_t num_ids)
{
    for (size_t i = 0; i < num_ids; i++) {
        struct lct_record *record = NULL;
        if (lct_store_get_record(store, ids[i], &record, NULL, NULL) == LCT_OK) {
            match(transient, record, ids[i]);
            match(persistent, record, ids[i]);
        }
        free(record);
    }
}

/*
 * As every template of one has it (TCG EK Credential Profile, B.3). TCG registry of reserved
 * handles, 2.3.1, where the TPM's own words do not tell the hierarchy.
 */
static bool is_endorsement(const struct lct_object *object)
{
    return lct_object_is_storage(object) &&
           (object->attributes & TPMA_OBJECT_ADMINWITHPOLICY) != 0 &&
           (object->hierarchy == TPM2_RH_ENDORSEMENT ||
            (object->hierarchy == 0 && object->handle >> 16 == 0x8101));
}

static const char *kind_of(const struct lct_object *object)
{
    if (object->name.len == 0)
        return "gone again";
    if (is_endorsement(object))
        return "an endorsement key";
    return lct_object_is_storage(object) ? "a storage key" : "another program's";
}

static void describe(json_t *finding, const struct owned *owned)
{
    json_t *handles = json_array(), *objects = json_array();

    for (size_t i = 0; i < owned->objects->num; i++) {
        const struct lct_object *object = &owned->objects->objects[i];
        char name[2 * sizeof object->name.data + 1];
        lct_hex_encode(name, object->name.data, object->name.len);
        (void)json_array_append_new(handles, json_sprintf("0x%08x", object->handle));
        (void)json_array_append_new(
            objects,
            json_pack("{s:o, s:s, s:s, s:s?}", "handle", json_sprintf("0x%08x", object->handle),
                      "name", name, "kind", owned->ids[i] != NULL ? "an identity" : kind_of(object),
                      "id", owned->ids[i]));
    }
    (void)json_object_set_new(finding, "handles", handles);
    (void)json_object_set_new(finding, "objects", objects);
}

/* TPM2_Load may take a slot for the key and one for a parent that is persistent. */
enum { SLOTS_TO_LOAD = 2 };

/* What a program of ours left behind may go: one that signs loads its key again. */
static const char *command_for(size_t num_loaded, size_t num_ours, bool scarce)
{
    return scarce || (num_loaded > 0 && num_ours == num_loaded) ? "tpm2_flushcontext -t" : NULL;
}

static size_t list_transient(struct lct_doctor_list *list, const struct owned *transient)
{
    size_t num_ours = 0;

    for (size_t i = 0; i < transient->objects->num; i++) {
        const struct lct_object *object = &transient->objects->objects[i];
        num_ours += transient->ids[i] != NULL;
        if (transient->ids[i] != NULL)
            lct_doctor_list(list, "; ",
                            "0x%08x is lct:%s, left behind by a program that was killed or held by "
                            "one that signs",
                            object->handle, transient->ids[i]);
        else
            lct_doctor_list(list, "; ", "0x%08x is %s", object->handle, kind_of(object));
    }
    (void)lct_doctor_list_end(list);
    return num_ours;
}

static void find_transient(struct lct_doctor *doctor, const struct owned *transient)
{
    const struct lct_probe *probe = &doctor->probe;
    size_t num = transient->objects->num;
    bool full = probe->transient_free == 0 && num > 0;
    bool scarce = probe->transient_free < SLOTS_TO_LOAD && num > 0;
    struct lct_doctor_list list = {0};
    const char *command = command_for(num, list_transient(&list, transient), scarce);
    json_t *finding;

    if (full)
        finding = lct_doctor_problem(
            doctor, topic, LCT_ERR_TPM_FULL, command,
            "all of its slots for transient objects are taken: %s; use a resource manager "
            "(/dev/tpmrm0 or tpm2-abrmd) or free them",
            list.text);
    else if (num > 0)
        finding = lct_doctor_find(doctor, topic, scarce ? LCT_SEVERITY_WARNING : LCT_SEVERITY_NOTE,
                                  command, "transient objects: %zu loaded, room for %u more%s: %s",
                                  num, probe->transient_free,
                                  scarce ? ", and to load a key may take two" : "", list.text);
    else
        finding =
            lct_doctor_find(doctor, topic, LCT_SEVERITY_OK, NULL,
                            "transient objects: none loaded, room for %u%s", probe->transient_free,
                            probe->managed ? "; the resource manager hides other programs'" : "");
    describe(finding, transient);
    (void)json_object_set_new(finding, "transient_free", json_integer(probe->transient_free));
}

static void find_persistent(struct lct_doctor *doctor, const struct owned *persistent)
{
    const struct lct_probe *probe = &doctor->probe;
    struct lct_doctor_list list = {0};
    json_t *finding;

    for (size_t i = 0; i < persistent->objects->num; i++) {
        const struct lct_object *object = &persistent->objects->objects[i];
        if (persistent->ids[i] != NULL)
            lct_doctor_list(&list, ", ", "0x%08x lct:%s", object->handle, persistent->ids[i]);
        else if (object->handle == lct_srk_handle && probe->srk_usable)
            lct_doctor_list(&list, ", ", "0x%08x the storage root key", object->handle);
        else
            lct_doctor_list(&list, ", ", "0x%08x %s", object->handle, kind_of(object));
    }
    bool full = probe->persistent_free == 0 && persistent->objects->num > 0;
    finding = lct_doctor_find(
        doctor, topic, full ? LCT_SEVERITY_NOTE : LCT_SEVERITY_OK, full ? "lct gc" : NULL,
        "persistent objects: %zu, room for %u more%s%s", persistent->objects->num,
        probe->persistent_free, list.num > 0 ? ": " : "", lct_doctor_list_end(&list));
    describe(finding, persistent);
    (void)json_object_set_new(finding, "persistent_free", json_integer(probe->persistent_free));
}

static void set_handles(json_t *finding, const char *key, const struct lct_handles *handles)
{
    json_t *array = json_array();

    for (size_t i = 0; i < handles->num; i++)
        (void)json_array_append_new(array, json_sprintf("0x%08x", handles->handles[i]));
    (void)json_object_set_new(finding, key, array);
}

/* Whose a session is, no TPM tells. One that is loaded takes a slot, one that is saved a number. */
static void find_sessions(struct lct_doctor *doctor)
{
    const struct lct_probe *probe = &doctor->probe;
    size_t loaded = probe->loaded.num, saved = probe->saved.num;
    bool no_slot = probe->loaded_free == 0 && loaded > 0;
    bool no_number = probe->active_free == 0 && loaded + saved > 0;
    const char *command = no_slot     ? "tpm2_flushcontext -l"
                          : no_number ? "tpm2_flushcontext -s"
                                      : NULL;
    enum lct_severity severity = no_slot || no_number ? LCT_SEVERITY_WARNING
                                 : loaded + saved > 0 ? LCT_SEVERITY_NOTE
                                                      : LCT_SEVERITY_OK;
    json_t *finding =
        lct_doctor_find(doctor, topic, severity, command,
                        "sessions: %zu loaded, room for %u more; %zu saved, %u more can be begun%s",
                        loaded, probe->loaded_free, saved, probe->active_free,
                        command != NULL ? "; until other programs end some of theirs, no key with "
                                          "a passphrase can be used"
                                        : "");

    set_handles(finding, "loaded", &probe->loaded);
    set_handles(finding, "saved", &probe->saved);
    (void)json_object_set_new(finding, "loaded_free", json_integer(probe->loaded_free));
    (void)json_object_set_new(finding, "active_free", json_integer(probe->active_free));
}

static void find_endorsement(struct lct_doctor *doctor)
{
    const struct lct_probe *probe = &doctor->probe;
    size_t num = 0;

    for (size_t i = 0; i < probe->persistent.num; i++)
        num += is_endorsement(&probe->persistent.objects[i]);
    (void)lct_doctor_find(doctor, topic, LCT_SEVERITY_NOTE, NULL,
                          "endorsement keys kept in it: %zu; certificates of them: %zu", num,
                          probe->certificates.num);
}

void lct_doctor_slots(struct lct_doctor *doctor)
{
    const struct lct_store *store = &doctor->tool->store;
    struct owned transient = {.objects = &doctor->probe.transient};
    struct owned persistent = {.objects = &doctor->probe.persistent};
    char **ids = NULL;
    size_t num_ids = 0;

    (void)lct_store_list(store, &ids, &num_ids, NULL);
    match_all(&transient, &persistent, store, ids, num_ids);
    find_endorsement(doctor);
    find_persistent(doctor, &persistent);
    find_transient(doctor, &transient);
    find_sessions(doctor);
    lct_store_free_ids(ids, num_ids);
}
