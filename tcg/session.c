/* SPDX-License-Identifier: Apache-2.0 */
#include "tcg/session.h"

#include "tcg/kdf.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdbool.h>
#include <string.h>

enum {
    MAX_HANDLES = 3, /* of one command */
    KEY = LCT_SESSION_SYMMETRIC_BITS / 8,
    IV = 16,
};

static const struct lct_hash *session_hash(void)
{
    return lct_hash_by_id(LCT_SESSION_HASH);
}

void lct_session_keys_wipe(struct lct_session_keys *keys)
{
    OPENSSL_cleanse(keys, sizeof *keys);
}

enum lct_code lct_session_roll(struct lct_session_keys *keys, OSSL_LIB_CTX *libctx,
                               struct lct_err *err)
{
    if (RAND_bytes_ex(libctx, keys->nonce_caller, sizeof keys->nonce_caller, 0) != 1)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "libcrypto has no random bytes");
    return LCT_OK;
}

enum lct_code lct_session_derive(struct lct_session_keys *keys, OSSL_LIB_CTX *libctx,
                                 const struct lct_secret *salt, const uint8_t *nonce_tpm,
                                 size_t nonce_tpm_len, struct lct_err *err)
{
    lct_secret_wipe(&keys->key);
    if (nonce_tpm_len != sizeof keys->nonce_tpm)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "the TPM's nonce is not of the session's size");
    memcpy(keys->nonce_tpm, nonce_tpm, nonce_tpm_len);
    enum lct_code code = lct_kdfa(keys->key.data, LCT_SESSION_DIGEST, libctx,
                                  &(struct lct_kdf){.hash = session_hash(),
                                                    .key = salt->data,
                                                    .key_len = salt->len,
                                                    .label = "ATH",
                                                    .u = keys->nonce_tpm,
                                                    .u_len = sizeof keys->nonce_tpm,
                                                    .v = keys->nonce_caller,
                                                    .v_len = sizeof keys->nonce_caller},
                                  err);
    keys->key.len = code == LCT_OK ? LCT_SESSION_DIGEST : 0;
    return code;
}

static void put_u32(uint8_t *bytes, uint32_t number)
{
    for (size_t i = 0; i < sizeof number; i++)
        bytes[i] = (uint8_t)(number >> (24 - 8 * i));
}

/* In two parts, because parameters may be long and secret and need not be copied. */
static enum lct_code hash_parts(uint8_t digest[LCT_SESSION_DIGEST], OSSL_LIB_CTX *libctx,
                                const uint8_t *head, size_t head_len, const uint8_t *params,
                                size_t params_len, struct lct_err *err)
{
    EVP_MD *md = EVP_MD_fetch(libctx, session_hash()->openssl, NULL);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    enum lct_code code = LCT_OK;

    if (md == NULL || ctx == NULL || EVP_DigestInit_ex2(ctx, md, NULL) != 1 ||
        EVP_DigestUpdate(ctx, head, head_len) != 1 ||
        EVP_DigestUpdate(ctx, params, params_len) != 1 ||
        EVP_DigestFinal_ex(ctx, digest, NULL) != 1)
        code = LCT_FAIL(err, LCT_ERR_INTERNAL, "libcrypto cannot hash the TPM's parameters");
    EVP_MD_CTX_free(ctx);
    EVP_MD_free(md);
    return code;
}

enum lct_code lct_session_cp_hash(uint8_t digest[LCT_SESSION_DIGEST], OSSL_LIB_CTX *libctx,
                                  uint32_t command_code, const struct lct_name *names,
                                  size_t num_names, const uint8_t *params, size_t params_len,
                                  struct lct_err *err)
{
    uint8_t head[sizeof command_code + MAX_HANDLES * sizeof names->data];
    size_t len = sizeof command_code;

    if (num_names > MAX_HANDLES)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "no TPM command has %zu handles", num_names);
    put_u32(head, command_code);
    for (size_t i = 0; i < num_names; i++) {
        if (names[i].len == 0 || names[i].len > sizeof names[i].data)
            return LCT_FAIL(err, LCT_ERR_INTERNAL, "the Name of handle %zu is not known", i + 1);
        memcpy(head + len, names[i].data, names[i].len);
        len += names[i].len;
    }
    return hash_parts(digest, libctx, head, len, params, params_len, err);
}

enum lct_code lct_session_rp_hash(uint8_t digest[LCT_SESSION_DIGEST], OSSL_LIB_CTX *libctx,
                                  uint32_t command_code, const uint8_t *params, size_t params_len,
                                  struct lct_err *err)
{
    uint8_t head[2 * sizeof command_code];

    put_u32(head, TPM2_RC_SUCCESS);
    put_u32(head + sizeof command_code, command_code);
    return hash_parts(digest, libctx, head, sizeof head, params, params_len, err);
}

/* sessionKey || authValue. */
static enum lct_code join(struct lct_secret *joined, const struct lct_session_keys *keys,
                          const struct lct_secret *auth, struct lct_err *err)
{
    size_t len = auth != NULL ? auth->len : 0;

    *joined = keys->key;
    while (len > 0 && auth->data[len - 1] == 0)
        len--;
    if (keys->key.len != LCT_SESSION_DIGEST || len > sizeof joined->data - keys->key.len) {
        lct_secret_wipe(joined);
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "the session has no key, or the authValue is long");
    }
    if (len > 0)
        memcpy(joined->data + joined->len, auth->data, len);
    joined->len += len;
    return LCT_OK;
}

/* What an HMAC is of, in order; NULL: left out. */
struct message {
    const uint8_t *hash, *newer, *older, *decrypt, *encrypt;
    uint8_t attributes;
};

static enum lct_code make_hmac(uint8_t hmac[LCT_SESSION_DIGEST],
                               const struct lct_session_keys *keys, OSSL_LIB_CTX *libctx,
                               const struct lct_secret *auth, const struct message *message,
                               struct lct_err *err)
{
    const uint8_t *const parts[] = {message->hash, message->newer, message->older, message->decrypt,
                                    message->encrypt};
    uint8_t bytes[sizeof parts / sizeof parts[0] * LCT_SESSION_DIGEST + 1];
    struct lct_secret key;
    size_t len = 0;
    enum lct_code code = join(&key, keys, auth, err);

    if (code != LCT_OK)
        return code;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (parts[i] == NULL)
            continue;
        memcpy(bytes + len, parts[i], LCT_SESSION_DIGEST);
        len += LCT_SESSION_DIGEST;
    }
    bytes[len++] = message->attributes;
    if (EVP_Q_mac(libctx, "HMAC", NULL, session_hash()->openssl, NULL, key.data, key.len, bytes,
                  len, hmac, LCT_SESSION_DIGEST, NULL) == NULL)
        code = LCT_FAIL(err, LCT_ERR_INTERNAL, "libcrypto cannot make an HMAC");
    lct_secret_wipe(&key);
    return code;
}

enum lct_code lct_session_hmac(uint8_t hmac[LCT_SESSION_DIGEST],
                               const struct lct_session_keys *keys, OSSL_LIB_CTX *libctx,
                               const struct lct_secret *auth,
                               const uint8_t cp_hash[LCT_SESSION_DIGEST], uint8_t attributes,
                               const struct lct_session_keys *decrypt,
                               const struct lct_session_keys *encrypt, struct lct_err *err)
{
    const struct message message = {
        .hash = cp_hash,
        .newer = keys->nonce_caller,
        .older = keys->nonce_tpm,
        .decrypt = decrypt != NULL ? decrypt->nonce_tpm : NULL,
        .encrypt = encrypt != NULL && encrypt != decrypt ? encrypt->nonce_tpm : NULL,
        .attributes = attributes,
    };

    return make_hmac(hmac, keys, libctx, auth, &message, err);
}

enum lct_code lct_session_verify(struct lct_session_keys *keys, OSSL_LIB_CTX *libctx,
                                 const struct lct_secret *auth,
                                 const uint8_t rp_hash[LCT_SESSION_DIGEST],
                                 const struct lct_session_answer *answer, struct lct_err *err)
{
    const struct message message = {
        .hash = rp_hash,
        .newer = answer->nonce_tpm,
        .older = keys->nonce_caller,
        .attributes = answer->attributes,
    };
    uint8_t hmac[LCT_SESSION_DIGEST];
    bool same = answer->nonce_tpm_len == LCT_SESSION_DIGEST && answer->hmac_len == sizeof hmac;

    if (same) {
        enum lct_code code = make_hmac(hmac, keys, libctx, auth, &message, err);
        if (code != LCT_OK)
            return code;
        same = CRYPTO_memcmp(hmac, answer->hmac, sizeof hmac) == 0;
        OPENSSL_cleanse(hmac, sizeof hmac); /* of a forged response it is the right answer */
    }
    if (!same)
        return LCT_FAIL(err, LCT_ERR_NO_TPM,
                        "the TPM's response was changed on its way: its HMAC is wrong");
    memcpy(keys->nonce_tpm, answer->nonce_tpm, sizeof keys->nonce_tpm);
    return LCT_OK;
}

static enum lct_code apply_cfb(const struct lct_secret *key, OSSL_LIB_CTX *libctx,
                               const uint8_t *newer, const uint8_t *older, bool encrypt,
                               uint8_t *bytes, size_t bytes_len, struct lct_err *err)
{
    uint8_t key_and_iv[KEY + IV];
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(libctx, "AES-128-CFB", NULL);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int len = 0;
    enum lct_code code = lct_kdfa(key_and_iv, sizeof key_and_iv, libctx,
                                  &(struct lct_kdf){.hash = session_hash(),
                                                    .key = key->data,
                                                    .key_len = key->len,
                                                    .label = "CFB",
                                                    .u = newer,
                                                    .u_len = LCT_SESSION_DIGEST,
                                                    .v = older,
                                                    .v_len = LCT_SESSION_DIGEST},
                                  err);

    if (code == LCT_OK &&
        (cipher == NULL || ctx == NULL || bytes_len > UINT16_MAX ||
         EVP_CipherInit_ex2(ctx, cipher, key_and_iv, key_and_iv + KEY, encrypt, NULL) != 1 ||
         EVP_CipherUpdate(ctx, bytes, &len, bytes, (int)bytes_len) != 1 ||
         (size_t)len != bytes_len))
        code = LCT_FAIL(err, LCT_ERR_INTERNAL, "libcrypto cannot encrypt or decrypt a parameter");
    OPENSSL_cleanse(key_and_iv, sizeof key_and_iv);
    EVP_CIPHER_CTX_free(ctx);
    EVP_CIPHER_free(cipher);
    return code;
}

enum lct_code lct_session_encrypt(const struct lct_session_keys *keys, OSSL_LIB_CTX *libctx,
                                  const struct lct_secret *auth, uint8_t *bytes, size_t bytes_len,
                                  struct lct_err *err)
{
    struct lct_secret key;
    enum lct_code code = join(&key, keys, auth, err);

    if (code == LCT_OK)
        code = apply_cfb(&key, libctx, keys->nonce_caller, keys->nonce_tpm, true, bytes, bytes_len,
                         err);
    lct_secret_wipe(&key);
    return code;
}

enum lct_code lct_session_decrypt(const struct lct_session_keys *keys, OSSL_LIB_CTX *libctx,
                                  const struct lct_secret *auth, uint8_t *bytes, size_t bytes_len,
                                  struct lct_err *err)
{
    struct lct_secret key;
    enum lct_code code = join(&key, keys, auth, err);

    if (code == LCT_OK)
        code = apply_cfb(&key, libctx, keys->nonce_tpm, keys->nonce_caller, false, bytes, bytes_len,
                         err);
    lct_secret_wipe(&key);
    return code;
}
