/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/ask.h"
#include "tools/json.h"
#include "tools/tar.h"
#include "tools/tool.h"
#include "tools/unlock.h"

#include "store/backup.h"
#include "store/counters.h"
#include "store/part.h"
#include "store/restore.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A restore under way. */
struct restoring {
    struct lct_tool *tool;
    struct lct_store store;
    bool check, yes;
    json_t *all; /* --json: an object for each identity, else NULL */
    /* The parent that was asked for last, since most keys have the same one. */
    uint32_t where;
    bool rsa, asked;
    struct lct_name parent; /* empty: the TPM has none there */
};

enum { SENTENCE = 400 };

/* The Name of what is a parent in this TPM, at a handle or in a hierarchy. LCT_ERR_OTHER_TPM: it
 * has none there. */
static enum lct_code find_parent(struct restoring *restoring, struct lct_name *name, uint32_t where,
                                 bool rsa, const char *label, struct lct_err *err)
{
    struct lct_secret owner_auth = {0}, endorsement_auth = {0};
    const struct lct_tpm_auths auths = {&owner_auth, &endorsement_auth};
    struct lct_tpm_parent_request request = {.label = label,
                                             .where = where,
                                             .rsa_parent = rsa,
                                             .owner_auth = lct_tpm_auth_for(&auths, where),
                                             .libctx =
                                                 lct_crypto_get(restoring->tool->crypto, err)};
    struct lct_tpm_parent *parent = calloc(1, sizeof *parent);
    enum lct_code code = LCT_ERR_INTERNAL;

    if (parent == NULL)
        (void)LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    else if (request.libctx != NULL)
        code = request.owner_auth == &owner_auth
                   ? lct_tool_owner_auth(&owner_auth, restoring->tool, err)
                   : lct_tool_endorsement_auth(&endorsement_auth, restoring->tool, false, err);
    if (code == LCT_OK)
        code = lct_tpm_find_parent(restoring->tool->tpm, parent, &request, err);
    if (code == LCT_OK)
        *name = parent->name;
    lct_secret_wipe(&owner_auth);
    lct_secret_wipe(&endorsement_auth);
    free(parent);
    return code;
}

static enum lct_code fail_other(const char *label, struct lct_err *err)
{
    return LCT_FAIL(err, LCT_ERR_OTHER_TPM,
                    "%s: it cannot be used here; its TPM is another: lct rotate %s "
                    "--without-old-key --new-parent makes a successor, if you know that the TPM "
                    "was cleared or replaced",
                    label, label + 4);
}

/* Of a key that was imported at a handle, and is nowhere else. */
static enum lct_code check_handle(const struct restoring *restoring, const struct lct_key *key,
                                  struct lct_err *err)
{
    struct lct_generation unpacked;
    const struct lct_generation *generation = lct_key_generation(&unpacked, key);
    uint8_t public_area[LCT_MAX_BLOB];
    size_t public_len = 0;
    enum lct_code code = lct_tpm_read_public(restoring->tool->tpm, public_area, &public_len,
                                             generation->handle, key->label, err);

    if (code == LCT_ERR_OTHER_TPM ||
        (code == LCT_OK && (public_len != generation->public_len ||
                            memcmp(public_area, generation->public_area, public_len) != 0)))
        return fail_other(key->label, err);
    return code;
}

/*
 * Whether the key of this record is one of this TPM's: its parent is here, by its Name. Where the
 * storage root key is not kept, the one that would be made is looked at, and *lost is set.
 */
static enum lct_code check_parent(struct restoring *restoring, const struct lct_key *key,
                                  bool *lost, struct lct_err *err)
{
    struct lct_generation unpacked;
    const struct lct_generation *generation = lct_key_generation(&unpacked, key);
    bool rsa = key->keyfile.rsa_parent;
    enum lct_code code = LCT_OK;

    if (!restoring->asked || restoring->where != generation->parent || restoring->rsa != rsa) {
        restoring->parent.len = 0;
        code = find_parent(restoring, &restoring->parent, generation->parent, rsa, key->label, err);
        restoring->where = generation->parent;
        restoring->rsa = rsa;
        restoring->asked = code == LCT_OK || code == LCT_ERR_OTHER_TPM;
    }
    if (restoring->asked && restoring->parent.len == 0 && generation->parent == lct_srk_handle) {
        struct lct_name name = {0};
        *lost = true;
        code = find_parent(restoring, &name, 0, rsa, key->label, err);
        if (code == LCT_OK && lct_name_equal(&name, &generation->parent_name))
            return LCT_OK;
    }
    if (restoring->asked && (restoring->parent.len == 0 ||
                             !lct_name_equal(&restoring->parent, &generation->parent_name)))
        return fail_other(key->label, err);
    return code;
}

/* That its NV counter is there, if it has one: nobody can make that anew. */
static enum lct_code check_counter(const struct restoring *restoring, const struct lct_key *key,
                                   struct lct_err *err)
{
    struct lct_generation unpacked;
    const struct lct_counter *counter = &lct_key_generation(&unpacked, key)->seal.counter;
    struct lct_tpm_counter found;
    enum lct_code code = counter->handle != 0 ? lct_tpm_counter_find(restoring->tool->tpm, &found,
                                                                     counter, key->label, err)
                                              : LCT_OK;

    if (code != LCT_ERR_OTHER_TPM)
        return code;
    return LCT_FAIL(err, LCT_ERR_OTHER_TPM,
                    "%s: it cannot be used any more, since its NV counter is gone from the TPM: "
                    "lct rotate %s --without-old-key --seal %s makes a successor, if you know that "
                    "it was removed",
                    key->label, key->label + 4, lct_seal_default);
}

static const char *ending_words(enum lct_ending ending)
{
    return ending == LCT_REVOKED ? "revoked" : "retired";
}

/* What can be done here with the active key, in words that follow "; ". Fails if nothing can. */
static enum lct_code check_key(struct restoring *restoring, char words[SENTENCE],
                               const struct lct_backup_identity *identity, struct lct_err *err)
{
    const struct lct_generation *generation = lct_record_generation(identity->record, 0);
    char name[LCT_PART_NAME];
    struct lct_key *key = NULL;
    bool lost = false;

    if (identity->record->ending != LCT_NOT_ENDED) {
        (void)snprintf(words, SENTENCE, "it is %s: its keys verify, and sign no more",
                       ending_words(identity->record->ending));
        return LCT_OK;
    }
    if (generation->custody == LCT_CUSTODY_SOFTWARE) {
        (void)snprintf(words, SENTENCE,
                       "custody: software: it can be used anywhere, with its passphrase");
        return LCT_OK;
    }
    lct_part_name(name, LCT_PART_KEY, generation->number);
    const struct lct_backup_file *file = lct_backup_find(&identity->files, name);
    enum lct_code code =
        lct_key_new(&key, restoring->tool->crypto, identity->record, 0,
                    file != NULL ? file->bytes : NULL, file != NULL ? file->bytes_len : 0, err);
    if (code == LCT_OK)
        code = generation->handle != 0 ? check_handle(restoring, key, err)
                                       : check_parent(restoring, key, &lost, err);
    if (code == LCT_OK)
        code = check_counter(restoring, key, err);
    if (code == LCT_OK)
        (void)snprintf(words, SENTENCE, "its key is of this TPM%s",
                       lost ? ", which does not keep its storage root key now: the next lct create "
                              "puts that where it was"
                            : "");
    lct_key_free(key);
    return code;
}

static const char *state_words(enum lct_ending ending)
{
    return ending != LCT_NOT_ENDED ? ending_words(ending) : "active";
}

/* Of two records, what makes the one newer: where nothing else does that is said of them, an
 * overlap. */
static void age_words(char words[SENTENCE], const struct lct_found *found,
                      const struct lct_record *record)
{
    const bool newer = found->standing == LCT_STANDING_NEWER;
    const bool ahead = found->counter < record->counter || found->active < record->active ||
                       found->ending < record->ending;
    const bool behind = record->counter < found->counter || record->active < found->active ||
                        record->ending < found->ending;
    const char *longer = "";

    if (newer ? !ahead : !behind)
        longer = newer ? "; in the store an earlier key signs longer"
                       : "; in the backup an earlier key signs longer";
    (void)snprintf(words, SENTENCE,
                   "the record in the store is %s (counter %u, generation %u, %s; in the backup: "
                   "counter %u, generation %u, %s%s)",
                   newer ? "older" : "newer, and stays", found->counter, found->active,
                   state_words(found->ending), record->counter, record->active,
                   state_words(record->ending), longer);
}

/* What gives up the store's keys for the backup's. A counter of both goes with lct delete. */
static void other_words(char words[SENTENCE], const struct lct_found *found,
                        const struct lct_record *record)
{
    const bool counted = lct_record_has_counter(record);

    if (found->parting > 1)
        (void)snprintf(words, SENTENCE,
                       "generation %u of it in the store is another key than in the backup, and "
                       "stays: they have gone different ways; to have the backup's, %s%s",
                       found->parting,
                       counted ? "move its directory out of the store first: lct delete would "
                                 "remove the NV counter that the backup's may need, too"
                               : "give up the store's first, with lct delete ",
                       counted ? "" : record->id);
    else
        (void)snprintf(words, SENTENCE,
                       "the store has another identity of this id, with another first key, which "
                       "stays");
}

/* How it stands to the store, in words that follow "lct:alice: ". */
static void standing_words(char words[SENTENCE], const struct lct_found *found,
                           const struct lct_record *record)
{
    switch (found->standing) {
    case LCT_STANDING_NEW:
        (void)snprintf(words, SENTENCE, "it is not in the store");
        break;
    case LCT_STANDING_SAME:
        (void)snprintf(words, SENTENCE, "it is in the store, the same");
        break;
    case LCT_STANDING_NEWER:
    case LCT_STANDING_OLDER:
        age_words(words, found, record);
        break;
    case LCT_STANDING_DIFFERS:
        (void)snprintf(words, SENTENCE, "its %s in the store is another, or not there",
                       found->file);
        break;
    case LCT_STANDING_DAMAGED:
        (void)snprintf(words, SENTENCE,
                       "it is damaged in the store, and whether that is newer cannot be said "
                       "(%.200s)",
                       found->why);
        break;
    case LCT_STANDING_OTHER:
        other_words(words, found, record);
        break;
    case LCT_STANDING_ENDED:
        (void)snprintf(words, SENTENCE,
                       "it was %s on %s and then deleted, and this backup is older than that",
                       state_words(found->ending), found->ended);
        break;
    }
}

/* What stays as it is in the store, and why that is a failure. */
static enum lct_code refuse(const struct lct_found *found, const char *label, const char *words,
                            struct lct_err *err)
{
    if (found->standing == LCT_STANDING_OTHER)
        return LCT_FAIL(err, LCT_ERR_EXISTS, "%s: %s", label, words);
    if (found->standing == LCT_STANDING_ENDED)
        return LCT_FAIL(err, LCT_ERR_ENDED, "%s: %s: it is not restored", label, words);
    return LCT_OK;
}

static bool replaces(const struct lct_found *found)
{
    return found->standing == LCT_STANDING_NEWER || found->standing == LCT_STANDING_DIFFERS ||
           found->standing == LCT_STANDING_DAMAGED;
}

/* Whether what is in the store may be replaced: by --yes, or asked on the terminal. */
static enum lct_code confirm(const struct restoring *restoring, const struct lct_found *found,
                             const char *label, const char *words, struct lct_err *err)
{
    char question[SENTENCE + 256], answer[8] = "";

    if (!replaces(found) || restoring->yes)
        return LCT_OK;
    if (!lct_can_ask())
        return LCT_FAIL(err, LCT_ERR_USAGE, "%s: %s; to replace it without being asked, say --yes",
                        label, words);
    (void)snprintf(question, sizeof question, "%s: %s. Replace it by the backup's? [y/N] ", label,
                   words);
    (void)lct_ask_answer(answer, sizeof answer, question);
    if (strcmp(answer, "y") == 0 || strcmp(answer, "yes") == 0)
        return LCT_OK;
    return LCT_FAIL(err, LCT_ERR_USAGE, "%s: not restored", label);
}

/* Whose it was, as far as this system knows them; who is not root makes it its own. */
static struct lct_owner find_owner(const struct lct_backup_identity *identity)
{
    struct lct_owner owner = {(uid_t)-1, (gid_t)-1};

    if (geteuid() != 0)
        return owner;
    const struct passwd *passwd = *identity->user != '\0' ? getpwnam(identity->user) : NULL;
    const struct group *group = *identity->group != '\0' ? getgrnam(identity->group) : NULL;
    if (passwd != NULL)
        owner.user = passwd->pw_uid;
    if (group != NULL)
        owner.group = group->gr_gid;
    if (passwd == NULL || group == NULL)
        lct_tool_warn(NULL, "lct:%s: this system does not have its owner %s:%s; see chown(1)",
                      identity->record->id, identity->user, identity->group);
    return owner;
}

/* Into the store, unless what is there stays. *done: what was done, for people. */
static enum lct_code put(const struct restoring *restoring, const char **done,
                         const struct lct_backup_identity *identity, const struct lct_found *found,
                         struct lct_err *err)
{
    *done = "";
    if (restoring->check || (found->standing != LCT_STANDING_NEW && !replaces(found)))
        return LCT_OK;
    *done = ": restored";
    const struct lct_owner owner = found->standing == LCT_STANDING_NEW
                                       ? find_owner(identity)
                                       : (struct lct_owner){(uid_t)-1, (gid_t)-1};
    return lct_restore_put(&restoring->store, identity, &owner, found, err);
}

/* `wrong`: why it is not put back, or is of no use here; NULL: it is. */
static void add(const struct restoring *restoring, const char *id, const struct lct_found *found,
                const char *words, bool restored, const struct lct_err *wrong)
{
    static const char *const standings[] = {
        [LCT_STANDING_NEW] = "new",         [LCT_STANDING_SAME] = "same",
        [LCT_STANDING_NEWER] = "newer",     [LCT_STANDING_OLDER] = "older",
        [LCT_STANDING_DIFFERS] = "differs", [LCT_STANDING_DAMAGED] = "damaged",
        [LCT_STANDING_OTHER] = "other",     [LCT_STANDING_ENDED] = "ended"};

    (void)json_array_append_new(
        restoring->all,
        json_pack("{s:s, s:s, s:o, s:b, s:o}", "id", id, "standing", standings[found->standing],
                  "text", lct_tool_json_text(words), "restored", (int)restored, "error",
                  lct_tool_json_text(wrong != NULL ? wrong->text : NULL)));
}

/* One identity: what is not of this TPM is restored as well, since its successor takes its record.
 */
static enum lct_code restore_one(struct restoring *restoring,
                                 const struct lct_backup_identity *identity, struct lct_err *err)
{
    char label[sizeof "lct:" + LCT_MAX_ID], words[SENTENCE], use[SENTENCE] = "";
    struct lct_found found;
    const char *done = "";
    struct lct_err useless = {.code = LCT_OK};

    (void)snprintf(label, sizeof label, "lct:%s", identity->record->id);
    enum lct_code code = lct_restore_look(&found, &restoring->store, identity, err);
    if (code != LCT_OK)
        return code;
    standing_words(words, &found, identity->record);
    code = refuse(&found, label, words, err);
    if (code == LCT_OK && !restoring->check)
        code = confirm(restoring, &found, label, words, err);
    if (code == LCT_OK)
        code = put(restoring, &done, identity, &found, err);
    if (code != LCT_OK) {
        add(restoring, identity->record->id, &found, words, false, err);
        return code;
    }
    /* Where the store's record is newer nothing of the backup's is used. */
    const enum lct_code usable = found.standing == LCT_STANDING_OLDER
                                     ? LCT_OK
                                     : check_key(restoring, use, identity, &useless);
    if (restoring->all != NULL)
        add(restoring, label + strlen("lct:"), &found, words, *done != '\0',
            usable == LCT_OK ? NULL : &useless);
    else if (restoring->check || !restoring->tool->quiet)
        code = lct_tool_print(err, "%s: %s%s%s%s\n", label, words, done, *use != '\0' ? "; " : "",
                              use);
    if (usable == LCT_OK || code != LCT_OK)
        return code;
    *err = useless;
    if (restoring->check)
        return usable;
    lct_tool_warn(NULL, "%s", useless.text);
    return LCT_OK;
}

static enum lct_code restore(struct restoring *restoring, const struct lct_backup *backup,
                             struct lct_err *err)
{
    struct lct_err worst = {.code = LCT_OK}, one;

    if (!restoring->check &&
        lct_restore_store(&restoring->store, restoring->tool->crypto, backup, &one) != LCT_OK)
        lct_tool_fail_later(&worst, &one);
    for (size_t i = 0; i < backup->num_identities; i++)
        if (restore_one(restoring, &backup->identities[i], &one) != LCT_OK)
            lct_tool_fail_later(&worst, &one);
    for (size_t i = 0; i < backup->store.num; i++)
        if (lct_restore_check_end(&restoring->store, backup, &backup->store.all[i], &one) != LCT_OK)
            lct_tool_fail_later(&worst, &one);
    *err = worst;
    return worst.code;
}

static enum lct_code restore_text(struct restoring *restoring, const struct lct_backup *backup,
                                  struct lct_err *err)
{
    enum lct_code code = LCT_OK;

    if (restoring->check || !restoring->tool->quiet)
        code = lct_tool_print(err, "a backup of %s%s%s; identities in it: %zu\n", backup->created,
                              backup->has_tpm ? ", made with the TPM " : "", backup->tpm,
                              backup->num_identities);
    return code == LCT_OK ? restore(restoring, backup, err) : code;
}

static enum lct_code restore_json(struct restoring *restoring, const struct lct_backup *backup,
                                  struct lct_err *err)
{
    struct lct_err wrong = {.code = LCT_OK};

    restoring->all = json_array();
    const enum lct_code restored = restore(restoring, backup, &wrong);
    enum lct_code code =
        lct_tool_print_json(json_pack("{s:i, s:s, s:s?, s:b, s:o}", "version", 1, "created",
                                      backup->created, "tpm", backup->has_tpm ? backup->tpm : NULL,
                                      "check", (int)restoring->check, "identities", restoring->all),
                            err);
    if (code == LCT_OK)
        *err = wrong;
    return code == LCT_OK ? restored : code;
}

static enum lct_code read_backup(struct lct_backup *backup, const struct lct_tool *tool,
                                 const char *file, struct lct_err *err)
{
    bool standard = strcmp(file, "-") == 0;
    int fd = standard ? STDIN_FILENO : open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    uint8_t *bytes = NULL;
    size_t bytes_len = 0;

    if (fd < 0)
        return LCT_FAIL(err, LCT_ERR_IO, "%s cannot be read: %s", file, strerror(errno));
    enum lct_code code = lct_tar_read(&bytes, &bytes_len, LCT_MAX_BACKUP, fd, err);
    if (code == LCT_OK)
        code = lct_backup_read(backup, tool->crypto, bytes, bytes_len, err);
    if (code != LCT_OK)
        (void)lct_err_prefix(err, lct_tool_file(file));
    free(bytes);
    if (!standard)
        close(fd);
    return code;
}

enum lct_code lct_restore_run(struct lct_tool *tool, int argc, char **argv, struct lct_err *err)
{
    struct restoring restoring = {.tool = tool};
    const struct lct_option options[] = {{"check", NULL, &restoring.check},
                                         {"yes", NULL, &restoring.yes},
                                         {"json", NULL, &tool->json}};
    struct lct_backup backup = {0};
    char **operands;
    int num_operands;
    enum lct_code code =
        lct_options_parse(tool, argc, argv, options, 3, 1, 1, &operands, &num_operands, err);

    if (code == LCT_OK)
        code = lct_tool_open(tool, err);
    if (code != LCT_OK)
        return code;
    restoring.store = lct_store_of_new(&tool->store);
    if (!restoring.check) /* what comes back may have a counter that lct gc is about to remove */
        code = lct_counters_lock(&tool->making, &tool->store, false, err);
    if (code != LCT_OK)
        return code;
    code = read_backup(&backup, tool, operands[0], err);
    if (code == LCT_OK && tool->json)
        code = restore_json(&restoring, &backup, err);
    else if (code == LCT_OK)
        code = restore_text(&restoring, &backup, err);
    lct_backup_clear(&backup);
    return code;
}
