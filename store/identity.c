/* SPDX-License-Identifier: Apache-2.0 */
#include "store/identity.h"

#include "store/enrol.h"
#include "store/pin.h"
#include "tpm/persist.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The key of what was made. The record's salt is known only after the key has signed once. */
static enum lct_code make_key(struct lct_made_key *made, struct lct_tpm_created *created,
                              struct lct_tpm *tpm, struct lct_crypto *crypto,
                              const struct lct_identity_request *request, struct lct_err *err)
{
    struct lct_generation *generation = &made->record->generations[0];
    OSSL_LIB_CTX *libctx = lct_crypto_get(crypto, err);

    if (libctx == NULL)
        return LCT_ERR_INTERNAL;
    enum lct_code code =
        lct_public_name(&generation->name, libctx, created->public_area, created->public_len, err);
    if (code == LCT_OK)
        code = lct_key_new(&made->key, crypto, made->record, 0, made->pem, made->pem_len, err);
    if (code != LCT_OK)
        return code;
    if (request->passphrase != NULL) /* nobody else has seen the key yet */
        made->key->passphrase = *request->passphrase;
    if (request->owner_auth != NULL)
        code = lct_key_set_owner_auth(made->key, request->owner_auth, err);
    if (code != LCT_OK)
        return code;
    free(atomic_exchange(&made->key->life, NULL)); /* no store has it yet */
    return lct_enrol_find_salt(generation, made->key, tpm, err);
}

/* What is known of a new key before it has signed. */
static struct lct_generation describe(const struct lct_identity_request *request,
                                      const struct lct_tpm_created *created)
{
    return (struct lct_generation){
        .algorithm = request->algorithm,
        .parent = created->parent,
        .passphrase = request->passphrase != NULL,
        .parent_name = created->parent_name,
        .seal = request->seal != NULL ? *request->seal : (struct lct_seal){0},
    };
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

static enum lct_code create_in_tpm(const struct lct_store *store, struct lct_tpm *tpm,
                                   struct lct_tpm_created *created, struct lct_tpm_info *info,
                                   struct lct_crypto *crypto,
                                   const struct lct_identity_request *request, struct lct_err *err)
{
    bool sealed = request->seal != NULL && request->seal->kind != LCT_SEAL_NONE;
    char label[4 + LCT_MAX_ID + 1];
    uint8_t policy[LCT_POLICY_DIGEST];
    const struct lct_pin pin = {store, request->new_parent};
    const struct lct_tpm_template from = {
        .label = label,
        .algorithm = request->algorithm,
        .policy = sealed ? policy : NULL,
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
    if (code == LCT_OK && sealed)
        code =
            lct_seal_policy(policy, from.libctx, request->seal, request->passphrase != NULL, err);
    return code == LCT_OK ? lct_pin_create(tpm, created, &pin, &from, err) : code;
}

void lct_made_key_clear(struct lct_made_key *made)
{
    lct_key_free(made->key);
    OPENSSL_free(made->pem);
    free(made->record);
    *made = (struct lct_made_key){0};
}

enum lct_code lct_identity_make_key(struct lct_made_key *made, const struct lct_store *store,
                                    struct lct_tpm *tpm, struct lct_crypto *crypto,
                                    const struct lct_identity_request *request, bool *made_srk,
                                    struct lct_err *err)
{
    struct lct_tpm_created created = {0};
    struct lct_tpm_info info;

    *made = (struct lct_made_key){0};
    enum lct_code code = create_in_tpm(store, tpm, &created, &info, crypto, request, err);
    if (made_srk != NULL)
        *made_srk = created.made_srk;
    if (code != LCT_OK)
        return code;
    const struct lct_generation generation = describe(request, &created);
    made->record = lct_enrol_record(request->id, &generation, NULL, &info);
    code = made->record != NULL
               ? lct_enrol_keyfile(&made->pem, &made->pem_len, &created, &generation, NULL, err)
               : LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    if (code == LCT_OK)
        code = make_key(made, &created, tpm, crypto, request, err);
    if (code != LCT_OK)
        lct_made_key_clear(made);
    return code;
}

enum lct_code lct_identity_create(const struct lct_store *store, struct lct_tpm *tpm,
                                  struct lct_crypto *crypto,
                                  const struct lct_identity_request *request, struct lct_key **key,
                                  bool *made_srk, struct lct_err *err)
{
    struct lct_made_key made;
    enum lct_code code = lct_enrol_check(store, request->id, &request->owner, err);

    *key = NULL;
    if (code != LCT_OK)
        return code;
    code = lct_identity_make_key(&made, store, tpm, crypto, request, made_srk, err);
    if (code == LCT_OK)
        code = lct_store_create(store, made.record, made.pem, made.pem_len, &request->owner, err);
    if (code == LCT_OK)
        *key = lct_key_up_ref(made.key);
    lct_made_key_clear(&made);
    return code;
}

struct check {
    const struct lct_check_request *request;
    struct lct_check_finding *findings;
    size_t *num;
};

static void found(const struct check *check, const char *what, bool good, const char *why)
{
    struct lct_check_finding *finding = &check->findings[(*check->num)++];

    finding->what = what;
    finding->good = good;
    finding->note = false;
    (void)snprintf(finding->why, sizeof finding->why, "%s", good ? "" : why);
}

/* What a key of ours is not, though others are. */
static void noted(const struct check *check, const char *what)
{
    found(check, what, true, "");
    check->findings[*check->num - 1].note = true;
}

/*
 * What the TPM reports of a key: whether it was born in it and cannot leave it, and how it signs.
 * Some of it is a fact that is told, whatever it is: imported keys are as others made them. A
 * policy of a key that can leave and is not sealed is what TPM2_Duplicate takes.
 */
static void check_attributes(const struct check *check, const struct lct_public *reported,
                             const struct lct_generation *generation)
{
    bool passphrase = generation->passphrase, sealed = generation->seal.kind != LCT_SEAL_NONE;
    bool bound = lct_public_is_bound(reported);
    char text[LCT_ATTRIBUTES_TEXT], why[256];

    lct_public_attributes(text, reported->attributes);
    (void)snprintf(why, sizeof why, "the TPM reports: %s", text);
    if (bound || check->request->bound)
        found(check, "cannot leave this TPM (fixedTPM, fixedParent, sensitiveDataOrigin)", bound,
              why);
    else
        noted(check, "was imported and can exist elsewhere (hardware_bound is false)");
    if ((reported->attributes & TPMA_OBJECT_DECRYPT) != 0)
        noted(check, "decrypts as well (decrypt is set)");
    found(check, "is an unrestricted signing key",
          (reported->attributes & TPMA_OBJECT_SIGN_ENCRYPT) != 0 &&
              (reported->attributes & TPMA_OBJECT_RESTRICTED) == 0,
          why);
    if (passphrase)
        found(check,
              (reported->attributes & TPMA_OBJECT_NODA) == 0
                  ? "is protected against guessing (noDA is clear)"
                  : "has a passphrase that can be guessed at without end (noDA is set)",
              true, why);
    if (sealed || (reported->policy_len != 0 && bound))
        found(check, "signs only while its policy is satisfied (userWithAuth is clear)",
              reported->policy_len != 0 && (reported->attributes & TPMA_OBJECT_USERWITHAUTH) == 0,
              why);
}

/* A wrapped key loads wherever it is besides. */
static enum lct_code check_persistent(const struct check *check, const struct lct_key *key,
                                      struct lct_tpm *tpm, struct lct_err *err)
{
    struct lct_generation generation;
    struct lct_name name;

    lct_key_generation(&generation, key);
    if (generation.persistent == 0)
        return LCT_OK;
    enum lct_code code = lct_tpm_name_at(tpm, &name, generation.persistent, key->label, err);
    if (code != LCT_OK)
        return code;
    if (lct_name_equal(&name, &generation.name))
        found(check, "is at its persistent handle as well", true, "");
    else
        noted(check, "is not at its persistent handle any more, and is loaded; see lct gc");
    return LCT_OK;
}

static enum lct_code check_signature(const struct check *check, const struct lct_key *key,
                                     struct lct_tpm *tpm, struct lct_err *err)
{
    if (check->request->no_signature)
        return LCT_OK;
    enum lct_code code = lct_enrol_try(key, tpm, err);

    found(check, "makes a signature that verifies", code == LCT_OK, err->text);
    return code;
}

static const struct lct_check_finding *first_bad(const struct check *check)
{
    for (size_t i = 0; i < *check->num; i++)
        if (!check->findings[i].good)
            return &check->findings[i];
    return NULL;
}

/* Nothing binds it to a machine, and no TPM is asked. */
static enum lct_code check_software(const struct check *check, const struct lct_key *key,
                                    struct lct_err *err)
{
    if (check->request->bound)
        found(check, "cannot leave this TPM (fixedTPM, fixedParent, sensitiveDataOrigin)", false,
              "its key is in software: whoever has its file and passphrase has it");
    else
        noted(check, "is in software: whoever has its file and passphrase has it");
    return check_signature(check, key, NULL, err);
}

static enum lct_code check_key(const struct check *check, const struct lct_key *key,
                               struct lct_tpm *tpm, struct lct_err *err)
{
    if (lct_key_is_software(key))
        return check_software(check, key, err);
    struct lct_generation generation;
    const struct lct_tpm_key values = lct_key_values(key, &generation);
    struct lct_public reported;
    struct lct_name name;
    enum lct_code code = lct_tpm_inspect(tpm, &reported, &name, &values, err);

    if (code == LCT_ERR_NO_TPM) /* nothing was asked */
        return code;
    found(check,
          generation.handle != 0 ? "is in this TPM, at its persistent handle"
                                 : "loads in this TPM under its pinned storage key",
          code == LCT_OK, err->text);
    if (code != LCT_OK)
        return code;
    found(check, "has the Name in the record", lct_name_equal(&name, &generation.name),
          "the TPM reports another Name");
    check_attributes(check, &reported, &generation);
    code = check_persistent(check, key, tpm, err);
    if (code != LCT_OK)
        return code;
    if (first_bad(check) != NULL) /* nothing is signed with a key that is not what it should be */
        return LCT_OK;
    return check_signature(check, key, tpm, err);
}

enum lct_code lct_identity_check(const struct lct_store *store, struct lct_tpm *tpm,
                                 struct lct_crypto *crypto, const struct lct_check_request *request,
                                 struct lct_check_finding findings[LCT_MAX_CHECK_FINDINGS],
                                 size_t *num_findings, struct lct_err *err)
{
    const struct check check = {request, findings, num_findings};
    struct lct_key *key = NULL;

    *num_findings = 0;
    enum lct_code code = lct_store_get_key(store, crypto, request->id, 0, &key, err);
    if (code == LCT_ERR_NOT_FOUND || code == LCT_ERR_BAD_ID)
        return code;
    found(&check, "has a whole record and key file", code == LCT_OK, err->text);
    if (code != LCT_OK)
        return code;
    code = request->unlocker->unlock(request->unlocker->arg, key, err);
    if (code == LCT_OK)
        code = check_key(&check, key, tpm, err);
    else
        found(&check, "has what it takes to use it", false, err->text);
    const struct lct_check_finding *bad = first_bad(&check);
    if (code == LCT_OK && bad != NULL)
        code = LCT_FAIL(err, LCT_ERR_CHECK, "%s: the check \"%s\" fails: %.200s", key->label,
                        bad->what, bad->why);
    lct_key_free(key);
    return code;
}
