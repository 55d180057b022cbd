/* SPDX-License-Identifier: Apache-2.0 */
#include "store/backup.h"

#include "base/encode.h"
#include "proof/json.h"

#include <errno.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

enum { VERSION = 1, DIGEST = 32 };

const char lct_manifest_file[] = "manifest.json";

static json_t *files_json(const struct lct_backup_files *files, OSSL_LIB_CTX *libctx)
{
    json_t *array = json_array();

    for (size_t i = 0; i < files->num; i++) {
        const struct lct_backup_file *file = &files->all[i];
        uint8_t digest[DIGEST];
        if (!EVP_Q_digest(libctx, "SHA256", NULL, file->bytes, file->bytes_len, digest, NULL) ||
            json_array_append_new(array, json_pack("{s:s, s:I, s:o}", "name", file->name, "size",
                                                   (json_int_t)file->bytes_len, "sha256",
                                                   lct_json_of_bytes(digest, sizeof digest))) !=
                0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

static json_t *identity_json(const struct lct_backup_identity *identity, OSSL_LIB_CTX *libctx)
{
    return json_pack("{s:s, s:s?, s:s?, s:o}", "id", identity->record->id, "user",
                     identity->user[0] != '\0' ? identity->user : NULL, "group",
                     identity->group[0] != '\0' ? identity->group : NULL, "files",
                     files_json(&identity->files, libctx));
}

static json_t *tpm_json(const struct lct_backup *backup)
{
    if (!backup->has_tpm)
        return json_null();
    return json_pack("{s:s, s:o}", "description", backup->tpm, "storage_root_key",
                     backup->srk.len > 0 ? lct_json_of_bytes(backup->srk.data, backup->srk.len)
                                         : json_null());
}

char *lct_backup_manifest(const struct lct_backup *backup, OSSL_LIB_CTX *libctx)
{
    json_t *identities = json_array();
    char *text = NULL, *line = NULL;

    for (size_t i = 0; i < backup->num_identities; i++)
        if (json_array_append_new(identities, identity_json(&backup->identities[i], libctx)) != 0) {
            json_decref(identities);
            return NULL;
        }
    json_t *object = json_pack("{s:i, s:s, s:o, s:o, s:o}", "version", VERSION, "created",
                               backup->created, "tpm", tpm_json(backup), "identities", identities,
                               "store", files_json(&backup->store, libctx));
    if (object != NULL)
        text = lct_json_dump(object, JSON_INDENT(1));
    json_decref(object);
    if (text != NULL && asprintf(&line, "%s\n", text) < 0)
        line = NULL;
    free(text);
    return line;
}

/* What is left of the bytes. */
struct rest {
    const uint8_t *bytes;
    size_t len;
    OSSL_LIB_CTX *libctx;
};

static enum lct_code fail_manifest(struct lct_err *err)
{
    return LCT_FAIL(err, LCT_ERR_BAD_RECORD, "its manifest is malformed");
}

/* The next file: as long as the manifest says, and with that digest. */
static enum lct_code take_file(struct lct_backup_files *files, struct rest *rest, json_t *json,
                               struct lct_err *err)
{
    const char *name, *hex;
    json_int_t size;
    uint8_t digest[DIGEST], wanted[DIGEST];

    if (json_unpack_ex(json, NULL, JSON_STRICT, "{s:s, s:I, s:s}", "name", &name, "size", &size,
                       "sha256", &hex) != 0 ||
        size < 0 || !lct_json_bytes(wanted, sizeof wanted, hex))
        return fail_manifest(err);
    if ((size_t)size > rest->len)
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD, "it has less than its manifest says");
    if (!EVP_Q_digest(rest->libctx, "SHA256", NULL, rest->bytes, (size_t)size, digest, NULL))
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "libcrypto has no SHA-256");
    if (memcmp(digest, wanted, sizeof digest) != 0)
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD,
                        "a file of it is not the one in its manifest: it is damaged, or was packed "
                        "anew");
    uint8_t *copy = malloc((size_t)size + 1);
    if (copy == NULL)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    memcpy(copy, rest->bytes, (size_t)size);
    copy[size] = '\0';
    rest->bytes += size;
    rest->len -= (size_t)size;
    return lct_backup_add_file(files, name, copy, (size_t)size, err);
}

static enum lct_code take_files(struct lct_backup_files *files, struct rest *rest, json_t *array,
                                struct lct_err *err)
{
    enum lct_code code = json_is_array(array) ? LCT_OK : fail_manifest(err);

    for (size_t i = 0; i < json_array_size(array) && code == LCT_OK; i++)
        code = take_file(files, rest, json_array_get(array, i), err);
    return code;
}

static bool take_name(char text[LCT_MAX_OWNER + 1], const json_t *json)
{
    const char *name = NULL;

    return lct_json_maybe(&name, json) &&
           (name == NULL || lct_json_text(text, LCT_MAX_OWNER + 1, name));
}

/* The record is read first, since the files have to go with it. Under an id that cannot be chosen
 * nobody would find it: lct_store_list passes over it. */
static enum lct_code take_identity(struct lct_backup_identity *identity, struct rest *rest,
                                   struct lct_crypto *crypto, json_t *json, struct lct_err *err)
{
    const char *id = "";
    json_t *user, *group, *files;

    if (json_unpack_ex(json, NULL, JSON_STRICT, "{s:s, s:o, s:o, s:o}", "id", &id, "user", &user,
                       "group", &group, "files", &files) != 0 ||
        lct_id_check_new(id, NULL) != LCT_OK || !take_name(identity->user, user) ||
        !take_name(identity->group, group))
        return fail_manifest(err);
    enum lct_code code = take_files(&identity->files, rest, files, err);
    const struct lct_backup_file *record = lct_backup_find(&identity->files, lct_record_file);
    if (code == LCT_OK && record == NULL)
        code = LCT_FAIL(err, LCT_ERR_BAD_RECORD, "it has no %s", lct_record_file);
    if (code == LCT_OK)
        code = lct_record_read(&identity->record, record->bytes, record->bytes_len, err);
    if (code == LCT_OK && strcmp(identity->record->id, id) != 0)
        code = LCT_FAIL(err, LCT_ERR_BAD_RECORD, "its record is of another id");
    if (code == LCT_OK)
        code = lct_backup_check(identity, crypto, err);
    return lct_store_about(id, NULL, code, err);
}

static enum lct_code take_identities(struct lct_backup *backup, struct rest *rest,
                                     struct lct_crypto *crypto, json_t *array, struct lct_err *err)
{
    enum lct_code code = json_is_array(array) ? LCT_OK : fail_manifest(err);
    const char *before = "";

    for (size_t i = 0; i < json_array_size(array) && code == LCT_OK; i++) {
        struct lct_backup_identity *identity = lct_backup_add_identity(backup, err);
        code = identity != NULL
                   ? take_identity(identity, rest, crypto, json_array_get(array, i), err)
                   : LCT_ERR_INTERNAL;
        if (code == LCT_OK && strcmp(before, identity->record->id) >= 0)
            code = LCT_FAIL(err, LCT_ERR_BAD_RECORD,
                            "its identities are not each there once, in "
                            "their order");
        if (code == LCT_OK)
            before = identity->record->id;
    }
    return code;
}

static enum lct_code take_store(struct lct_backup *backup, struct rest *rest,
                                struct lct_crypto *crypto, json_t *array, struct lct_err *err)
{
    enum lct_code code = take_files(&backup->store, rest, array, err);

    for (size_t i = 0; i < backup->store.num && code == LCT_OK; i++) {
        const struct lct_backup_file *file = &backup->store.all[i];
        code = lct_backup_check_store(backup, crypto, file, err);
        if (code != LCT_OK)
            (void)lct_err_prefix(err, "what it has of the store");
    }
    return code;
}

/* Who made it, for people. */
static bool take_tpm(struct lct_backup *backup, json_t *json)
{
    const char *description, *name = NULL;
    json_t *srk;

    if (json_is_null(json))
        return true;
    backup->has_tpm = true;
    return json_unpack_ex(json, NULL, JSON_STRICT, "{s:s, s:o}", "description", &description,
                          "storage_root_key", &srk) == 0 &&
           lct_json_text(backup->tpm, sizeof backup->tpm, description) &&
           lct_json_maybe(&name, srk) && (name == NULL || lct_json_name(&backup->srk, name));
}

static enum lct_code take_manifest(struct lct_backup *backup, struct rest *rest,
                                   struct lct_crypto *crypto, json_t *manifest, struct lct_err *err)
{
    const char *created;
    json_t *tpm, *identities, *store, *version = json_object_get(manifest, "version");

    if (json_is_integer(version) && json_integer_value(version) != VERSION)
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD, "it is of a newer version of lct");
    if (json_unpack_ex(manifest, NULL, JSON_STRICT, "{s:o, s:s, s:o, s:o, s:o}", "version",
                       &version, "created", &created, "tpm", &tpm, "identities", &identities,
                       "store", &store) != 0 ||
        !json_is_integer(version) || !lct_json_time(backup->created, created) ||
        !take_tpm(backup, tpm))
        return fail_manifest(err);
    enum lct_code code = take_identities(backup, rest, crypto, identities, err);
    if (code == LCT_OK)
        code = take_store(backup, rest, crypto, store, err);
    if (code == LCT_OK && rest->len > 0)
        code = LCT_FAIL(err, LCT_ERR_BAD_RECORD, "it has more than its manifest says");
    return code;
}

/* How long it is, only it says: to the brace that its first one belongs to. 0: there is none. */
static size_t manifest_len(const uint8_t *bytes, size_t bytes_len)
{
    size_t depth = 0;
    bool string = false, escaped = false;

    for (size_t i = 0; i < bytes_len; i++) {
        if (bytes[i] == '"' && !escaped)
            string = !string;
        escaped = string && bytes[i] == '\\' && !escaped;
        if (!string && bytes[i] == '{')
            depth++;
        else if (!string && bytes[i] == '}' && depth > 0 && --depth == 0)
            return i + 1;
    }
    return 0;
}

enum lct_code lct_backup_read(struct lct_backup *backup, struct lct_crypto *crypto,
                              const uint8_t *bytes, size_t bytes_len, struct lct_err *err)
{
    struct rest rest = {bytes, bytes_len, lct_crypto_get(crypto, err)};

    *backup = (struct lct_backup){0};
    if (rest.libctx == NULL)
        return LCT_ERR_INTERNAL;
    size_t len = manifest_len(bytes, bytes_len < LCT_MAX_MANIFEST ? bytes_len : LCT_MAX_MANIFEST);
    bool ended = len > 0 && len < bytes_len && bytes[len] == '\n';
    json_t *manifest = ended ? lct_json_load(bytes, len, NULL) : NULL;
    if (manifest == NULL) {
        if (ended && errno == ENOMEM)
            return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD,
                        "it does not begin with a manifest of lct backup: it is none, or was "
                        "packed anew");
    }
    rest.bytes += len + 1;
    rest.len -= len + 1;
    enum lct_code code = take_manifest(backup, &rest, crypto, manifest, err);
    json_decref(manifest);
    return code;
}
