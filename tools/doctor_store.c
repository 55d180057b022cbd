/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/doctor.h"

#include "store/identity.h"
#include "tools/signing.h"
#include "tools/unlock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const enum lct_topic topic = LCT_TOPIC_STORE;

/* What an interrupted command left in the nursery: store.h. */
static size_t count_leftovers(const char *dir)
{
    char path[PATH_MAX];
    size_t num = 0;

    (void)snprintf(path, sizeof path, "%s/.new", dir);
    DIR *entries = opendir(path);
    if (entries == NULL)
        return 0;
    for (const struct dirent *entry = readdir(entries); entry != NULL; entry = readdir(entries))
        num += entry->d_name[0] != '.';
    closedir(entries);
    return num;
}

/* The store is made with what is missing above it, so the first that is there must be writable. */
static bool can_be_made(const char *dir)
{
    char path[PATH_MAX];

    (void)snprintf(path, sizeof path, "%s", dir);
    for (char *slash = strrchr(path, '/'); slash != NULL; slash = strrchr(path, '/')) {
        slash[slash == path] = '\0';
        if (access(path, F_OK) == 0 || slash == path)
            break;
    }
    return faccessat(AT_FDCWD, path, W_OK | X_OK, AT_EACCESS) == 0;
}

static void find_absent(struct lct_doctor *doctor, const char *dir, bool create_in)
{
    if (!create_in)
        (void)lct_doctor_find(doctor, topic, LCT_SEVERITY_NOTE, NULL, "%s: there is none", dir);
    else if (can_be_made(dir))
        (void)lct_doctor_find(doctor, topic, LCT_SEVERITY_NOTE, NULL,
                              "%s: there is none yet; lct create makes it", dir);
    else
        (void)lct_doctor_find(doctor, topic, LCT_SEVERITY_WARNING, NULL,
                              "%s: there is none, and this user may not make it: name another with "
                              "--store, or make it as root",
                              dir);
}

static void find_permissions(struct lct_doctor *doctor, const char *dir, const struct stat *st,
                             bool create_in)
{
    char command[PATH_MAX + 32];
    unsigned mode = (unsigned)st->st_mode & 07777;
    bool writable = faccessat(AT_FDCWD, dir, W_OK | X_OK, AT_EACCESS) == 0;
    json_t *finding;

    (void)snprintf(command, sizeof command, "chmod go-w %s", dir);
    if ((mode & 022) != 0)
        finding = lct_doctor_find(doctor, topic, LCT_SEVERITY_WARNING, command,
                                  "%s: others may write to it (mode %04o) and delete or replace "
                                  "identities",
                                  dir, mode);
    else if (create_in && !writable)
        finding = lct_doctor_find(doctor, topic, LCT_SEVERITY_WARNING, NULL,
                                  "%s: cannot be written to (mode %04o): %s; lct create fails", dir,
                                  mode, strerror(errno));
    else
        finding = lct_doctor_find(doctor, topic, LCT_SEVERITY_OK, NULL, "%s: mode %04o%s", dir,
                                  mode, writable ? ", writable" : "");
    (void)json_object_set_new(finding, "path", json_string(dir));
    (void)json_object_set_new(finding, "writable", json_boolean(writable));
}

static void find_dir(struct lct_doctor *doctor, const char *dir, bool create_in)
{
    struct stat st;
    size_t leftovers;

    if (stat(dir, &st) != 0 && errno == ENOENT) {
        find_absent(doctor, dir, create_in);
        return;
    }
    if (stat(dir, &st) != 0 || faccessat(AT_FDCWD, dir, R_OK | X_OK, AT_EACCESS) != 0) {
        (void)lct_doctor_problem(doctor, topic, LCT_ERR_STORE, NULL, "%s: cannot be read: %s", dir,
                                 strerror(errno));
        return;
    }
    find_permissions(doctor, dir, &st, create_in);
    leftovers = count_leftovers(dir);
    if (leftovers > 0)
        (void)lct_doctor_find(
            doctor, topic, LCT_SEVERITY_NOTE, NULL,
            "%s: %zu leftovers of interrupted commands, which the next lct create "
            "removes",
            dir, leftovers);
}

/* All identities are read, none is loaded into the TPM. */
static void find_identities(struct lct_doctor *doctor, char *const *ids, size_t num_ids)
{
    struct lct_tool *tool = doctor->tool;
    struct lct_err first = {.code = LCT_OK}, err;
    size_t num_damaged = 0;

    for (size_t i = 0; i < num_ids; i++) {
        struct lct_key *key = NULL;
        if (lct_store_get_key(&tool->store, tool->crypto, ids[i], 0, &key, &err) != LCT_OK &&
            num_damaged++ == 0)
            first = err;
        lct_key_free(key);
    }
    json_t *finding =
        num_damaged == 0
            ? lct_doctor_find(doctor, topic, LCT_SEVERITY_OK, NULL, "identities: %zu, all whole",
                              num_ids)
            : lct_doctor_find(doctor, topic, LCT_SEVERITY_WARNING, "lct check",
                              "identities: %zu, of which %zu cannot be used, the first because: %s",
                              num_ids, num_damaged, first.text);
    (void)json_object_set_new(finding, "identities", json_integer((json_int_t)num_ids));
    (void)json_object_set_new(finding, "damaged", json_integer((json_int_t)num_damaged));
}

void lct_doctor_store(struct lct_doctor *doctor)
{
    const struct lct_store *store = &doctor->tool->store;
    struct lct_err err = {.code = LCT_OK};
    char **ids = NULL;
    size_t num_ids = 0;

    for (size_t i = 0; i < store->num_dirs; i++)
        find_dir(doctor, store->dirs[i], i == store->create_in);
    if (lct_store_list(store, &ids, &num_ids, &err) == LCT_OK) /* else it has been told already */
        find_identities(doctor, ids, num_ids);
    lct_store_free_ids(ids, num_ids);
}

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

static void find_signature(struct lct_doctor *doctor, const char *id)
{
    struct lct_signing signing = {0};
    struct lct_err err = {.code = LCT_OK};
    double ms = 0;
    enum lct_code code = lct_signing_open(&signing, doctor->tool, id, &err);

    if (code == LCT_OK)
        code = time_signature(&signing, &ms, &err);
    if (code == LCT_OK)
        (void)json_object_set_new(lct_doctor_find(doctor, LCT_TOPIC_SIGNATURE, LCT_SEVERITY_OK,
                                                  NULL, "lct:%s signs (%s) in %.1f ms", id,
                                                  signing.key->generation.algorithm->name, ms),
                                  "milliseconds", json_real(ms));
    else
        (void)lct_doctor_problem(doctor, LCT_TOPIC_SIGNATURE, code, NULL, "%s", err.text);
    lct_signing_close(&signing);
}

/* Whether it can be signed with without asking anybody. */
static bool is_usable(const struct lct_tool *tool, const char *id, bool *locked)
{
    struct lct_key *key = NULL;
    bool usable = lct_store_get_key(&tool->store, tool->crypto, id, 0, &key, NULL) == LCT_OK &&
                  lct_key_unlock(key, &tool->config, NULL) == LCT_OK;

    *locked = usable && lct_key_is_locked(key);
    lct_key_free(key);
    return usable && !*locked;
}

/* Signs with the first identity that is whole. */
static void find_any_signature(struct lct_doctor *doctor)
{
    struct lct_tool *tool = doctor->tool;
    const char *usable = NULL, *with_passphrase = NULL;
    char **ids = NULL, command[LCT_MAX_ID + 16];
    size_t num_ids = 0;
    bool locked;

    (void)lct_store_list(&tool->store, &ids, &num_ids, NULL);
    for (size_t i = 0; i < num_ids && usable == NULL; i++) {
        if (is_usable(tool, ids[i], &locked))
            usable = ids[i];
        else if (locked && with_passphrase == NULL)
            with_passphrase = ids[i];
    }
    (void)snprintf(command, sizeof command, "lct doctor %s",
                   with_passphrase != NULL ? with_passphrase : "");
    if (usable != NULL)
        find_signature(doctor, usable);
    else if (with_passphrase != NULL)
        (void)lct_doctor_find(doctor, LCT_TOPIC_SIGNATURE, LCT_SEVERITY_NOTE, command,
                              "no signature was made: every identity takes a passphrase");
    else
        (void)lct_doctor_find(doctor, LCT_TOPIC_SIGNATURE, LCT_SEVERITY_NOTE, "lct create NAME",
                              "there is no identity to sign with");
    lct_store_free_ids(ids, num_ids);
}

/* The checks of lct check, in its words. */
static bool find_identity(struct lct_doctor *doctor)
{
    struct lct_tool *tool = doctor->tool;
    struct lct_finding findings[LCT_MAX_FINDINGS];
    struct lct_err err = {.code = LCT_OK};
    size_t num = 0, bad = 0;
    const struct lct_unlocker unlocker = lct_tool_unlocker(tool);
    enum lct_code code = lct_identity_check(&tool->store, tool->tpm, tool->crypto, doctor->id,
                                            &unlocker, findings, &num, &err);

    for (size_t i = 0; i < num; i++) {
        bad += !findings[i].good;
        if (findings[i].good)
            (void)lct_doctor_find(doctor, LCT_TOPIC_IDENTITY, LCT_SEVERITY_OK, NULL, "lct:%s %s",
                                  doctor->id, findings[i].what);
        else
            (void)lct_doctor_problem(doctor, LCT_TOPIC_IDENTITY, code, NULL, "%s", findings[i].why);
    }
    if (code != LCT_OK && bad == 0)
        (void)lct_doctor_problem(doctor, LCT_TOPIC_IDENTITY, code, NULL, "%s", err.text);
    return code == LCT_OK;
}

void lct_doctor_sign(struct lct_doctor *doctor)
{
    if (doctor->id == NULL)
        find_any_signature(doctor);
    else if (find_identity(doctor))
        find_signature(doctor, doctor->id);
}
