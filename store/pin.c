/* SPDX-License-Identifier: Apache-2.0 */
#include "store/pin.h"

#include "base/encode.h"
#include "proof/json.h"
#include "store/file.h"
#include "store/id.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char pin_file[] = ".parent";

enum { MAX_FILE = 2 * sizeof(struct lct_name) + 1 };

static const char *dir_of(const struct lct_pin *pin)
{
    return pin->store->dirs[pin->store->create_in];
}

/* "NAME\n", as it is written and not otherwise; an empty Name: there is no such file. */
static enum lct_code read_file(struct lct_name *name, int dir, const char *path,
                               struct lct_err *err)
{
    uint8_t *text = NULL;
    size_t text_len = 0;
    enum lct_code code = lct_file_read(dir, pin_file, &text, &text_len, MAX_FILE, err);

    name->len = 0;
    if (code == LCT_ERR_NOT_FOUND)
        return LCT_OK;
    if (code != LCT_OK)
        return lct_err_prefix(err, path);
    bool good = text_len > 0 && text[text_len - 1] == '\n';
    if (good) {
        text[text_len - 1] = '\0';
        good = lct_json_name(name, (const char *)text);
    }
    free(text);
    return good ? LCT_OK
                : LCT_FAIL(err, LCT_ERR_BAD_RECORD,
                           "%s/%s is damaged; remove it, and it is made anew of the identities",
                           path, pin_file);
}

/* Whether a key in the record is under the storage root key `name`; if that is empty, under any,
 * which it becomes. */
static bool is_in_record(struct lct_name *name, const struct lct_record *record)
{
    for (size_t i = 0; i < record->num_generations; i++) {
        const struct lct_generation *generation = &record->generations[i];
        bool root = generation->parent == lct_srk_handle || generation->parent == TPM2_RH_OWNER;
        if (!root || generation->parent_name.len == 0 ||
            (name->len > 0 && !lct_name_equal(name, &generation->parent_name)))
            continue;
        *name = generation->parent_name;
        return true;
    }
    return false;
}

/* The same of the identities of a store. A record that cannot be read is no evidence; that there is
 * none takes all entries. */
static enum lct_code look_in_records(bool *found, struct lct_name *name, int dir, const char *path,
                                     struct lct_err *err)
{
    DIR *entries = lct_file_open_dir(dir, ".");
    const struct dirent *entry;
    int error = entries == NULL ? errno : 0;

    *found = false;
    while (entries != NULL && !*found && (entry = lct_file_next(entries, &error)) != NULL) {
        if (lct_id_check(entry->d_name, NULL) != LCT_OK)
            continue;
        struct lct_record *record = NULL;
        int fd = openat(dir, entry->d_name, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        *found = fd >= 0 && lct_store_read_record(fd, entry->d_name, &record, NULL) == LCT_OK &&
                 record != NULL && is_in_record(name, record);
        free(record);
        if (fd >= 0)
            close(fd);
    }
    if (entries != NULL)
        closedir(entries);
    return error == 0 ? LCT_OK
                      : LCT_FAIL(err, LCT_ERR_STORE, "the store %s cannot be read: %s", path,
                                 strerror(error));
}

/* What the store knows. */
struct known {
    struct lct_name name; /* empty: nothing */
    bool in_file;
};

static enum lct_code find(struct known *known, const struct lct_pin *pin, struct lct_err *err)
{
    const char *path = dir_of(pin);
    enum lct_code code = LCT_OK;
    bool found;

    *known = (struct known){0};
    if (pin->new_parent)
        return LCT_OK;
    int dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0 && (errno == ENOENT || errno == ENOTDIR))
        return LCT_OK;
    if (dir < 0)
        return LCT_FAIL(err, LCT_ERR_STORE, "the store %s cannot be read: %s", path,
                        strerror(errno));
    code = read_file(&known->name, dir, path, err);
    known->in_file = known->name.len > 0;
    if (code == LCT_OK && !known->in_file)
        code = look_in_records(&found, &known->name, dir, path, err);
    close(dir);
    return code;
}

/* What a key was made under, if the file does not say that. Best effort: what is not in it is
 * looked for in the records. */
static void keep(const struct lct_pin *pin, const struct known *known, const struct lct_name *name)
{
    char text[MAX_FILE + 1];
    bool kept = known->in_file && lct_name_equal(&known->name, name);
    int dir = kept ? -1 : open(dir_of(pin), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (dir < 0)
        return;
    lct_hex_encode(text, name->data, name->len);
    text[2 * name->len] = '\n';
    (void)lct_file_put(dir, pin_file, (const uint8_t *)text, 2 * name->len + 1, 0644, true, NULL);
    close(dir);
}

/* Whether it is one of those that the store knows besides: an earlier TPM's, or another one's. */
static bool is_known(const struct lct_pin *pin, const struct lct_name *name)
{
    struct lct_name wanted = *name;
    int dir = name->len > 0 ? open(dir_of(pin), O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
    bool known = false;

    if (dir < 0)
        return false;
    (void)look_in_records(&known, &wanted, dir, dir_of(pin), NULL);
    close(dir);
    return known;
}

static enum lct_code fail_unknown(const struct lct_pin *pin, const char *label, struct lct_err *err)
{
    return LCT_FAIL(err, LCT_ERR_OTHER_TPM,
                    "%s: the TPM's storage root key is not the one that the identities in %s are "
                    "under, and nothing was made under it; if the TPM was cleared or replaced, say "
                    "so with --new-parent, else something answers in its place",
                    label, dir_of(pin));
}

enum lct_code lct_pin_create(struct lct_tpm *tpm, struct lct_tpm_created *created,
                             const struct lct_pin *pin, const struct lct_tpm_template *from,
                             struct lct_err *err)
{
    struct lct_tpm_template pinned = *from;
    struct lct_name other;
    struct known known;
    enum lct_code code = find(&known, pin, err);

    if (code != LCT_OK)
        return code;
    pinned.parent_name = &known.name;
    code = lct_tpm_create(tpm, created, &pinned, err);
    if (code == LCT_ERR_OTHER_TPM && known.name.len > 0) {
        other = created->parent_name;
        if (!is_known(pin, &other))
            return fail_unknown(pin, from->label, err);
        pinned.parent_name = &other;
        code = lct_tpm_create(tpm, created, &pinned, err);
    }
    if (code == LCT_OK)
        keep(pin, &known, &created->parent_name);
    return code;
}

enum lct_code lct_pin_find_parent(struct lct_tpm *tpm, struct lct_tpm_parent *parent,
                                  const struct lct_pin *pin,
                                  const struct lct_tpm_parent_request *from, struct lct_err *err)
{
    struct lct_tpm_parent_request pinned = *from;
    struct known known;

    if (from->where != 0 && from->where != lct_srk_handle)
        return lct_tpm_find_parent(tpm, parent, from, err);
    enum lct_code code = find(&known, pin, err);
    if (code != LCT_OK)
        return code;
    pinned.pinned = &known.name;
    code = lct_tpm_find_parent(tpm, parent, &pinned, err);
    if (code == LCT_ERR_OTHER_TPM && parent->name.len > 0) {
        const struct lct_name other = parent->name;
        if (!is_known(pin, &other))
            return fail_unknown(pin, from->label, err);
        pinned.pinned = &other;
        code = lct_tpm_find_parent(tpm, parent, &pinned, err);
    }
    if (code == LCT_OK)
        keep(pin, &known, &parent->name);
    return code;
}
