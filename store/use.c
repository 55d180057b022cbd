/* SPDX-License-Identifier: Apache-2.0 */
#include "base/unconst.h"
#include "store/approval.h"
#include "store/audit.h"
#include "store/key.h"
#include "store/life.h"
#include "store/software.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

struct lct_tpm_key lct_key_values(const struct lct_key *key, struct lct_generation *generation)
{
    const struct lct_key_approvals *known = atomic_load(&key->approvals);

    lct_key_generation(generation, key);
    return (struct lct_tpm_key){
        .label = key->label,
        .parent = generation->parent,
        .rsa_parent = key->keyfile.rsa_parent,
        .parent_name = &generation->parent_name,
        .handle = generation->handle,
        .persistent = generation->persistent,
        .name = &generation->name,
        .public_area = key->keyfile.public_area,
        .public_len = key->keyfile.public_len,
        .private_area = key->keyfile.private_area,
        .private_len = key->keyfile.private_len,
        .pkey = key->pkey,
        .needs_auth = key->has_passphrase,
        .auth = &key->passphrase,
        .unattended = key->unattended && (key->attributes & TPMA_OBJECT_NODA) == 0,
        .tries = key->tries,
        .owner_auth = key->owner_auth,
        .seal = key->seal != LCT_SEAL_NONE ? &generation->seal : NULL,
        .approvals = known != NULL ? known->all : NULL,
        .num_approvals = known != NULL ? known->num : 0,
        .libctx = key->libctx,
    };
}

/*
 * Those that were found, and those in the key's file that its authority has signed: a file may come
 * from anywhere, and be full of what only takes the TPM's time. NULL if out of memory.
 */
static struct lct_key_approvals *join(const struct lct_key *key, const struct lct_seal *seal,
                                      const struct lct_approvals *found)
{
    const struct lct_keyfile *keyfile = &key->keyfile;
    size_t num = found->num + keyfile->num_approvals;
    struct lct_key_approvals *all = calloc(1, sizeof *all + num * sizeof(struct lct_approval));

    if (all == NULL)
        return NULL;
    for (size_t i = 0; i < found->num; i++)
        all->all[all->num++] = found->all[i];
    for (size_t i = 0; i < keyfile->num_approvals; i++)
        if (!lct_approvals_have(all->all, all->num, &keyfile->approvals[i]) &&
            lct_approval_verify(&keyfile->approvals[i], key->libctx, seal->authority,
                                seal->authority_len, NULL) == LCT_OK)
            all->all[all->num++] = keyfile->approvals[i];
    return all;
}

static bool has_news(const struct lct_key_approvals *all, const struct lct_key_approvals *known)
{
    for (size_t i = 0; i < all->num; i++)
        if (known == NULL || !lct_approvals_have(known->all, known->num, &all->all[i]))
            return true;
    return false;
}

/* Others that sign with the key may do the same: who has news puts it before all that is known. */
static void publish(const struct lct_key *key, struct lct_key_approvals *all)
{
    struct lct_key *shared = lct_unconst(key);

    all->older = atomic_load(&shared->approvals);
    while (has_news(all, all->older))
        if (atomic_compare_exchange_weak(&shared->approvals, &all->older, all))
            return;
    free(all);
}

static bool takes_approvals(const struct lct_key *key)
{
    return key->seal == LCT_SEAL_AUTHORITY || key->seal == LCT_SEAL_EITHER;
}

static enum lct_code take_approvals(const struct lct_key *key, const struct lct_seal *seal,
                                    struct lct_err *err)
{
    struct lct_approvals found;
    enum lct_code code =
        lct_approvals_find(&found, key->dir, key->pcr_signature, seal, key->libctx, err);

    if (code != LCT_OK)
        return code;
    struct lct_key_approvals *all = join(key, seal, &found);
    lct_approvals_clear(&found);
    if (all == NULL)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    publish(key, all);
    return LCT_OK;
}

enum lct_code lct_key_take_approvals(const struct lct_key *key, struct lct_err *err)
{
    if (!takes_approvals(key))
        return LCT_OK;
    struct lct_generation *generation = malloc(sizeof *generation);
    if (generation == NULL)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    enum lct_code code = take_approvals(key, &lct_key_generation(generation, key)->seal, err);
    free(generation);
    return code;
}

/* *field is freed; NULL copies to NULL. False if out of memory. */
static bool replace(char **field, const char *text)
{
    char *copy = text != NULL ? strdup(text) : NULL;

    if (text != NULL && copy == NULL)
        return false;
    free(*field);
    *field = copy;
    return true;
}

enum lct_code lct_key_look_in(struct lct_key *key, const char *dir, const struct lct_config *config,
                              struct lct_err *err)
{
    static const char none[] = "none", usual[] = "/run/systemd/tpm2-pcr-signature.json";
    const char *file = config->pcr_signature != NULL ? config->pcr_signature : usual;

    lct_lines_free(key->audit);
    key->audit = lct_lines_up_ref(config->audit);
    if (!replace(&key->dir, dir) ||
        !replace(&key->pcr_signature, strcmp(file, none) != 0 ? file : NULL))
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    return lct_key_take_approvals(key, err);
}

enum lct_code lct_key_export(uint8_t **pem, size_t *pem_len, const struct lct_key *key,
                             struct lct_err *err)
{
    const struct lct_keyfile *keyfile = NULL;
    struct lct_generation generation;
    enum lct_code code = lct_key_file(&keyfile, key, err);

    *pem = NULL;
    if (code == LCT_OK)
        code = lct_key_take_approvals(key, err);
    if (code != LCT_OK)
        return code;
    const struct lct_key_approvals *known = atomic_load(&key->approvals);
    if (key->seal != LCT_SEAL_AUTHORITY || known == NULL)
        return lct_keyfile_write_pem(pem, pem_len, keyfile, err);
    lct_key_generation(&generation, key);
    struct lct_keyfile fresh = *keyfile; /* borrowed parts */
    fresh.der = NULL;
    fresh.der_len = 0;
    fresh.seal = &generation.seal;
    fresh.policy_auth_value = key->has_passphrase;
    fresh.approvals = lct_unconst(known->all);
    fresh.num_approvals = known->num;
    return lct_keyfile_write_pem(pem, pem_len, &fresh, err);
}

/* What tpm/ takes of a key, and what that points to: more than the stack of a fibre is for. */
struct use {
    struct lct_generation generation;
    struct lct_allowance allowance;
    struct lct_tpm_key values;
};

/* The caller frees it with free(). NULL with an error. */
static struct use *begin(const struct lct_key *key, struct lct_err *err)
{
    struct use *use = calloc(1, sizeof *use);

    if (use == NULL) {
        (void)LCT_FAIL(err, LCT_ERR_INTERNAL, "%s: out of memory", key->label);
        return NULL;
    }
    use->values = lct_key_values(key, &use->generation);
    use->values.allowance = &use->allowance;
    return use;
}

/* After LCT_ERR_SEALED: whether there are approvals that were not tried. */
static bool look_again(const struct lct_key *key, struct use *use, enum lct_code code)
{
    const struct lct_approval *tried = use->values.approvals;

    if (code != LCT_ERR_SEALED || !takes_approvals(key) ||
        take_approvals(key, &use->generation.seal, NULL) != LCT_OK)
        return false;
    use->values = lct_key_values(key, &use->generation);
    use->values.allowance = &use->allowance;
    return use->values.approvals != tried;
}

/* Whether a key in software may sign, and was unlocked. */
static enum lct_code check_open(const struct lct_key *key, struct lct_err *err)
{
    if (key->private_key == NULL)
        return LCT_FAIL(err, LCT_ERR_AUTH, "%s: signing with it takes its passphrase", key->label);
    return lct_life_check_key(key, err);
}

static enum lct_code sign_in_software(const struct lct_key *key, struct lct_signature *signature,
                                      const struct lct_scheme *scheme, const uint8_t *digest,
                                      size_t digest_len, struct lct_err *err)
{
    enum lct_code code = check_open(key, err);

    if (code != LCT_OK)
        return code;
    code = lct_software_sign(signature, key->private_key, scheme, digest, digest_len, key->libctx,
                             err);
    return code == LCT_OK ? LCT_OK : lct_err_prefix(err, key->label);
}

/* What is not in the audit is not handed out. */
static enum lct_code keep_back(struct lct_signature *signature)
{
    *signature = (struct lct_signature){0};
    return LCT_ERR_IO;
}

/* By a scheme without a hash. */
static enum lct_code sign_whole(const struct lct_key *key, struct lct_signature *signature,
                                const uint8_t *message, size_t message_len, struct lct_err *err)
{
    enum lct_code code = check_open(key, err);

    if (code != LCT_OK)
        return code;
    code = lct_software_sign_message(signature, key->private_key, message, message_len, key->libctx,
                                     err);
    return code == LCT_OK ? LCT_OK : lct_err_prefix(err, key->label);
}

enum lct_code lct_key_sign_message(const struct lct_key *key, struct lct_tpm *tpm,
                                   struct lct_signature *signature, const struct lct_scheme *scheme,
                                   const uint8_t *message, size_t message_len, struct lct_err *err)
{
    const struct lct_hash *hash = scheme->hash;
    uint8_t digest[LCT_MAX_HASH];

    if (hash != NULL) {
        if (!EVP_Q_digest(key->libctx, hash->openssl, NULL, message, message_len, digest, NULL))
            return LCT_FAIL(err, LCT_ERR_INTERNAL, "%s is not to be had from libcrypto",
                            hash->openssl);
        return lct_key_sign(key, tpm, signature, scheme, digest, hash->size, err);
    }
    enum lct_code code = sign_whole(key, signature, message, message_len, err);
    enum lct_code told =
        lct_audit_message(key, message, message_len, code, code == LCT_OK ? err : NULL);
    return code == LCT_OK && told != LCT_OK ? keep_back(signature) : code;
}

static enum lct_code sign(const struct lct_key *key, struct lct_tpm *tpm,
                          struct lct_signature *signature, const struct lct_scheme *scheme,
                          const uint8_t *digest, size_t digest_len, struct lct_err *err)
{
    if (lct_key_is_software(key))
        return sign_in_software(key, signature, scheme, digest, digest_len, err);
    enum lct_code code = lct_life_check_key(key, err);
    if (code != LCT_OK)
        return code;
    struct use *use = begin(key, err);
    if (use == NULL)
        return LCT_ERR_INTERNAL;
    code = lct_tpm_sign(tpm, signature, &use->values, scheme, digest, digest_len, err);
    if (look_again(key, use, code))
        code = lct_tpm_sign(tpm, signature, &use->values, scheme, digest, digest_len, err);
    free(use);
    return code;
}

enum lct_code lct_key_sign(const struct lct_key *key, struct lct_tpm *tpm,
                           struct lct_signature *signature, const struct lct_scheme *scheme,
                           const uint8_t *digest, size_t digest_len, struct lct_err *err)
{
    enum lct_code code = sign(key, tpm, signature, scheme, digest, digest_len, err);
    enum lct_code told = lct_audit_signature(key, scheme->hash, digest, digest_len, code,
                                             code == LCT_OK ? err : NULL);

    return code == LCT_OK && told != LCT_OK ? keep_back(signature) : code;
}

enum lct_code lct_key_unseal(const struct lct_key *key, struct lct_tpm *tpm,
                             uint8_t data[LCT_MAX_SEALED], size_t *data_len, struct lct_err *err)
{
    struct use *use = begin(key, err);

    if (use == NULL)
        return LCT_ERR_INTERNAL;
    enum lct_code code = lct_tpm_unseal(tpm, data, data_len, &use->values, err);
    if (look_again(key, use, code))
        code = lct_tpm_unseal(tpm, data, data_len, &use->values, err);
    free(use);
    return code;
}
