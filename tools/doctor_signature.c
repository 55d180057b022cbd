/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/doctor.h"

#include "store/identity.h"
#include "store/life.h"
#include "tools/signing.h"
#include "tools/unlock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static const enum lct_topic topic = LCT_TOPIC_SIGNATURE;

static double milliseconds(void)
{
    struct timespec now = {0};

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* The first signature loads the key, and is not what is measured. */
static enum lct_code time_signature(const struct lct_signing *signing, double *ms,
                                    struct lct_err *err)
{
    static const uint8_t message[] = "lct doctor";
    struct lct_signature signature;
    enum lct_code code = lct_signing_message(signing, &signature, message, sizeof message, err);
    double start = milliseconds();

    if (code == LCT_OK)
        code = lct_signing_message(signing, &signature, message, sizeof message, err);
    *ms = milliseconds() - start;
    return code;
}

enum { COMMAND = LCT_MAX_ID + 120 };

static const char *command_for(char command[COMMAND], const struct lct_doctor *doctor,
                               const char *id, const struct lct_err *err)
{
    if (err->code == LCT_ERR_SEALED && doctor->id == NULL && id != NULL) {
        (void)snprintf(command, COMMAND, "lct doctor %s", id);
        return command;
    }
    if (err->code == LCT_ERR_OTHER_TPM && id != NULL) { /* the identity can go on, the key cannot */
        (void)snprintf(command, COMMAND,
                       "lct rotate %s --without-old-key --new-parent"
                       "  # if you know that the TPM was cleared or replaced",
                       id);
        return command;
    }
    if (err->code == LCT_ERR_LOCKOUT)
        return "tpm2_dictionarylockout -c";
    if (err->code != LCT_ERR_TPM_FULL)
        return NULL;
    return (err->tpm_rc & 0xfff) == TPM2_RC_SESSION_MEMORY ? "tpm2_flushcontext -l"
                                                           : "tpm2_flushcontext -t";
}

/* The sentence of a sealed key leads to where the reader is already. */
static void cut_hint(char *text, const char *id)
{
    char hint[LCT_MAX_ID + 24];
    int len = snprintf(hint, sizeof hint, "; see lct doctor %s", id);
    size_t text_len = strlen(text);

    if (text_len >= (size_t)len && strcmp(text + text_len - (size_t)len, hint) == 0)
        text[text_len - (size_t)len] = '\0';
}

/* `passphrase` is the key's, if it was found out already, else empty. */
static void find_signature(struct lct_doctor *doctor, const char *id,
                           const struct lct_secret *passphrase)
{
    struct lct_tool *tool = doctor->tool;
    struct lct_signing signing = {0};
    struct lct_key *key = NULL;
    struct lct_err err = {.code = LCT_OK};
    char command[COMMAND];
    double ms = 0;
    enum lct_code code = lct_store_get_key(&tool->store, tool->crypto, id, 0, &key, &err);

    if (code == LCT_OK) {
        key->passphrase = *passphrase;
        code = lct_signing_take(&signing, tool, key, &err);
    }
    if (code == LCT_OK)
        code = time_signature(&signing, &ms, &err);
    if (code == LCT_OK)
        (void)json_object_set_new(lct_doctor_find(doctor, topic, LCT_SEVERITY_OK, NULL,
                                                  "lct:%s signs (%s) in %.1f ms", id,
                                                  signing.key->algorithm->name, ms),
                                  "milliseconds", json_real(ms));
    else {
        if (doctor->id != NULL)
            cut_hint(err.text, id);
        (void)lct_doctor_problem(doctor, topic, code, command_for(command, doctor, id, &err), "%s",
                                 err.text);
    }
    lct_signing_close(&signing);
}

/* Whom to sign with, in the TPM: the first identity of each kind that has not ended. */
struct candidates {
    const char *free;      /* it takes no passphrase */
    const char *with_file; /* passphrase_file has its passphrase */
    const char *asks;      /* nobody but the user has it */
    const char *software;  /* its key is in no TPM, and not signed with */
    struct lct_err first;  /* why the first of those that are of no use is not */
};

static void judge_candidate(struct candidates *candidates, const struct lct_tool *tool,
                            const char *id)
{
    struct lct_err *err = candidates->first.code == LCT_OK ? &candidates->first : NULL;
    struct lct_key *key = NULL;
    const char **place = NULL;

    if (lct_store_get_key(&tool->store, tool->crypto, id, 0, &key, err) == LCT_OK &&
        lct_life_check_key(key, NULL) == LCT_OK) {
        if (lct_key_is_software(key))
            place = &candidates->software;
        else if (lct_key_unlock(key, &tool->config, err) == LCT_OK)
            place = lct_key_is_locked(key) ? &candidates->asks
                    : key->has_passphrase  ? &candidates->with_file
                                           : &candidates->free;
    }
    if (place != NULL && *place == NULL)
        *place = id;
    lct_key_free(key);
}

/* A wrong passphrase in the file would count: the last try before the lockout is the user's. */
static bool may_try(const struct lct_doctor *doctor)
{
    const struct lct_probe *probe = &doctor->probe;

    return !doctor->probed || (probe->permanent & TPMA_PERMANENT_INLOCKOUT) != 0 ||
           probe->tries + 1 < probe->max_tries;
}

/* What the lockout has counted is forgotten in time, or as the command says. */
static void warn_of_last_try(struct lct_doctor *doctor, const char *whose)
{
    (void)lct_doctor_find(doctor, topic, LCT_SEVERITY_WARNING, "tpm2_dictionarylockout -c",
                          "no signature was made: %s takes a passphrase, and one more that is "
                          "wrong would lock the TPM",
                          whose);
}

static void sign_with_any(struct lct_doctor *doctor, const struct candidates *candidates)
{
    static const struct lct_secret unknown = {0};
    const char *id = candidates->asks != NULL ? candidates->asks : candidates->software;
    char command[LCT_MAX_ID + 16];

    (void)snprintf(command, sizeof command, "lct doctor %s", id != NULL ? id : "");
    if (candidates->free != NULL)
        find_signature(doctor, candidates->free, &unknown);
    else if (candidates->with_file != NULL && may_try(doctor))
        find_signature(doctor, candidates->with_file, &unknown);
    else if (candidates->with_file != NULL)
        warn_of_last_try(doctor, "every identity");
    else if (candidates->asks != NULL)
        (void)lct_doctor_find(doctor, topic, LCT_SEVERITY_NOTE, command,
                              "no signature was made: every identity takes a passphrase");
    else if (candidates->first.code != LCT_OK)
        (void)lct_doctor_problem(doctor, topic, candidates->first.code, "lct check",
                                 "no identity%s can be used, the first because: %s",
                                 candidates->software != NULL ? " whose key is in the TPM" : "",
                                 candidates->first.text);
    else if (candidates->software != NULL)
        (void)lct_doctor_find(doctor, topic, LCT_SEVERITY_NOTE, command,
                              "no signature was made: no identity has its key in the TPM, and lct "
                              "doctor ID makes one of a key in software");
    else
        (void)lct_doctor_find(doctor, topic, LCT_SEVERITY_NOTE, "lct create NAME",
                              "there is no identity to sign with");
}

static void find_any_signature(struct lct_doctor *doctor)
{
    struct lct_tool *tool = doctor->tool;
    struct candidates candidates = {0};
    char **ids = NULL;
    size_t num_ids = 0;

    (void)lct_store_list(&tool->store, &ids, &num_ids, NULL);
    for (size_t i = 0; i < num_ids && candidates.free == NULL; i++)
        judge_candidate(&candidates, tool, ids[i]);
    sign_with_any(doctor, &candidates);
    lct_store_free_ids(ids, num_ids);
}

/* So that nobody is asked twice: the passphrase that the check was given. */
struct remembering {
    struct lct_tool *tool;
    struct lct_secret passphrase;
};

static enum lct_code unlock(void *arg, struct lct_key *key, struct lct_err *err)
{
    struct remembering *remembering = arg;
    enum lct_code code = lct_tool_unlock(remembering->tool, key, err);

    if (code == LCT_OK)
        remembering->passphrase = key->passphrase;
    return code;
}

/* Whether its signature could cost the last try by a passphrase that nobody types. */
static bool is_last_try(const struct lct_doctor *doctor)
{
    const struct lct_tool *tool = doctor->tool;
    struct lct_key *key = NULL;
    bool is = !may_try(doctor) &&
              lct_store_get_key(&tool->store, tool->crypto, doctor->id, 0, &key, NULL) == LCT_OK &&
              !lct_key_is_software(key) && key->has_passphrase &&
              (key->attributes & TPMA_OBJECT_NODA) == 0 && lct_life_check_key(key, NULL) == LCT_OK;

    if (is && tool->passphrase_file == NULL)
        is = lct_key_unlock(key, &tool->config, NULL) == LCT_OK && !lct_key_is_locked(key);
    lct_key_free(key);
    return is;
}

/* The checks of lct check, in its words; what a seal refuses is explained by lct_doctor_seal. */
static bool find_identity(struct lct_doctor *doctor, struct remembering *remembering,
                          bool no_signature)
{
    struct lct_tool *tool = doctor->tool;
    struct lct_check_finding findings[LCT_MAX_CHECK_FINDINGS];
    struct lct_err err = {.code = LCT_OK};
    char command[COMMAND];
    size_t num = 0, bad = 0;
    const struct lct_unlocker unlocker = {unlock, remembering};
    const struct lct_check_request request = {doctor->id, false, &unlocker, no_signature};
    enum lct_code code =
        lct_identity_check(&tool->store, tool->tpm, tool->crypto, &request, findings, &num, &err);

    for (size_t i = 0; i < num; i++) {
        bad += !findings[i].good;
        if (!findings[i].good && code == LCT_ERR_SEALED && doctor->sealed)
            continue;
        cut_hint(findings[i].why, doctor->id);
        if (findings[i].good)
            (void)lct_doctor_find(doctor, LCT_TOPIC_IDENTITY,
                                  findings[i].note ? LCT_SEVERITY_NOTE : LCT_SEVERITY_OK, NULL,
                                  "lct:%s %s", doctor->id, findings[i].what);
        else
            (void)lct_doctor_problem(
                doctor, LCT_TOPIC_IDENTITY, code,
                code == LCT_ERR_OTHER_TPM ? command_for(command, doctor, doctor->id, &err) : NULL,
                "%s", findings[i].why);
    }
    if (code != LCT_OK && bad == 0)
        (void)lct_doctor_problem(doctor, LCT_TOPIC_IDENTITY, code,
                                 command_for(command, doctor, doctor->id, &err), "%s", err.text);
    return code == LCT_OK;
}

void lct_doctor_sign(struct lct_doctor *doctor)
{
    struct remembering remembering = {.tool = doctor->tool};
    char whose[sizeof "lct:" + LCT_MAX_ID];

    if (doctor->id == NULL)
        find_any_signature(doctor);
    else if (is_last_try(doctor)) {
        (void)snprintf(whose, sizeof whose, "lct:%s", doctor->id);
        (void)find_identity(doctor, &remembering, true); /* is_last_try: nobody is asked */
        warn_of_last_try(doctor, whose);
    } else if (find_identity(doctor, &remembering, false))
        find_signature(doctor, doctor->id, &remembering.passphrase);
    lct_secret_wipe(&remembering.passphrase);
}
