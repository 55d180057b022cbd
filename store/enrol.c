/* SPDX-License-Identifier: Apache-2.0 */
#include "store/enrol.h"

#include "base/unconst.h"
#include "proof/json.h"

#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum lct_code lct_enrol_keyfile(uint8_t **pem, size_t *pem_len, struct lct_tpm_created *created,
                                const struct lct_generation *generation,
                                const struct lct_keyfile *source, struct lct_err *err)
{
    const struct lct_keyfile keyfile = {
        .type = LCT_KEYFILE_LOADABLE,
        .empty_auth = !generation->passphrase,
        .seal = lct_unconst(&generation->seal),
        .policy_auth_value = generation->passphrase,
        .num_approvals = source != NULL ? source->num_approvals : 0,
        .approvals = source != NULL ? source->approvals : NULL,
        .rsa_parent = source != NULL && source->rsa_parent,
        .parent = created->parent,
        .public_area = created->public_area,
        .public_len = created->public_len,
        .private_area = created->private_area,
        .private_len = created->private_len,
    };

    return lct_keyfile_write_pem(pem, pem_len, &keyfile, err);
}

static void describe(struct lct_generation *generation, const struct lct_public *bound,
                     const struct lct_tpm_info *info)
{
    for (size_t i = 0; i < info->num_hashes; i++)
        if (bound == NULL || bound->scheme == TPM2_ALG_NULL ||
            info->hashes[i]->id == bound->scheme_hash)
            generation->hashes[generation->num_hashes++] = info->hashes[i];
    (void)snprintf(generation->tpm, sizeof generation->tpm, "%s", info->description);
    generation->software_tpm = info->software;
}

struct lct_record *lct_enrol_record(const char *id, const struct lct_generation *generation,
                                    const struct lct_public *bound, const struct lct_tpm_info *info)
{
    struct lct_record *record = lct_record_new(1);

    if (record == NULL)
        return NULL;
    (void)snprintf(record->id, sizeof record->id, "%s", id);
    lct_json_now(record->created);
    record->active = 1;
    record->num_generations = 1;
    record->generations[0] = *generation;
    record->generations[0].number = 1;
    memcpy(record->generations[0].created, record->created, sizeof record->created);
    describe(&record->generations[0], bound, info);
    return record;
}

static void measure(struct lct_generation *generation, const struct lct_tpm_key *key,
                    const struct lct_signature *signature, struct lct_scheme *scheme,
                    const uint8_t *digest)
{
    static const struct {
        int salt_len;
        enum lct_pss_salt salt;
    } kinds[] = {{RSA_PSS_SALTLEN_DIGEST, LCT_SALT_DIGEST}, {RSA_PSS_SALTLEN_MAX, LCT_SALT_MAX}};

    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        scheme->salt_len = kinds[i].salt_len;
        if (lct_signature_verify(signature, key->pkey, key->libctx, scheme, digest,
                                 scheme->hash->size, NULL) == LCT_OK) {
            generation->pss_salt = kinds[i].salt;
            return;
        }
    }
}

static enum lct_code sign_and_measure(struct lct_generation *generation, struct lct_tpm *tpm,
                                      const struct lct_tpm_key *key, const struct lct_hash *hash,
                                      struct lct_err *err)
{
    static const uint8_t digest[LCT_MAX_HASH] = "lct: what salt does the TPM use";
    struct lct_scheme scheme = {TPM2_ALG_RSAPSS, hash, RSA_PSS_SALTLEN_AUTO};
    struct lct_signature signature;
    enum lct_code code = lct_tpm_sign(tpm, &signature, key, &scheme, digest, hash->size, err);

    if (code == LCT_OK)
        measure(generation, key, &signature, &scheme, digest);
    return code;
}

enum lct_code lct_enrol_use_another(struct lct_tpm *tpm, const struct lct_tpm_template *from,
                                    enum lct_code (*use)(void *arg, struct lct_tpm *tpm,
                                                         const struct lct_tpm_key *key,
                                                         struct lct_err *err),
                                    void *arg, struct lct_err *err)
{
    struct lct_tpm_created created;
    struct lct_public public_area;
    struct lct_name name;
    enum lct_code code = lct_tpm_create(tpm, &created, from, err);

    if (code == LCT_OK)
        code = lct_public_decode(&public_area, created.public_area, created.public_len, err);
    if (code == LCT_OK)
        code = lct_public_name(&name, from->libctx, created.public_area, created.public_len, err);
    if (code != LCT_OK)
        return code;
    EVP_PKEY *pkey = lct_public_pkey(&public_area, from->libctx, err);
    if (pkey == NULL)
        return LCT_ERR_BAD_RECORD;
    const struct lct_tpm_key values = {.label = from->label,
                                       .parent = created.parent,
                                       .parent_name = &created.parent_name,
                                       .name = &name,
                                       .public_area = created.public_area,
                                       .public_len = created.public_len,
                                       .private_area = created.private_area,
                                       .private_len = created.private_len,
                                       .pkey = pkey,
                                       .owner_auth = from->owner_auth,
                                       .libctx = from->libctx};
    code = use(arg, tpm, &values, err);
    EVP_PKEY_free(pkey);
    return code;
}

struct measuring {
    struct lct_generation *generation;
    const struct lct_hash *hash;
};

static enum lct_code measure_another(void *arg, struct lct_tpm *tpm, const struct lct_tpm_key *key,
                                     struct lct_err *err)
{
    const struct measuring *measuring = arg;

    return sign_and_measure(measuring->generation, tpm, key, measuring->hash, err);
}

enum lct_code lct_enrol_find_salt(struct lct_generation *generation, struct lct_key *key,
                                  struct lct_tpm *tpm, struct lct_err *err)
{
    uint16_t bound = key->scheme;
    const struct lct_hash *hash =
        lct_hash_by_id(bound != TPM2_ALG_NULL ? key->scheme_hash : TPM2_ALG_SHA256);
    struct lct_generation packed;
    const struct lct_tpm_key values = lct_key_values(key, &packed);
    const struct lct_tpm_template another = {.label = key->label,
                                             .algorithm = generation->algorithm,
                                             .owner_auth = key->owner_auth,
                                             .libctx = key->libctx};
    struct measuring measuring = {generation, hash};

    if (generation->algorithm->type != TPM2_ALG_RSA || hash == NULL ||
        (bound != TPM2_ALG_NULL && bound != TPM2_ALG_RSAPSS))
        return LCT_OK;
    enum lct_code code = sign_and_measure(generation, tpm, &values, hash, err);
    if (code == LCT_ERR_SEALED)
        code = lct_enrol_use_another(tpm, &another, measure_another, &measuring, err);
    if (code == LCT_ERR_UNSUPPORTED)
        return LCT_OK;
    key->pss_salt = generation->pss_salt;
    return code;
}

enum lct_code lct_enrol_try(const struct lct_key *key, struct lct_tpm *tpm, struct lct_err *err)
{
    struct lct_signature signature;
    struct lct_scheme scheme;
    uint8_t message[32];
    enum lct_code code = lct_key_default_scheme(&scheme, key, err);

    if (code != LCT_OK)
        return code;
    if (RAND_bytes_ex(key->libctx, message, sizeof message, 0) != 1)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "%s: no random numbers", key->label);
    return lct_key_sign_message(key, tpm, &signature, &scheme, message, sizeof message, err);
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

enum lct_code lct_enrol_check(const struct lct_store *store, const char *id,
                              const struct lct_owner *owner, struct lct_err *err)
{
    struct lct_record *existing = NULL;
    enum lct_code code = lct_id_check_new(id, err);

    if (code == LCT_OK)
        code = check_owner(owner, err);
    if (code != LCT_OK)
        return code;
    code = lct_store_get_record(store, id, &existing, NULL, err);
    free(existing);
    if (code == LCT_ERR_NOT_FOUND)
        return lct_store_check_writable(store, err);
    if (code == LCT_ERR_STORE)
        return code;
    return LCT_FAIL(err, LCT_ERR_EXISTS,
                    "lct:%s: this identity exists already; choose another id, or see it with: lct "
                    "show %s",
                    id, id);
}
