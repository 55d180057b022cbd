/* SPDX-License-Identifier: Apache-2.0 */
#include "store/backup.h"

#include "proof/json.h"
#include "proof/jws_general.h"
#include "store/approval.h"
#include "store/armour.h"
#include "store/authority.h"
#include "store/certs.h"
#include "store/change.h"
#include "store/part.h"
#include "store/tombstone.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <openssl/crypto.h>
#include <openssl/x509.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_APPROVAL = 1 << 16 };

/* A file of a generation. */
struct kind {
    size_t max;
    enum lct_code (*check)(const struct lct_key *key, struct lct_crypto *crypto,
                           const struct lct_backup_file *file, struct lct_err *err);
};

static void clear_files(struct lct_backup_files *files)
{
    for (size_t i = 0; i < files->num; i++) {
        free(files->all[i].name);
        free(files->all[i].bytes);
    }
    free(files->all);
    *files = (struct lct_backup_files){0};
}

static void clear_identity(struct lct_backup_identity *identity)
{
    clear_files(&identity->files);
    free(identity->record);
    *identity = (struct lct_backup_identity){0};
}

void lct_backup_clear(struct lct_backup *backup)
{
    for (size_t i = 0; i < backup->num_identities; i++)
        clear_identity(&backup->identities[i]);
    free(backup->identities);
    clear_files(&backup->store);
    *backup = (struct lct_backup){0};
}

/* Room for one more; NULL if out of memory. */
static void *grow(void *all, size_t num, size_t *room, size_t size)
{
    if (num < *room)
        return all;
    size_t more = *room > 0 ? 2 * *room : 8;
    void *grown = reallocarray(all, more, size);
    if (grown != NULL)
        *room = more;
    return grown;
}

enum lct_code lct_backup_add_file(struct lct_backup_files *files, const char *name, uint8_t *bytes,
                                  size_t bytes_len, struct lct_err *err)
{
    struct lct_backup_file *all = grow(files->all, files->num, &files->room, sizeof *all);

    if (all != NULL) {
        struct lct_backup_file *file = &all[files->num++];
        files->all = all;
        file->name = strdup(name);
        file->bytes = bytes;
        file->bytes_len = bytes_len;
        if (file->name != NULL)
            return LCT_OK;
        files->num--;
    }
    free(bytes);
    return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
}

struct lct_backup_identity *lct_backup_add_identity(struct lct_backup *backup, struct lct_err *err)
{
    struct lct_backup_identity *all =
        grow(backup->identities, backup->num_identities, &backup->room, sizeof *all);

    if (all == NULL) {
        (void)LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
        return NULL;
    }
    backup->identities = all;
    all[backup->num_identities] = (struct lct_backup_identity){0};
    return &all[backup->num_identities++];
}

const struct lct_backup_file *lct_backup_find(const struct lct_backup_files *files,
                                              const char *name)
{
    for (size_t i = 0; i < files->num; i++)
        if (strcmp(files->all[i].name, name) == 0)
            return &files->all[i];
    return NULL;
}

/* Whether it is EncryptedPrivateKeyInfo (RFC 5958, 3), and nothing besides. */
static bool is_encrypted(const struct lct_backup_file *file)
{
    uint8_t *der = NULL;
    size_t der_len = 0;
    X509_SIG *encrypted = NULL;

    if (lct_armour_read(&der, &der_len, "ENCRYPTED PRIVATE KEY", file->bytes, file->bytes_len)) {
        const unsigned char *at = der;
        encrypted = d2i_X509_SIG(NULL, &at, (long)der_len);
        if (encrypted != NULL && at != der + der_len) {
            X509_SIG_free(encrypted);
            encrypted = NULL;
        }
    }
    X509_SIG_free(encrypted);
    OPENSSL_free(der);
    return encrypted != NULL;
}

/* That it goes with its record, making a key of the two has shown; a TPM2B_PRIVATE is wrapped. */
static enum lct_code check_key(const struct lct_key *key, struct lct_crypto *crypto,
                               const struct lct_backup_file *file, struct lct_err *err)
{
    (void)crypto;
    if (lct_key_is_software(key) ? is_encrypted(file) : key->keyfile.private_len > 0)
        return LCT_OK;
    return LCT_FAIL(err, LCT_ERR_BAD_RECORD, "it holds no key that is wrapped or encrypted");
}

static enum lct_code check_certs(const struct lct_key *key, struct lct_crypto *crypto,
                                 const struct lct_backup_file *file, struct lct_err *err)
{
    struct lct_certs certs = {0};
    uint8_t *pem = NULL;
    size_t pem_len = 0;
    enum lct_code code = lct_certs_parse(&certs, crypto, file->bytes, file->bytes_len, err);

    if (code == LCT_OK)
        code = lct_certs_check_leaf(&certs, key, err);
    if (code == LCT_OK)
        code = lct_certs_write(&pem, &pem_len, &certs, err);
    /* Text around the blocks may be anything. */
    if (code == LCT_OK && (pem_len != file->bytes_len || memcmp(pem, file->bytes, pem_len) != 0))
        code = LCT_FAIL(err, LCT_ERR_BAD_RECORD,
                        "it holds more than certificates; keep them anew with lct cert --set");
    OPENSSL_free(pem);
    lct_certs_clear(&certs);
    return code;
}

/* base64url and nothing else, in which no key in the clear would be taken for one. Whom it is by,
 * who verifies it sees. */
static enum lct_code check_statement(const struct lct_key *key, struct lct_crypto *crypto,
                                     const struct lct_backup_file *file, struct lct_err *err)
{
    struct lct_jws_general jws = {0};
    enum lct_code code = lct_jws_general_read(&jws, file->bytes, file->bytes_len, err);

    (void)key;
    (void)crypto;
    lct_jws_general_clear(&jws);
    return code == LCT_ERR_BAD_EVIDENCE
               ? LCT_FAIL(err, LCT_ERR_BAD_RECORD, "it is no signed statement")
               : code;
}

static const struct kind kinds[LCT_NUM_PARTS] = {
    [LCT_PART_KEY] = {LCT_MAX_KEYFILE, check_key},
    [LCT_PART_CERTS] = {LCT_MAX_CERTS_FILE, check_certs},
    [LCT_PART_SUCCESSION] = {LCT_MAX_JWS_GENERAL, check_statement}};

/* The files of one generation; *seen counts them. */
static enum lct_code check_generation(const struct lct_backup_identity *identity, unsigned number,
                                      struct lct_crypto *crypto, size_t *seen, struct lct_err *err)
{
    char name[LCT_PART_NAME];
    struct lct_key *key = NULL;
    const struct lct_backup_file *file;

    lct_part_name(name, LCT_PART_KEY, number);
    file = lct_backup_find(&identity->files, name);
    if (file == NULL && lct_record_generation(identity->record, number)->handle == 0)
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD, "its key file %s is not there", name);
    enum lct_code code =
        lct_key_new(&key, crypto, identity->record, number, file != NULL ? file->bytes : NULL,
                    file != NULL ? file->bytes_len : 0, err);
    if (code != LCT_OK)
        return lct_err_prefix(err, name);
    for (enum lct_part part = 0; part < LCT_NUM_PARTS && code == LCT_OK; part++) {
        lct_part_name(name, part, number);
        file = lct_backup_find(&identity->files, name);
        if (file == NULL)
            continue;
        (*seen)++;
        code = file->bytes_len <= kinds[part].max
                   ? kinds[part].check(key, crypto, file, err)
                   : LCT_FAIL(err, LCT_ERR_BAD_RECORD, "it is too long");
        if (code != LCT_OK)
            (void)lct_err_prefix(err, name);
    }
    lct_key_free(key);
    return code;
}

static enum lct_code check_ending(const struct lct_backup_identity *identity,
                                  struct lct_crypto *crypto, size_t *seen, struct lct_err *err)
{
    const struct lct_backup_file *file = lct_backup_find(&identity->files, lct_ending_file);

    if (file == NULL || identity->record->ending == LCT_NOT_ENDED)
        return LCT_OK;
    (*seen)++;
    if (check_statement(NULL, crypto, file, err) == LCT_OK)
        return LCT_OK;
    return lct_err_prefix(err, lct_ending_file);
}

/* No file more than those that have been looked at, each once: of two of a name one was. */
static enum lct_code check_number(const struct lct_backup_identity *identity, size_t seen,
                                  struct lct_err *err)
{
    return seen == identity->files.num
               ? LCT_OK
               : LCT_FAIL(err, LCT_ERR_BAD_RECORD,
                          "it has a file that its record does not speak of, or one twice");
}

enum lct_code lct_backup_check(const struct lct_backup_identity *identity,
                               struct lct_crypto *crypto, struct lct_err *err)
{
    const struct lct_record *record = identity->record;
    size_t seen = 1; /* its record */
    enum lct_code code = LCT_OK;

    for (size_t i = 0; i < record->num_generations && code == LCT_OK; i++)
        code = check_generation(identity, record->generations[i].number, crypto, &seen, err);
    if (code == LCT_OK)
        code = check_ending(identity, crypto, &seen, err);
    return code == LCT_OK ? check_number(identity, seen, err) : code;
}

/* A file of the directory, if it is there, under the name that it has in the backup. */
static enum lct_code take_file(struct lct_backup_files *files, int dir, const char *name,
                               const char *as, size_t max, struct lct_err *err)
{
    uint8_t *bytes = NULL;
    size_t bytes_len = 0;
    enum lct_code code = lct_file_read(dir, name, &bytes, &bytes_len, max, err);

    if (code == LCT_ERR_NOT_FOUND)
        return LCT_OK;
    return code == LCT_OK ? lct_backup_add_file(files, as, bytes, bytes_len, err) : code;
}

static void take_owner(struct lct_backup_identity *identity, int dir)
{
    struct stat st;

    if (fstat(dir, &st) != 0)
        return;
    const struct passwd *passwd = getpwuid(st.st_uid);
    const struct group *group = getgrgid(st.st_gid);
    if (passwd == NULL || !lct_json_text(identity->user, sizeof identity->user, passwd->pw_name))
        identity->user[0] = '\0';
    if (group == NULL || !lct_json_text(identity->group, sizeof identity->group, group->gr_name))
        identity->group[0] = '\0';
}

/* The identity whose directory is open and locked. */
static enum lct_code take_identity(struct lct_backup_identity *identity, int dir, const char *id,
                                   struct lct_crypto *crypto, struct lct_err *err)
{
    char name[LCT_PART_NAME];
    enum lct_code code = lct_store_read_record(dir, id, &identity->record, err);

    for (size_t g = 0; code == LCT_OK && g < identity->record->num_generations; g++)
        for (enum lct_part part = 0; part < LCT_NUM_PARTS && code == LCT_OK; part++) {
            const struct lct_generation *generation = &identity->record->generations[g];
            if (part == LCT_PART_KEY && generation->handle != 0)
                continue;
            lct_part_name(name, part, generation->number);
            code = take_file(&identity->files, dir, name, name, kinds[part].max, err);
        }
    if (code == LCT_OK && identity->record->ending != LCT_NOT_ENDED)
        code = take_file(&identity->files, dir, lct_ending_file, lct_ending_file,
                         LCT_MAX_JWS_GENERAL, err);
    if (code == LCT_OK)
        code =
            take_file(&identity->files, dir, lct_record_file, lct_record_file, LCT_MAX_RECORD, err);
    take_owner(identity, dir);
    return code == LCT_OK ? lct_backup_check(identity, crypto, err) : code;
}

enum lct_code lct_backup_take(struct lct_backup *backup, const struct lct_store *store,
                              struct lct_crypto *crypto, const char *id, struct lct_err *err)
{
    const char *where = NULL;
    int fd = -1, dir = -1;
    enum lct_code code = lct_store_open_identity(store, id, &fd, &where, err);

    if (code != LCT_OK)
        return code;
    struct lct_backup_identity *identity = lct_backup_add_identity(backup, err);
    code = identity != NULL ? lct_change_lock(&dir, fd, where, id, err) : LCT_ERR_INTERNAL;
    if (code == LCT_OK)
        code = take_identity(identity, dir, id, crypto, err);
    if (code != LCT_OK && identity != NULL) {
        clear_identity(identity);
        backup->num_identities--;
    }
    if (dir >= 0)
        close(dir);
    close(fd);
    return lct_store_about(id, where, code, err);
}

/* Of the file ".approvals/NAME" the name, if it begins with that directory and is no deeper. */
static const char *below(const char *name, const char *dir)
{
    size_t len = strlen(dir);

    if (strncmp(name, dir, len) != 0 || name[len] != '/' || strchr(name + len + 1, '/') != NULL)
        return NULL;
    return name + len + 1;
}

static enum lct_code check_approval(const struct lct_backup *backup, OSSL_LIB_CTX *libctx,
                                    const struct lct_backup_file *file, struct lct_err *err)
{
    const struct lct_backup_file *key = lct_backup_find(&backup->store, lct_authority_file);
    struct lct_authority authority = {0};
    struct lct_approvals approvals = {0};

    if (key == NULL)
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD, "it is an approval, and there is no authority");
    enum lct_code code =
        lct_authority_parse(&authority, libctx, (const char *)key->bytes, key->bytes_len, err);
    if (code == LCT_OK)
        code = lct_approvals_read(&approvals, file->bytes, file->bytes_len, authority.public_area,
                                  authority.public_len, libctx, err);
    lct_approvals_clear(&approvals);
    lct_authority_clear(&authority);
    return code == LCT_ERR_WRONG_KEY
               ? LCT_FAIL(err, LCT_ERR_BAD_RECORD, "it is an approval of another authority")
               : code;
}

static enum lct_code check_tombstone(const char *name, const struct lct_backup_file *file,
                                     struct lct_err *err)
{
    char its_name[LCT_TOMBSTONE_NAME];
    struct lct_record *record = NULL;
    enum lct_code code = lct_record_read(&record, file->bytes, file->bytes_len, err);

    if (code != LCT_OK)
        return code;
    lct_tombstone_name(its_name, record);
    if (record->ending == LCT_NOT_ENDED || strcmp(name, its_name) != 0)
        code = LCT_FAIL(err, LCT_ERR_BAD_RECORD, "it is not of an identity that has ended");
    free(record);
    return code;
}

enum lct_code lct_backup_check_store(const struct lct_backup *backup, struct lct_crypto *crypto,
                                     const struct lct_backup_file *file, struct lct_err *err)
{
    OSSL_LIB_CTX *libctx = lct_crypto_get(crypto, err);
    struct lct_authority authority = {0};
    const char *approval = below(file->name, lct_approvals_dir);
    const char *tombstone = below(file->name, lct_tombstone_dir);

    if (libctx == NULL)
        return LCT_ERR_INTERNAL;
    if (approval != NULL && lct_is_approval_name(approval))
        return check_approval(backup, libctx, file, err);
    if (tombstone != NULL)
        return check_tombstone(tombstone, file, err);
    if (strcmp(file->name, lct_authority_file) != 0)
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD, "it is no file of a store");
    enum lct_code code =
        lct_authority_parse(&authority, libctx, (const char *)file->bytes, file->bytes_len, err);
    lct_authority_clear(&authority);
    return code;
}

/* The last file, if it is none of ours, goes again. */
static void drop_if_not_ours(struct lct_backup *backup, struct lct_crypto *crypto)
{
    struct lct_backup_file *last = &backup->store.all[backup->store.num - 1];

    if (lct_backup_check_store(backup, crypto, last, NULL) == LCT_OK)
        return;
    free(last->name);
    free(last->bytes);
    backup->store.num--;
}

/* The files of a directory of the store that are ours. */
static enum lct_code take_dir(struct lct_backup *backup, int store, const char *dir,
                              struct lct_crypto *crypto, struct lct_err *err)
{
    DIR *entries = lct_file_open_dir(store, dir);
    const struct dirent *entry;
    enum lct_code code = LCT_OK;
    int error = entries == NULL ? errno : 0;

    if (entries == NULL && error == ENOENT)
        return LCT_OK;
    while (entries != NULL && code == LCT_OK && (entry = lct_file_next(entries, &error)) != NULL) {
        char name[sizeof entry->d_name + 16];
        size_t before = backup->store.num;
        if (entry->d_name[0] == '.')
            continue;
        (void)snprintf(name, sizeof name, "%s/%s", dir, entry->d_name);
        code = take_file(&backup->store, dirfd(entries), entry->d_name, name, LCT_MAX_RECORD, err);
        if (code == LCT_OK && backup->store.num > before)
            drop_if_not_ours(backup, crypto);
    }
    if (code == LCT_OK && error != 0)
        code = LCT_FAIL(err, LCT_ERR_STORE, "%s cannot be read: %s", dir, strerror(error));
    if (entries != NULL)
        closedir(entries);
    return code;
}

enum lct_code lct_backup_take_store(struct lct_backup *backup, const struct lct_store *store,
                                    struct lct_crypto *crypto, struct lct_err *err)
{
    const char *where = store->dirs[store->create_in];
    int fd = open(where, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return errno == ENOENT ? LCT_OK
                               : LCT_FAIL(err, LCT_ERR_STORE, "the store %s cannot be read: %s",
                                          where, strerror(errno));
    enum lct_code code =
        take_file(&backup->store, fd, lct_authority_file, lct_authority_file, MAX_APPROVAL, err);
    if (code == LCT_OK && backup->store.num > 0)
        code = lct_backup_check_store(backup, crypto, &backup->store.all[0], err);
    if (code == LCT_OK)
        code = take_dir(backup, fd, lct_approvals_dir, crypto, err);
    if (code == LCT_OK)
        code = take_dir(backup, fd, lct_tombstone_dir, crypto, err);
    close(fd);
    return code == LCT_OK ? code : lct_err_prefix(err, where);
}
