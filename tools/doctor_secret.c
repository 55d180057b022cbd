/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/doctor.h"

#include "base/secret.h"
#include "tools/shell.h"
#include "tpm/hierarchy.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const enum lct_topic topic = LCT_TOPIC_SECRET;

/* What others than its owner and group may do with it. */
static void judge_mode(struct lct_doctor *doctor, const char *key, const char *path,
                       const struct stat *st)
{
    unsigned mode = (unsigned)st->st_mode & 07777;
    bool readable = (mode & 0004) != 0 && !S_ISDIR(st->st_mode), writable = (mode & 0022) != 0;
    char command[LCT_SHELL_COMMAND];

    if (readable || writable)
        (void)lct_doctor_find(
            doctor, topic, LCT_SEVERITY_WARNING,
            lct_shell_command(command, S_ISDIR(st->st_mode) ? "chmod 700" : "chmod 600", path),
            "%s: others may %s %s (mode %04o)", key, readable ? "read" : "write to", path, mode);
}

/* Whether there is an authorization value in the file. One that is read only once, a pipe say, is
 * left to the program that it is for. */
static bool judge_file(struct lct_doctor *doctor, struct lct_secret *secret, const char *key,
                       const char *path)
{
    struct lct_err err = {.code = LCT_OK};
    char command[LCT_SHELL_COMMAND];
    struct stat st;

    if (stat(path, &st) != 0) {
        bool absent = errno == ENOENT;
        (void)lct_doctor_find(doctor, topic, LCT_SEVERITY_WARNING,
                              absent ? lct_shell_command(command, "install -m 600 /dev/stdin", path)
                                     : NULL,
                              "%s: %s cannot be read: %s", key, path, strerror(errno));
        return false;
    }
    if (!S_ISREG(st.st_mode)) {
        (void)lct_doctor_find(doctor, topic, LCT_SEVERITY_NOTE, NULL,
                              "%s: %s is no regular file, and was not read", key, path);
        return false;
    }
    judge_mode(doctor, key, path, &st);
    if (lct_secret_read(secret, key, path, &err) == LCT_OK)
        return true;
    if (err.code == LCT_ERR_IO) /* which names the file */
        (void)lct_doctor_find(doctor, topic, LCT_SEVERITY_WARNING, NULL, "%s", err.text);
    else
        (void)lct_doctor_find(doctor, topic, LCT_SEVERITY_WARNING,
                              lct_shell_command(command, "editor", path), "%s: %s", err.text, path);
    return false;
}

/* An authorization of a hierarchy, as the configuration and the TPM call it. */
struct authorization {
    const char *key, *name;
    uint32_t hierarchy;
    TPMA_PERMANENT is_set;
};

static void judge_authorization(struct lct_doctor *doctor,
                                const struct authorization *authorization,
                                const struct lct_secret *secret, const char *path)
{
    struct lct_err err = {.code = LCT_OK};
    char command[LCT_SHELL_COMMAND];
    OSSL_LIB_CTX *libctx = lct_crypto_get(doctor->tool->crypto, &err);
    json_t *finding;

    if (libctx == NULL)
        return;
    enum lct_code code =
        lct_tpm_check_hierarchy(doctor->tool->tpm, authorization->hierarchy, secret, libctx, &err);
    if (code == LCT_OK)
        finding = lct_doctor_find(doctor, topic, LCT_SEVERITY_OK, NULL,
                                  "%s: the TPM accepts what is in %s", authorization->key, path);
    else if (code == LCT_ERR_AUTH)
        finding = lct_doctor_find(doctor, topic, LCT_SEVERITY_WARNING,
                                  lct_shell_command(command, "editor", path),
                                  "%s: the TPM refuses what is in %s: it is not what "
                                  "tpm2_changeauth -c %s has set",
                                  authorization->key, path, authorization->name);
    else
        finding = lct_doctor_find(doctor, topic, LCT_SEVERITY_WARNING, NULL,
                                  "%s: whether the TPM accepts what is in %s was not found out: %s",
                                  authorization->key, path, err.text);
    if (code == LCT_OK || code == LCT_ERR_AUTH)
        (void)json_object_set_new(finding, "accepted", json_boolean(code == LCT_OK));
}

static void find_authorization(struct lct_doctor *doctor, const struct authorization *authorization,
                               const char *path)
{
    struct lct_secret secret = {0};

    if (path == NULL)
        return;
    if (judge_file(doctor, &secret, authorization->key, path)) {
        if (!doctor->probed)
            (void)lct_doctor_find(doctor, topic, LCT_SEVERITY_NOTE, NULL,
                                  "%s: %s is there, and there is no TPM to accept it",
                                  authorization->key, path);
        else if ((doctor->probe.permanent & authorization->is_set) == 0)
            (void)lct_doctor_find(doctor, topic, LCT_SEVERITY_NOTE, NULL,
                                  "%s: %s is there, and not needed: the TPM has no such "
                                  "authorization set",
                                  authorization->key, path);
        else
            judge_authorization(doctor, authorization, &secret, path);
    }
    lct_secret_wipe(&secret);
}

/* Whether there is an identity of that id whose key takes a passphrase. */
static bool takes_passphrase(const struct lct_store *store, const char *id)
{
    struct lct_record *record = NULL;
    bool takes = lct_store_get_record(store, id, &record, NULL, NULL) == LCT_OK &&
                 lct_record_generation(record, 0)->passphrase;

    free(record);
    return takes;
}

/* The identities that need a passphrase, and have a file with one or have not. */
struct keyring {
    struct lct_doctor_list with, without;
    json_t *ids_with, *ids_without;
};

/* Where passphrases are: a directory of files, or a file for all. */
struct place {
    const char *key, *path, *prefix; /* as the configuration calls it; of a file's name */
    bool is_dir, is_last;            /* whom it does not have is asked */
};

static bool has_file(struct lct_doctor *doctor, const struct place *place, const char *id)
{
    struct lct_secret secret = {0};
    char path[PATH_MAX];
    struct stat st;

    if (!place->is_dir)
        return true;
    if (snprintf(path, sizeof path, "%s/%s%s", place->path, place->prefix, id) >=
            (int)sizeof path ||
        (stat(path, &st) != 0 && errno == ENOENT))
        return false;
    (void)judge_file(doctor, &secret, place->key, path);
    lct_secret_wipe(&secret);
    return true;
}

static void tell_place(struct lct_doctor *doctor, const struct place *place,
                       struct keyring *keyring)
{
    size_t with = keyring->with.num, without = keyring->without.num;
    bool asks = without > 0 && place->is_last;
    json_t *finding = lct_doctor_find(
        doctor, topic, asks ? LCT_SEVERITY_NOTE : LCT_SEVERITY_OK, NULL, "%s: %s has %s%s%s%s%s",
        place->key, place->path, place->is_dir ? "files of " : "the passphrase of ",
        with > 0      ? lct_doctor_list_end(&keyring->with)
        : without > 0 ? "no identity"
                      : "no identity, and none takes one",
        without > 0 ? ", and none of " : "", lct_doctor_list_end(&keyring->without),
        asks ? ", whose passphrases are asked for" : "");

    (void)json_object_set_new(finding, "with", keyring->ids_with);
    (void)json_object_set_new(finding, "without", keyring->ids_without);
}

/* Those that the place has no passphrase of come first in `ids` then; returns how many. */
static size_t find_passphrases(struct lct_doctor *doctor, const struct place *place, char **ids,
                               size_t num_ids)
{
    struct keyring keyring = {.ids_with = json_array(), .ids_without = json_array()};
    size_t num_without = 0;

    for (size_t i = 0; i < num_ids; i++) {
        char *id = ids[i];
        bool has = has_file(doctor, place, id);
        lct_doctor_list(has ? &keyring.with : &keyring.without, ", ", "%s", id);
        (void)json_array_append_new(has ? keyring.ids_with : keyring.ids_without, json_string(id));
        if (has)
            continue;
        ids[i] = ids[num_without];
        ids[num_without++] = id;
    }
    tell_place(doctor, place, &keyring);
    return num_without;
}

/* Looks where lct_key_unlock looks. Returns how many passphrases are still to be looked for. */
static size_t find_passphrase_file(struct lct_doctor *doctor, char **ids, size_t num_ids)
{
    const struct lct_config *config = &doctor->tool->config;
    struct place place = {"passphrase_file", config->passphrase_file, "", false,
                          config->credentials == NULL};
    struct lct_secret secret = {0};
    struct stat st;

    if (place.path == NULL)
        return num_ids;
    place.is_dir = stat(place.path, &st) == 0 && S_ISDIR(st.st_mode);
    if (place.is_dir)
        judge_mode(doctor, place.key, place.path, &st);
    num_ids = place.is_dir || judge_file(doctor, &secret, place.key, place.path)
                  ? find_passphrases(doctor, &place, ids, num_ids)
                  : 0;
    lct_secret_wipe(&secret);
    return num_ids;
}

/* A service may have credentials that have nothing to do with keys. */
static void find_credentials(struct lct_doctor *doctor, char **ids, size_t num_ids)
{
    const struct place place = {"credentials", doctor->tool->config.credentials, "lct.", true,
                                true};
    struct stat st;

    if (place.path == NULL || num_ids == 0)
        return;
    if (stat(place.path, &st) == 0)
        judge_mode(doctor, place.key, place.path, &st);
    (void)find_passphrases(doctor, &place, ids, num_ids);
}

static void find_all_passphrases(struct lct_doctor *doctor)
{
    const struct lct_store *store = &doctor->tool->store;
    char **ids = NULL;
    size_t num_ids = 0, num_locked = 0;

    (void)lct_store_list(store, &ids, &num_ids, NULL);
    for (size_t i = 0; i < num_ids; i++) {
        char *id = ids[i];
        if (!takes_passphrase(store, id))
            continue;
        ids[i] = ids[num_locked];
        ids[num_locked++] = id;
    }
    find_credentials(doctor, ids, find_passphrase_file(doctor, ids, num_locked));
    lct_store_free_ids(ids, num_ids);
}

void lct_doctor_secrets(struct lct_doctor *doctor)
{
    static const struct authorization owner = {"owner_auth_file", "owner", TPM2_RH_OWNER,
                                               TPMA_PERMANENT_OWNERAUTHSET};
    static const struct authorization endorsement = {"endorsement_auth_file", "endorsement",
                                                     TPM2_RH_ENDORSEMENT,
                                                     TPMA_PERMANENT_ENDORSEMENTAUTHSET};
    const struct lct_config *config = &doctor->tool->config;

    find_authorization(doctor, &owner, config->owner_auth_file);
    find_authorization(doctor, &endorsement, config->endorsement_auth_file);
    find_all_passphrases(doctor);
}
