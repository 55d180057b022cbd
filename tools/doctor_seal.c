/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/doctor.h"

#include "base/encode.h"
#include "store/approval.h"
#include "store/life.h"
#include "tools/authority.h"
#include "tools/authority_key.h"
#include "tools/json.h"
#include "tools/seal_text.h"
#include "tools/shell.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

enum { HEX = 2 * LCT_MAX_HASH + 1 };

/* A seal, and how it stands with the PCRs as they are. */
struct standing {
    const char *id, *dir;
    char label[LCT_KEY_LABEL]; /* lct_generation_label */
    bool active;
    struct lct_generation generation;
    struct lct_pcr_values now;
    bool as_sealed;               /* the values are those of the sealing */
    bool lost;                    /* it has a counter, which is not in this TPM any more */
    uint64_t count;               /* of that counter */
    bool revoked;                 /* an approval was for them */
    bool approved;                /* an approval is for them: */
    struct lct_approval approval; /* the newest of these */
    size_t num_approvals;
};

/* Whether an approval is for the state of this boot, be it revoked or not. */
static bool is_for_now(const struct lct_tool *tool, const struct lct_approval *approval,
                       const char *label, OSSL_LIB_CTX *libctx)
{
    struct lct_pcr_values values = {.pcrs = approval->pcrs};
    uint8_t policy[LCT_POLICY_DIGEST];

    return lct_tpm_read_pcrs(tool->tpm, &values, label, NULL) == LCT_OK &&
           lct_seal_state(policy, libctx, &values, &approval->counter, NULL) == LCT_OK &&
           memcmp(policy, approval->policy, sizeof policy) == 0;
}

static enum lct_code read_counter(struct standing *standing, const struct lct_tool *tool,
                                  const char *label, OSSL_LIB_CTX *libctx, struct lct_err *err)
{
    const struct lct_tpm_counter_request request = {.label = label, .libctx = libctx};
    struct lct_counter counter = standing->generation.seal.counter;

    if (counter.handle == 0)
        return LCT_OK;
    enum lct_code code = lct_tpm_counter_read(tool->tpm, &counter, &request, err);
    standing->lost = code == LCT_ERR_OTHER_TPM;
    standing->count = counter.value;
    return standing->lost ? LCT_OK : code;
}

static enum lct_code find_approval(struct standing *standing, const struct lct_tool *tool,
                                   const char *label, OSSL_LIB_CTX *libctx, struct lct_err *err)
{
    static const char systemds[] = "/run/systemd/tpm2-pcr-signature.json";
    const char *file = tool->config.pcr_signature != NULL ? tool->config.pcr_signature : systemds;
    struct lct_approvals approvals = {0};
    enum lct_code code =
        lct_approvals_find(&approvals, standing->dir, strcmp(file, "none") == 0 ? NULL : file,
                           &standing->generation.seal, libctx, err);

    for (size_t i = 0; i < approvals.num && !standing->lost && !standing->approved; i++)
        if (is_for_now(tool, &approvals.all[i], label, libctx)) {
            standing->approval = approvals.all[i];
            standing->revoked = standing->count > standing->approval.counter.value;
            standing->approved = !standing->revoked;
        }
    standing->num_approvals = approvals.num;
    lct_approvals_clear(&approvals);
    return code;
}

/* Of a bank that the TPM does not keep any more nothing is known, but another may be approved; else
 * it is `code`. */
static enum lct_code find_approved(struct standing *standing, const struct lct_tool *tool,
                                   const char *label, OSSL_LIB_CTX *libctx, enum lct_code code)
{
    return find_approval(standing, tool, label, libctx, NULL) == LCT_OK && standing->approved
               ? LCT_OK
               : code;
}

/* Nothing that is secret, and nothing that the lockout counts. */
static enum lct_code judge(struct standing *standing, const struct lct_tool *tool,
                           const char *label, struct lct_err *err)
{
    const struct lct_seal *seal = &standing->generation.seal;
    uint8_t digest[LCT_POLICY_DIGEST];
    OSSL_LIB_CTX *libctx = lct_crypto_get(tool->crypto, err);

    if (libctx == NULL)
        return LCT_ERR_INTERNAL;
    standing->now.pcrs = seal->pcrs.pcrs;
    enum lct_code code = seal->pcrs.pcrs.num_banks > 0
                             ? lct_tpm_read_pcrs(tool->tpm, &standing->now, label, err)
                             : LCT_OK;
    if (code == LCT_ERR_UNSUPPORTED && seal->kind != LCT_SEAL_STRICT) {
        standing->now.pcrs.num_banks = 0;
        return find_approved(standing, tool, label, libctx, code);
    }
    if (code == LCT_OK && seal->kind != LCT_SEAL_AUTHORITY) {
        code = lct_pcr_digest(digest, libctx, &standing->now, err);
        standing->as_sealed =
            code == LCT_OK && memcmp(digest, seal->pcr_digest, sizeof digest) == 0;
    }
    if (code == LCT_OK)
        code = read_counter(standing, tool, label, libctx, err);
    if (code == LCT_OK && seal->kind != LCT_SEAL_STRICT)
        code = find_approval(standing, tool, label, libctx, err);
    return code;
}

/* Begins with what a generation is sealed to. False: to nothing, or it signs no more. */
static bool find_standing(struct standing *standing, const struct lct_record *record,
                          const struct lct_generation *generation, const char *dir)
{
    const enum lct_seal_kind kind = generation->seal.kind;

    memset(standing, 0, sizeof *standing);
    standing->id = record->id;
    standing->dir = dir;
    standing->active = generation->number == record->active;
    standing->generation = *generation;
    lct_generation_label(standing->label, record, generation);
    return kind != LCT_SEAL_NONE && kind != LCT_SEAL_AUTH && lct_life_signs(record, generation);
}

/* From what to what one PCR has changed. */
static void find_change(struct lct_doctor *doctor, const struct standing *standing, size_t bank,
                        unsigned pcr)
{
    const struct lct_pcr_values *was = &standing->generation.seal.pcrs;
    const struct lct_hash *hash = was->pcrs.banks[bank].hash;
    const uint8_t *then = was->values[bank][pcr], *now = standing->now.values[bank][pcr];
    char was_text[HEX], now_text[HEX];
    bool opens = standing->approved;

    if (memcmp(then, now, hash->size) == 0)
        return;
    lct_hex_encode(was_text, then, hash->size);
    lct_hex_encode(now_text, now, hash->size);
    json_t *finding = lct_doctor_find(
        doctor, LCT_TOPIC_IDENTITY, opens ? LCT_SEVERITY_NOTE : LCT_SEVERITY_WARNING, NULL,
        "%s: PCR %u (%s) was %s at the sealing and is %s; it holds %s", standing->label, pcr,
        hash->name, was_text, now_text, lct_pcr_meaning(pcr));
    (void)json_object_set_new(finding, "pcr", json_integer((json_int_t)pcr));
    (void)json_object_set_new(finding, "bank", json_string(hash->name));
    (void)json_object_set_new(finding, "was", json_string(was_text));
    (void)json_object_set_new(finding, "is", json_string(now_text));
}

static void find_changes(struct lct_doctor *doctor, const struct standing *standing)
{
    const struct lct_seal *seal = &standing->generation.seal;

    if (seal->kind == LCT_SEAL_AUTHORITY || standing->as_sealed ||
        standing->now.pcrs.num_banks == 0)
        return;
    if (!seal->has_values)
        (void)lct_doctor_find(doctor, LCT_TOPIC_IDENTITY, LCT_SEVERITY_NOTE, NULL,
                              "%s: of the PCRs at its sealing only a digest is known: which of "
                              "them differs is not",
                              standing->label);
    for (size_t bank = 0; seal->has_values && bank < seal->pcrs.pcrs.num_banks; bank++)
        for (unsigned pcr = 0; pcr < LCT_NUM_PCRS; pcr++)
            if ((seal->pcrs.pcrs.banks[bank].pcrs >> pcr & 1) != 0)
                find_change(doctor, standing, bank, pcr);
}

/* What approves the state as it is, for one identity, and makes what was revoked good again. */
static const char *approving(char command[LCT_SHELL_COMMAND], const struct lct_tool *tool,
                             const struct standing *standing)
{
    char file[PATH_MAX], words[LCT_MAX_ID + 32] = "lct approve --authority";
    const char *key = lct_authority_key_file(file, tool, &standing->generation.seal);

    if (standing->revoked)
        (void)snprintf(words, sizeof words, "lct reseal %s --authority", standing->id);
    (void)lct_shell_command(command, words, key);
    size_t len = strlen(command);
    if (!standing->revoked)
        (void)snprintf(command + len, LCT_SHELL_COMMAND - len, " %s", standing->id);
    return command;
}

enum { REFUSAL = 256 };

/* Why the seal is shut, and whether somebody can open it. */
static bool find_refusal(char text[REFUSAL], const struct standing *standing)
{
    const struct lct_seal *seal = &standing->generation.seal;

    if (standing->lost)
        (void)snprintf(text, REFUSAL,
                       "its NV counter at 0x%08x is gone from the TPM, and without it the key "
                       "cannot be used any more: make another key",
                       seal->counter.handle);
    else if (seal->kind == LCT_SEAL_STRICT)
        (void)snprintf(text, REFUSAL,
                       "this boot has another state, which nobody can approve for it: undo the "
                       "change, or make another key");
    else if (standing->revoked)
        (void)snprintf(text, REFUSAL,
                       "the approval of this boot's state has been revoked; if the state is "
                       "meant, approve it anew");
    else if (standing->num_approvals > 0)
        (void)snprintf(text, REFUSAL,
                       "this boot has no such state (approvals that do not fit: %zu); if the "
                       "change is meant, approve it",
                       standing->num_approvals);
    else
        (void)snprintf(text, REFUSAL,
                       "this boot has no such state (there is no approval); if the change is "
                       "meant, approve it");
    return !standing->lost && seal->kind != LCT_SEAL_STRICT;
}

/* The identity signs without the keys that are not the active one. */
static void tell_refusal(struct lct_doctor *doctor, const struct standing *standing,
                         const char *words)
{
    char approval[LCT_SHELL_COMMAND], why[REFUSAL];
    const bool can_open = find_refusal(why, standing);
    const char *command = can_open ? approving(approval, doctor->tool, standing) : NULL;

    doctor->sealed |= standing->active;
    if (standing->active)
        (void)lct_doctor_problem(doctor, LCT_TOPIC_IDENTITY, LCT_ERR_SEALED, command,
                                 "%s is %s; %s", standing->label, words, why);
    else
        (void)lct_doctor_find(doctor, LCT_TOPIC_IDENTITY, LCT_SEVERITY_WARNING, command,
                              "%s is %s; %s", standing->label, words, why);
}

static void tell_standing(struct lct_doctor *doctor, const struct standing *standing)
{
    char words[LCT_SEAL_WORDS], pcrs[LCT_PCRS_TEXT];

    (void)lct_seal_words(words, &standing->generation.seal, standing->generation.created,
                         lct_crypto_get(doctor->tool->crypto, NULL));
    lct_pcrs_text(pcrs, &standing->approval.pcrs);
    if (standing->as_sealed)
        (void)lct_doctor_find(doctor, LCT_TOPIC_IDENTITY, LCT_SEVERITY_OK, NULL,
                              "%s is %s; the PCRs are as at the sealing", standing->label, words);
    else if (standing->approved)
        (void)lct_doctor_find(doctor, LCT_TOPIC_IDENTITY, LCT_SEVERITY_OK, NULL,
                              "%s is %s; %s as it is was approved%s%.10s", standing->label, words,
                              pcrs, standing->approval.created[0] != '\0' ? " on " : "",
                              standing->approval.created);
    else
        tell_refusal(doctor, standing, words);
}

static void find_seal(struct lct_doctor *doctor, struct standing *standing)
{
    struct lct_err err = {.code = LCT_OK};
    enum lct_code code = judge(standing, doctor->tool, standing->label, &err);

    if (code == LCT_OK) {
        find_changes(doctor, standing);
        tell_standing(doctor, standing);
    } else if (standing->active) {
        (void)lct_doctor_problem(doctor, LCT_TOPIC_IDENTITY, code, NULL, "%s", err.text);
    } else {
        (void)lct_doctor_find(doctor, LCT_TOPIC_IDENTITY, LCT_SEVERITY_WARNING, NULL, "%s",
                              err.text);
    }
}

/* A record that cannot be read is told elsewhere. */
void lct_doctor_seal(struct lct_doctor *doctor)
{
    struct standing *standing = calloc(1, sizeof *standing);
    struct lct_record *record = NULL;
    const char *dir = NULL;

    if (standing != NULL &&
        lct_store_get_record(&doctor->tool->store, doctor->id, &record, &dir, NULL) == LCT_OK)
        for (size_t i = 0; i < record->num_generations; i++)
            if (find_standing(standing, record, &record->generations[i], dir))
                find_seal(doctor, standing);
    free(record);
    free(standing);
}

static enum lct_opening opening_of(struct standing *standing, const struct lct_tool *tool)
{
    return judge(standing, tool, standing->label, NULL) == LCT_OK &&
                   (standing->as_sealed || standing->approved)
               ? LCT_OPENING_OPEN
               : LCT_OPENING_SHUT;
}

enum lct_opening lct_doctor_opening(const struct lct_tool *tool, const char *id)
{
    struct standing *standing = calloc(1, sizeof *standing);
    struct lct_record *record = NULL;
    const char *dir = NULL;
    enum lct_opening opening = LCT_OPENING_FREE;

    if (standing == NULL)
        return LCT_OPENING_SHUT;
    if (lct_store_get_record(&tool->store, id, &record, &dir, NULL) == LCT_OK &&
        find_standing(standing, record, lct_record_generation(record, 0), dir))
        opening = opening_of(standing, tool);
    free(record);
    free(standing);
    return opening;
}

/* The keys that are sealed, and those of them that are shut. */
struct sealed {
    const struct lct_tool *tool;
    struct standing *standing; /* to work with */
    size_t num;
    struct lct_doctor_list shut;
    char command[LCT_MAX_ID + 16]; /* about the first of these */
};

static void count_sealed(struct sealed *sealed, const char *id)
{
    struct standing *standing = sealed->standing;
    struct lct_record *record = NULL;
    const char *dir = NULL;

    if (lct_store_get_record(&sealed->tool->store, id, &record, &dir, NULL) != LCT_OK)
        return;
    for (size_t i = 0; i < record->num_generations; i++) {
        if (!find_standing(standing, record, &record->generations[i], dir))
            continue;
        sealed->num++;
        if (opening_of(standing, sealed->tool) != LCT_OPENING_SHUT)
            continue;
        if (sealed->shut.num == 0)
            (void)snprintf(sealed->command, sizeof sealed->command, "lct doctor %s", id);
        lct_doctor_list(&sealed->shut, ", ", "%s", standing->label);
    }
    free(record);
}

void lct_doctor_seals(struct lct_doctor *doctor)
{
    struct sealed sealed = {.tool = doctor->tool, .standing = calloc(1, sizeof *sealed.standing)};
    char **ids = NULL;
    size_t num_ids = 0;

    if (sealed.standing == NULL)
        return;
    (void)lct_store_list(&doctor->tool->store, &ids, &num_ids, NULL);
    for (size_t i = 0; i < num_ids; i++)
        count_sealed(&sealed, ids[i]);
    if (sealed.shut.num > 0)
        (void)lct_doctor_find(doctor, LCT_TOPIC_STORE, LCT_SEVERITY_WARNING, sealed.command,
                              "keys whose seal this boot does not open: %s",
                              lct_doctor_list_end(&sealed.shut));
    else if (sealed.num > 0)
        (void)lct_doctor_find(doctor, LCT_TOPIC_STORE, LCT_SEVERITY_OK, NULL,
                              "keys that are sealed: %zu, which this boot opens", sealed.num);
    free(sealed.standing);
    lct_store_free_ids(ids, num_ids);
}

/* Whether a file is on something that can be taken out: Linux, Documentation/ABI, sysfs-block. */
static bool is_removable(const struct lct_doctor *doctor, const char *path)
{
    static const char *const places[] = {"", "/.."}; /* of a disk, of a partition of one */
    struct stat st;
    char file[64 + 4096], value = '0';

    if (stat(path, &st) != 0)
        return false;
    for (size_t i = 0; i < sizeof places / sizeof places[0] && value != '1'; i++) {
        (void)snprintf(file, sizeof file, "%s/sys/dev/block/%u:%u%s/removable", doctor->root,
                       major(st.st_dev), minor(st.st_dev), places[i]);
        FILE *in = fopen(file, "re");
        if (in != NULL && fread(&value, 1, 1, in) != 1)
            value = '0';
        if (in != NULL)
            (void)fclose(in);
    }
    return value == '1';
}

static json_t *tell_authority(struct lct_doctor *doctor, const struct lct_authority *authority)
{
    const char *file = authority->private_key;
    char algorithm[16];

    lct_authority_key_algorithm(algorithm, authority->pkey);
    if (file == NULL)
        return lct_doctor_find(
            doctor, LCT_TOPIC_STORE, LCT_SEVERITY_OK, NULL,
            "recovery authority: %.*s (%s), whose private half was not made here",
            LCT_FINGERPRINT_SHORT, authority->fingerprint, algorithm);
    if (!lct_authority_is_here(authority))
        return lct_doctor_find(doctor, LCT_TOPIC_STORE, LCT_SEVERITY_OK, NULL,
                               "recovery authority: %.*s (%s), whose private half was put at %s "
                               "and is not there now",
                               LCT_FINGERPRINT_SHORT, authority->fingerprint, algorithm, file);
    if (is_removable(doctor, file))
        return lct_doctor_find(doctor, LCT_TOPIC_STORE, LCT_SEVERITY_NOTE, NULL,
                               "recovery authority: %.*s (%s), whose private half is at %s, on a "
                               "removable disk: take it out when it has approved",
                               LCT_FINGERPRINT_SHORT, authority->fingerprint, algorithm, file);
    return lct_doctor_find(doctor, LCT_TOPIC_STORE, LCT_SEVERITY_WARNING, NULL,
                           "recovery authority: %.*s (%s), whose private half is on a disk of this "
                           "machine, %s: who has the disk and its recovery phrase can approve any "
                           "boot; move it elsewhere",
                           LCT_FINGERPRINT_SHORT, authority->fingerprint, algorithm, file);
}

void lct_doctor_authority(struct lct_doctor *doctor)
{
    struct lct_tool *tool = doctor->tool;
    struct lct_authority authority = {0};
    struct lct_err err = {.code = LCT_OK};
    enum lct_code code = lct_authority_get(&authority, &tool->store, NULL, tool->crypto, &err);

    if (code == LCT_OK) {
        json_t *finding = tell_authority(doctor, &authority);
        (void)json_object_set_new(finding, "authority", json_string(authority.fingerprint));
        (void)json_object_set_new(finding, "private_key",
                                  lct_tool_json_text(authority.private_key));
    } else if (code == LCT_ERR_NO_AUTHORITY)
        (void)lct_doctor_find(doctor, LCT_TOPIC_STORE, LCT_SEVERITY_NOTE,
                              "lct authority init --out FILE",
                              "there is no recovery authority, which lct create seals keys to "
                              "unless it is told otherwise");
    else
        (void)lct_doctor_find(doctor, LCT_TOPIC_STORE, LCT_SEVERITY_WARNING, NULL, "%s", err.text);
    lct_authority_clear(&authority);
}
