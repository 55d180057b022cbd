/* SPDX-License-Identifier: Apache-2.0 */
#include "store/key.h"

#include "base/encode.h"
#include "base/log.h"
#include "store/life.h"
#include "store/software.h"

#include <errno.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static enum lct_code check_keyfile(const struct lct_keyfile *keyfile, struct lct_err *err)
{
    if (keyfile->type != LCT_KEYFILE_LOADABLE || keyfile->has_secret)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED, "the key file holds no key that TPM2_Load takes");
    if (keyfile->has_policy && keyfile->seal == NULL)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                        "the key needs a policy, which this lct does not follow");
    return LCT_OK;
}

enum lct_code lct_key_check_seal(const struct lct_public *public_area, OSSL_LIB_CTX *libctx,
                                 const struct lct_seal *seal, bool passphrase, struct lct_err *err)
{
    uint8_t policy[LCT_POLICY_DIGEST], digest[LCT_POLICY_DIGEST];
    enum lct_code code = lct_seal_policy(policy, libctx, seal, passphrase, err);

    if (code == LCT_OK && seal->has_values)
        code = lct_pcr_digest(digest, libctx, &seal->pcrs, err);
    if (code != LCT_OK)
        return code;
    if (public_area->policy_len != sizeof policy ||
        memcmp(public_area->policy, policy, sizeof policy) != 0 ||
        (seal->has_values && memcmp(digest, seal->pcr_digest, sizeof digest) != 0))
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD,
                        "it is not sealed as is said of it: the policy that its TPM holds it to is "
                        "another");
    if ((public_area->attributes & (TPMA_OBJECT_USERWITHAUTH | TPMA_OBJECT_ADMINWITHPOLICY)) != 0)
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD,
                        "it is not sealed as is said of it: it can be used without its policy");
    return LCT_OK;
}

/* A key under way: what is packed, or is in the key's file too, when it is made. It is in
 * allocated memory, since it is more than the stack of a fibre is for. */
struct making {
    struct lct_key *key;
    struct lct_generation generation;
    struct lct_public public_area;
};

/* What the record says of the seal is what the TPM holds the key to, no less and no more. */
static enum lct_code check_seal(const struct making *making, struct lct_err *err)
{
    const struct lct_generation *generation = &making->generation;
    const struct lct_public *public_area = &making->public_area;

    if (generation->seal.kind != LCT_SEAL_NONE)
        return lct_key_check_seal(public_area, making->key->libctx, &generation->seal,
                                  generation->passphrase, err);
    if (making->key->keyfile.has_policy ||
        (public_area->attributes & TPMA_OBJECT_USERWITHAUTH) == 0)
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD,
                        "the key is sealed and its record does not say to what; restore it from a "
                        "backup");
    return LCT_OK;
}

/* The record and the key file speak of one key. */
static enum lct_code check_agreement(const struct making *making, struct lct_err *err)
{
    const struct lct_generation *generation = &making->generation;
    const struct lct_keyfile *keyfile = &making->key->keyfile;
    struct lct_name name;
    enum lct_code code =
        lct_public_name(&name, making->key->libctx, keyfile->public_area, keyfile->public_len, err);

    if (code != LCT_OK)
        return code;
    if (!lct_name_equal(&name, &generation->name))
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD,
                        "the key file holds another key than the one in the record (its Name "
                        "differs); restore both from a backup");
    if (lct_public_algorithm(&making->public_area) != generation->algorithm ||
        keyfile->parent != generation->parent || keyfile->empty_auth == generation->passphrase)
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD,
                        "the record and the key file differ in algorithm, parent or passphrase");
    return check_seal(making, err);
}

/* A key at a persistent handle has no file; the record has its public area. */
static enum lct_code take_public(struct making *making, struct lct_err *err)
{
    const struct lct_generation *generation = &making->generation;
    uint8_t *copy = malloc(generation->public_len + 1);

    if (copy == NULL)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    memcpy(copy, generation->public_area, generation->public_len);
    making->key->keyfile = (struct lct_keyfile){
        .type = LCT_KEYFILE_LOADABLE,
        .empty_auth = !generation->passphrase,
        .parent = generation->parent,
        .public_area = copy,
        .public_len = generation->public_len,
    };
    return LCT_OK;
}

/* The key file's public area, and the key in it as libcrypto has it. */
static enum lct_code decode(struct making *making, struct lct_err *err)
{
    struct lct_key *key = making->key;
    enum lct_code code = lct_public_decode(&making->public_area, key->keyfile.public_area,
                                           key->keyfile.public_len, err);

    if (code != LCT_OK)
        return code;
    if (making->public_area.type == TPM2_ALG_KEYEDHASH)
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD,
                        "the key file says that it holds a key, and holds sealed data");
    key->pkey = lct_public_pkey(&making->public_area, key->libctx, err);
    return key->pkey != NULL ? LCT_OK : LCT_ERR_BAD_RECORD;
}

static enum lct_code fill_software(struct making *making, const uint8_t *pem, size_t pem_len,
                                   struct lct_err *err)
{
    struct lct_key *key = making->key;
    enum lct_code code = lct_software_read(&key->encrypted, &key->encrypted_len, pem, pem_len, err);

    return code == LCT_OK ? lct_software_public(&key->pkey, &making->generation, key->libctx, err)
                          : code;
}

static enum lct_code fill(struct making *making, const uint8_t *pem, size_t pem_len,
                          struct lct_err *err)
{
    struct lct_key *key = making->key;

    if (making->generation.custody == LCT_CUSTODY_SOFTWARE)
        return fill_software(making, pem, pem_len, err);
    enum lct_code code = making->generation.handle != 0
                             ? take_public(making, err)
                             : lct_keyfile_read(&key->keyfile, pem, pem_len, key->libctx, err);

    if (code == LCT_OK)
        code = check_keyfile(&key->keyfile, err);
    if (code == LCT_OK)
        code = decode(making, err);
    return code == LCT_OK ? check_agreement(making, err) : code;
}

/* What children of fork share, if there is a passphrase: zero, that is false, as it comes, and no
 * memory before it is looked at. */
static enum lct_code share_tries(struct lct_key *key, struct lct_err *err)
{
    if (!key->has_passphrase || lct_key_is_software(key))
        return LCT_OK;
    void *page =
        mmap(NULL, sizeof *key->tries, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    key->tries = page;
    return LCT_OK;
}

static uint32_t hash_bit(const struct lct_hash *hash)
{
    size_t num_hashes;

    return (uint32_t)1 << (hash - lct_hashes(&num_hashes));
}

static bool has_hash(const struct lct_key *key, const struct lct_hash *hash)
{
    return (key->hashes & hash_bit(hash)) != 0;
}

/* Into the key what is asked of it all the time, and the rest packed. */
static enum lct_code keep(struct making *making, struct lct_err *err)
{
    struct lct_generation *generation = &making->generation;
    struct lct_key *key = making->key;

    key->number = generation->number;
    key->algorithm = generation->algorithm;
    key->custody = generation->custody;
    key->seal = generation->seal.kind;
    key->pss_salt = generation->pss_salt;
    key->has_passphrase = generation->passphrase;
    for (size_t i = 0; i < generation->num_hashes; i++)
        key->hashes |= hash_bit(generation->hashes[i]);
    generation->num_hashes = 0;
    memset(generation->hashes, 0, sizeof generation->hashes);
    key->attributes = making->public_area.attributes;
    key->scheme = making->public_area.scheme;
    key->scheme_hash = making->public_area.scheme_hash;
    free(key->keyfile.seal);
    key->keyfile.seal = NULL;
    key->generation = lct_pack(generation, sizeof *generation);
    return key->generation != NULL ? share_tries(key, err)
                                   : LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
}

/* The last step of making a key, whatever came of those before. */
static enum lct_code hand_out(struct lct_key **key, struct making *making, enum lct_code code,
                              struct lct_err *err)
{
    if (code == LCT_OK)
        code = keep(making, err);
    if (code == LCT_OK)
        *key = making->key;
    else
        lct_key_free(making->key);
    free(making);
    return code;
}

/* An empty one, to be filled in; NULL with an error. */
static struct lct_key *new_key(struct lct_crypto *crypto, const char *id, struct lct_err *err)
{
    OSSL_LIB_CTX *libctx = lct_crypto_get(crypto, err);
    size_t id_size = strlen(id) + 1;
    struct lct_key *key = libctx != NULL ? calloc(1, sizeof *key + id_size) : NULL;

    if (libctx == NULL)
        return NULL;
    if (key == NULL) {
        (void)LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
        return NULL;
    }
    atomic_init(&key->references, 1);
    atomic_init(&key->approvals, NULL);
    atomic_init(&key->life, NULL);
    key->crypto = lct_crypto_up_ref(crypto);
    key->libctx = libctx;
    memcpy(key->id, id, id_size);
    return key;
}

/* What hand_out takes; NULL with an error. */
static struct making *begin(struct lct_crypto *crypto, const char *id, struct lct_err *err)
{
    struct making *making = calloc(1, sizeof *making);

    if (making == NULL) {
        (void)LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
        return NULL;
    }
    making->key = new_key(crypto, id, err);
    if (making->key == NULL) {
        free(making);
        return NULL;
    }
    return making;
}

static enum lct_code set_label(struct lct_key *key, const char *label, struct lct_err *err)
{
    key->label = strndup(label, LCT_KEY_LABEL - 1);
    return key->label != NULL ? LCT_OK : LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
}

void lct_generation_label(char label[LCT_KEY_LABEL], const struct lct_record *record,
                          const struct lct_generation *generation)
{
    if (generation->number == record->active)
        (void)snprintf(label, LCT_KEY_LABEL, "lct:%s", record->id);
    else
        (void)snprintf(label, LCT_KEY_LABEL, "lct:%s?generation=%u", record->id,
                       generation->number);
}

static enum lct_code label_by_id(const struct making *making, struct lct_err *err)
{
    char label[LCT_KEY_LABEL];
    bool software = making->generation.custody == LCT_CUSTODY_SOFTWARE;

    (void)snprintf(label, sizeof label, "lct:%.*s%s", LCT_MAX_ID, making->key->id,
                   software ? " (custody: software)" : "");
    return set_label(making->key, label, err);
}

/* What the record says of its life. */
static enum lct_code take_life(const struct making *making, const struct lct_record *record,
                               struct lct_err *err)
{
    struct lct_key_life *life = calloc(1, sizeof *life);

    if (life == NULL)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    life->life = lct_record_life(record, &making->generation);
    atomic_store(&making->key->life, life);
    return LCT_OK;
}

enum lct_code lct_key_new(struct lct_key **key, struct lct_crypto *crypto,
                          const struct lct_record *record, unsigned number, const uint8_t *pem,
                          size_t pem_len, struct lct_err *err)
{
    const struct lct_generation *generation = lct_record_generation(record, number);

    *key = NULL;
    if (generation == NULL)
        return LCT_FAIL(err, LCT_ERR_NOT_FOUND, "there is no generation %u; the active one is %u",
                        number, record->active);
    struct making *making = begin(crypto, record->id, err);
    if (making == NULL)
        return LCT_ERR_INTERNAL;
    making->generation = *generation;
    enum lct_code code = label_by_id(making, err);
    if (code == LCT_OK)
        code = fill(making, pem, pem_len, err);
    if (code == LCT_OK)
        code = take_life(making, record, err);
    return hand_out(key, making, code, err);
}

/* What it is sealed to, if that is so; else its policy is none that we follow. What a policy takes
 * besides is no matter of whether there is an authorization value. */
static void describe_seal(struct making *making, const struct lct_seal *seal)
{
    const struct lct_keyfile *keyfile = &making->key->keyfile;
    struct lct_generation *generation = &making->generation;
    bool auth_value = keyfile->has_policy ? keyfile->policy_auth_value : !keyfile->empty_auth;

    generation->passphrase = !keyfile->empty_auth;
    if (seal == NULL || lct_key_check_seal(&making->public_area, making->key->libctx, seal,
                                           auth_value, NULL) != LCT_OK)
        return;
    generation->seal = *seal;
    generation->passphrase = auth_value;
}

/* The name by which messages call a key of no identity. */
static enum lct_code label_by_name(const struct making *making, struct lct_err *err)
{
    const struct lct_name *name = &making->generation.name;
    char hex[2 * sizeof name->data + 1], label[LCT_KEY_LABEL];

    lct_hex_encode(hex, name->data, name->len);
    (void)snprintf(label, sizeof label, "key file %.16s", hex);
    return set_label(making->key, label, err);
}

/* All that its public area and its file say of it; what its TPM can do is not known and assumed. */
static enum lct_code describe(struct making *making, struct lct_err *err)
{
    struct lct_generation *generation = &making->generation;
    const struct lct_key *key = making->key;
    size_t num_hashes;
    const struct lct_hash *hashes = lct_hashes(&num_hashes);
    enum lct_code code = lct_public_name(&generation->name, key->libctx, key->keyfile.public_area,
                                         key->keyfile.public_len, err);

    if (code == LCT_OK)
        code = label_by_name(making, err);
    if (code != LCT_OK)
        return code;
    generation->algorithm = lct_public_algorithm(&making->public_area);
    if (generation->algorithm == NULL)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED, "%s: this lct knows no keys of its kind",
                        key->label);
    generation->parent = key->keyfile.parent;
    describe_seal(making, key->keyfile.seal);
    generation->pss_salt = LCT_SALT_DIGEST;
    for (size_t i = 0; i < num_hashes && i < LCT_MAX_HASHES; i++)
        generation->hashes[generation->num_hashes++] = &hashes[i];
    return LCT_OK;
}

enum lct_code lct_key_from_keyfile(struct lct_key **key, struct lct_crypto *crypto,
                                   const uint8_t *bytes, size_t bytes_len, struct lct_err *err)
{
    struct making *making = begin(crypto, "", err);

    *key = NULL;
    if (making == NULL)
        return LCT_ERR_INTERNAL;
    struct lct_key *made = making->key;
    enum lct_code code = lct_keyfile_read(&made->keyfile, bytes, bytes_len, made->libctx, err);
    if (code == LCT_OK && made->keyfile.type == LCT_KEYFILE_SEALED)
        code =
            LCT_FAIL(err, LCT_ERR_UNSUPPORTED, "the key file holds sealed data, which is no key");
    if (code == LCT_OK)
        code = decode(making, err);
    if (code == LCT_OK)
        code = describe(making, err);
    return hand_out(key, making, code, err);
}

/* Sealed data, as far as it is a key to unseal it. */
static enum lct_code describe_sealed(struct making *making, const struct lct_seal *seal,
                                     struct lct_err *err)
{
    const struct lct_key *key = making->key;
    const struct lct_keyfile *keyfile = &key->keyfile;
    struct lct_generation *generation = &making->generation;
    bool told = seal->kind != LCT_SEAL_NONE;

    if (keyfile->type != LCT_KEYFILE_SEALED || keyfile->has_secret)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED, "it holds no sealed data that TPM2_Load takes");
    enum lct_code code =
        lct_public_decode(&making->public_area, keyfile->public_area, keyfile->public_len, err);
    if (code == LCT_OK)
        code = lct_public_name(&generation->name, key->libctx, keyfile->public_area,
                               keyfile->public_len, err);
    if (code != LCT_OK)
        return code;
    if (making->public_area.type != TPM2_ALG_KEYEDHASH)
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD, "it holds a key and says that it is sealed data");
    generation->parent = keyfile->parent;
    describe_seal(making, told ? seal : keyfile->seal);
    if (told && generation->seal.kind == LCT_SEAL_NONE)
        return lct_key_check_seal(&making->public_area, key->libctx, seal, !keyfile->empty_auth,
                                  err);
    /* It is part of what the response is encrypted with all the same: TPM 2.0 Part 1, 21.2. */
    if (generation->seal.kind != LCT_SEAL_NONE && !generation->passphrase && !keyfile->empty_auth)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                        "%s: it has an authorization that its policy does not ask for, which this "
                        "lct does not follow",
                        key->label);
    if (generation->seal.kind == LCT_SEAL_NONE &&
        (keyfile->has_policy || (making->public_area.attributes & TPMA_OBJECT_USERWITHAUTH) == 0))
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                        "it takes a policy to unseal it, which this lct does not follow");
    return LCT_OK;
}

enum lct_code lct_key_from_sealed(struct lct_key **key, struct lct_crypto *crypto,
                                  const uint8_t *bytes, size_t bytes_len,
                                  const struct lct_seal *seal, const struct lct_name *parent_name,
                                  const char *label, struct lct_err *err)
{
    struct making *making = begin(crypto, "", err);

    *key = NULL;
    if (making == NULL)
        return LCT_ERR_INTERNAL;
    struct lct_key *made = making->key;
    making->generation.parent_name = *parent_name;
    enum lct_code code = set_label(made, label, err);
    if (code == LCT_OK)
        code = lct_keyfile_read(&made->keyfile, bytes, bytes_len, made->libctx, err);
    if (code == LCT_OK)
        code = describe_sealed(making, seal, err);
    return hand_out(key, making, code, err);
}

enum lct_code lct_key_check(const struct lct_key *key, struct lct_err *err)
{
    uint32_t attributes = key->attributes;

    if (lct_key_is_software(key))
        return LCT_OK;
    if (key->keyfile.type == LCT_KEYFILE_IMPORTABLE)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                        "%s: it is wrapped for its TPM to import; make an identity of it: lct "
                        "import ID FILE",
                        key->label);
    if ((attributes & TPMA_OBJECT_SIGN_ENCRYPT) == 0)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED, "%s: it is not a signing key", key->label);
    if ((attributes & TPMA_OBJECT_RESTRICTED) != 0)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                        "%s: it is a restricted key, which signs only what its TPM made",
                        key->label);
    if (key->seal != LCT_SEAL_NONE)
        return LCT_OK;
    if (key->keyfile.has_policy)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                        "%s: it takes a policy to sign with it, which this lct does not follow",
                        key->label);
    if ((attributes & TPMA_OBJECT_USERWITHAUTH) == 0)
        return LCT_FAIL(
            err, LCT_ERR_UNSUPPORTED,
            "%s: it takes a policy to sign with it, which the key file does not say; of "
            "an identity's key the record says it, so use its lct:ID",
            key->label);
    return LCT_OK;
}

bool lct_key_is_software(const struct lct_key *key)
{
    return key->custody == LCT_CUSTODY_SOFTWARE;
}

const struct lct_generation *lct_key_generation(struct lct_generation *generation,
                                                const struct lct_key *key)
{
    size_t num_hashes;
    const struct lct_hash *hashes = lct_hashes(&num_hashes);

    lct_unpack(generation, sizeof *generation, key->generation);
    for (size_t i = 0; i < num_hashes; i++)
        if (has_hash(key, &hashes[i]))
            generation->hashes[generation->num_hashes++] = &hashes[i];
    generation->pss_salt = key->pss_salt; /* of a new key it is found out later */
    return generation;
}

static void unpack_member(void *member, size_t at, size_t len, const struct lct_key *key)
{
    lct_unpack_part(member, at, len, key->generation);
}

struct lct_name lct_key_name(const struct lct_key *key)
{
    struct lct_name name;

    unpack_member(&name, offsetof(struct lct_generation, name), sizeof name, key);
    return name;
}

bool lct_key_is_bound(const struct lct_key *key)
{
    const struct lct_public public_area = {.attributes = key->attributes};

    return lct_public_is_bound(&public_area);
}

enum lct_code lct_key_file(const struct lct_keyfile **keyfile, const struct lct_key *key,
                           struct lct_err *err)
{
    uint32_t handle;

    *keyfile = &key->keyfile;
    if (lct_key_is_software(key))
        return LCT_FAIL(
            err, LCT_ERR_UNSUPPORTED,
            "%s: its key is in no TPM, and has no TSS2 PRIVATE KEY; lct pem %s writes a "
            "file that stands for it",
            key->label, key->id);
    unpack_member(&handle, offsetof(struct lct_generation, handle), sizeof handle, key);
    if (handle == 0)
        return LCT_OK;
    return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                    "%s: its key is in the TPM at 0x%08x and there is no key file of it to write",
                    key->label, handle);
}

struct lct_key *lct_key_up_ref(struct lct_key *key)
{
    atomic_fetch_add(&key->references, 1);
    return key;
}

void lct_key_free(struct lct_key *key)
{
    if (key == NULL || atomic_fetch_sub(&key->references, 1) != 1)
        return;
    EVP_PKEY_free(key->pkey);
    EVP_PKEY_free(key->private_key); /* which wipes it */
    OPENSSL_free(key->encrypted);
    lct_keyfile_clear(&key->keyfile);
    lct_secret_wipe(&key->passphrase);
    if (key->owner_auth != NULL)
        lct_secret_wipe(key->owner_auth);
    free(key->owner_auth);
    lct_lines_free(key->audit);
    free(key->dir);
    free(key->pcr_signature);
    free(key->label);
    free(key->generation);
    for (struct lct_key_approvals *known = atomic_load(&key->approvals); known != NULL;) {
        struct lct_key_approvals *older = known->older;
        free(known);
        known = older;
    }
    for (struct lct_key_life *known = atomic_load(&key->life); known != NULL;) {
        struct lct_key_life *older = known->older;
        free(known);
        known = older;
    }
    if (key->tries != NULL)
        (void)munmap(key->tries, sizeof *key->tries);
    lct_crypto_free(key->crypto);
    free(key);
}

bool lct_key_is_locked(const struct lct_key *key)
{
    return key->has_passphrase && key->passphrase.len == 0;
}

enum lct_code lct_key_read_passphrase(struct lct_key *key, const char *file, struct lct_err *err)
{
    key->unattended = true;
    return lct_secret_read(&key->passphrase, "its passphrase", file, err);
}

/* From the file of that name in a directory; none is no error. */
static enum lct_code read_from_dir(struct lct_key *key, const char *dir, const char *prefix,
                                   struct lct_err *err)
{
    char file[PATH_MAX];

    if (key->id[0] == '\0')
        return LCT_OK;
    if (snprintf(file, sizeof file, "%s/%s%s", dir, prefix, key->id) >= (int)sizeof file)
        return LCT_FAIL(err, LCT_ERR_CONFIG, "the path %.60s... is too long", dir);
    if (access(file, F_OK) != 0 && errno == ENOENT)
        return LCT_OK;
    return lct_key_read_passphrase(key, file, err);
}

static enum lct_code find_passphrase(struct lct_key *key, const struct lct_config *config,
                                     struct lct_err *err)
{
    const char *place = config->passphrase_file;
    enum lct_code code = LCT_OK;
    struct stat st;

    if (place != NULL && stat(place, &st) == 0 && S_ISDIR(st.st_mode))
        code = read_from_dir(key, place, "", err);
    else if (place != NULL)
        code = lct_key_read_passphrase(key, place, err);
    if (code == LCT_OK && lct_key_is_locked(key) && config->credentials != NULL)
        code = read_from_dir(key, config->credentials, "lct.", err);
    return code;
}

/* Of a key in software, before its passphrase is looked for. */
static enum lct_code check_use(const struct lct_key *key, const struct lct_config *config,
                               struct lct_err *err)
{
    if (!lct_key_is_software(key))
        return LCT_OK;
    if (config->require_hardware == LCT_REQUIRE_YES)
        return LCT_FAIL(
            err, LCT_ERR_HARDWARE,
            "%s: its key is in software, and require_hardware is yes in the "
            "configuration of lct; with new in its place lct rotate %s --to tpm makes one "
            "in the TPM",
            key->label, key->id);
    return lct_life_check_key(key, err);
}

enum lct_code lct_key_open(struct lct_key *key, struct lct_err *err)
{
    if (!lct_key_is_software(key) || key->private_key != NULL)
        return LCT_OK;
    enum lct_code code = lct_software_decrypt(&key->private_key, key->encrypted, key->encrypted_len,
                                              &key->passphrase, key->pkey, key->libctx, err);
    return code == LCT_OK ? LCT_OK : lct_err_prefix(err, key->label);
}

enum lct_code lct_key_set_owner_auth(struct lct_key *key, const struct lct_secret *auth,
                                     struct lct_err *err)
{
    if (key->owner_auth == NULL)
        key->owner_auth = malloc(sizeof *key->owner_auth);
    if (key->owner_auth == NULL)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    *key->owner_auth = *auth;
    return LCT_OK;
}

/* The authorization of the hierarchy in which its parent is made anew. */
static enum lct_code find_owner_auth(struct lct_key *key, const struct lct_config *config,
                                     struct lct_err *err)
{
    const uint32_t parent = key->keyfile.parent;
    struct lct_secret auth = {0};
    enum lct_code code = LCT_OK;

    if (lct_key_is_software(key) ||
        (config->owner_auth_file == NULL && config->endorsement_auth_file == NULL))
        return LCT_OK;
    if (parent == TPM2_RH_OWNER && config->owner_auth_file != NULL)
        code = lct_secret_read(&auth, "the owner's authorization", config->owner_auth_file, err);
    if (parent == TPM2_RH_ENDORSEMENT && config->endorsement_auth_file != NULL)
        code = lct_secret_read(&auth, "the endorsement hierarchy's authorization",
                               config->endorsement_auth_file, err);
    if (code == LCT_OK && auth.len > 0)
        code = lct_key_set_owner_auth(key, &auth, err);
    lct_secret_wipe(&auth);
    return code;
}

enum lct_code lct_key_unlock(struct lct_key *key, const struct lct_config *config,
                             struct lct_err *err)
{
    enum lct_code code = check_use(key, config, err);

    if (code != LCT_OK)
        return code;
    if (lct_key_is_locked(key))
        code = find_passphrase(key, config, err);
    if (code == LCT_OK)
        code = find_owner_auth(key, config, err);
    if (code == LCT_OK)
        code = lct_key_look_in(key, key->dir, config, err);
    if (code != LCT_OK)
        return lct_err_prefix(err, key->label);
    lct_log_line(config->log, "%s: its key is read: generation %u, %s%s%s", key->label, key->number,
                 key->algorithm != NULL ? key->algorithm->name : "sealed data",
                 key->seal != LCT_SEAL_NONE ? ", sealed" : "",
                 key->has_passphrase ? ", with a passphrase" : "");
    return lct_key_is_locked(key) ? LCT_OK : lct_key_open(key, err);
}

static enum lct_code ecdsa_scheme(struct lct_scheme *scheme, const struct lct_key *key,
                                  struct lct_err *err)
{
    const struct lct_hash *hash = lct_hash_by_id(key->algorithm->hash);

    *scheme = (struct lct_scheme){TPM2_ALG_ECDSA, hash, 0};
    return has_hash(key, hash) ? LCT_OK
                               : LCT_FAIL(err, LCT_ERR_UNSUPPORTED, "%s: its TPM lacks the hash %s",
                                          key->label, hash->name);
}

static enum lct_code rsa_scheme(struct lct_scheme *scheme, const struct lct_key *key,
                                const struct lct_hash *hash, bool pss, struct lct_err *err)
{
    if (hash == NULL || !has_hash(key, hash))
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                        "%s: its TPM makes no RSA signatures with %s; lct show lists the hashes it "
                        "has",
                        key->label, hash != NULL ? hash->name : "this hash");
    if (pss && key->pss_salt == LCT_SALT_NONE)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED, "%s: its TPM makes no RSA-PSS signatures",
                        key->label);
    scheme->id = pss ? TPM2_ALG_RSAPSS : TPM2_ALG_RSASSA;
    scheme->hash = hash;
    scheme->salt_len = key->pss_salt == LCT_SALT_MAX ? RSA_PSS_SALTLEN_MAX : RSA_PSS_SALTLEN_DIGEST;
    return LCT_OK;
}

/* As it is in software, which has every hash that we have a row for. */
static struct lct_scheme software_scheme(const struct lct_key *key)
{
    const struct lct_hash *hash = lct_hash_by_id(key->algorithm->hash);

    return (struct lct_scheme){hash != NULL ? TPM2_ALG_ECDSA : LCT_ALG_EDDSA, hash, 0};
}

/* A key may be bound to one scheme and hash when it is made (TPM 2.0 Part 2, 12.2.3.5). */
static enum lct_code check_bound(const struct lct_scheme *scheme, const struct lct_key *key,
                                 struct lct_err *err)
{
    static const struct {
        uint16_t id;
        const char *name;
    } names[] = {
        {TPM2_ALG_RSASSA, "PKCS#1 v1.5"}, {TPM2_ALG_RSAPSS, "PSS"}, {TPM2_ALG_ECDSA, "ECDSA"}};
    const struct lct_hash *hash = lct_hash_by_id(key->scheme_hash);
    const char *name = "a scheme that OpenSSL has not";

    if (key->scheme == TPM2_ALG_NULL || (key->scheme == scheme->id && hash == scheme->hash))
        return LCT_OK;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (names[i].id == key->scheme)
            name = names[i].name;
    return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                    "%s: the key is bound to one kind of signature, %s with %s", key->label, name,
                    hash != NULL ? hash->name : "an unknown hash");
}

enum lct_code lct_key_scheme(struct lct_scheme *scheme, const struct lct_key *key,
                             const struct lct_hash *hash, bool pss, struct lct_err *err)
{
    enum lct_code code = lct_key_check(key, err);

    if (code == LCT_OK && lct_key_is_software(key)) {
        *scheme = software_scheme(key);
        return LCT_OK;
    }
    if (code == LCT_OK)
        code = key->algorithm->type == TPM2_ALG_ECC ? ecdsa_scheme(scheme, key, err)
                                                    : rsa_scheme(scheme, key, hash, pss, err);
    return code == LCT_OK ? check_bound(scheme, key, err) : code;
}

enum lct_code lct_key_default_scheme(struct lct_scheme *scheme, const struct lct_key *key,
                                     struct lct_err *err)
{
    bool bound = !lct_key_is_software(key) && key->scheme != TPM2_ALG_NULL;
    uint16_t hash = bound ? key->scheme_hash : key->algorithm->hash;

    return lct_key_scheme(scheme, key, lct_hash_by_id(hash), key->scheme == TPM2_ALG_RSAPSS, err);
}

size_t lct_key_fit_digest(const struct lct_scheme *scheme, uint8_t *fitted, const uint8_t *digest,
                          size_t digest_len)
{
    size_t size = scheme->hash->size;

    if (digest_len >= size) {
        memcpy(fitted, digest, size);
        return size;
    }
    memset(fitted, 0, size - digest_len);
    memcpy(fitted + size - digest_len, digest, digest_len);
    return size;
}
