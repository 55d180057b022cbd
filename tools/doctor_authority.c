/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/authority.h"
#include "tools/authority_key.h"
#include "tools/doctor.h"

static void find_loading(struct lct_doctor *doctor, const char *dir)
{
    const struct lct_tool *tool = doctor->tool;
    struct lct_authority authority = {0};
    char algorithm[16];

    if (lct_authority_get(&authority, &tool->store, dir, tool->crypto, NULL) == LCT_OK &&
        lct_authority_try(tool, &authority, dir, NULL) == LCT_ERR_UNSUPPORTED) {
        lct_authority_key_algorithm(algorithm, authority.pkey);
        json_t *finding = lct_doctor_problem(
            doctor, LCT_TOPIC_STORE, LCT_ERR_UNSUPPORTED, NULL,
            "this TPM does not take the %s key of the recovery authority of %s: what is sealed to "
            "it opens in the state of its sealing alone, and never after an update that changes "
            "that; see lct-authority(1) for having another one",
            algorithm, dir);
        (void)json_object_set_new(finding, "authority", json_string(authority.fingerprint));
    }
    lct_authority_clear(&authority);
}

void lct_doctor_authorities(struct lct_doctor *doctor)
{
    const struct lct_store *store = &doctor->tool->store;

    for (size_t i = 0; i < store->num_dirs; i++)
        find_loading(doctor, store->dirs[i]);
}
