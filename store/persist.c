/* SPDX-License-Identifier: Apache-2.0 */
#include "store/persist.h"

#include "base/unconst.h"
#include "store/change.h"
#include "store/key.h"
#include "store/life.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { LABEL = sizeof "lct:" + LCT_MAX_ID };

static enum lct_code make_owner(struct lct_tpm_owner *owner, const char *label,
                                const struct lct_secret *auth, struct lct_crypto *crypto,
                                struct lct_err *err)
{
    *owner = (struct lct_tpm_owner){label, auth, lct_crypto_get(crypto, err)};
    return owner->libctx != NULL ? LCT_OK : LCT_ERR_INTERNAL;
}

/* One generation of an identity whose record is to change. */
struct changing {
    struct lct_change change;
    struct lct_generation *generation; /* in the record */
    char label[LABEL];
};

static enum lct_code begin(struct changing *changing, const struct lct_store *store, const char *id,
                           unsigned number, struct lct_err *err)
{
    enum lct_code code = lct_change_begin(&changing->change, store, id, err);

    (void)snprintf(changing->label, sizeof changing->label, "lct:%s", id);
    if (code != LCT_OK)
        return code;
    changing->generation = lct_unconst(lct_record_generation(changing->change.record, number));
    if (changing->generation != NULL)
        return LCT_OK;
    return LCT_FAIL(err, LCT_ERR_NOT_FOUND, "%s: there is no generation %u; the active one is %u",
                    changing->label, number, changing->change.record->active);
}

/* Whether it is a key that can be put at a handle. */
static enum lct_code check(const struct changing *changing, struct lct_err *err)
{
    const struct lct_generation *generation = changing->generation;
    const struct lct_life life = lct_record_life(changing->change.record, generation);

    if (generation->custody != LCT_CUSTODY_TPM)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                        "%s: its key is in software, and in no TPM; lct rotate %s --to tpm makes "
                        "one that is",
                        changing->label, changing->change.id);
    if (generation->handle != 0)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                        "%s: its key was imported at the persistent handle 0x%08x, and has no key "
                        "file to put it elsewhere from",
                        changing->label, generation->handle);
    return lct_life_check(&life, changing->label, time(NULL), err);
}

/* Which identity has the very object at a handle for its key, and nothing else, since it was
 * imported from there; "": none. */
static enum lct_code find_imported(char id[LCT_MAX_ID + 1], const struct lct_store *store,
                                   uint32_t handle, struct lct_err *err)
{
    char **ids = NULL;
    size_t num_ids = 0;
    enum lct_code code = lct_store_list(store, &ids, &num_ids, err);

    id[0] = '\0';
    for (size_t i = 0; i < num_ids && id[0] == '\0'; i++) {
        struct lct_record *record = NULL;
        if (lct_store_get_record(store, ids[i], &record, NULL, NULL) != LCT_OK)
            continue;
        for (size_t g = 0; g < record->num_generations; g++)
            if (record->generations[g].handle == handle)
                (void)snprintf(id, LCT_MAX_ID + 1, "%s", ids[i]);
        free(record);
    }
    lct_store_free_ids(ids, num_ids);
    return code;
}

static enum lct_code check_others(const struct lct_store *store, uint32_t handle, const char *label,
                                  struct lct_err *err)
{
    char id[LCT_MAX_ID + 1];
    enum lct_code code = find_imported(id, store, handle, err);

    if (code != LCT_OK || id[0] == '\0')
        return code;
    return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                    "%s: what is at 0x%08x stays, since lct:%s was imported from there", label,
                    handle, id);
}

/* With no handle wanted, the one that is recorded, if the key is there. */
static enum lct_code prefer_recorded(const struct changing *changing, struct lct_tpm *tpm,
                                     uint32_t *handle, struct lct_err *err)
{
    const struct lct_generation *generation = changing->generation;
    struct lct_name there;

    if (*handle != 0 || generation->persistent == 0)
        return LCT_OK;
    enum lct_code code = lct_tpm_name_at(tpm, &there, generation->persistent, changing->label, err);
    if (code == LCT_OK && lct_name_equal(&there, &generation->name))
        *handle = generation->persistent;
    return code;
}

/* That what was found there, and is not recorded yet, is nobody else's to keep. */
static enum lct_code check_found(const struct changing *changing, const struct lct_store *store,
                                 uint32_t handle, struct lct_err *err)
{
    char id[LCT_MAX_ID + 1];
    enum lct_code code = LCT_OK;

    if (handle == changing->generation->persistent)
        return LCT_OK;
    code = find_imported(id, store, handle, err);
    if (code != LCT_OK || id[0] == '\0')
        return code;
    return LCT_FAIL(err, LCT_ERR_EXISTS,
                    "%s: its key is at 0x%08x, but lct:%s was imported from there, whose that is; "
                    "name another handle, with --handle",
                    changing->label, handle, id);
}

/* Puts the key of the generation into the TPM. */
static enum lct_code put(struct changing *changing, const struct lct_store *store,
                         struct lct_tpm *tpm, struct lct_crypto *crypto,
                         const struct lct_tpm_owner *owner, const struct lct_tpm_auths *auths,
                         uint32_t *handle, bool *made, struct lct_err *err)
{
    struct lct_key *key = NULL;
    enum lct_code code = prefer_recorded(changing, tpm, handle, err);

    if (code == LCT_OK)
        code = lct_store_get_key(store, crypto, changing->change.id, changing->generation->number,
                                 &key, err);
    if (code == LCT_OK) {
        struct lct_generation generation;
        struct lct_tpm_key values = lct_key_values(key, &generation);
        values.owner_auth = lct_tpm_auth_for(auths, generation.parent);
        code = lct_tpm_persist(tpm, handle, made, &values, owner, err);
    }
    lct_key_free(key);
    return code == LCT_OK && !*made ? check_found(changing, store, *handle, err) : code;
}

/* Whether the record on disk has the handle: it may though writing it to disk for sure has failed.
 */
static bool is_recorded(const struct changing *changing, uint32_t handle)
{
    struct lct_record *record = NULL;
    bool recorded = false;

    if (lct_store_read_record(changing->change.dir, changing->change.id, &record, NULL) == LCT_OK) {
        const struct lct_generation *generation =
            lct_record_generation(record, changing->generation->number);
        recorded = generation != NULL && generation->persistent == handle;
    }
    free(record);
    return recorded;
}

/* Records the new handle; without that the key is not to stay there. */
static enum lct_code record(struct changing *changing, const struct lct_store *store,
                            struct lct_tpm *tpm, const struct lct_tpm_owner *owner, uint32_t handle,
                            bool made, struct lct_err *err)
{
    struct lct_generation *generation = changing->generation;
    uint32_t before = generation->persistent;

    if (before == handle)
        return LCT_OK;
    generation->persistent = handle;
    enum lct_code code = lct_change_commit(&changing->change, err);
    if (code != LCT_OK && made && !is_recorded(changing, handle))
        (void)lct_tpm_evict(tpm, handle, &generation->name, owner, NULL);
    /* If it is there and nobody else's; what stays is a copy, and lct gc finds it. */
    if (code == LCT_OK && before != 0 &&
        check_others(store, before, changing->label, NULL) == LCT_OK)
        (void)lct_tpm_evict(tpm, before, &generation->name, owner, NULL);
    return code;
}

enum lct_code lct_persist_key(const struct lct_store *store, struct lct_tpm *tpm,
                              struct lct_crypto *crypto, const struct lct_persist_request *request,
                              uint32_t *handle, struct lct_err *err)
{
    struct changing changing = {0};
    struct lct_tpm_owner owner;
    bool made = false;
    enum lct_code code = begin(&changing, store, request->id, request->generation, err);

    *handle = request->handle;
    if (code == LCT_OK)
        code = check(&changing, err);
    if (code == LCT_OK)
        code = make_owner(&owner, changing.label, request->auths->owner, crypto, err);
    if (code == LCT_OK)
        code = put(&changing, store, tpm, crypto, &owner, request->auths, handle, &made, err);
    if (code == LCT_OK)
        code = record(&changing, store, tpm, &owner, *handle, made, err);
    lct_change_end(&changing.change);
    return code;
}

/*
 * That the key file of the generation is the key: it loads. Whoever may write to an identity's
 * directory can give its record the Name of anything in the TPM, which would be evicted for that;
 * and where the file is damaged, what is at the handle is the last that there is of the key.
 */
static enum lct_code prove(const struct lct_store *store, struct lct_tpm *tpm,
                           struct lct_crypto *crypto, const char *id,
                           const struct lct_generation *generation,
                           const struct lct_tpm_auths *auths, struct lct_err *err)
{
    struct lct_key *key = NULL;
    struct lct_generation own;
    struct lct_tpm_key values = {0};
    struct lct_public reported;
    struct lct_name loaded;
    enum lct_code code = lct_store_get_key(store, crypto, id, generation->number, &key, err);

    if (code == LCT_OK)
        values = lct_key_values(key, &own);
    if (code == LCT_OK && !lct_name_equal(&own.name, &generation->name))
        code =
            LCT_FAIL(err, LCT_ERR_STORE, "%s: it was changed meanwhile; do it again", key->label);
    if (code == LCT_OK) {
        values.owner_auth = lct_tpm_auth_for(auths, own.parent);
        code = lct_tpm_inspect(tpm, &reported, &loaded, &values, err);
    }
    lct_key_free(key);
    return code;
}

/* Evicts a copy of a key from a handle, if that is what is there and if there is another. */
static enum lct_code evict_copy(const struct lct_store *store, struct lct_tpm *tpm,
                                struct lct_crypto *crypto, const char *id,
                                const struct lct_generation *generation, uint32_t handle,
                                const struct lct_tpm_owner *owner,
                                const struct lct_tpm_auths *auths, bool *evicted,
                                struct lct_err *err)
{
    struct lct_name there;
    enum lct_code code = lct_tpm_name_at(tpm, &there, handle, owner->label, err);

    *evicted = false;
    if (code != LCT_OK || !lct_name_equal(&there, &generation->name))
        return code;
    code = check_others(store, handle, owner->label, err);
    if (code != LCT_OK)
        return code;
    code = prove(store, tpm, crypto, id, generation, auths, err);
    if (code == LCT_ERR_AUTH)
        return code;
    if (code != LCT_OK)
        return LCT_FAIL(err, code,
                        "%s: what is at 0x%08x stays, since its key file does not show that it is "
                        "the same key: %.300s",
                        owner->label, handle, err->text);
    code = lct_tpm_evict(tpm, handle, &generation->name, owner, err);
    *evicted = code == LCT_OK;
    return code == LCT_ERR_OTHER_TPM ? LCT_OK : code;
}

enum lct_code lct_persist_remove(const struct lct_store *store, struct lct_tpm *tpm,
                                 struct lct_crypto *crypto, const char *id,
                                 const struct lct_generation *generation,
                                 const struct lct_tpm_auths *auths, bool *evicted,
                                 struct lct_err *err)
{
    struct lct_tpm_owner owner;
    char label[LABEL];

    *evicted = false;
    if (generation->persistent == 0)
        return LCT_OK;
    (void)snprintf(label, sizeof label, "lct:%s", id);
    enum lct_code code = make_owner(&owner, label, auths->owner, crypto, err);
    return code == LCT_OK ? evict_copy(store, tpm, crypto, id, generation, generation->persistent,
                                       &owner, auths, evicted, err)
                          : code;
}

enum lct_code lct_persist_undo(const struct lct_store *store, struct lct_tpm *tpm,
                               struct lct_crypto *crypto, const struct lct_persist_request *request,
                               uint32_t *handle, bool *evicted, struct lct_err *err)
{
    struct changing changing = {0};
    enum lct_code code = begin(&changing, store, request->id, request->generation, err);

    *evicted = false;
    if (code == LCT_OK && changing.generation->persistent == 0)
        code = LCT_FAIL(err, LCT_ERR_NOT_FOUND,
                        "%s: its record names no persistent handle; lct gc says if its key is at "
                        "one",
                        changing.label);
    if (code == LCT_OK) {
        *handle = changing.generation->persistent;
        code = lct_persist_remove(store, tpm, crypto, changing.change.id, changing.generation,
                                  request->auths, evicted, err);
    }
    if (code == LCT_OK) {
        changing.generation->persistent = 0;
        code = lct_change_commit(&changing.change, err);
    }
    lct_change_end(&changing.change);
    return code;
}

/* Objects, what is found out of each, and room for the records that name what is not there. */
struct sorting {
    struct lct_persist_findings *findings;
    size_t num_objects; /* the findings that come first, an object each */
    const char *id;
    const struct lct_record *record;
};

static bool is_ours(uint32_t handle)
{
    return handle >= lct_persist_first && handle <= lct_persist_last;
}

static bool add(struct lct_persist_findings *findings, const struct lct_persist_finding *finding)
{
    struct lct_persist_finding *all =
        reallocarray(findings->all, findings->num + 1, sizeof *findings->all);

    if (all == NULL)
        return false;
    findings->all = all;
    findings->all[findings->num++] = *finding;
    return true;
}

static bool add_objects(struct lct_persist_findings *findings, const struct lct_objects *objects)
{
    for (size_t i = 0; i < objects->num; i++) {
        const struct lct_persist_finding finding = {.state = LCT_PERSIST_FOREIGN,
                                                    .handle = objects->objects[i].handle,
                                                    .name = objects->objects[i].name};
        if (!add(findings, &finding))
            return false;
    }
    return true;
}

static struct lct_persist_finding *at(const struct sorting *sorting, uint32_t handle)
{
    for (size_t i = 0; i < sorting->num_objects; i++)
        if (sorting->findings->all[i].handle == handle)
            return &sorting->findings->all[i];
    return NULL;
}

static void claim(struct lct_persist_finding *finding, const struct sorting *sorting,
                  const struct lct_generation *generation, enum lct_persist_state state)
{
    finding->state = state;
    (void)snprintf(finding->id, sizeof finding->id, "%s", sorting->id);
    finding->generation = generation->number;
    finding->recorded = finding->handle == generation->persistent;
}

/* A key that was imported from its handle, where it is the user's own. */
static void claim_imported(const struct sorting *sorting, const struct lct_generation *generation)
{
    struct lct_persist_finding *there = at(sorting, generation->handle);

    if (there != NULL && lct_name_equal(&there->name, &generation->name))
        claim(there, sorting, generation, LCT_PERSIST_IMPORTED);
}

static bool signs(const struct sorting *sorting, const struct lct_generation *generation)
{
    const struct lct_life life = lct_record_life(sorting->record, generation);

    return lct_life_check(&life, sorting->id, time(NULL), NULL) == LCT_OK;
}

/* Copies of a key: the one at the recorded handle is it, else the first one is to be recorded. What
 * another record claims already stays that one's. False if out of memory. */
static bool claim_wrapped(const struct sorting *sorting, const struct lct_generation *generation)
{
    struct lct_persist_finding *there =
        generation->persistent != 0 ? at(sorting, generation->persistent) : NULL;
    bool held = there != NULL && lct_name_equal(&there->name, &generation->name);
    bool alive = signs(sorting, generation), found = held;

    for (size_t i = 0; i < sorting->num_objects; i++) {
        struct lct_persist_finding *finding = &sorting->findings->all[i];
        if (!lct_name_equal(&finding->name, &generation->name) ||
            finding->state != LCT_PERSIST_FOREIGN ||
            (!is_ours(finding->handle) && finding->handle != generation->persistent))
            continue;
        claim(finding, sorting, generation,
              !alive                     ? LCT_PERSIST_SPARE
              : held && finding == there ? LCT_PERSIST_RECORDED
              : found                    ? LCT_PERSIST_SPARE
                                         : LCT_PERSIST_ORPHAN);
        found = true;
    }
    if (found || !alive || generation->persistent == 0)
        return true;
    struct lct_persist_finding lost = {
        .handle = generation->persistent, .name = generation->name, .taken = there != NULL};
    claim(&lost, sorting, generation, LCT_PERSIST_LOST);
    return add(sorting->findings, &lost);
}

static bool claim_all(const struct sorting *sorting, bool imported)
{
    for (size_t i = 0; i < sorting->record->num_generations; i++) {
        const struct lct_generation *generation = &sorting->record->generations[i];
        if (generation->custody != LCT_CUSTODY_TPM || imported != (generation->handle != 0))
            continue;
        if (imported)
            claim_imported(sorting, generation);
        else if (!claim_wrapped(sorting, generation))
            return false;
    }
    return true;
}

/* Takes out what is claimed by nobody and outside of our handles, or gone again. */
static void drop_others(struct lct_persist_findings *findings)
{
    size_t num = 0;

    for (size_t i = 0; i < findings->num; i++)
        if (findings->all[i].state != LCT_PERSIST_FOREIGN ||
            (is_ours(findings->all[i].handle) && findings->all[i].name.len != 0))
            findings->all[num++] = findings->all[i];
    findings->num = num;
}

/* Those that were imported from a handle come first, over all identities: what is theirs is not an
 * orphan of another's. */
enum lct_code lct_persist_sort(struct lct_persist_findings *findings, const struct lct_store *store,
                               const struct lct_objects *objects, struct lct_err *err)
{
    struct sorting sorting = {.findings = findings, .num_objects = objects->num};
    char **ids = NULL;
    size_t num_ids = 0;

    *findings = (struct lct_persist_findings){0};
    enum lct_code code = lct_store_list(store, &ids, &num_ids, err);
    bool room = code == LCT_OK && add_objects(findings, objects);
    for (int imported = 1; imported >= 0; imported--)
        for (size_t i = 0; i < num_ids && room; i++) {
            struct lct_record *record = NULL;
            if (lct_store_get_record(store, ids[i], &record, NULL, NULL) == LCT_OK) {
                sorting.id = ids[i];
                sorting.record = record;
                room = claim_all(&sorting, imported != 0);
            }
            free(record);
        }
    lct_store_free_ids(ids, num_ids);
    drop_others(findings);
    if (code == LCT_OK && !room)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    return code;
}

void lct_persist_clear(struct lct_persist_findings *findings)
{
    free(findings->all);
    *findings = (struct lct_persist_findings){0};
}

enum lct_code lct_persist_adopt(const struct lct_store *store,
                                const struct lct_persist_finding *finding, struct lct_err *err)
{
    struct changing changing = {0};
    enum lct_code code = begin(&changing, store, finding->id, finding->generation, err);

    if (code == LCT_OK)
        code = check(&changing, err);
    if (code == LCT_OK && !lct_name_equal(&changing.generation->name, &finding->name))
        code = LCT_FAIL(err, LCT_ERR_OTHER_TPM,
                        "%s: its key is another one by now, and not the one at 0x%08x",
                        changing.label, finding->handle);
    if (code == LCT_OK) {
        changing.generation->persistent = finding->handle;
        code = lct_change_commit(&changing.change, err);
    }
    lct_change_end(&changing.change);
    return code;
}

/* One that its record does not speak of; while it is locked nobody records it. */
static enum lct_code evict_unrecorded(struct changing *changing, const struct lct_store *store,
                                      struct lct_tpm *tpm, struct lct_crypto *crypto,
                                      const struct lct_persist_finding *finding,
                                      const struct lct_tpm_auths *auths, struct lct_err *err)
{
    struct lct_tpm_owner owner;
    bool evicted = false;

    if (changing->generation->persistent == finding->handle ||
        !lct_name_equal(&changing->generation->name, &finding->name))
        return LCT_FAIL(err, LCT_ERR_OTHER_TPM,
                        "%s: its record was changed meanwhile, and what is at 0x%08x stays there",
                        changing->label, finding->handle);
    enum lct_code code = make_owner(&owner, changing->label, auths->owner, crypto, err);
    if (code == LCT_OK)
        code = evict_copy(store, tpm, crypto, changing->change.id, changing->generation,
                          finding->handle, &owner, auths, &evicted, err);
    if (code == LCT_OK && !evicted)
        code = LCT_FAIL(err, LCT_ERR_OTHER_TPM, "%s: its key is not at 0x%08x any more",
                        changing->label, finding->handle);
    return code;
}

enum lct_code lct_persist_evict(const struct lct_store *store, struct lct_tpm *tpm,
                                struct lct_crypto *crypto,
                                const struct lct_persist_finding *finding,
                                const struct lct_tpm_auths *auths, struct lct_err *err)
{
    const struct lct_persist_request request = {finding->id, finding->generation, 0, auths};
    struct changing changing = {0};
    uint32_t handle = 0;
    bool evicted = false;

    if (finding->recorded)
        return lct_persist_undo(store, tpm, crypto, &request, &handle, &evicted, err);
    enum lct_code code = begin(&changing, store, finding->id, finding->generation, err);
    if (code == LCT_OK)
        code = evict_unrecorded(&changing, store, tpm, crypto, finding, auths, err);
    lct_change_end(&changing.change);
    return code;
}
