/* SPDX-License-Identifier: Apache-2.0 */
#include "store/identity.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void now(char text[21])
{
    time_t seconds = time(NULL);
    struct tm utc;

    (void)gmtime_r(&seconds, &utc);
    (void)strftime(text, 21, "%Y-%m-%dT%H:%M:%SZ", &utc);
}

static enum lct_code write_keyfile(uint8_t **pem, size_t *pem_len, struct lct_tpm_created *created,
                                   bool passphrase, struct lct_err *err)
{
    const struct lct_keyfile keyfile = {
        .type = LCT_KEYFILE_LOADABLE,
        .empty_auth = !passphrase,
        .parent = created->parent,
        .public_area = created->public_area,
        .public_len = created->public_len,
        .private_area = created->private_area,
        .private_len = created->private_len,
    };

    return lct_keyfile_write_pem(pem, pem_len, &keyfile, err);
}

static void describe(struct lct_generation *generation, const struct lct_tpm_info *info)
{
    generation->num_hashes = info->num_hashes;
    memcpy(generation->hashes, info->hashes, info->num_hashes * sizeof *info->hashes);
    (void)snprintf(generation->tpm, sizeof generation->tpm, "%s", info->description);
    generation->software_tpm = info->software;
}

/*
 * The salt length this TPM uses for PSS: some take the longest that fits, whatever TLS and X.509
 * ask for, so it is measured on one signature. A TPM without PSS is a fact to record, not an error.
 */
static enum lct_code find_salt(struct lct_generation *generation, const struct lct_key *key,
                               struct lct_tpm *tpm, struct lct_err *err)
{
    static const struct {
        int salt_len;
        enum lct_pss_salt salt;
    } kinds[] = {{RSA_PSS_SALTLEN_DIGEST, LCT_SALT_DIGEST}, {RSA_PSS_SALTLEN_MAX, LCT_SALT_MAX}};
    static const uint8_t digest[32] = "lct: what salt does the TPM use";
    struct lct_scheme scheme = {TPM2_ALG_RSAPSS, lct_hash_by_id(TPM2_ALG_SHA256),
                                RSA_PSS_SALTLEN_AUTO};
    const struct lct_tpm_key values = lct_key_values(key);
    struct lct_signature signature;

    enum lct_code code =
        lct_tpm_sign(tpm, &signature, &values, &scheme, digest, sizeof digest, err);
    if (code == LCT_ERR_UNSUPPORTED)
        return LCT_OK;
    if (code != LCT_OK)
        return code;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        scheme.salt_len = kinds[i].salt_len;
        if (lct_signature_verify(&signature, key->pkey, key->libctx, &scheme, digest, sizeof digest,
                                 NULL) == LCT_OK) {
            generation->pss_salt = kinds[i].salt;
            break;
        }
    }
    return LCT_OK;
}

/* The record of a new key, and the key. The record's salt is known only after the key has signed
 * once. */
static enum lct_code make_key(struct lct_record *record, struct lct_key **key, const uint8_t *pem,
                              size_t pem_len, struct lct_tpm_created *created, struct lct_tpm *tpm,
                              struct lct_crypto *crypto, const struct lct_identity_request *request,
                              struct lct_err *err)
{
    struct lct_generation *generation = &record->generations[0];
    OSSL_LIB_CTX *libctx = lct_crypto_get(crypto, err);

    if (libctx == NULL)
        return LCT_ERR_INTERNAL;
    enum lct_code code =
        lct_public_name(&generation->name, libctx, created->public_area, created->public_len, err);
    if (code == LCT_OK)
        code = lct_key_new(key, crypto, record, 0, pem, pem_len, err);
    if (code != LCT_OK)
        return code;
    if (request->passphrase != NULL) /* nobody else has seen the key yet */
        (*key)->passphrase = *request->passphrase;
    if (request->owner_auth != NULL)
        (*key)->owner_auth = *request->owner_auth;
    if (generation->algorithm->type != TPM2_ALG_RSA)
        return LCT_OK;
    code = find_salt(generation, *key, tpm, err);
    (*key)->generation.pss_salt = generation->pss_salt;
    return code;
}

static struct lct_record *new_record(const struct lct_identity_request *request,
                                     const struct lct_tpm_created *created,
                                     const struct lct_tpm_info *info)
{
    struct lct_record *record = calloc(1, sizeof *record);

    if (record == NULL)
        return NULL;
    struct lct_generation *generation = &record->generations[0];
    (void)snprintf(record->id, sizeof record->id, "%s", request->id);
    now(record->created);
    record->active = 1;
    record->num_generations = 1;
    generation->number = 1;
    generation->algorithm = request->algorithm;
    memcpy(generation->created, record->created, sizeof generation->created);
    generation->parent = created->parent;
    generation->passphrase = request->passphrase != NULL;
    generation->parent_name = created->parent_name;
    describe(generation, info);
    return record;
}

/* Who may give files to others: chown(2). */
static enum lct_code check_owner(const struct lct_owner *owner, struct lct_err *err)
{
    bool own_user = owner->user == (uid_t)-1 || owner->user == geteuid();
    bool own_group =
        owner->group == (gid_t)-1 || owner->group == getegid() || group_member(owner->group);

    if (geteuid() == 0 || (own_user && own_group))
        return LCT_OK;
    return LCT_FAIL(
        err, LCT_ERR_STORE,
        "only root makes identities for another user, or for a group that it is not in");
}

/* Everything that can be known to fail before the TPM is asked to make a key. */
static enum lct_code check_request(const struct lct_store *store,
                                   const struct lct_identity_request *request, struct lct_err *err)
{
    struct lct_record *existing = NULL;
    enum lct_code code = lct_id_check_new(request->id, err);

    if (code == LCT_OK)
        code = check_owner(&request->owner, err);
    if (code != LCT_OK)
        return code;
    code = lct_store_get_record(store, request->id, &existing, NULL, err);
    free(existing);
    if (code == LCT_ERR_NOT_FOUND)
        return lct_store_check_writable(store, err);
    if (code == LCT_ERR_STORE)
        return code;
    return LCT_FAIL(err, LCT_ERR_EXISTS,
                    "lct:%s: this identity exists already; choose another id, or see it with: lct "
                    "show %s",
                    request->id, request->id);
}

/* A curve is signed with the hash of its size: without that hash its keys could be made and not
 * used. */
static enum lct_code check_tpm(const struct lct_tpm_info *info,
                               const struct lct_identity_request *request, struct lct_err *err)
{
    for (size_t i = 0; i < info->num_hashes; i++)
        if (info->hashes[i]->id == request->algorithm->hash)
            return LCT_OK;
    return LCT_FAIL(err, LCT_ERR_UNSUPPORTED, "lct:%s: this TPM lacks the hash that %s needs",
                    request->id, request->algorithm->name);
}

static enum lct_code create_in_tpm(struct lct_tpm *tpm, struct lct_tpm_created *created,
                                   struct lct_tpm_info *info, struct lct_crypto *crypto,
                                   const struct lct_identity_request *request, struct lct_err *err)
{
    char label[4 + LCT_MAX_ID + 1];
    const struct lct_tpm_template from = {
        .label = label,
        .algorithm = request->algorithm,
        .provision = request->provision,
        .auth = request->passphrase,
        .owner_auth = request->owner_auth,
        .libctx = lct_crypto_get(crypto, err),
    };

    if (from.libctx == NULL)
        return LCT_ERR_INTERNAL;
    (void)snprintf(label, sizeof label, "lct:%s", request->id);
    enum lct_code code = lct_tpm_describe(tpm, info, label, err);
    if (code == LCT_OK)
        code = check_tpm(info, request, err);
    return code == LCT_OK ? lct_tpm_create(tpm, created, &from, err) : code;
}

enum lct_code lct_identity_create(const struct lct_store *store, struct lct_tpm *tpm,
                                  struct lct_crypto *crypto,
                                  const struct lct_identity_request *request, struct lct_key **key,
                                  bool *made_srk, struct lct_err *err)
{
    struct lct_tpm_created created = {0};
    struct lct_tpm_info info;
    struct lct_record *record = NULL;
    uint8_t *pem = NULL;
    size_t pem_len = 0;

    *key = NULL;
    enum lct_code code = check_request(store, request, err);
    if (code != LCT_OK)
        return code;
    code = create_in_tpm(tpm, &created, &info, crypto, request, err);
    if (made_srk != NULL)
        *made_srk = created.made_srk;
    if (code != LCT_OK)
        return code;
    record = new_record(request, &created, &info);
    code = record != NULL
               ? write_keyfile(&pem, &pem_len, &created, request->passphrase != NULL, err)
               : LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    if (code == LCT_OK)
        code = make_key(record, key, pem, pem_len, &created, tpm, crypto, request, err);
    if (code == LCT_OK)
        code = lct_store_create(store, record, pem, pem_len, &request->owner, err);
    if (code != LCT_OK) {
        lct_key_free(*key);
        *key = NULL;
    }
    OPENSSL_free(pem);
    free(record);
    return code;
}

struct check {
    struct lct_finding *findings;
    size_t *num;
};

static void found(const struct check *check, const char *what, bool good, const char *why)
{
    struct lct_finding *finding = &check->findings[(*check->num)++];

    finding->what = what;
    finding->good = good;
    (void)snprintf(finding->why, sizeof finding->why, "%s", good ? "" : why);
}

/* What the TPM reports of a key that was born in it and cannot leave it. */
static void check_attributes(const struct check *check, const struct lct_public *reported,
                             bool passphrase)
{
    static const TPMA_OBJECT bound =
        TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_SENSITIVEDATAORIGIN;
    static const TPMA_OBJECT foreign = TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT;
    char text[LCT_ATTRIBUTES_TEXT], why[256];

    lct_public_attributes(text, reported->attributes);
    (void)snprintf(why, sizeof why, "the TPM reports: %s", text);
    found(check, "cannot leave this TPM (fixedTPM, fixedParent, sensitiveDataOrigin)",
          (reported->attributes & bound) == bound, why);
    found(check, "is an unrestricted signing key",
          (reported->attributes & TPMA_OBJECT_SIGN_ENCRYPT) != 0 &&
              (reported->attributes & foreign) == 0,
          why);
    if (passphrase)
        found(check, "is protected against guessing (noDA is clear)",
              (reported->attributes & TPMA_OBJECT_NODA) == 0, why);
    if (reported->policy_len != 0)
        found(check, "signs only while its policy is satisfied (userWithAuth is clear)",
              (reported->attributes & TPMA_OBJECT_USERWITHAUTH) == 0, why);
}

static enum lct_code check_signature(const struct check *check, const struct lct_key *key,
                                     struct lct_tpm *tpm, struct lct_err *err)
{
    const struct lct_tpm_key values = lct_key_values(key);
    const struct lct_hash *hash = lct_hash_by_id(key->generation.algorithm->hash);
    struct lct_signature signature;
    struct lct_scheme scheme;
    uint8_t digest[LCT_MAX_HASH];
    enum lct_code code = lct_key_scheme(&scheme, key, hash, false, err);

    if (code == LCT_OK && RAND_bytes_ex(key->libctx, digest, hash->size, 0) != 1)
        code = LCT_FAIL(err, LCT_ERR_INTERNAL, "%s: no random numbers", key->label);
    if (code == LCT_OK) /* verified inside, in software, against the record's public key */
        code = lct_tpm_sign(tpm, &signature, &values, &scheme, digest, hash->size, err);
    found(check, "makes a signature that verifies", code == LCT_OK, err->text);
    return code;
}

static const struct lct_finding *first_bad(const struct check *check)
{
    for (size_t i = 0; i < *check->num; i++)
        if (!check->findings[i].good)
            return &check->findings[i];
    return NULL;
}

static enum lct_code check_key(const struct check *check, const struct lct_key *key,
                               struct lct_tpm *tpm, struct lct_err *err)
{
    const struct lct_tpm_key values = lct_key_values(key);
    struct lct_public reported;
    struct lct_name name;
    enum lct_code code = lct_tpm_inspect(tpm, &reported, &name, &values, err);

    if (code == LCT_ERR_NO_TPM) /* nothing was asked */
        return code;
    found(check, "loads in this TPM under its pinned storage key", code == LCT_OK, err->text);
    if (code != LCT_OK)
        return code;
    found(check, "has the Name in the record", lct_name_equal(&name, &key->generation.name),
          "the TPM reports another Name");
    check_attributes(check, &reported, key->generation.passphrase);
    if (first_bad(check) != NULL) /* nothing is signed with a key that is not what it should be */
        return LCT_OK;
    return check_signature(check, key, tpm, err);
}

enum lct_code lct_identity_check(const struct lct_store *store, struct lct_tpm *tpm,
                                 struct lct_crypto *crypto, const char *id,
                                 const struct lct_unlocker *unlocker,
                                 struct lct_finding findings[LCT_MAX_FINDINGS],
                                 size_t *num_findings, struct lct_err *err)
{
    const struct check check = {findings, num_findings};
    struct lct_key *key = NULL;

    *num_findings = 0;
    enum lct_code code = lct_store_get_key(store, crypto, id, 0, &key, err);
    if (code == LCT_ERR_NOT_FOUND || code == LCT_ERR_BAD_ID)
        return code;
    found(&check, "has a whole record and key file", code == LCT_OK, err->text);
    if (code != LCT_OK)
        return code;
    code = unlocker->unlock(unlocker->arg, key, err);
    if (code == LCT_OK)
        code = check_key(&check, key, tpm, err);
    else
        found(&check, "has what it takes to use it", false, err->text);
    const struct lct_finding *bad = first_bad(&check);
    if (code == LCT_OK && bad != NULL)
        code = LCT_FAIL(err, LCT_ERR_CHECK, "%s: the check \"%s\" fails: %.200s", key->label,
                        bad->what, bad->why);
    lct_key_free(key);
    return code;
}
