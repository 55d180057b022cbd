/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/doctor.h"

#include "proof/json.h"
#include "store/life.h"
#include "tools/json.h"
#include "tools/shell.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
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
    char command[LCT_SHELL_COMMAND];
    unsigned mode = (unsigned)st->st_mode & 07777;
    bool writable = faccessat(AT_FDCWD, dir, W_OK | X_OK, AT_EACCESS) == 0;
    json_t *finding;

    if ((mode & 022) != 0)
        finding = lct_doctor_find(doctor, topic, LCT_SEVERITY_WARNING,
                                  lct_shell_command(command, "chmod go-w", dir),
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
    (void)json_object_set_new(finding, "path", lct_tool_json_text(dir));
    (void)json_object_set_new(finding, "writable", json_boolean(writable));
}

/* Whether its identities can be looked for. */
static bool find_dir(struct lct_doctor *doctor, const char *dir, bool create_in)
{
    struct stat st;
    size_t leftovers;

    if (stat(dir, &st) != 0 && errno == ENOENT) {
        find_absent(doctor, dir, create_in);
        return true;
    }
    if (stat(dir, &st) != 0 || faccessat(AT_FDCWD, dir, R_OK | X_OK, AT_EACCESS) != 0) {
        (void)lct_doctor_problem(doctor, topic, LCT_ERR_STORE, NULL, "%s: cannot be read: %s", dir,
                                 strerror(errno));
        return false;
    }
    find_permissions(doctor, dir, &st, create_in);
    leftovers = count_leftovers(dir);
    if (leftovers > 0)
        (void)lct_doctor_find(
            doctor, topic, LCT_SEVERITY_NOTE, NULL,
            "%s: %zu leftovers of interrupted commands, which the next lct create "
            "removes",
            dir, leftovers);
    return true;
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
            ? lct_doctor_find(doctor, topic, LCT_SEVERITY_OK, NULL, "identities: %zu%s", num_ids,
                              num_ids > 0 ? ", all whole" : "")
            : lct_doctor_find(doctor, topic, LCT_SEVERITY_WARNING, "lct check",
                              "identities: %zu, of which %zu cannot be used, the first because: %s",
                              num_ids, num_damaged, first.text);
    (void)json_object_set_new(finding, "identities", json_integer((json_int_t)num_ids));
    (void)json_object_set_new(finding, "damaged", json_integer((json_int_t)num_damaged));
}

/* How long a key may be pending before it looks forgotten. */
enum { PENDING_DAYS = 30 };

static void find_pending(struct lct_doctor *doctor, const struct lct_record *record)
{
    const struct lct_generation *pending = lct_record_pending(record);
    char command[LCT_SHELL_COMMAND];
    time_t created = 0;

    if (pending == NULL)
        return;
    (void)lct_json_seconds(&created, pending->created);
    bool old = time(NULL) - created > (time_t)PENDING_DAYS * 24 * 3600;
    (void)lct_doctor_find(doctor, topic, old ? LCT_SEVERITY_WARNING : LCT_SEVERITY_NOTE,
                          lct_shell_command(command, "lct show", record->id),
                          "lct:%s: generation %u is pending since %s%s; lct cert --set with its "
                          "certificate or lct rotate --commit makes it the active one, lct rotate "
                          "--withdraw removes it",
                          record->id, pending->number, pending->created,
                          old ? ", which is long" : "");
}

/* Keys that sign a while yet: whoever uses them has to load the identity anew before that ends. */
static void find_overlaps(struct lct_doctor *doctor, const struct lct_record *record)
{
    for (size_t i = 0; i < record->num_generations; i++) {
        const struct lct_life life = lct_record_life(record, &record->generations[i]);
        if (lct_life_stage(&life, time(NULL)) == LCT_STAGE_OVERLAP)
            (void)lct_doctor_find(doctor, topic, LCT_SEVERITY_NOTE, NULL,
                                  "lct:%s: generation %u signs until %s; programs that have loaded "
                                  "it are to be reloaded before, with the certificate of "
                                  "generation %u where they read that from a file",
                                  record->id, life.number, life.until, life.active);
    }
}

/* A copy of the disk and a passphrase are enough for such a key. */
static void find_software(struct lct_doctor *doctor, const struct lct_record *record)
{
    static const char *const words[] = {
        [LCT_REQUIRE_NO] = "",
        [LCT_REQUIRE_NEW] = "; require_hardware is new, and it is used all the same",
        [LCT_REQUIRE_YES] =
            "; require_hardware is yes, and it is not used; have new there for this"};
    char command[LCT_MAX_ID + 32];

    if (lct_record_generation(record, 0)->custody != LCT_CUSTODY_SOFTWARE)
        return;
    (void)snprintf(command, sizeof command, "lct rotate %s --to tpm", record->id);
    (void)lct_doctor_find(
        doctor, topic, LCT_SEVERITY_WARNING, lct_record_pending(record) == NULL ? command : NULL,
        "lct:%s: custody: software: whoever has its file and passphrase has its key%s", record->id,
        words[doctor->tool->config.require_hardware]);
}

static void find_life(struct lct_doctor *doctor, const char *id)
{
    struct lct_record *record = NULL;

    if (lct_store_get_record(&doctor->tool->store, id, &record, NULL, NULL) != LCT_OK)
        return; /* which has been told */
    if (record->ending != LCT_NOT_ENDED) {
        (void)lct_doctor_find(doctor, topic, LCT_SEVERITY_NOTE, NULL,
                              "lct:%s: it was %s at %s and signs no more", id,
                              lct_ending_name(record->ending), record->ended);
    } else {
        find_software(doctor, record);
        find_pending(doctor, record);
        find_overlaps(doctor, record);
    }
    free(record);
}

void lct_doctor_store(struct lct_doctor *doctor)
{
    const struct lct_store *store = &doctor->tool->store;
    struct lct_err err = {.code = LCT_OK};
    char **ids = NULL;
    size_t num_ids = 0;
    bool good = true;

    for (size_t i = 0; i < store->num_dirs; i++)
        good = find_dir(doctor, store->dirs[i], i == store->create_in) && good;
    if (store->passed_over != NULL)
        (void)lct_doctor_find(doctor, topic, LCT_SEVERITY_WARNING, NULL, "%s", store->passed_over);
    enum lct_code code = lct_store_list(store, &ids, &num_ids, &err);
    if (code == LCT_OK) {
        find_identities(doctor, ids, num_ids);
        lct_doctor_certificates(doctor, ids, num_ids);
        for (size_t i = 0; i < num_ids; i++)
            find_life(doctor, ids[i]);
    } else if (good) /* else it has been told already */
        (void)lct_doctor_problem(doctor, topic, code, NULL, "%s", err.text);
    lct_store_free_ids(ids, num_ids);
}
