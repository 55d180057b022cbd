/* SPDX-License-Identifier: Apache-2.0 */
#include "store/import.h"

#include "store/enrol.h"
#include "store/pin.h"
#include "tcg/duplicate.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What an import works with, and what it has found out. */
struct import {
    struct lct_tpm *tpm;
    const struct lct_store *store;
    struct lct_crypto *crypto;
    OSSL_LIB_CTX *libctx;
    const struct lct_import_request *request;
    char label[4 + LCT_MAX_ID + 1];
    struct lct_tpm_info info;
    struct lct_tpm_created created; /* the blobs, and the parent */
    bool rsa_parent;
    struct lct_public public_area;
    struct lct_generation generation;
};

/* Keys that sign only what their TPM wants, or not at all: attributes, and why. A key that is
 * `sealed` has a policy that is followed. */
static enum lct_code check_use(const struct lct_public *public_area, bool sealed, const char *label,
                               struct lct_err *err)
{
    static const struct {
        uint32_t mask, value;
        const char *text;
    } refused[] = {
        {TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT, TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT,
         "it is a storage key, which wraps other keys and does not sign"},
        {TPMA_OBJECT_RESTRICTED, TPMA_OBJECT_RESTRICTED,
         "it is a restricted signing key (an attestation key), which signs only what its TPM has "
         "made or hashed itself; what programs sign takes an unrestricted one"},
        {TPMA_OBJECT_SIGN_ENCRYPT, 0, "it is a decryption key, which does not sign"},
        {TPMA_OBJECT_X509SIGN, TPMA_OBJECT_X509SIGN,
         "it signs only certificates that its TPM makes (x509sign)"},
    };

    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        if ((public_area->attributes & refused[i].mask) == refused[i].value)
            return LCT_FAIL(err, LCT_ERR_UNSUPPORTED, "%s: %s", label, refused[i].text);
    if (sealed)
        return LCT_OK;
    if ((public_area->attributes & TPMA_OBJECT_USERWITHAUTH) == 0)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                        "%s: signing with it takes a policy, which nothing says here; a key file "
                        "may say it, where it is one of PCRs or of an authority",
                        label);
    if (public_area->policy_len != 0 && lct_public_is_bound(public_area))
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                        "%s: it has a policy, which this lct does not follow", label);
    return LCT_OK;
}

static enum lct_code check_scheme(const struct lct_public *public_area,
                                  const struct lct_algorithm *algorithm, const char *label,
                                  struct lct_err *err)
{
    const struct lct_hash *hash = lct_hash_by_id(public_area->scheme_hash);

    switch (public_area->scheme) {
    case TPM2_ALG_NULL:
        return LCT_OK;
    case TPM2_ALG_RSASSA:
    case TPM2_ALG_RSAPSS:
    case TPM2_ALG_ECDSA:
        break;
    default:
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                        "%s: it is bound to a scheme (0x%04x) that is none of RSASSA, RSAPSS and "
                        "ECDSA",
                        label, public_area->scheme);
    }
    if (hash == NULL || (algorithm->type == TPM2_ALG_ECC && hash->id != algorithm->hash))
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                        "%s: it is bound to signatures with %s, which is not the hash that %s is "
                        "used with",
                        label, hash != NULL ? hash->name : "a hash we do not know",
                        algorithm->name);
    return LCT_OK;
}

/* Whether what the key file says of the policy is true. */
static enum lct_code check_seal(const struct import *import, struct lct_err *err)
{
    const struct lct_generation *generation = &import->generation;

    if (generation->seal.kind == LCT_SEAL_NONE)
        return LCT_OK;
    enum lct_code code = lct_key_check_seal(&import->public_area, import->libctx, &generation->seal,
                                            generation->passphrase, err);
    return code == LCT_OK ? LCT_OK : lct_err_prefix(err, import->label);
}

/* Decodes the public area, which may come from anywhere, and refuses what is of no use. */
static enum lct_code admit(struct import *import, const uint8_t *bytes, size_t len,
                           struct lct_err *err)
{
    struct lct_public *public_area = &import->public_area;
    enum lct_code code = lct_public_decode(public_area, bytes, len, err);

    if (code == LCT_OK)
        code = lct_public_name(&import->generation.name, import->libctx, bytes, len, err);
    if (code != LCT_OK)
        return lct_err_prefix(err, import->label);
    if (public_area->type == TPM2_ALG_KEYEDHASH)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED, "%s: it is sealed data, not a key",
                        import->label);
    code = check_seal(import, err);
    if (code == LCT_OK)
        code = check_use(public_area, import->generation.seal.kind != LCT_SEAL_NONE, import->label,
                         err);
    if (code != LCT_OK)
        return code;
    import->generation.algorithm = lct_public_algorithm(public_area);
    if (import->generation.algorithm == NULL)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                        "%s: a key of this kind is not supported; EC P-256 and P-384, RSA 2048 and "
                        "3072 are",
                        import->label);
    return check_scheme(public_area, import->generation.algorithm, import->label, err);
}

static enum lct_code find_parent(const struct import *import, struct lct_tpm_parent *parent,
                                 uint32_t where, struct lct_err *err)
{
    const struct lct_import_request *request = import->request;
    const struct lct_pin pin = {import->store, request->new_parent};
    const struct lct_tpm_parent_request from = {
        .label = import->label,
        .where = where,
        .rsa_parent = import->rsa_parent,
        .provision = request->provision,
        .owner_auth = lct_tpm_auth_for(&request->auths, where),
        .libctx = import->libctx,
    };

    return lct_pin_find_parent(import->tpm, parent, &pin, &from, err);
}

/* TPM2_Import: what was wrapped for the parent becomes what it loads. */
static enum lct_code take_in(struct import *import, const struct lct_tpm_parent *parent,
                             struct lct_tpm_importable *from, struct lct_err *err)
{
    const struct lct_import_request *request = import->request;

    from->label = import->label;
    from->parent = parent->where;
    from->rsa_parent = import->rsa_parent;
    from->parent_name = &parent->name;
    from->owner_auth = lct_tpm_auth_for(&request->auths, parent->where);
    from->libctx = import->libctx;
    return lct_tpm_import(import->tpm, &import->created, from, err);
}

/* The TPM2B_ENCRYPTED_SECRET of an importable key file. */
static enum lct_code take_seed(struct lct_tpm_importable *from, const struct lct_keyfile *keyfile,
                               const char *label, struct lct_err *err)
{
    const uint8_t *secret = keyfile->secret;

    if (keyfile->secret_len < 3 || ((size_t)secret[0] << 8 | secret[1]) != keyfile->secret_len - 2)
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD, "%s: the key file is damaged: its secret", label);
    from->seed = secret + 2;
    from->seed_len = keyfile->secret_len - 2;
    return LCT_OK;
}

static enum lct_code copy_blobs(struct import *import, const struct lct_keyfile *keyfile,
                                const struct lct_tpm_parent *parent, struct lct_err *err)
{
    struct lct_tpm_created *created = &import->created;

    if (keyfile->public_len > sizeof created->public_area ||
        keyfile->private_len > sizeof created->private_area)
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD, "%s: the key file is damaged", import->label);
    memcpy(created->public_area, keyfile->public_area, keyfile->public_len);
    memcpy(created->private_area, keyfile->private_area, keyfile->private_len);
    created->public_len = keyfile->public_len;
    created->private_len = keyfile->private_len;
    created->parent = parent->where;
    created->parent_name = parent->name;
    return LCT_OK;
}

static enum lct_code check_keyfile(const struct lct_keyfile *keyfile, const char *label,
                                   struct lct_err *err)
{
    if (keyfile->type == LCT_KEYFILE_SEALED)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED, "%s: the key file holds sealed data, not a key",
                        label);
    if (keyfile->has_policy && keyfile->seal == NULL)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                        "%s: signing with it takes a policy, and not one that this lct follows "
                        "(PolicyPCR or PolicyAuthorize, in SHA-256, each perhaps with "
                        "PolicyAuthValue after it)",
                        label);
    if (keyfile->has_secret != (keyfile->type == LCT_KEYFILE_IMPORTABLE))
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD,
                        "%s: the key file is damaged: an importable key has a secret, and no other",
                        label);
    return LCT_OK;
}

/* The PCRs of a state to approve, which no policy of an authority's says: those of an approval in
 * the file, or the usual ones. */
static enum lct_code choose_pcrs(struct lct_seal *seal, const struct lct_keyfile *keyfile,
                                 struct lct_err *err)
{
    if (seal->kind != LCT_SEAL_AUTHORITY)
        return LCT_OK;
    if (keyfile->num_approvals > 0) {
        seal->pcrs.pcrs = keyfile->approvals[0].pcrs;
        return LCT_OK;
    }
    return lct_pcrs_parse(&seal->pcrs.pcrs, lct_seal_default, strlen(lct_seal_default), err);
}

static enum lct_code prepare_keyfile(struct import *import, struct lct_err *err)
{
    const struct lct_keyfile *keyfile = import->request->keyfile;
    struct lct_tpm_importable importable = {
        .public_area = keyfile->public_area,
        .public_len = keyfile->public_len,
        .duplicate = keyfile->private_area,
        .duplicate_len = keyfile->private_len,
    };
    struct lct_tpm_parent parent;
    enum lct_code code = check_keyfile(keyfile, import->label, err);

    if (keyfile->seal != NULL)
        import->generation.seal = *keyfile->seal;
    if (code == LCT_OK)
        code = choose_pcrs(&import->generation.seal, keyfile, err);
    if (code != LCT_OK)
        return code;
    import->generation.passphrase =
        (!keyfile->empty_auth || import->request->passphrase) && !import->request->no_passphrase;
    if (keyfile->seal != NULL) /* it says whether signing takes one */
        import->generation.passphrase = keyfile->policy_auth_value;
    code = admit(import, keyfile->public_area, keyfile->public_len, err);
    if (code != LCT_OK)
        return code;
    import->rsa_parent = keyfile->rsa_parent;
    code = find_parent(import, &parent, keyfile->parent, err);
    if (code != LCT_OK)
        return code;
    if (keyfile->type == LCT_KEYFILE_LOADABLE)
        return copy_blobs(import, keyfile, &parent, err);
    code = take_seed(&importable, keyfile, import->label, err);
    return code == LCT_OK ? take_in(import, &parent, &importable, err) : code;
}

/* What an object in the TPM is, for who took it for another. */
static const char *kind_of(const struct lct_public *public_area)
{
    const TPMA_OBJECT attributes = public_area->attributes;
    bool is_rsa = public_area->type == TPM2_ALG_RSA;

    if (public_area->type == TPM2_ALG_KEYEDHASH)
        return "sealed data";
    if ((attributes & TPMA_OBJECT_RESTRICTED) != 0 && (attributes & TPMA_OBJECT_DECRYPT) != 0)
        return is_rsa ? "an RSA storage key, as endorsement keys are"
                      : "an ECC storage key, as endorsement keys are";
    if ((attributes & TPMA_OBJECT_SIGN_ENCRYPT) != 0)
        return is_rsa ? "an RSA signing key" : "an ECC signing key";
    return is_rsa ? "an RSA key" : "an ECC key";
}

/* Whether the object at the handle is the key that whoever imports it means. */
static enum lct_code check_expected(const struct import *import, struct lct_err *err)
{
    const struct lct_generation *generation = &import->generation;
    const EVP_PKEY *expected = import->request->expected;
    struct lct_public public_area;

    if (expected == NULL)
        return LCT_OK;
    enum lct_code code =
        lct_public_decode(&public_area, generation->public_area, generation->public_len, err);
    if (code != LCT_OK)
        return lct_err_prefix(err, import->label);
    EVP_PKEY *found = lct_public_pkey(&public_area, import->libctx, NULL);
    bool same = found != NULL && EVP_PKEY_eq(found, expected) == 1;
    EVP_PKEY_free(found);
    return same ? LCT_OK
                : LCT_FAIL(err, LCT_ERR_WRONG_KEY, "%s: 0x%08x holds another key now, %s",
                           import->label, generation->handle, kind_of(&public_area));
}

/* A session for a key in the TPM is salted to its storage root key, if it has one. */
static enum lct_code prepare_handle(struct import *import, struct lct_err *err)
{
    struct lct_generation *generation = &import->generation;
    struct lct_tpm_parent salt;

    generation->handle = import->request->handle;
    generation->passphrase = import->request->passphrase;
    enum lct_code code =
        lct_tpm_read_public(import->tpm, generation->public_area, &generation->public_len,
                            generation->handle, import->label, err);
    if (code == LCT_OK)
        code = check_expected(import, err);
    if (code == LCT_OK)
        code = admit(import, generation->public_area, generation->public_len, err);
    if (code != LCT_OK)
        return code;
    code = find_parent(import, &salt, lct_srk_handle, err);
    if (code == LCT_OK) {
        import->created.parent = lct_srk_handle;
        import->created.parent_name = salt.name;
    } else if ((code == LCT_ERR_OTHER_TPM && salt.name.len == 0) || code == LCT_ERR_UNSUPPORTED) {
        import->created.parent = TPM2_RH_NULL;
        code = LCT_OK;
    }
    return code;
}

static enum lct_code prepare_software(struct import *import, struct lct_tpm_parent *parent,
                                      struct lct_err *err)
{
    const struct lct_secret *auth = import->request->new_passphrase;
    struct lct_duplicate duplicate;
    enum lct_code code = find_parent(import, parent, 0, err);

    if (code != LCT_OK)
        return code;
    code = lct_duplicate_make(&duplicate, import->libctx, import->request->software, auth,
                              &parent->public_area, err);
    if (code != LCT_OK)
        return lct_err_prefix(err, import->label);
    struct lct_tpm_importable importable = {
        .public_area = duplicate.public_area,
        .public_len = duplicate.public_len,
        .duplicate = duplicate.private_area,
        .duplicate_len = duplicate.private_len,
        .seed = duplicate.seed.data,
        .seed_len = duplicate.seed.len,
    };
    import->generation.passphrase = auth != NULL && auth->len > 0;
    code = admit(import, duplicate.public_area, duplicate.public_len, err);
    return code == LCT_OK ? take_in(import, parent, &importable, err) : code;
}

/* Whether the TPM takes the key for its own, by what nobody has pinned yet; without its passphrase,
 * so that nothing is tried before that is known. */
static enum lct_code check_object(const struct import *import, const struct lct_key *key,
                                  struct lct_err *err)
{
    static const struct lct_name unknown;
    struct lct_generation generation;
    struct lct_tpm_key values = lct_key_values(key, &generation);
    struct lct_public reported;
    struct lct_name name;

    values.parent_name = &unknown;
    values.auth = NULL;
    enum lct_code code = lct_tpm_inspect(import->tpm, &reported, &name, &values, err);
    if (code != LCT_OK)
        return code;
    if (!lct_name_equal(&name, &generation.name))
        return LCT_FAIL(err, LCT_ERR_WRONG_KEY, "%s: the TPM reports another Name than the key's",
                        key->label);
    return LCT_OK;
}

static enum lct_code give_secrets(const struct import *import, struct lct_key *key,
                                  struct lct_err *err)
{
    const struct lct_import_request *request = import->request;
    const struct lct_secret *auth = lct_tpm_auth_for(&request->auths, import->generation.parent);
    enum lct_code code = auth != NULL ? lct_key_set_owner_auth(key, auth, err) : LCT_OK;
    if (code != LCT_OK)
        return code;
    if (request->software != NULL && key->has_passphrase)
        key->passphrase = *request->new_passphrase;
    code = check_object(import, key, err);
    if (code == LCT_OK && request->software == NULL && key->has_passphrase)
        code = request->unlocker->unlock(request->unlocker->arg, key, err);
    return code;
}

/* The first signatures. A key of which nothing says that it has a passphrase may have one; a sealed
 * one need not sign in the state that the machine is in. */
static enum lct_code sign_once(const struct import *import, struct lct_generation *generation,
                               struct lct_key *key, struct lct_err *err)
{
    enum lct_code code = lct_enrol_find_salt(generation, key, import->tpm, err);

    if (code == LCT_OK)
        code = lct_enrol_try(key, import->tpm, err);
    if (code == LCT_ERR_SEALED)
        return LCT_OK;
    if (code == LCT_ERR_AUTH && !generation->passphrase)
        return LCT_FAIL(err, LCT_ERR_AUTH,
                        "%s: signing with it takes a passphrase; import it with --passphrase",
                        import->label);
    return code;
}

static enum lct_code begin(struct import *import, const struct lct_import_request *request,
                           struct lct_err *err)
{
    import->request = request;
    import->libctx = lct_crypto_get(import->crypto, err);
    if (import->libctx == NULL)
        return LCT_ERR_INTERNAL;
    (void)snprintf(import->label, sizeof import->label, "lct:%s", request->id);
    return lct_tpm_describe(import->tpm, &import->info, import->label, err);
}

static enum lct_code prepare(struct import *import, bool *made_srk, struct lct_err *err)
{
    struct lct_tpm_parent parent = {0};
    enum lct_code code;

    if (import->request->handle != 0)
        code = prepare_handle(import, err);
    else if (import->request->keyfile != NULL)
        code = prepare_keyfile(import, err);
    else
        code = prepare_software(import, &parent, err);
    *made_srk = parent.made_srk;
    import->generation.parent = import->created.parent;
    import->generation.parent_name = import->created.parent_name;
    return code;
}

/* The record and the key, which the TPM is asked for, and the store. */
static enum lct_code finish(struct import *import, const struct lct_store *store,
                            struct lct_key **key, struct lct_err *err)
{
    struct lct_record *record = lct_enrol_record(import->request->id, &import->generation,
                                                 &import->public_area, &import->info);
    uint8_t *pem = NULL;
    size_t pem_len = 0;
    enum lct_code code = record != NULL ? LCT_OK : LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");

    if (code == LCT_OK && import->generation.handle == 0)
        code = lct_enrol_keyfile(&pem, &pem_len, &import->created, &import->generation,
                                 import->request->keyfile, err);
    if (code == LCT_OK)
        code = lct_key_new(key, import->crypto, record, 0, pem, pem_len, err);
    if (code == LCT_OK)
        code = give_secrets(import, *key, err);
    if (code == LCT_OK)
        code = sign_once(import, &record->generations[0], *key, err);
    if (code == LCT_OK)
        code = lct_store_create(store, record, pem, pem_len, &import->request->owner, err);
    OPENSSL_free(pem);
    free(record);
    return code;
}

enum lct_code lct_identity_import(const struct lct_store *store, struct lct_tpm *tpm,
                                  struct lct_crypto *crypto,
                                  const struct lct_import_request *request, struct lct_key **key,
                                  bool *made_srk, struct lct_err *err)
{
    struct import import = {.tpm = tpm, .store = store, .crypto = crypto};

    *key = NULL;
    *made_srk = false;
    enum lct_code code = lct_enrol_check(store, request->id, &request->owner, err);
    if (code == LCT_OK)
        code = begin(&import, request, err);
    if (code == LCT_OK)
        code = prepare(&import, made_srk, err);
    if (code == LCT_OK)
        code = finish(&import, store, key, err);
    if (code != LCT_OK) {
        lct_key_free(*key);
        *key = NULL;
    }
    return code;
}
