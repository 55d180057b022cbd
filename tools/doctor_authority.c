/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/authority.h"
#include "tools/authority_key.h"
#include "tools/doctor.h"

#include "store/life.h"

#include <stdlib.h>
#include <string.h>

static bool is_sealed_to(const struct lct_record *record, const struct lct_authority *authority)
{
    for (size_t i = 0; i < record->num_generations; i++) {
        const struct lct_seal *seal = &record->generations[i].seal;
        if (seal->authority_len == authority->public_len &&
            memcmp(seal->authority, authority->public_area, authority->public_len) == 0 &&
            lct_life_signs(record, &record->generations[i]))
            return true;
    }
    return false;
}

/* Which identities have a key that signs and is sealed to it. */
static void list_sealed(struct lct_doctor_list *list, const struct lct_doctor *doctor,
                        const struct lct_authority *authority)
{
    const struct lct_store *store = &doctor->tool->store;
    char **ids = NULL;
    size_t num_ids = 0;

    (void)lct_store_list(store, &ids, &num_ids, NULL);
    for (size_t i = 0; i < num_ids; i++) {
        struct lct_record *record = NULL;
        const char *dir = NULL;
        if (lct_store_get_record(store, ids[i], &record, &dir, NULL) == LCT_OK &&
            is_sealed_to(record, authority))
            lct_doctor_list(list, ", ", "lct:%s", ids[i]);
        free(record);
    }
    lct_store_free_ids(ids, num_ids);
}

/* It may be for other machines: then it is in nobody's way. */
static void tell(struct lct_doctor *doctor, const struct lct_authority *authority, const char *dir)
{
    struct lct_doctor_list list = {0};
    char algorithm[16];
    json_t *finding;

    lct_authority_key_algorithm(algorithm, authority->pkey);
    list_sealed(&list, doctor, authority);
    if (list.num > 0)
        finding = lct_doctor_problem(
            doctor, LCT_TOPIC_STORE, LCT_ERR_UNSUPPORTED, NULL,
            "this TPM does not take the %s key of the recovery authority of %s: what is sealed to "
            "it opens in the state of its sealing alone, and never after an update that changes "
            "that: %s; see lct-authority(1) for having another one",
            algorithm, dir, lct_doctor_list_end(&list));
    else
        finding = lct_doctor_find(
            doctor, LCT_TOPIC_STORE, LCT_SEVERITY_WARNING, NULL,
            "this TPM does not take the %s key of the recovery authority of %s: no key that signs "
            "is sealed to it, and none can be; if it is for this machine, see lct-authority(1) for "
            "having another one",
            algorithm, dir);
    (void)json_object_set_new(finding, "authority", json_string(authority->fingerprint));
}

static void find_loading(struct lct_doctor *doctor, const char *dir)
{
    const struct lct_tool *tool = doctor->tool;
    struct lct_authority authority = {0};

    if (lct_authority_get(&authority, &tool->store, dir, tool->crypto, NULL) == LCT_OK &&
        lct_authority_try(tool, &authority, dir, NULL) == LCT_ERR_UNSUPPORTED)
        tell(doctor, &authority, dir);
    lct_authority_clear(&authority);
}

void lct_doctor_authorities(struct lct_doctor *doctor)
{
    const struct lct_store *store = &doctor->tool->store;

    for (size_t i = 0; i < store->num_dirs; i++)
        find_loading(doctor, store->dirs[i]);
}
