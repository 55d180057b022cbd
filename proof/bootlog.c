/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/bootlog.h"

#include "tcg/eventlog.h"

#include <stdbool.h>
#include <string.h>

enum { FIRST_OF_SYSTEM = 8 }; /* PFP, 3.3.4: PCRs 0 to 7 are the firmware's */

/* Events that were extended, by PCR. */
struct tally {
    size_t events[LCT_NUM_PCRS];
};

/* As a replay's editor, which changes nothing. */
static enum lct_code count(void *arg, const struct lct_event *event, const struct lct_pcrs *pcrs,
                           uint8_t digests[LCT_MAX_BANKS][LCT_MAX_HASH], struct lct_err *err)
{
    struct tally *tally = arg;

    (void)pcrs;
    (void)digests;
    (void)err;
    tally->events[event->pcr]++;
    return LCT_OK;
}

/* Which of the values the log leads to, or which not. */
static struct lct_pcrs compare(const struct lct_pcr_values *values,
                               const struct lct_pcr_values *replayed, bool leads)
{
    struct lct_pcrs found = {0};

    for (size_t i = 0; i < values->pcrs.num_banks; i++) {
        struct lct_pcr_bank bank = {values->pcrs.banks[i].hash, 0};
        for (unsigned pcr = 0; pcr < LCT_NUM_PCRS; pcr++)
            if ((values->pcrs.banks[i].pcrs >> pcr & 1) != 0 &&
                leads == (memcmp(replayed->values[i][pcr], values->values[i][pcr],
                                 bank.hash->size) == 0))
                bank.pcrs |= (uint32_t)1 << pcr;
        if (bank.pcrs != 0)
            found.banks[found.num_banks++] = bank;
    }
    return found;
}

static bool fail_firmware(struct lct_finding *finding, const struct lct_pcrs *differ)
{
    for (size_t i = 0; i < differ->num_banks; i++)
        for (unsigned pcr = 0; pcr < FIRST_OF_SYSTEM; pcr++)
            if ((differ->banks[i].pcrs >> pcr & 1) != 0) {
                lct_finding_set(
                    finding, LCT_FAILED,
                    "the event log does not lead to the value of PCR %u (%s), which nothing "
                    "extends once the system runs: it is of another boot, or was changed",
                    pcr, differ->banks[i].hash->name);
                return true;
            }
    return false;
}

/* How many events lead to values that are as they say. */
static size_t num_explaining(const struct tally *tally, const struct lct_pcrs *explained)
{
    uint32_t pcrs = 0;
    size_t num = 0;

    for (size_t i = 0; i < explained->num_banks; i++)
        pcrs |= explained->banks[i].pcrs;
    for (unsigned pcr = 0; pcr < LCT_NUM_PCRS; pcr++)
        num += (pcrs >> pcr & 1) != 0 ? tally->events[pcr] : 0;
    return num;
}

void lct_bootlog_judge(struct lct_finding *finding, struct lct_pcrs *explained,
                       OSSL_LIB_CTX *libctx, const struct lct_pcr_values *values,
                       const uint8_t *log, size_t log_len)
{
    struct lct_pcrs leads, differ;
    struct lct_pcr_values replayed = {.pcrs = values->pcrs};
    struct tally tally = {{0}};
    const struct lct_eventlog_editor editor = {count, &tally};
    struct lct_err err = {.code = LCT_OK};
    char text[LCT_PCRS_TEXT];

    if (explained != NULL)
        *explained = (struct lct_pcrs){0};
    if (lct_eventlog_replay(&replayed, libctx, log, log_len, &editor, &err) != LCT_OK) {
        lct_finding_set(finding, LCT_FAILED, "%s", err.text);
        return;
    }
    leads = compare(values, &replayed, true);
    differ = compare(values, &replayed, false);
    if (explained != NULL)
        *explained = leads;
    if (fail_firmware(finding, &differ))
        return;
    size_t num = num_explaining(&tally, &leads);
    lct_pcrs_text(text, &differ);
    if (num == 0)
        lct_finding_set(finding, LCT_NOT_CLAIMED, "no event leads to a value of these PCRs");
    else if (differ.num_banks == 0)
        lct_finding_set(finding, LCT_PASSED, "%zu events lead to the value of every PCR", num);
    else
        lct_finding_set(finding, LCT_PASSED,
                        "%zu events lead to the value of every PCR but %s: the running system has "
                        "extended that since, or the log was changed there",
                        num, text);
}
