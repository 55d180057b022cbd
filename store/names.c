/* SPDX-License-Identifier: Apache-2.0 */
#include "store/names.h"

#include "base/fd.h"
#include "proof/web4.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char prefix[] = "web4:mb32:";
static const char index_dir[] = ".index";

enum { PREFIX = sizeof prefix - 1, DIGITS = 52, MAX_HINT = LCT_MAX_ID + sizeof " 999999\n" };

bool lct_names_is(const char *id)
{
    return strncmp(id, prefix, PREFIX) == 0;
}

/* 256 bits in digits of five: the last digit has one bit, and four that are zero. */
static bool is_well_formed(const char *name)
{
    const char *digits = name + PREFIX + 1;

    return lct_names_is(name) && name[PREFIX] == 'b' && strlen(digits) == DIGITS &&
           strspn(digits, "abcdefghijklmnopqrstuvwxyz234567") == DIGITS &&
           (digits[DIGITS - 1] == 'a' || digits[DIGITS - 1] == 'q');
}

static const char *digits_of(const char *name)
{
    return name + PREFIX + 1;
}

/* The name of a key, without the scheme. False: it has none. */
static bool name_of(char name[LCT_WEB4_NAME], const struct lct_key *key)
{
    char text[LCT_WEB4_NAME];

    if (lct_web4_name(text, key->libctx, key->pkey, NULL) != LCT_OK)
        return false;
    (void)snprintf(name, LCT_WEB4_NAME, "%s", text + sizeof "lct:" - 1);
    return true;
}

/* Whether Web4 may have a name for it: other keys are not read at all. */
static bool may_have_name(const struct lct_generation *generation)
{
    return generation->algorithm->curve == TPM2_ECC_NIST_P256 ||
           strcmp(generation->algorithm->name, "ed25519") == 0;
}

/* The directory of an identity, or of the index; -1 with errno. */
static int open_below(const char *dir, const char *name, int flags)
{
    int store = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (store < 0)
        return -1;
    int fd = openat(store, name, flags | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    int error = errno;
    close(store);
    errno = error;
    return fd;
}

/* One search, for one name. */
struct search {
    struct lct_named *named;
    struct lct_crypto *crypto;
    const char *name;
    struct lct_err *denied; /* why the first that may not be read may not; code LCT_OK: none */
};

/* What cannot be read is no finding, but the first one that may not be is kept. */
static void skip(struct search *search, const char *dir, const char *id, enum lct_code code,
                 struct lct_err *err)
{
    if (code == LCT_ERR_STORE && search->denied->code == LCT_OK) {
        (void)lct_store_about(id, dir, code, err);
        *search->denied = *err;
    }
}

/* Whether this key has the name. The record says which key it is, and what it is. */
static bool is_key(struct search *search, int fd, const char *dir, const char *id, unsigned number)
{
    struct lct_key *key = NULL;
    struct lct_err err = {.code = LCT_OK};
    char name[LCT_WEB4_NAME];
    enum lct_code code = lct_store_read_key(fd, search->crypto, id, number, &key, &err);

    if (code != LCT_OK) {
        skip(search, dir, id, code, &err);
        return false;
    }
    bool is = name_of(name, key) && strcmp(name, search->name) == 0;
    if (is) {
        struct lct_named *named = search->named;
        const struct lct_key_life *life = atomic_load(&key->life);
        *named = (struct lct_named){.fd = fd, .dir = dir, .generation = number};
        (void)snprintf(named->id, sizeof named->id, "%s", id);
        named->active = life->life.active == number;
    }
    lct_key_free(key);
    return is;
}

/* "ID GENERATION\n", as it is written and not otherwise. */
static bool parse_hint(char id[LCT_MAX_ID + 1], unsigned *number, const char *text, size_t text_len)
{
    char again[MAX_HINT + 1];
    const char *space = memchr(text, ' ', text_len);
    size_t len = space != NULL ? (size_t)(space - text) : 0;

    if (len == 0 || len > LCT_MAX_ID || memchr(text, 0, text_len) != NULL)
        return false;
    memcpy(id, text, len);
    id[len] = '\0';
    *number = (unsigned)strtoul(space + 1, NULL, 10);
    (void)snprintf(again, sizeof again, "%s %u\n", id, *number);
    return *number > 0 && *number <= LCT_MAX_NUMBER && strlen(again) == text_len &&
           memcmp(again, text, text_len) == 0 && lct_id_check_new(id, NULL) == LCT_OK;
}

/* By the hint in the store `dir`; false: there is none, or it is wrong. */
static bool find_by_hint(struct search *search, const char *dir)
{
    char id[LCT_MAX_ID + 1];
    uint8_t *text = NULL;
    size_t text_len = 0;
    unsigned number = 0;
    int index = open_below(dir, index_dir, O_PATH);

    if (index < 0)
        return false;
    bool good =
        lct_file_read(index, digits_of(search->name), &text, &text_len, MAX_HINT, NULL) == LCT_OK &&
        parse_hint(id, &number, (const char *)text, text_len);
    close(index);
    free(text);
    int fd = good ? open_below(dir, id, O_PATH) : -1;
    if (fd >= 0 && is_key(search, fd, dir, id, number))
        return true;
    if (fd >= 0)
        close(fd);
    return false;
}

/* Among the generations of one identity. */
static bool find_in_record(struct search *search, const char *dir, const char *id)
{
    struct lct_record *record = NULL;
    struct lct_err err = {.code = LCT_OK};
    bool found = false;
    int fd = open_below(dir, id, O_PATH);

    if (fd < 0)
        return false;
    enum lct_code code = lct_store_read_record(fd, id, &record, &err);
    if (code != LCT_OK)
        skip(search, dir, id, code, &err);
    for (size_t i = 0; code == LCT_OK && !found && i < record->num_generations; i++)
        found = may_have_name(&record->generations[i]) &&
                is_key(search, fd, dir, id, record->generations[i].number);
    free(record);
    if (!found)
        close(fd);
    return found;
}

/* Among all identities of one store. */
static bool find_by_search(struct search *search, char *dir)
{
    const struct lct_store one = {.num_dirs = 1, .dirs = {dir}};
    char **ids = NULL;
    size_t num_ids = 0;
    bool found = false;
    struct lct_err err = {.code = LCT_OK};
    enum lct_code code = lct_store_list(&one, &ids, &num_ids, &err);

    if (code != LCT_OK && search->denied->code == LCT_OK)
        *search->denied = err;
    for (size_t i = 0; i < num_ids && !found; i++)
        found = find_in_record(search, dir, ids[i]);
    lct_store_free_ids(ids, num_ids);
    return found;
}

static enum lct_code fail_not_found(const struct search *search, const struct lct_store *store,
                                    struct lct_err *err)
{
    if (search->denied->code != LCT_OK)
        return LCT_FAIL(err, LCT_ERR_STORE,
                        "lct:%s: no key that may be read has this name, and not all may be: %s",
                        search->name, search->denied->text);
    return LCT_FAIL(err, LCT_ERR_NOT_FOUND,
                    "lct:%s: no identity in %s%s%s has a key of this name; lct list shows what "
                    "there is",
                    search->name, store->dirs[0], store->num_dirs > 1 ? " and " : "",
                    store->num_dirs > 1 ? store->dirs[1] : "");
}

static enum lct_code find(struct search *search, const struct lct_store *store, struct lct_err *err)
{
    for (size_t i = 0; i < store->num_dirs; i++)
        if (find_by_hint(search, store->dirs[i]))
            return LCT_OK;
    for (size_t i = 0; i < store->num_dirs; i++)
        if (find_by_search(search, store->dirs[i])) {
            lct_names_note(store->dirs[i], search->named->id, search->named->generation);
            return LCT_OK;
        }
    return fail_not_found(search, store, err);
}

enum lct_code lct_names_find(struct lct_named *named, const struct lct_store *store,
                             struct lct_crypto *crypto, const char *name, struct lct_err *err)
{
    struct lct_err denied = {.code = LCT_OK};
    struct search search = {.named = named,
                            .crypto = crypto != NULL ? lct_crypto_up_ref(crypto) : lct_crypto_new(),
                            .name = name,
                            .denied = &denied};

    *named = (struct lct_named){.fd = -1};
    if (!is_well_formed(name)) {
        lct_crypto_free(search.crypto);
        return LCT_FAIL(err, LCT_ERR_BAD_ID,
                        "lct:%s: a name that follows from a key is lct:%sb and %d digits, a to z "
                        "and 2 to 7, of which the last is a or q",
                        name, prefix, (int)DIGITS);
    }
    enum lct_code code = search.crypto != NULL && lct_crypto_get(search.crypto, err) != NULL
                             ? find(&search, store, err)
                             : LCT_FAIL(err, LCT_ERR_INTERNAL, "libcrypto cannot be used");
    lct_crypto_free(search.crypto);
    return code;
}

/* The index, made if need be; -1: it cannot be. */
static int open_index(const char *dir, bool make)
{
    int store = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (store < 0)
        return -1;
    int fd = make ? lct_file_make_dir(store, index_dir, 0755)
                  : openat(store, index_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    close(store);
    return fd;
}

/* A hint that is cut short by a crash is wrong, and as good as none: nothing waits for the disk. */
static void write_hint(int index, const char *name, const char *id, unsigned number)
{
    char text[MAX_HINT + 1];
    struct stat st;
    const char *digits = digits_of(name);
    int len = snprintf(text, sizeof text, "%s %u\n", id, number);

    (void)unlinkat(index, digits, 0);
    int fd = openat(index, digits, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0)
        return;
    bool good = lct_fd_write_all(fd, (const uint8_t *)text, (size_t)len) && fchmod(fd, 0644) == 0;
    if (good && geteuid() == 0 && fstat(index, &st) == 0)
        good = fchown(fd, st.st_uid, st.st_gid) == 0;
    close(fd);
    if (!good)
        (void)unlinkat(index, digits, 0);
}

/* What is done to the names of an identity; `note`: they are written, else removed. */
static void change(const char *dir, const char *id, unsigned number, bool note)
{
    struct lct_record *record = NULL;
    struct lct_crypto *crypto = lct_crypto_new();
    int index = open_index(dir, note);
    int fd = open_below(dir, id, O_PATH);
    bool good = crypto != NULL && index >= 0 && fd >= 0 &&
                lct_store_read_record(fd, id, &record, NULL) == LCT_OK;

    for (size_t i = 0; good && i < record->num_generations; i++) {
        const struct lct_generation *generation = &record->generations[i];
        struct lct_key *key = NULL;
        char name[LCT_WEB4_NAME];
        if ((number != 0 && number != generation->number) || !may_have_name(generation) ||
            lct_store_read_key(fd, crypto, id, generation->number, &key, NULL) != LCT_OK)
            continue;
        if (name_of(name, key) && note)
            write_hint(index, name, id, generation->number);
        else if (name_of(name, key))
            (void)unlinkat(index, digits_of(name), 0);
        lct_key_free(key);
    }
    free(record);
    if (fd >= 0)
        close(fd);
    if (index >= 0)
        close(index);
    lct_crypto_free(crypto);
}

void lct_names_note(const char *dir, const char *id, unsigned number)
{
    change(dir, id, number, true);
}

void lct_names_forget(const char *dir, const char *id, unsigned number)
{
    change(dir, id, number, false);
}
