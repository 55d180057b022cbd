/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/verdict.h"

#include "base/unconst.h"
#include "proof/json.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void lct_finding_set_args(struct lct_finding *finding, enum lct_outcome outcome, const char *format,
                          va_list args)
{
    finding->outcome = outcome;
    (void)vsnprintf(finding->reason, sizeof finding->reason, format, args);
}

void lct_finding_set(struct lct_finding *finding, enum lct_outcome outcome, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    lct_finding_set_args(finding, outcome, format, args);
    va_end(args);
}

void lct_verdict_set(struct lct_verdict *verdict, enum lct_claim claim, enum lct_outcome outcome,
                     const char *format, ...)
{
    va_list args;

    va_start(args, format);
    lct_finding_set_args(&verdict->findings[claim], outcome, format, args);
    va_end(args);
}

bool lct_verdict_holds(const struct lct_verdict *verdict)
{
    bool claimed = false;

    for (size_t i = 0; i < LCT_NUM_CLAIMS; i++) {
        if (verdict->findings[i].outcome == LCT_FAILED)
            return false;
        if (verdict->findings[i].outcome == LCT_PASSED)
            claimed = true;
    }
    return claimed;
}

const char *lct_claim_name(enum lct_claim claim)
{
    static const char *const names[LCT_NUM_CLAIMS] = {
        [LCT_CLAIM_SIGNED] = "signed",
        [LCT_CLAIM_AK_FIT] = "ak_fit",
        [LCT_CLAIM_AK_BOUND] = "ak_bound",
        [LCT_CLAIM_EK_GENUINE] = "ek_genuine",
        [LCT_CLAIM_FRESH] = "fresh",
        [LCT_CLAIM_KEY_RESIDENT] = "key_resident",
        [LCT_CLAIM_NON_EXTRACTABLE] = "non_extractable",
        [LCT_CLAIM_KEY_FIT] = "key_fit",
        [LCT_CLAIM_SEALED] = "sealed",
        [LCT_CLAIM_BOOT_STATE] = "boot_state",
        [LCT_CLAIM_KEY_USABLE_NOW] = "key_usable_now",
    };

    return names[claim];
}

static const char *const outcome_names[] = {
    [LCT_NOT_CLAIMED] = "not_claimed", [LCT_PASSED] = "pass", [LCT_FAILED] = "fail"};

enum { NUM_OUTCOMES = sizeof outcome_names / sizeof outcome_names[0] };

const char *lct_outcome_name(enum lct_outcome outcome)
{
    return outcome_names[outcome];
}

json_t *lct_verdict_json(const struct lct_verdict *verdict)
{
    json_t *json = json_object();
    bool good = json != NULL;

    for (size_t i = 0; i < LCT_NUM_CLAIMS && good; i++) {
        const struct lct_finding *finding = &verdict->findings[i];
        good = json_object_set_new(json, lct_claim_name((enum lct_claim)i),
                                   json_pack("{s:s, s:s}", "outcome",
                                             lct_outcome_name(finding->outcome), "reason",
                                             finding->reason)) == 0;
    }
    if (good)
        return json;
    json_decref(json);
    return NULL;
}

static bool finding_from_json(struct lct_finding *finding, const json_t *json)
{
    const char *outcome, *reason;
    size_t i = 0;

    if (json_unpack_ex(lct_unconst(json), NULL, JSON_STRICT, "{s:s, s:s}", "outcome", &outcome,
                       "reason", &reason) != 0)
        return false;
    while (i < NUM_OUTCOMES && strcmp(outcome_names[i], outcome) != 0)
        i++;
    finding->outcome = (enum lct_outcome)i;
    return i < NUM_OUTCOMES && lct_json_text(finding->reason, sizeof finding->reason, reason);
}

bool lct_verdict_from_json(struct lct_verdict *verdict, const json_t *json)
{
    for (size_t i = 0; i < LCT_NUM_CLAIMS; i++)
        if (!finding_from_json(&verdict->findings[i],
                               json_object_get(json, lct_claim_name((enum lct_claim)i))))
            return false;
    return json_is_object(json) && json_object_size(json) == LCT_NUM_CLAIMS;
}
