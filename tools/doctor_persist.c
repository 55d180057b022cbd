/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/doctor.h"

#include "store/counters.h"
#include "store/persist.h"

#include <stdio.h>

static const enum lct_topic topic = LCT_TOPIC_TPM;

/* The key signs all the same, from its key file. */
static json_t *find_lost(struct lct_doctor *doctor, const struct lct_persist_finding *finding)
{
    char command[64 + LCT_MAX_ID];

    (void)snprintf(command, sizeof command, "lct persist %s --generation %u", finding->id,
                   finding->generation);
    return lct_doctor_find(doctor, topic, LCT_SEVERITY_WARNING, command,
                           "lct:%s: %s at 0x%08x, where its record has the key of generation %u; "
                           "it is loaded from its key file",
                           finding->id, finding->taken ? "something else is" : "nothing is",
                           finding->handle, finding->generation);
}

static json_t *find_misplaced(struct lct_doctor *doctor, const struct lct_persist_finding *finding)
{
    bool orphan = finding->state == LCT_PERSIST_ORPHAN;

    return lct_doctor_find(doctor, topic, LCT_SEVERITY_NOTE, orphan ? "lct gc" : "lct gc --evict",
                           "lct:%s: the key of its generation %u is at 0x%08x, %s", finding->id,
                           finding->generation, finding->handle,
                           orphan ? "which its record does not say"
                           : finding->recorded
                               ? "where it is not needed, as it signs no more"
                               : "where it is not needed: it is recorded elsewhere, or signs no "
                                 "more");
}

static void find_one(struct lct_doctor *doctor, const struct lct_persist_finding *finding)
{
    json_t *found = NULL;

    if (finding->state == LCT_PERSIST_LOST)
        found = find_lost(doctor, finding);
    if (finding->state == LCT_PERSIST_ORPHAN || finding->state == LCT_PERSIST_SPARE)
        found = find_misplaced(doctor, finding);
    if (found == NULL)
        return;
    (void)json_object_set_new(found, "id", json_string(finding->id));
    (void)json_object_set_new(found, "generation", json_integer((json_int_t)finding->generation));
    (void)json_object_set_new(found, "handle", json_sprintf("0x%08x", finding->handle));
}

/* What cannot be read of the store is told with it. */
void lct_doctor_persist(struct lct_doctor *doctor)
{
    struct lct_persist_findings findings = {0};

    if (lct_persist_sort(&findings, &doctor->tool->store, &doctor->probe.persistent, NULL) ==
        LCT_OK)
        for (size_t i = 0; i < findings.num; i++)
            find_one(doctor, &findings.all[i]);
    lct_persist_clear(&findings);
}

/* What cannot be read of the store is told with it. */
void lct_doctor_counters(struct lct_doctor *doctor)
{
    struct lct_tool *tool = doctor->tool;
    struct lct_tpm_counters there;
    struct lct_counter_findings findings = {0};
    struct lct_err why;
    OSSL_LIB_CTX *libctx = lct_crypto_get(tool->crypto, NULL);
    size_t num;

    if (libctx == NULL || lct_tpm_list_counters(tool->tpm, &there, "the TPM", NULL) != LCT_OK ||
        lct_counters_sort(&findings, &tool->store, &there, libctx, &why) != LCT_OK)
        return;
    num = lct_counters_ours(&findings);
    if (num > 0)
        (void)json_object_set_new(
            lct_doctor_find(doctor, topic, LCT_SEVERITY_NOTE, "lct gc --evict",
                            "NV counters that were made for this store and are of no identity in "
                            "it: %zu",
                            num),
            "counters", json_integer((json_int_t)num));
}
