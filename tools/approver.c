/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/approver.h"

#include "proof/json.h"
#include "store/approval.h"
#include "store/authority.h"
#include "store/life.h"
#include "tools/authority.h"
#include "tools/authority_key.h"
#include "tools/json.h"
#include "tools/seal_text.h"
#include "tools/unlock.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum lct_code lct_approver_open(struct lct_approver *approver, struct lct_tool *tool,
                                const char *file, struct lct_err *err)
{
    approver->tool = tool;
    approver->file = file;
    approver->whose = "as they are now";
    approver->approved = json_array();
    approver->libctx = lct_crypto_get(tool->crypto, err);
    enum lct_code code = approver->libctx != NULL
                             ? lct_authority_key_read(&approver->pkey, tool, file, err)
                             : LCT_ERR_INTERNAL;
    if (code == LCT_OK) {
        code =
            lct_authority_public(approver->public_area, &approver->public_len, approver->pkey, err);
        if (code != LCT_OK)
            (void)lct_err_prefix(err, file);
    }
    return code == LCT_OK ? lct_authority_fingerprint(approver->fingerprint, approver->pkey,
                                                      approver->libctx, err)
                          : code;
}

bool lct_approver_is_of(const struct lct_approver *approver, const struct lct_seal *seal)
{
    return (seal->kind == LCT_SEAL_AUTHORITY || seal->kind == LCT_SEAL_EITHER) &&
           seal->authority_len == approver->public_len &&
           memcmp(seal->authority, approver->public_area, approver->public_len) == 0;
}

/* An approval that is to be made. */
struct lct_planned {
    struct lct_approval approval; /* not signed yet; its policy is known */
    struct lct_pcr_values values;
    char *dir; /* the store it is for */
    uint32_t parent;
    struct lct_name parent_name; /* of the identity's key, as lct_tpm_counter_request has it */
    char whom[LCT_MAX_ID + 64];
};

void lct_approver_forget(struct lct_approver *approver)
{
    for (size_t i = 0; i < approver->num_planned; i++)
        free(approver->planned[i].dir);
    free(approver->planned);
    approver->planned = NULL;
    approver->num_planned = 0;
}

void lct_approver_close(struct lct_approver *approver)
{
    EVP_PKEY_free(approver->pkey);
    lct_approver_forget(approver);
    json_decref(approver->approved);
    *approver = (struct lct_approver){0};
}

/* The same state under the same policyRef. */
static bool is_same(const struct lct_approval *a, const struct lct_approval *b)
{
    return memcmp(a->policy, b->policy, sizeof a->policy) == 0 && a->ref_len == b->ref_len &&
           memcmp(a->ref, b->ref, a->ref_len) == 0;
}

enum lct_code lct_approver_plan_asked(struct lct_approver *approver,
                                      const struct lct_approval *under,
                                      const struct lct_pcr_values *values, const char *dir,
                                      const char *whom, struct lct_err *err)
{
    enum lct_code code = lct_pcrs_check_seal(&values->pcrs, err);

    if (code != LCT_OK)
        return code;
    struct lct_planned *all =
        reallocarray(approver->planned, approver->num_planned + 1, sizeof *approver->planned);
    char *copy = strdup(dir);

    if (all != NULL)
        approver->planned = all;
    if (all == NULL || copy == NULL) {
        free(copy);
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    }
    struct lct_planned *planned = &all[approver->num_planned++];
    *planned = (struct lct_planned){.approval = *under, .values = *values, .dir = copy};
    planned->approval.pcrs = values->pcrs;
    (void)snprintf(planned->whom, sizeof planned->whom, "%s", whom);
    return lct_seal_state(planned->approval.policy, approver->libctx, values,
                          &planned->approval.counter, err);
}

static enum lct_code write_out(const struct lct_approver *approver,
                               const struct lct_approval *approval, struct lct_err *err)
{
    char *text = lct_approval_write(approval, approver->fingerprint), *line = NULL;
    enum lct_code code = text != NULL && asprintf(&line, "%s\n", text) >= 0
                             ? lct_tool_write(approver->out, line, err)
                             : LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");

    free(text);
    free(line);
    return code;
}

static enum lct_code sign(const struct lct_approver *approver, struct lct_planned *planned,
                          struct lct_err *err)
{
    struct lct_approval *approval = &planned->approval;

    lct_json_now(approval->created);
    enum lct_code code =
        lct_approval_sign(approval, approver->libctx, &planned->values, approver->pkey, err);
    if (code != LCT_OK)
        return code;
    return approver->out != NULL
               ? write_out(approver, approval, err)
               : lct_approval_put(planned->dir, approval, approver->fingerprint, true, err);
}

/* Whether a key takes this approval, and is sealed to a PCR that is not in it. TPM2_PolicyAuthorize
 * (TPM 2.0 Part 3, 23.16) asks for authority and policyRef, and says nothing of PCRs. */
static bool opens_more(const struct lct_approver *approver, const struct lct_planned *planned,
                       const struct lct_seal *seal)
{
    const struct lct_approval *approval = &planned->approval;
    struct lct_pcr_values picked;

    return lct_approver_is_of(approver, seal) && seal->ref_len == approval->ref_len &&
           memcmp(seal->ref, approval->ref, seal->ref_len) == 0 &&
           !lct_pcr_values_pick(&picked, &seal->pcrs.pcrs, &planned->values);
}

/* The keys that an approval opens although they are sealed to more: the first of them. */
struct opened {
    size_t num;
    char whom[LCT_KEY_LABEL], sealed[LCT_PCRS_TEXT];
};

static void find_opened(struct opened *opened, const struct lct_approver *approver,
                        const struct lct_planned *planned, const struct lct_record *record)
{
    char label[LCT_KEY_LABEL];

    for (size_t i = 0; i < record->num_generations; i++) {
        const struct lct_generation *generation = &record->generations[i];
        lct_generation_label(label, record, generation);
        if (strcmp(label, planned->whom) == 0 || !lct_life_signs(record, generation) ||
            !opens_more(approver, planned, &generation->seal) || opened->num++ > 0)
            continue;
        memcpy(opened->whom, label, sizeof label);
        lct_pcrs_text(opened->sealed, &generation->seal.pcrs.pcrs);
    }
}

/* Whether the approval is for a key of this identity. */
static bool is_for(const struct lct_planned *planned, const char *id)
{
    const char *whom = planned->whom + strlen("lct:");
    const size_t len = strlen(id);

    return strncmp(planned->whom, "lct:", strlen("lct:")) == 0 && strncmp(whom, id, len) == 0 &&
           (whom[len] == '\0' || whom[len] == '?');
}

static void warn_of_opened(const struct lct_planned *planned, const struct opened *opened,
                           const char *advice)
{
    char pcrs[LCT_PCRS_TEXT], more[48] = "";

    if (opened->num == 0)
        return;
    lct_pcrs_text(pcrs, &planned->values.pcrs);
    if (opened->num > 1)
        (void)snprintf(more, sizeof more, " (and %zu more)", opened->num - 1);
    lct_tool_warn(NULL, "this approval of %s opens %s as well, which is sealed to %s%s; %s", pcrs,
                  opened->whom, opened->sealed, more, advice);
}

/* Of the keys that sign, besides the one that it is for. */
static void warn_of_others(const struct lct_approver *approver, const struct lct_planned *planned)
{
    const struct lct_store *store = &approver->tool->store;
    struct opened own = {0}, others = {0};
    char **ids = NULL;
    size_t num_ids = 0;

    (void)lct_store_list(store, &ids, &num_ids, NULL);
    for (size_t i = 0; i < num_ids; i++) {
        struct lct_record *record = NULL;
        if (lct_store_get_record(store, ids[i], &record, NULL, NULL) == LCT_OK)
            find_opened(is_for(planned, ids[i]) ? &own : &others, approver, planned, record);
        free(record);
    }
    lct_store_free_ids(ids, num_ids);
    warn_of_opened(planned, &own, "keys of one identity take each other's approvals");
    warn_of_opened(planned, &others, "identities made with --bind have approvals of their own");
}

/* Whether standard output is the approval's alone. */
static bool is_out(const struct lct_approver *approver)
{
    return approver->out != NULL && strcmp(approver->out, "-") == 0;
}

static void warn_of_blank(const struct lct_planned *planned)
{
    struct lct_pcrs blank;
    char none[LCT_PCRS_TEXT], all[LCT_PCRS_TEXT];

    lct_pcr_values_blank(&blank, &planned->values);
    lct_pcrs_text(none, &blank);
    lct_pcrs_text(all, &planned->values.pcrs);
    if (lct_pcrs_equal(&blank, &planned->values.pcrs))
        lct_tool_warn(planned->whom,
                      "all of %s are zero in what was approved: a boot that nothing is measured of",
                      all);
    else if (blank.num_banks > 0)
        lct_tool_warn(planned->whom,
                      "nothing is measured into %s in what was approved: of %s the others alone "
                      "tell one boot from another",
                      none, all);
}

static enum lct_code say_approved(const struct lct_approver *approver,
                                  const struct lct_planned *planned, struct lct_err *err)
{
    const struct lct_counter *counter = &planned->approval.counter;
    char pcrs[LCT_PCRS_TEXT], until[64] = "";

    lct_pcrs_text(pcrs, &planned->values.pcrs);
    if (counter->handle != 0)
        (void)snprintf(until, sizeof until, ", until its counter is over %llu",
                       (unsigned long long)counter->value);
    warn_of_blank(planned);
    if (is_out(approver))
        return LCT_OK;
    (void)json_array_append_new(
        approver->approved,
        json_pack("{s:s, s:s, s:s, s:o}", "whom", planned->whom, "pcrs", pcrs, "authority",
                  approver->fingerprint, "counter",
                  counter->handle != 0 ? json_integer((json_int_t)counter->value) : json_null()));
    return lct_tool_say(approver->tool, err, "approved for %s: %s %s, by %.*s%s\n", planned->whom,
                        pcrs, approver->whose, LCT_FINGERPRINT_SHORT, approver->fingerprint, until);
}

/* Whether one approval serves this identity and one that was planned before: in a file it does,
 * whatever store they are in. */
static bool is_repeated(const struct lct_approver *approver, size_t at)
{
    const struct lct_planned *all = approver->planned;
    bool found = false;

    for (size_t i = 0; i < at && !found; i++)
        found = is_same(&all[i].approval, &all[at].approval) &&
                (approver->out != NULL || strcmp(all[i].dir, all[at].dir) == 0);
    return found;
}

static enum lct_code print_approved(const struct lct_approver *approver, struct lct_err *err)
{
    if (!approver->tool->json || is_out(approver))
        return LCT_OK;
    return lct_tool_print_json(
        json_pack("{s:i, s:O}", "version", 1, "approvals", approver->approved), err);
}

enum lct_code lct_approver_finish(struct lct_approver *approver, struct lct_err *err)
{
    enum lct_code code = LCT_OK;

    for (size_t i = 1; i < approver->num_planned && approver->out != NULL; i++)
        if (!is_repeated(approver, i))
            return LCT_FAIL(err, LCT_ERR_USAGE,
                            "--out takes one approval, and these identities need several; name "
                            "one");
    for (size_t i = 0; i < approver->num_planned && code == LCT_OK; i++) {
        struct lct_planned *planned = &approver->planned[i];
        if (!is_repeated(approver, i)) {
            code = sign(approver, planned, err);
            if (code == LCT_OK)
                warn_of_others(approver, planned);
        }
        if (code == LCT_OK)
            code = say_approved(approver, planned, err);
    }
    return code == LCT_OK ? print_approved(approver, err) : code;
}

/* Approves up to the next value of the counter, and then counts: whatever fails, an approval is
 * there. */
static enum lct_code count_up(const struct lct_approver *approver, struct lct_planned *planned,
                              struct lct_err *err)
{
    const struct lct_tpm_counter_request request = {.label = planned->whom,
                                                    .owner_auth = approver->owner_auth,
                                                    .libctx = approver->libctx,
                                                    .parent = planned->parent,
                                                    .parent_name = &planned->parent_name};
    struct lct_counter counted = planned->approval.counter;
    const uint64_t next = counted.value + 1;

    planned->approval.counter.value = next;
    enum lct_code code = sign(approver, planned, err);
    if (code == LCT_OK)
        code = lct_tpm_counter_increment(approver->tool->tpm, &counted, &request, err);
    if (code != LCT_OK || counted.value == next)
        return code;
    return LCT_FAIL(err, LCT_ERR_TPM,
                    "%s: its NV counter is at %llu after it was counted, and should be at %llu: "
                    "another program counts it, or the TPM does not; it is not sure what is "
                    "revoked, so do it again",
                    planned->whom, (unsigned long long)counted.value, (unsigned long long)next);
}

/* The approval up to one less than this one, which is void by now. */
static void drop_void(const struct lct_approver *approver, const struct lct_planned *planned)
{
    struct lct_approval approval = planned->approval;

    approval.counter.value--;
    if (lct_seal_state(approval.policy, approver->libctx, &planned->values, &approval.counter,
                       NULL) == LCT_OK)
        lct_approval_drop(planned->dir, &approval, approver->fingerprint);
}

/* Twice: a run that stopped between the two steps has left an approval that is good up to one more
 * than its counter was, and by now is. */
enum lct_code lct_approver_revoke(struct lct_approver *approver, struct lct_err *err)
{
    struct lct_planned *planned = &approver->planned[0];
    enum lct_code code = count_up(approver, planned, err);

    if (code == LCT_OK)
        code = count_up(approver, planned, err);
    if (code != LCT_OK)
        return code;
    drop_void(approver, planned);
    code = say_approved(approver, planned, err);
    if (code == LCT_OK)
        code = lct_tool_say(approver->tool, err,
                            "revoked what was approved for %s up to a counter of %llu\n",
                            planned->whom, (unsigned long long)planned->approval.counter.value - 1);
    return code == LCT_OK ? print_approved(approver, err) : code;
}

/*
 * What the counter has counted to by now. Who revokes may be asked for the owner's authorization,
 * and so a session can be salted to the parent in each case; who approves is not, and can where the
 * parent need not be made anew.
 */
static enum lct_code read_counter(const struct lct_approver *approver, struct lct_counter *counter,
                                  const struct lct_generation *generation, const char *label,
                                  struct lct_err *err)
{
    const bool salted =
        approver->revoke || generation->parent >> TPM2_HR_SHIFT == TPM2_HT_PERSISTENT;
    const struct lct_tpm_counter_request request = {.label = label,
                                                    .owner_auth = approver->owner_auth,
                                                    .libctx = approver->libctx,
                                                    .parent = generation->parent,
                                                    .parent_name =
                                                        salted ? &generation->parent_name : NULL};

    return counter->handle != 0 ? lct_tpm_counter_read(approver->tool->tpm, counter, &request, err)
                                : LCT_OK;
}

enum lct_code lct_approver_read(const struct lct_approver *approver, struct lct_pcr_values *values,
                                const char *label, struct lct_err *err)
{
    enum lct_code code = lct_tpm_read_pcrs(approver->tool->tpm, values, label, err);

    if (code != LCT_OK || approver->prediction == NULL)
        return code;
    code = lct_prediction_apply(values, approver->tool, approver->prediction, err);
    return code == LCT_OK ? code : lct_err_prefix(err, label);
}

/* The state to be approved for what has this seal. */
static enum lct_code find_values(const struct lct_approver *approver, struct lct_pcr_values *state,
                                 const struct lct_seal *seal, const struct lct_pcr_values *values,
                                 const char *label, struct lct_err *err)
{
    char pcrs[LCT_PCRS_TEXT], given[LCT_PCRS_TEXT];

    if (values == NULL)
        return lct_approver_read(approver, state, label, err);
    if (seal->kind == LCT_SEAL_AUTHORITY) {
        *state = *values;
        return LCT_OK;
    }
    if (lct_pcr_values_pick(state, &seal->pcrs.pcrs, values))
        return LCT_OK;
    lct_pcrs_text(pcrs, &seal->pcrs.pcrs);
    lct_pcrs_text(given, &values->pcrs);
    return LCT_FAIL(err, LCT_ERR_USAGE,
                    "%s: it is sealed to %s, and the values given are of %s; lct pcrs %s prints "
                    "what it takes",
                    label, pcrs, given, label);
}

static enum lct_code check_authority(const struct lct_approver *approver,
                                     const struct lct_seal *seal, const char *label,
                                     struct lct_err *err)
{
    char fingerprint[65], text[LCT_SEAL_TEXT];

    lct_seal_text(text, seal);
    if (seal->kind == LCT_SEAL_NONE || seal->kind == LCT_SEAL_AUTH)
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "%s: it is not sealed, and signs whatever was booted; there is nothing to "
                        "approve",
                        label);
    if (seal->kind == LCT_SEAL_STRICT)
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "%s: it is sealed to %s, which nobody can approve another state for", label,
                        text);
    if (lct_approver_is_of(approver, seal))
        return LCT_OK;
    lct_seal_authority(fingerprint, seal, approver->libctx);
    return LCT_FAIL(err, LCT_ERR_WRONG_KEY, "%s: its authority is %.*s, and %s is the key of %.*s",
                    label, LCT_FINGERPRINT_SHORT, fingerprint, approver->file,
                    LCT_FINGERPRINT_SHORT, approver->fingerprint);
}

/* Of one generation. */
static enum lct_code plan_generation(struct lct_approver *approver,
                                     const struct lct_generation *generation, const char *dir,
                                     const char *label, const struct lct_pcr_values *values,
                                     struct lct_err *err)
{
    const struct lct_seal *seal = &generation->seal;
    struct lct_approval under = {.counter = seal->counter, .ref_len = seal->ref_len};
    struct lct_pcr_values state = {.pcrs = seal->pcrs.pcrs};

    memcpy(under.ref, seal->ref, seal->ref_len);
    enum lct_code code = check_authority(approver, seal, label, err);
    if (code == LCT_OK && approver->revoke && seal->counter.handle == 0)
        code =
            LCT_FAIL(err, LCT_ERR_USAGE,
                     "%s: its approvals cannot be revoked, but only those for a key that was made "
                     "with lct create --seal authority --revocable",
                     label);
    if (code == LCT_OK)
        code = find_values(approver, &state, seal, values, label, err);
    if (code == LCT_OK)
        code = read_counter(approver, &under.counter, generation, label, err);
    if (code == LCT_OK)
        code = lct_approver_plan_asked(approver, &under, &state, dir, label, err);
    if (code != LCT_OK)
        return code;
    struct lct_planned *planned = &approver->planned[approver->num_planned - 1];
    planned->parent = generation->parent;
    planned->parent_name = generation->parent_name;
    return LCT_OK;
}

/* Whether what was planned from `first` on is for what has this seal as well: whichever PCRs it is
 * of, it opens that. One more, of other PCRs, would open all of these, and for ever. */
static bool is_served(const struct lct_approver *approver, size_t first,
                      const struct lct_seal *seal)
{
    bool served = false;

    for (size_t i = first; i < approver->num_planned && !served; i++)
        served = lct_approval_fits(&approver->planned[i].approval, seal);
    return served;
}

/* The keys of an identity that are not the active one, and sign, the newest first. One that cannot
 * be approved for is told, if others of the identity can, and else is the error. */
static enum lct_code plan_others(struct lct_approver *approver, const struct lct_record *record,
                                 const char *dir, size_t first, const struct lct_pcr_values *values,
                                 struct lct_err *err)
{
    char label[LCT_KEY_LABEL];
    enum lct_code code = LCT_OK;

    for (size_t i = record->num_generations; i > 0; i--) {
        const struct lct_generation *generation = &record->generations[i - 1];
        if (generation->number == record->active || !lct_life_signs(record, generation) ||
            !lct_approver_is_of(approver, &generation->seal) ||
            is_served(approver, first, &generation->seal) ||
            (approver->out != NULL && approver->num_planned > first))
            continue;
        lct_generation_label(label, record, generation);
        code = plan_generation(approver, generation, dir, label, values, err);
        if (code != LCT_OK && approver->num_planned > first)
            lct_tool_warn(NULL, "%s", err->text);
    }
    return approver->num_planned > first ? LCT_OK : code;
}

/* Older approvals can be made void of a key that has ended, too, and that is of use: a copy of its
 * file may be anywhere. They are counted for all keys of the identity at once. */
static enum lct_code plan_record(struct lct_approver *approver, const struct lct_record *record,
                                 const char *dir, const struct lct_pcr_values *values,
                                 struct lct_err *err)
{
    const struct lct_generation *active = lct_record_generation(record, 0);
    const struct lct_life life = lct_record_life(record, active);
    const size_t first = approver->num_planned;
    char label[LCT_KEY_LABEL];
    enum lct_code code = LCT_OK;

    lct_generation_label(label, record, active);
    if (approver->revoke)
        return plan_generation(approver, active, dir, label, values, err);
    code = lct_life_check(&life, label, time(NULL), err);
    if (code == LCT_OK && lct_approver_is_of(approver, &active->seal))
        code = plan_generation(approver, active, dir, label, values, err);
    if (code == LCT_OK)
        code = plan_others(approver, record, dir, first, values, err);
    if (code != LCT_OK || approver->num_planned > first)
        return code;
    return check_authority(approver, &active->seal, label, err);
}

enum lct_code lct_approver_plan(struct lct_approver *approver, const char *id,
                                const struct lct_pcr_values *values, struct lct_err *err)
{
    struct lct_record *record = NULL;
    const char *dir = NULL;
    enum lct_code code = lct_store_get_record(&approver->tool->store, id, &record, &dir, err);

    if (code == LCT_OK)
        code = plan_record(approver, record, dir, values, err);
    free(record);
    return code;
}

bool lct_approver_serves(const struct lct_approver *approver, const struct lct_record *record)
{
    bool serves = false;

    for (size_t i = 0; i < record->num_generations && !serves; i++)
        serves = lct_approver_is_of(approver, &record->generations[i].seal) &&
                 lct_life_signs(record, &record->generations[i]);
    return serves;
}
