/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store.h"

#include "base/log.h"
#include "store/change.h"
#include "store/names.h"
#include "store/part.h"
#include "store/tombstone.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const char system_store[] = "/var/lib/lct";
const char lct_record_file[] = "identity.json";
static const char nursery_dir[] = ".new";

/* The user's own, by the XDG Base Directory Specification, the first base_len bytes of which are
 * what the environment says; NULL if that names none. */
static char *own_store(size_t *base_len)
{
    const char *data = secure_getenv("XDG_DATA_HOME");
    const char *home = secure_getenv("HOME");
    bool by_data = data != NULL && data[0] == '/';
    const char *base = by_data ? data : home;
    char *path = NULL;

    if (base == NULL || base[0] != '/')
        return NULL;
    *base_len = strlen(base);
    return asprintf(&path, "%s%s/lct", base, by_data ? "" : "/.local/share") > 0 ? path : NULL;
}

/* Why what is in a directory is not only this user's doing, or root's; NULL: it is. Of what is not
 * there, or cannot be seen, nothing is taken. */
static char *why_not_ours(const char *dir, bool is_store)
{
    struct stat st;
    char *why = NULL;
    int len = 0;

    if (stat(dir, &st) != 0)
        return NULL;
    if (st.st_uid != geteuid() && st.st_uid != 0)
        len = asprintf(&why, "%s belongs to another user (uid %u)", dir, (unsigned)st.st_uid);
    else if (is_store && (st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
        len = asprintf(&why, "others may write to it (mode %04o): chmod go-w %s",
                       (unsigned)st.st_mode & 07777, dir);
    return len < 0 ? strdup("out of memory") : why;
}

/* Whether the user's own store may be looked in. */
static bool is_ours(struct lct_store *store, char *path, size_t base_len)
{
    char *why = NULL;

    for (char *end = path + base_len; end != NULL && why == NULL; end = strchr(end + 1, '/')) {
        char here = *end;
        *end = '\0';
        why = why_not_ours(path, false);
        *end = here;
    }
    if (why == NULL)
        why = why_not_ours(path, true);
    if (why != NULL && access(path, F_OK) == 0 &&
        asprintf(&store->passed_over, "the store %s is not used: %s", path, why) < 0)
        store->passed_over = NULL;
    bool ours = why == NULL;
    free(why);
    return ours;
}

static char *first_store(struct lct_store *store, const struct lct_config *config)
{
    size_t base_len = 0;

    if (config->store != NULL)
        return strdup(config->store);
    char *own = own_store(&base_len);
    if (own == NULL || is_ours(store, own, base_len))
        return own;
    free(own);
    return NULL;
}

/* Who reads a trace is told first whose it is. */
static void trace(const struct lct_store *store, struct lct_lines *log)
{
    char program[LCT_LINE_PROGRAM];

    if (log != NULL)
        lct_log_line(log, "lct " LCT_VERSION " in %s, user %u; identities are looked for in %s%s%s",
                     lct_lines_program(program), geteuid(), store->dirs[0],
                     store->num_dirs > 1 ? ", " : "", store->num_dirs > 1 ? store->dirs[1] : "");
}

enum lct_code lct_store_open(struct lct_store *store, const struct lct_config *config,
                             struct lct_err *err)
{
    *store = (struct lct_store){0};
    char *first = first_store(store, config);
    if (first != NULL)
        store->dirs[store->num_dirs++] = first;
    if (config->store == NULL) {
        store->dirs[store->num_dirs++] = strdup(system_store);
        if (geteuid() == 0)
            store->create_in = store->num_dirs - 1;
    }
    if (store->num_dirs > 0 && store->dirs[store->num_dirs - 1] != NULL) {
        trace(store, config->log);
        return LCT_OK;
    }
    lct_store_close(store);
    return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
}

void lct_store_close(struct lct_store *store)
{
    for (size_t i = 0; i < store->num_dirs; i++)
        free(store->dirs[i]);
    free(store->passed_over);
    *store = (struct lct_store){0};
}

struct lct_store lct_store_of_new(const struct lct_store *store)
{
    return (struct lct_store){.num_dirs = 1, .dirs = {store->dirs[store->create_in]}};
}

/* The directory of an id: its descriptor, or -1 with errno. */
static int open_identity(const char *dir, const char *id)
{
    int store = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (store < 0)
        return -1;
    int fd = openat(store, id, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    int error = errno == ENOTDIR || errno == ELOOP ? ENOENT : errno; /* a file is no identity */
    close(store);
    errno = error;
    return fd;
}

static enum lct_code fail_not_found(const struct lct_store *store, const char *id,
                                    struct lct_err *err)
{
    return LCT_FAIL(err, LCT_ERR_NOT_FOUND,
                    "lct:%s: there is no such identity in %s%s%s%s%s; lct list shows what there is",
                    id, store->dirs[0], store->num_dirs > 1 ? " and " : "",
                    store->num_dirs > 1 ? store->dirs[1] : "",
                    store->passed_over != NULL ? "; " : "",
                    store->passed_over != NULL ? store->passed_over : "");
}

/* Finds an id, which is no name. */
static enum lct_code find_id(struct lct_named *named, const struct lct_store *store, const char *id,
                             struct lct_err *err)
{
    int denied = 0;
    size_t denied_in = 0;

    *named = (struct lct_named){.fd = -1, .active = true};
    (void)snprintf(named->id, sizeof named->id, "%s", id);
    for (size_t i = 0; i < store->num_dirs; i++) {
        named->fd = open_identity(store->dirs[i], id);
        named->dir = store->dirs[i];
        if (named->fd >= 0)
            return LCT_OK;
        if (errno != ENOENT) {
            denied = errno;
            denied_in = i;
        }
    }
    if (denied == 0)
        return fail_not_found(store, id, err);
    return LCT_FAIL(err, LCT_ERR_STORE, "lct:%s: the store %s cannot be read: %s", id,
                    store->dirs[denied_in], strerror(denied));
}

enum lct_code lct_store_find(struct lct_named *named, const struct lct_store *store,
                             struct lct_crypto *crypto, const char *id, struct lct_err *err)
{
    enum lct_code code = lct_id_check(id, err);

    *named = (struct lct_named){.fd = -1};
    if (code != LCT_OK)
        return code;
    return lct_names_is(id) ? lct_names_find(named, store, crypto, id, err)
                            : find_id(named, store, id, err);
}

enum lct_code lct_store_find_identity(struct lct_named *named, const struct lct_store *store,
                                      const char *id, struct lct_err *err)
{
    enum lct_code code = lct_store_find(named, store, NULL, id, err);

    if (code != LCT_OK || named->active)
        return code;
    close(named->fd);
    named->fd = -1;
    return LCT_FAIL(err, LCT_ERR_WRONG_KEY,
                    "lct:%s: it is the name of generation %u of lct:%s, which is not the active "
                    "one; say lct:%s for the identity as a whole",
                    id, named->generation, named->id, named->id);
}

enum lct_code lct_store_read_record(int fd, const char *id, struct lct_record **record,
                                    struct lct_err *err)
{
    uint8_t *text = NULL;
    size_t text_len = 0;

    *record = NULL;
    enum lct_code code = lct_file_read(fd, lct_record_file, &text, &text_len, LCT_MAX_RECORD, err);

    if (code == LCT_ERR_NOT_FOUND)
        code = LCT_FAIL(err, LCT_ERR_BAD_RECORD, "it has no %s; restore it from a backup",
                        lct_record_file);
    if (code == LCT_OK) {
        code = lct_record_read(record, text, text_len, err);
        if (code != LCT_OK)
            (void)lct_err_prefix(err, lct_record_file);
    }
    free(text);
    if (code == LCT_OK && strcmp((*record)->id, id) != 0) {
        free(*record);
        *record = NULL;
        code = LCT_FAIL(err, LCT_ERR_BAD_RECORD,
                        "its record is of another id; restore it from a backup");
    }
    return code;
}

enum lct_code lct_store_about(const char *id, const char *where, enum lct_code code,
                              struct lct_err *err)
{
    char label[4 + LCT_MAX_ID + 1];

    if (code == LCT_OK)
        return LCT_OK;
    (void)snprintf(label, sizeof label, "lct:%s", id);
    if (where != NULL)
        (void)lct_err_prefix(err, where);
    (void)lct_err_prefix(err, label);
    return code;
}

enum lct_code lct_store_get_record(const struct lct_store *store, const char *id,
                                   struct lct_record **record, const char **dir,
                                   struct lct_err *err)
{
    struct lct_named named;

    *record = NULL;
    enum lct_code code = lct_store_find_identity(&named, store, id, err);
    if (code != LCT_OK)
        return code;
    code = lct_store_about(named.id, named.dir,
                           lct_store_read_record(named.fd, named.id, record, err), err);
    close(named.fd);
    if (code == LCT_OK && dir != NULL)
        *dir = named.dir;
    return code;
}

/* Where its approvals are. */
static enum lct_code set_dir(struct lct_key **key, const char *dir, struct lct_err *err)
{
    (*key)->dir = strdup(dir);
    if ((*key)->dir != NULL)
        return LCT_OK;
    lct_key_free(*key);
    *key = NULL;
    return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
}

enum lct_code lct_store_read_key(int fd, struct lct_crypto *crypto, const char *id,
                                 unsigned generation, struct lct_key **key, struct lct_err *err)
{
    struct lct_record *record = NULL;
    uint8_t *pem = NULL;
    size_t pem_len = 0;
    char name[LCT_PART_NAME];

    *key = NULL;
    enum lct_code code = lct_store_read_record(fd, id, &record, err);
    if (code != LCT_OK || record == NULL)
        return code;
    lct_part_name(name, LCT_PART_KEY, generation != 0 ? generation : record->active);
    const struct lct_generation *wanted = lct_record_generation(record, generation);
    if (wanted != NULL && wanted->handle == 0) {
        code = lct_file_read(fd, name, &pem, &pem_len, LCT_MAX_KEYFILE, err);
        if (code == LCT_ERR_NOT_FOUND)
            code = LCT_FAIL(err, LCT_ERR_BAD_RECORD,
                            "its key file %s is not there; restore it from a backup", name);
    }
    if (code == LCT_OK) {
        code = lct_key_new(key, crypto, record, generation, pem, pem_len, err);
        if (code == LCT_ERR_BAD_RECORD)
            (void)lct_err_prefix(err, name);
    }
    free(pem);
    free(record);
    return code;
}

/* Which generation is meant: a name says it, and whoever says another beside it is wrong. */
static enum lct_code choose(unsigned *generation, const struct lct_named *named, const char *id,
                            struct lct_err *err)
{
    if (named->generation != 0 && *generation != 0 && *generation != named->generation)
        return LCT_FAIL(err, LCT_ERR_NOT_FOUND,
                        "lct:%s: it is the name of generation %u of lct:%s, and of no other", id,
                        named->generation, named->id);
    if (named->generation != 0)
        *generation = named->generation;
    return LCT_OK;
}

enum lct_code lct_store_get_key(const struct lct_store *store, struct lct_crypto *crypto,
                                const char *id, unsigned generation, struct lct_key **key,
                                struct lct_err *err)
{
    struct lct_named named;

    *key = NULL;
    enum lct_code code = lct_store_find(&named, store, crypto, id, err);
    if (code != LCT_OK)
        return code;
    code = choose(&generation, &named, id, err);
    if (code == LCT_OK) {
        code = lct_store_read_key(named.fd, crypto, named.id, generation, key, err);
        if (code == LCT_OK)
            code = set_dir(key, named.dir, err);
        code = lct_store_about(named.id, named.dir, code, err);
    }
    close(named.fd);
    return code;
}

enum lct_code lct_store_open_identity(const struct lct_store *store, const char *id, int *fd,
                                      const char **dir, struct lct_err *err)
{
    struct lct_named named;
    enum lct_code code = lct_store_find(&named, store, NULL, id, err);

    *fd = named.fd;
    if (code == LCT_OK)
        *dir = named.dir;
    return code;
}

struct ids {
    char **ids;
    size_t num, room;
};

static bool add_id(struct ids *list, const char *id)
{
    if (list->num == list->room) {
        size_t room = list->room > 0 ? 2 * list->room : 64;
        char **ids = reallocarray(list->ids, room, sizeof *ids);
        if (ids == NULL)
            return false;
        list->ids = ids;
        list->room = room;
    }
    list->ids[list->num] = strdup(id);
    return list->ids[list->num] != NULL && ++list->num > 0;
}

/* Whether an identity's files are in a directory that has no record. *empty: nothing is. */
static bool has_lost_record(int store, const char *id, bool *empty)
{
    DIR *entries = lct_file_open_dir(store, id);
    const struct dirent *entry;
    int error = entries == NULL ? errno : 0;
    bool found = false;

    *empty = true;
    while (entries != NULL && !found && (entry = lct_file_next(entries, &error)) != NULL) {
        found = lct_part_is(entry->d_name);
        *empty &= strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    }
    if (entries != NULL)
        closedir(entries);
    return found || (error != 0 && error != ENOENT && error != ENOTDIR && error != ELOOP);
}

/*
 * What has neither a record nor other files of an identity is none: lost+found, say. An identity
 * whose record was lost is damaged, and still has what it has in the TPM; what cannot be looked
 * into, may be one. What is called as a key's name is, nobody can find by that.
 */
static bool is_identity(int store, const char *id)
{
    char path[LCT_MAX_ID + sizeof "/" + sizeof lct_record_file];
    bool empty;

    if (lct_names_is(id))
        return false;
    (void)snprintf(path, sizeof path, "%.*s/%s", LCT_MAX_ID, id, lct_record_file);
    if (faccessat(store, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return true;
    return errno == ENOENT ? has_lost_record(store, id, &empty)
                           : errno != ENOTDIR && errno != ELOOP;
}

static enum lct_code list_dir(struct ids *list, const char *dir, struct lct_err *err)
{
    DIR *entries = opendir(dir);
    const struct dirent *entry;
    int error = entries == NULL ? errno : 0;
    bool good = true;

    if (entries == NULL && error == ENOENT)
        return LCT_OK;
    while (entries != NULL && good && (entry = lct_file_next(entries, &error)) != NULL)
        if (entry->d_type != DT_LNK && lct_id_check(entry->d_name, NULL) == LCT_OK &&
            is_identity(dirfd(entries), entry->d_name))
            good = add_id(list, entry->d_name);
    if (entries != NULL)
        closedir(entries);
    if (error != 0)
        return LCT_FAIL(err, LCT_ERR_STORE, "the store %s cannot be read: %s", dir,
                        strerror(error));
    return good ? LCT_OK : LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
}

static int compare_ids(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* An id that is in both stores is the first one's. */
static void drop_repeated(struct ids *list)
{
    size_t kept = 0;

    for (size_t i = 0; i < list->num; i++)
        if (kept > 0 && strcmp(list->ids[kept - 1], list->ids[i]) == 0)
            free(list->ids[i]);
        else
            list->ids[kept++] = list->ids[i];
    list->num = kept;
}

enum lct_code lct_store_list(const struct lct_store *store, char ***ids, size_t *num_ids,
                             struct lct_err *err)
{
    struct ids list = {0};
    enum lct_code code = LCT_OK;

    for (size_t i = 0; i < store->num_dirs && code == LCT_OK; i++)
        code = list_dir(&list, store->dirs[i], err);
    if (code != LCT_OK) {
        lct_store_free_ids(list.ids, list.num);
        list = (struct ids){0};
    } else if (list.num > 0) {
        qsort(list.ids, list.num, sizeof *list.ids, compare_ids);
        drop_repeated(&list);
    }
    *ids = list.ids;
    *num_ids = list.num;
    return code;
}

void lct_store_free_ids(char **ids, size_t num_ids)
{
    for (size_t i = 0; i < num_ids; i++)
        free(ids[i]);
    free(ids);
}

/*
 * The nursery, where directories are filled before they are renamed into the store, and emptied
 * after they have been renamed out of it. Whoever uses it holds a shared lock; who gets an
 * exclusive one knows that what is in there was left by a crash.
 */
struct nursery {
    int store, fd;
    char name[24]; /* of our directory in it */
};

/* Each key file of a directory in the nursery. */
static enum lct_code shred_keys(int nursery, const char *name, struct lct_err *err)
{
    DIR *entries = lct_file_open_dir(nursery, name);
    const struct dirent *entry;
    enum lct_code code = LCT_OK;
    int error = entries == NULL ? errno : 0;

    while (entries != NULL && (entry = lct_file_next(entries, &error)) != NULL)
        if (strncmp(entry->d_name, "key-", 4) == 0 &&
            lct_file_shred(dirfd(entries), entry->d_name, err) != LCT_OK)
            code = LCT_ERR_STORE;
    if (code == LCT_OK && error != 0)
        code = LCT_FAIL(err, LCT_ERR_STORE, "its directory cannot be read: %s", strerror(error));
    if (entries != NULL)
        closedir(entries);
    return code;
}

/* What the names of directories begin with whose keys are to be overwritten. */
static const char to_shred[] = "shred-";

static void clear_leftovers(int nursery)
{
    DIR *entries = lct_file_open_dir(nursery, ".");

    if (entries == NULL)
        return;
    for (const struct dirent *entry = readdir(entries); entry != NULL; entry = readdir(entries))
        if (entry->d_name[0] != '.') {
            if (strncmp(entry->d_name, to_shred, sizeof to_shred - 1) == 0)
                (void)shred_keys(nursery, entry->d_name, NULL);
            lct_file_remove_dir(nursery, entry->d_name);
        }
    closedir(entries);
}

/* That a directory is there is on disk, as far as the one it is in may be read. */
static void sync_above(char *path)
{
    char *slash = strrchr(path, '/');
    const char *above = slash == NULL ? "." : slash == path ? "/" : path;

    if (slash != NULL)
        *slash = '\0';
    int fd = open(above, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (slash != NULL)
        *slash = '/';
    if (fd < 0)
        return;
    (void)fsync(fd);
    close(fd);
}

static bool make_above(char *path)
{
    if (mkdir(path, 0755) != 0)
        return errno == EEXIST;
    sync_above(path);
    return true;
}

/* Of a directory that was made here. Who owns the one that it is in may have put another thing in
 * its place since: no link is followed, nor is anything touched that is somebody else's. */
static bool give_mode(const char *path, mode_t mode)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0)
        return false;
    bool good = fstat(fd, &st) == 0 && (st.st_uid != geteuid() || fchmod(fd, mode) == 0);
    int error = errno;
    close(fd);
    errno = error;
    return good;
}

/* mkdir -p. The store itself is the user's own (0700), or for root one that every service can
 * search (0755). */
static bool make_dirs(char *path, mode_t mode)
{
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        bool good = make_above(path);
        *slash = '/';
        if (!good)
            return false;
    }
    if (mkdir(path, mode) == 0 ? !give_mode(path, mode) : errno != EEXIST)
        return false;
    sync_above(path);
    return true;
}

static enum lct_code fail_store(const char *dir, struct lct_err *err)
{
    return LCT_FAIL(
        err, LCT_ERR_STORE, "the store %s cannot be written: %s%s", dir, strerror(errno),
        errno == EACCES || errno == EPERM ? "; run as its owner, or name another with --store"
                                          : "");
}

static void nursery_close(struct nursery *nursery)
{
    if (nursery->fd >= 0)
        close(nursery->fd);
    if (nursery->store >= 0)
        close(nursery->store);
    nursery->fd = nursery->store = -1;
}

static enum lct_code nursery_open(struct nursery *nursery, const char *dir, struct lct_err *err)
{
    *nursery = (struct nursery){.store = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), .fd = -1};
    if (nursery->store >= 0 && (mkdirat(nursery->store, nursery_dir, 0700) == 0 || errno == EEXIST))
        nursery->fd =
            openat(nursery->store, nursery_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (nursery->fd < 0) {
        enum lct_code code = fail_store(dir, err);
        nursery_close(nursery);
        return code;
    }
    if (flock(nursery->fd, LOCK_EX | LOCK_NB) == 0)
        clear_leftovers(nursery->fd);
    enum lct_code code = lct_change_wait(nursery->fd, false, err);
    if (code != LCT_OK) {
        nursery_close(nursery);
        return lct_err_prefix(err, dir);
    }
    return LCT_OK;
}

static enum lct_code make_store(const char *dir, struct lct_err *err)
{
    char *path = strdup(dir);
    bool good = path != NULL && make_dirs(path, geteuid() == 0 ? 0755 : 0700);

    if (!good)
        (void)fail_store(dir, err);
    free(path);
    return good ? LCT_OK : LCT_ERR_STORE;
}

static enum lct_code check_writable(const char *dir, struct lct_err *err)
{
    struct nursery nursery;
    enum lct_code code = make_store(dir, err);

    if (code == LCT_OK)
        code = nursery_open(&nursery, dir, err);
    if (code != LCT_OK)
        return code;
    if (faccessat(nursery.fd, ".", W_OK | X_OK, AT_EACCESS) != 0 ||
        faccessat(nursery.store, ".", W_OK | X_OK, AT_EACCESS) != 0)
        code = fail_store(dir, err);
    nursery_close(&nursery);
    return code;
}

enum lct_code lct_store_check_writable(const struct lct_store *store, struct lct_err *err)
{
    enum lct_code code = check_writable(store->dirs[store->create_in], err);

    if (code != LCT_OK && store->passed_over != NULL)
        (void)lct_err_prefix(err, store->passed_over);
    return code;
}

/* A new directory of ours in the nursery: its descriptor, or -1 with errno. */
static int nursery_make_dir(struct nursery *nursery, const char *prefix)
{
    for (unsigned i = 0; i < 1000; i++) {
        (void)snprintf(nursery->name, sizeof nursery->name, "%s%d-%u", prefix, (int)getpid(), i);
        if (mkdirat(nursery->fd, nursery->name, 0700) == 0)
            return openat(nursery->fd, nursery->name,
                          O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (errno != EEXIST)
            break;
    }
    return -1;
}

static enum lct_code fill_identity(int fd, const char *dir, const struct lct_store_file *files,
                                   size_t num_files, const struct lct_owner *owner,
                                   struct lct_err *err)
{
    enum lct_code code = LCT_OK;

    for (size_t i = 0; i < num_files && code == LCT_OK; i++)
        code = lct_file_write(fd, files[i].name, files[i].bytes, files[i].bytes_len, owner, err);
    if (code == LCT_OK &&
        (fchown(fd, owner->user, owner->group) != 0 || fchmod(fd, 0750) != 0 || fsync(fd) != 0))
        code = LCT_FAIL(err, LCT_ERR_STORE, "its directory cannot be written: %s", strerror(errno));
    if (code != LCT_OK)
        (void)lct_err_prefix(err, dir);
    return code;
}

/* Into the store in one step that never replaces anything; then to disk. */
static enum lct_code publish(const struct nursery *nursery, const char *dir, const char *id,
                             struct lct_err *err)
{
    int failed = renameat2(nursery->fd, nursery->name, nursery->store, id, RENAME_NOREPLACE);

    if (failed &&
        (errno == EINVAL || errno == ENOSYS)) /* rename replaces no directory that holds anything */
        failed = renameat(nursery->fd, nursery->name, nursery->store, id);
    if (failed)
        return errno == EEXIST || errno == ENOTEMPTY
                   ? LCT_FAIL(err, LCT_ERR_EXISTS, "this identity exists already in %s", dir)
                   : LCT_FAIL(err, LCT_ERR_STORE, "the store %s cannot be written: %s", dir,
                              strerror(errno));
    if (fsync(nursery->store) != 0)
        return LCT_FAIL(err, LCT_ERR_STORE, "the store %s cannot be written to disk: %s", dir,
                        strerror(errno));
    return LCT_OK;
}

enum lct_code lct_store_put(const struct lct_store *store, const char *id,
                            const struct lct_store_file *files, size_t num_files,
                            const struct lct_owner *owner, struct lct_err *err)
{
    const char *dir = store->dirs[store->create_in];
    struct nursery nursery = {-1, -1, ""};
    enum lct_code code = make_store(dir, err);

    if (code == LCT_OK)
        code = nursery_open(&nursery, dir, err);
    if (code != LCT_OK)
        return lct_store_about(id, NULL, code, err);
    int fd = nursery_make_dir(&nursery, "");
    code = fd >= 0 ? fill_identity(fd, dir, files, num_files, owner, err) : fail_store(dir, err);
    if (code == LCT_OK)
        code = publish(&nursery, dir, id, err);
    if (fd >= 0)
        close(fd);
    if (code != LCT_OK)
        lct_file_remove_dir(nursery.fd, nursery.name);
    nursery_close(&nursery);
    if (code == LCT_OK)
        lct_names_note(dir, id, 0);
    return lct_store_about(id, NULL, code, err);
}

enum lct_code lct_store_create(const struct lct_store *store, const struct lct_record *record,
                               const uint8_t *pem, size_t pem_len, const struct lct_owner *owner,
                               struct lct_err *err)
{
    char name[LCT_PART_NAME];
    char *text = lct_record_write(record);
    struct lct_store_file files[2] = {{name, pem, pem_len}};
    size_t num_files = pem != NULL ? 1 : 0;

    if (text == NULL)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    lct_part_name(name, LCT_PART_KEY, record->active);
    files[num_files++] =
        (struct lct_store_file){lct_record_file, (const uint8_t *)text, strlen(text)};
    enum lct_code code = lct_store_put(store, record->id, files, num_files, owner, err);
    free(text);
    return code;
}

/* Out of the store in one step, under the name of a directory made for it, which it replaces; then
 * away. */
static enum lct_code take_out(struct nursery *nursery, const char *dir, const char *id, bool shred,
                              struct lct_err *err)
{
    int fd = nursery_make_dir(nursery, shred ? to_shred : "");

    if (fd < 0)
        return fail_store(dir, err);
    close(fd);
    if (renameat(nursery->store, id, nursery->fd, nursery->name) != 0) {
        enum lct_code code = fail_store(dir, err);
        lct_file_remove_dir(nursery->fd, nursery->name);
        return code;
    }
    enum lct_code code = fsync(nursery->store) == 0 ? LCT_OK : fail_store(dir, err);
    if (shred) {
        enum lct_code shredded =
            shred_keys(nursery->fd, nursery->name, code == LCT_OK ? err : NULL);
        if (code == LCT_OK)
            code = shredded;
    }
    lct_file_remove_dir(nursery->fd, nursery->name);
    return code == LCT_OK ? code : lct_err_prefix(err, "it is deleted");
}

enum lct_code lct_store_exists(const struct lct_store *store, const char *id, struct lct_err *err)
{
    struct lct_named named;
    enum lct_code code = lct_store_find_identity(&named, store, id, err);

    if (code == LCT_OK)
        close(named.fd);
    return code;
}

/* Whether a directory may go: it is an identity's, or nobody's, with nothing in it. Others' are in
 * a store that is a file system of its own, and in what is none. */
static bool can_go(int dir)
{
    bool empty;

    return faccessat(dir, lct_record_file, F_OK, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT ||
           has_lost_record(dir, ".", &empty) || empty;
}

static enum lct_code find_doomed(struct lct_named *named, const struct lct_store *store,
                                 const char *id, struct lct_err *err)
{
    enum lct_code code = lct_store_find_identity(named, store, id, err);

    if (code != LCT_OK || can_go(named->fd))
        return code;
    close(named->fd);
    named->fd = -1;
    return LCT_FAIL(err, LCT_ERR_NOT_FOUND,
                    "lct:%s: %s/%s is no identity, and stays: it has no file of one", id,
                    named->dir, named->id);
}

enum lct_code lct_store_check_delete(const struct lct_store *store, const char *id,
                                     struct lct_err *err)
{
    struct nursery nursery = {-1, -1, ""};
    struct lct_named named;
    enum lct_code code = find_doomed(&named, store, id, err);

    if (code != LCT_OK)
        return code;
    code = nursery_open(&nursery, named.dir, err);
    if (code == LCT_OK && faccessat(nursery.store, ".", W_OK | X_OK, AT_EACCESS) != 0)
        code = fail_store(named.dir, err);
    close(named.fd);
    nursery_close(&nursery);
    return lct_store_about(named.id, NULL, code, err);
}

/* Whether what is locked is what would be taken out of the store that the nursery is in. Both were
 * found by the store's path, which may be a link that another user changes. */
static bool is_in(int store, const char *id, int locked)
{
    struct stat here, st;

    return fstatat(store, id, &here, AT_SYMLINK_NOFOLLOW) == 0 && fstat(locked, &st) == 0 &&
           here.st_dev == st.st_dev && here.st_ino == st.st_ino;
}

/* One that cannot be read is damaged, and goes as well. */
static enum lct_code read_doomed(struct lct_record **record, int locked, const char *id,
                                 struct lct_err *err)
{
    struct lct_err why = {.code = LCT_OK};

    if (lct_store_read_record(locked, id, record, &why) != LCT_ERR_INTERNAL)
        return LCT_OK;
    *err = why;
    return LCT_ERR_INTERNAL;
}

/* That it is what somebody was asked about. */
static enum lct_code check_seen(const struct lct_record *seen, const struct lct_record *now,
                                struct lct_err *err)
{
    char *before = seen != NULL ? lct_record_write(seen) : NULL;
    char *text = seen != NULL && now != NULL ? lct_record_write(now) : NULL;
    const bool same = seen == NULL || (before != NULL && text != NULL && strcmp(before, text) == 0);

    free(before);
    free(text);
    return same ? LCT_OK
                : LCT_FAIL(err, LCT_ERR_STORE,
                           "another command has changed it meanwhile; do it again");
}

/* What is locked as `locked`. What it has elsewhere goes before it, and nobody puts more there
 * until it is gone. A damaged record does not say whether it has ended. */
static enum lct_code delete_locked(struct lct_deleted *deleted, struct nursery *nursery,
                                   const char *id, int locked, const struct lct_deletion *deletion,
                                   struct lct_err *err)
{
    enum lct_code code = read_doomed(&deleted->record, locked, id, err);
    const struct lct_record *record = deleted->record;

    if (code == LCT_OK)
        code = check_seen(deletion->seen, record, err);
    if (code == LCT_OK && deletion->before != NULL)
        code = deletion->before(deletion->arg, record, err);
    if (code == LCT_OK && record != NULL && record->ending != LCT_NOT_ENDED)
        code = lct_tombstone_leave(nursery->store, record, err);
    if (code != LCT_OK)
        return code;
    lct_names_forget(deleted->dir, id, 0);
    return take_out(nursery, deleted->dir, id, deletion->shred, err);
}

enum lct_code lct_store_delete(struct lct_deleted *deleted, const struct lct_store *store,
                               const char *id, const struct lct_deletion *deletion,
                               struct lct_err *err)
{
    struct nursery nursery = {-1, -1, ""};
    struct lct_named named;
    int locked = -1;
    enum lct_code code = find_doomed(&named, store, id, err);

    *deleted = (struct lct_deleted){.dir = named.dir};
    if (code != LCT_OK)
        return code;
    code = nursery_open(&nursery, named.dir, err);
    if (code == LCT_OK)
        code = lct_change_lock(&locked, named.fd, named.dir, named.id, err);
    if (code == LCT_OK && !is_in(nursery.store, named.id, locked))
        code = LCT_FAIL(err, LCT_ERR_STORE, "the store %s has become another one; do it again",
                        named.dir);
    if (code == LCT_OK)
        code = delete_locked(deleted, &nursery, named.id, locked, deletion, err);
    if (locked >= 0)
        close(locked);
    close(named.fd);
    nursery_close(&nursery);
    return lct_store_about(named.id, NULL, code, err);
}
