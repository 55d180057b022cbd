/* SPDX-License-Identifier: Apache-2.0 */
#include "store/sealed.h"

#include "base/unconst.h"
#include "store/armour.h"
#include "store/authority.h"
#include "store/keyfile.h"
#include "proof/json.h"
#include "proof/seal.h"

#include <jansson.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

/* What the data key of a long secret begins with, in the object, so that a short secret is never
 * taken for one. */
static const char data_key_prefix[] = "lct data key v1";

enum { KEY = 32, NONCE = 12, TAG = 16, DATA_KEY = sizeof data_key_prefix + KEY };

static const char label[] = "the secret"; /* for messages */

static const char parent_key[] = "parent_name"; /* in the block of the seal */

/* The blocks of a file, in their order. */
enum { SEAL, KEYFILE, DATA, NUM_PARTS };

static const char *const labels[NUM_PARTS] = {"LCT SEAL", lct_keyfile_label, "LCT SEALED DATA"};

/* What is in a block; of libcrypto's memory. NULL: there is no such block. */
struct part {
    uint8_t *bytes;
    size_t len;
};

static void clear(struct part parts[NUM_PARTS])
{
    for (size_t i = 0; i < NUM_PARTS; i++)
        OPENSSL_free(parts[i].bytes);
}

/* The place of a block of that label, from `first` on; NUM_PARTS: it has none there. */
static size_t find_part(const char *name, size_t first)
{
    size_t i = first;

    while (i < NUM_PARTS && strcmp(labels[i], name) != 0)
        i++;
    return i;
}

/* Each block once at most, in order, and nothing else. Another tool's may be bare DER. */
static bool take_blocks(struct part parts[NUM_PARTS], const uint8_t *text, size_t text_len)
{
    size_t next = 0;

    if (!lct_armour_is_pem(text, text_len)) {
        parts[KEYFILE] = (struct part){OPENSSL_memdup(text, text_len), text_len};
        return parts[KEYFILE].bytes != NULL;
    }
    while (text_len > 0) {
        struct part part;
        char *name;
        if (!lct_armour_next(&name, &part.bytes, &part.len, &text, &text_len))
            return false;
        size_t i = find_part(name, next);
        OPENSSL_free(name);
        if (i == NUM_PARTS) {
            OPENSSL_free(part.bytes);
            return false;
        }
        parts[i] = part;
        next = i + 1;
    }
    return parts[KEYFILE].bytes != NULL;
}

/* Whether it was a file of ours, or began like another tool's, and could be whole elsewhere. */
static bool is_alike(const uint8_t *text, size_t text_len)
{
    static const char begin[] = "-----BEGIN ";
    bool found = text_len > 1 && text[0] == 0x30 && text[1] > 0x80; /* a SEQUENCE in DER */

    for (size_t i = 0; i < NUM_PARTS && !found; i++)
        found = memmem(text, text_len, labels[i], strlen(labels[i])) != NULL &&
                memmem(text, text_len, begin, sizeof begin - 1) != NULL;
    return found;
}

static enum lct_code take_apart(struct part parts[NUM_PARTS], const uint8_t *text, size_t text_len,
                                struct lct_err *err)
{
    memset(parts, 0, NUM_PARTS * sizeof *parts);
    bool alike = is_alike(text, text_len);
    if (alike && text_len <= LCT_MAX_SECRET_FILE && take_blocks(parts, text, text_len))
        return LCT_OK;
    clear(parts);
    memset(parts, 0, NUM_PARTS * sizeof *parts);
    return LCT_FAIL(err, LCT_ERR_BAD_RECORD, "it is no %sfile of lct seal, nor a %s%s",
                    alike ? "whole " : "", lct_keyfile_label,
                    alike ? "; restore it from a backup" : "");
}

/* Makes room for a part. */
static bool make_room(struct part *part, size_t len)
{
    *part = (struct part){OPENSSL_malloc(len), len};
    return part->bytes != NULL;
}

static bool is_data_key(const uint8_t *inner, size_t inner_len)
{
    return inner_len == DATA_KEY && memcmp(inner, data_key_prefix, sizeof data_key_prefix) == 0;
}

/* AES-256-GCM, either way; `tag` is made, or must be right. */
static bool run_cipher(OSSL_LIB_CTX *libctx, bool encrypt, const uint8_t key[KEY],
                       const uint8_t nonce[NONCE], uint8_t tag[TAG], const struct part *beside,
                       uint8_t *out, const uint8_t *in, size_t in_len)
{
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(libctx, "AES-256-GCM", NULL);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n = 0;
    bool good = cipher != NULL && ctx != NULL &&
                EVP_CipherInit_ex2(ctx, cipher, key, nonce, encrypt, NULL) == 1 &&
                (encrypt || EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG, tag) == 1) &&
                EVP_CipherUpdate(ctx, NULL, &n, beside->bytes, (int)beside->len) == 1 &&
                EVP_CipherUpdate(ctx, out, &n, in, (int)in_len) == 1 &&
                EVP_CipherFinal_ex(ctx, out + n, &n) == 1 &&
                (!encrypt || EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG, tag) == 1);

    EVP_CIPHER_CTX_free(ctx);
    EVP_CIPHER_free(cipher);
    return good;
}

static enum lct_code encrypt_data(struct part parts[NUM_PARTS], OSSL_LIB_CTX *libctx,
                                  const uint8_t key[KEY], const uint8_t *data, size_t data_len,
                                  struct lct_err *err)
{
    struct part *sealed = &parts[DATA];

    if (!make_room(sealed, NONCE + data_len + TAG))
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    uint8_t *begin = sealed->bytes + NONCE;
    if (RAND_bytes_ex(libctx, sealed->bytes, NONCE, 0) != 1 ||
        !run_cipher(libctx, true, key, sealed->bytes, begin + data_len, &parts[KEYFILE], begin,
                    data, data_len))
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "%s: libcrypto cannot encrypt", label);
    return LCT_OK;
}

static enum lct_code decrypt_data(uint8_t **data, size_t *data_len,
                                  const struct part parts[NUM_PARTS], OSSL_LIB_CTX *libctx,
                                  const uint8_t key[KEY], struct lct_err *err)
{
    const struct part *sealed = &parts[DATA];

    if (sealed->len <= NONCE + TAG)
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD, "the block %s is too short", labels[DATA]);
    size_t len = sealed->len - NONCE - TAG;
    uint8_t *begin = sealed->bytes + NONCE;
    *data = malloc(len);
    if (*data == NULL)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    *data_len = len;
    if (run_cipher(libctx, false, key, sealed->bytes, begin + len, &parts[KEYFILE], *data, begin,
                   len))
        return LCT_OK;
    explicit_bzero(*data, len); /* decrypted before it is known to be whole */
    free(*data);
    *data = NULL;
    return LCT_FAIL(err, LCT_ERR_BAD_RECORD,
                    "the block %s is damaged, or of another file; restore it from a backup",
                    labels[DATA]);
}

/* What goes into the object: the secret itself, or a new data key. */
static enum lct_code choose_inner(uint8_t inner[LCT_MAX_SEALED], size_t *inner_len,
                                  OSSL_LIB_CTX *libctx, const uint8_t *data, size_t data_len,
                                  struct lct_err *err)
{
    if (data_len == 0)
        return LCT_FAIL(err, LCT_ERR_USAGE, "there is nothing to seal: the secret is empty");
    if (data_len > LCT_MAX_SECRET)
        return LCT_FAIL(err, LCT_ERR_USAGE, "a secret has %d bytes at most", LCT_MAX_SECRET);
    if (data_len <= LCT_MAX_SEALED && !is_data_key(data, data_len)) {
        memcpy(inner, data, data_len);
        *inner_len = data_len;
        return LCT_OK;
    }
    memcpy(inner, data_key_prefix, sizeof data_key_prefix);
    *inner_len = DATA_KEY;
    if (RAND_priv_bytes_ex(libctx, inner + sizeof data_key_prefix, KEY, 0) != 1)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "%s: no random numbers", label);
    return LCT_OK;
}

/* TPM2_Create, and its key file. */
static enum lct_code create(struct part *keyfile, struct lct_name *parent_name, bool *made_srk,
                            struct lct_tpm *tpm, const struct lct_sealed_request *request,
                            const struct lct_tpm_template *unsealed, struct lct_err *err)
{
    bool sealed = request->seal != NULL && request->seal->kind != LCT_SEAL_NONE;
    bool passphrase = request->passphrase != NULL && request->passphrase->len > 0;
    uint8_t policy[LCT_POLICY_DIGEST];
    struct lct_tpm_template template = *unsealed;
    struct lct_tpm_created created = {0};
    enum lct_code code = LCT_OK;

    if (sealed) {
        code = lct_seal_policy(policy, template.libctx, request->seal, passphrase, err);
        template.policy = policy;
    }
    if (code == LCT_OK)
        code = lct_pin_create(tpm, &created, &request->pin, &template, err);
    *made_srk = created.made_srk;
    *parent_name = created.parent_name;
    if (code != LCT_OK)
        return code;
    struct lct_keyfile file = {
        .type = LCT_KEYFILE_SEALED,
        .empty_auth = !passphrase,
        .parent = created.parent,
        .public_area = created.public_area,
        .public_len = created.public_len,
        .private_area = created.private_area,
        .private_len = created.private_len,
    };
    if (sealed && request->seal->kind == LCT_SEAL_STRICT) {
        file.has_policy = true;
        file.seal = lct_unconst(request->seal);
        file.policy_auth_value = passphrase;
    }
    return lct_keyfile_write_der(&keyfile->bytes, &keyfile->len, &file, err);
}

/* The block of what a key file has no words for: the seal with the PCRs' values, and the parent's
 * Name. */
static enum lct_code describe_seal(struct part *part, const struct lct_seal *seal,
                                   const struct lct_name *parent_name, struct lct_err *err)
{
    bool sealed = seal != NULL && seal->kind != LCT_SEAL_NONE;
    json_t *json = sealed ? lct_seal_json(seal) : json_object();
    bool good = json_object_set_new(json, parent_key,
                                    lct_json_of_bytes(parent_name->data, parent_name->len)) == 0;
    char *text = good ? lct_json_dump(json, JSON_COMPACT) : NULL;

    json_decref(json);
    if (text != NULL)
        *part = (struct part){OPENSSL_memdup(text, strlen(text)), strlen(text)};
    free(text);
    return part->bytes != NULL ? LCT_OK : LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
}

/* All blocks in PEM. */
static enum lct_code assemble(char **text, const struct part parts[NUM_PARTS], struct lct_err *err)
{
    struct part blocks[NUM_PARTS] = {0};
    bool good = true;
    size_t len = 0;

    *text = NULL;
    for (size_t i = 0; i < NUM_PARTS && good; i++) {
        if (parts[i].bytes != NULL)
            good = lct_armour_write(&blocks[i].bytes, &blocks[i].len, labels[i], parts[i].bytes,
                                    parts[i].len);
        len += blocks[i].len;
    }
    if (good)
        *text = malloc(len + 1);
    len = 0;
    for (size_t i = 0; i < NUM_PARTS && *text != NULL; i++) {
        if (blocks[i].bytes != NULL)
            memcpy(*text + len, blocks[i].bytes, blocks[i].len);
        len += blocks[i].len;
        (*text)[len] = '\0';
    }
    clear(blocks);
    return *text != NULL ? LCT_OK : LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
}

enum lct_code lct_sealed_make(char **text, bool *made_srk, struct lct_tpm *tpm,
                              struct lct_crypto *crypto, const struct lct_sealed_request *request,
                              const uint8_t *data, size_t data_len, struct lct_err *err)
{
    OSSL_LIB_CTX *libctx = lct_crypto_get(crypto, err);
    struct part parts[NUM_PARTS] = {0};
    struct lct_name parent_name = {0};
    uint8_t inner[LCT_MAX_SEALED];
    struct lct_tpm_template template = {
        .label = label,
        .data = inner,
        .provision = request->provision,
        .auth = request->passphrase,
        .owner_auth = request->owner_auth,
        .libctx = libctx,
    };

    *text = NULL;
    *made_srk = false;
    if (libctx == NULL)
        return LCT_ERR_INTERNAL;
    enum lct_code code = choose_inner(inner, &template.data_len, libctx, data, data_len, err);
    if (code == LCT_OK)
        code = create(&parts[KEYFILE], &parent_name, made_srk, tpm, request, &template, err);
    if (code == LCT_OK)
        code = describe_seal(&parts[SEAL], request->seal, &parent_name, err);
    if (code == LCT_OK && is_data_key(inner, template.data_len))
        code = encrypt_data(parts, libctx, inner + sizeof data_key_prefix, data, data_len, err);
    if (code == LCT_OK)
        code = assemble(text, parts, err);
    explicit_bzero(inner, sizeof inner);
    clear(parts);
    return code;
}

/* The parent's Name, which older files do not have, out of the rest, which is the seal's. */
static bool take_parent(struct lct_name *parent_name, json_t *json)
{
    const json_t *parent = json_object_get(json, parent_key);

    if (parent == NULL)
        return true;
    return json_is_string(parent) && lct_json_name(parent_name, json_string_value(parent)) &&
           json_object_del(json, parent_key) == 0;
}

static enum lct_code read_seal(struct lct_seal *seal, struct lct_name *parent_name,
                               const struct part *part, struct lct_err *err)
{
    json_t *json = lct_json_load(part->bytes, part->len, NULL);
    bool good = json_is_object(json) && take_parent(parent_name, json);
    bool sealed = json_object_size(json) > 0;

    if (good && (sealed || parent_name->len == 0))
        good = lct_seal_from_json(seal, json) && seal->kind != LCT_SEAL_NONE;
    json_decref(json);
    return good ? LCT_OK
                : LCT_FAIL(err, LCT_ERR_BAD_RECORD,
                           "the block %s is damaged; restore it from a backup", labels[SEAL]);
}

/* Whether a store has the authority of this seal. */
static bool has_authority(const struct lct_store *store, const char *dir, struct lct_crypto *crypto,
                          const struct lct_seal *seal)
{
    struct lct_authority authority = {0};
    bool same = lct_authority_get(&authority, store, dir, crypto, NULL) == LCT_OK &&
                authority.public_len == seal->authority_len &&
                memcmp(authority.public_area, seal->authority, seal->authority_len) == 0;

    lct_authority_clear(&authority);
    return same;
}

/* The store to look for approvals in. */
static const char *find_dir(const struct lct_store *store, struct lct_crypto *crypto,
                            const struct lct_seal *seal)
{
    if (seal->authority_len == 0)
        return NULL;
    for (size_t i = 0; i < store->num_dirs; i++)
        if (has_authority(store, store->dirs[i], crypto, seal))
            return store->dirs[i];
    return store->dirs[store->create_in];
}

enum lct_code lct_sealed_read(struct lct_key **key, struct lct_crypto *crypto,
                              const struct lct_store *store, const struct lct_config *config,
                              const char *file, const uint8_t *text, size_t text_len,
                              struct lct_err *err)
{
    struct part parts[NUM_PARTS];
    struct lct_seal seal = {0};
    struct lct_name parent_name = {0};
    struct lct_generation generation;
    enum lct_code code = take_apart(parts, text, text_len, err);

    *key = NULL;
    if (code == LCT_OK && parts[SEAL].bytes != NULL)
        code = read_seal(&seal, &parent_name, &parts[SEAL], err);
    if (code == LCT_OK)
        code = lct_key_from_sealed(key, crypto, parts[KEYFILE].bytes, parts[KEYFILE].len, &seal,
                                   &parent_name, file, err);
    if (code == LCT_OK) {
        lct_key_generation(&generation, *key);
        code = lct_key_look_in(*key, find_dir(store, crypto, &generation.seal), config, err);
    }
    if (code != LCT_OK) {
        lct_key_free(*key);
        *key = NULL;
        (void)lct_err_prefix(err, file);
    }
    clear(parts);
    return code;
}

/* Of what the TPM unsealed, what was sealed. */
static enum lct_code find_data(uint8_t **data, size_t *data_len, const struct part parts[NUM_PARTS],
                               OSSL_LIB_CTX *libctx, const uint8_t *inner, size_t inner_len,
                               struct lct_err *err)
{
    bool beside = is_data_key(inner, inner_len);

    if (beside != (parts[DATA].bytes != NULL))
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD, "%s; restore it from a backup",
                        beside ? "the block with the data is missing"
                               : "there is a block with data that is not its own");
    if (beside)
        return decrypt_data(data, data_len, parts, libctx, inner + sizeof data_key_prefix, err);
    *data = malloc(inner_len + 1); /* another tool's may be empty */
    if (*data == NULL)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    memcpy(*data, inner, inner_len);
    *data_len = inner_len;
    return LCT_OK;
}

enum lct_code lct_sealed_open(uint8_t **data, size_t *data_len, const struct lct_key *key,
                              struct lct_tpm *tpm, const uint8_t *text, size_t text_len,
                              struct lct_err *err)
{
    struct part parts[NUM_PARTS];
    uint8_t inner[LCT_MAX_SEALED];
    size_t inner_len = 0;
    enum lct_code code = take_apart(parts, text, text_len, err);

    *data = NULL;
    *data_len = 0;
    if (code == LCT_OK)
        code = lct_key_unseal(key, tpm, inner, &inner_len, err);
    if (code == LCT_OK) {
        code = find_data(data, data_len, parts, key->libctx, inner, inner_len, err);
        if (code != LCT_OK)
            (void)lct_err_prefix(err, key->label);
    }
    explicit_bzero(inner, sizeof inner);
    clear(parts);
    return code;
}
