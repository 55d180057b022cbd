/* SPDX-License-Identifier: Apache-2.0 */
#include "tcg/wrapper.h"

#include "tcg/kdf.h"

#include <openssl/evp.h>
#include <stdbool.h>
#include <string.h>

enum { MAX_WRAPPED = 1024 };

/* By libcrypto's name. TPM 2.0 Part 1, 22.4: CFB, with an IV of zeros. */
static const char *cipher_of(const struct lct_public *key)
{
    if (key->symmetric != TPM2_ALG_AES || key->symmetric_mode != TPM2_ALG_CFB)
        return NULL;
    switch (key->symmetric_bits) {
    case 128:
        return "AES-128-CFB";
    case 192:
        return "AES-192-CFB";
    case 256:
        return "AES-256-CFB";
    default:
        return NULL;
    }
}

enum lct_code lct_wrapper_check(const struct lct_wrapper *wrapper, struct lct_err *err)
{
    if (lct_hash_by_id(wrapper->key->name_alg) == NULL || cipher_of(wrapper->key) == NULL)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                        "the storage key has a hash or cipher that we do not know");
    return LCT_OK;
}

size_t lct_wrapper_size(const struct lct_wrapper *wrapper)
{
    return lct_hash_by_id(wrapper->key->name_alg)->size;
}

static bool encrypt(uint8_t *bytes, size_t len, OSSL_LIB_CTX *libctx, const char *name,
                    const uint8_t *key)
{
    static const uint8_t iv[16];
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(libctx, name, NULL);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int encrypted = 0;
    bool good =
        cipher != NULL && ctx != NULL && EVP_EncryptInit_ex2(ctx, cipher, key, iv, NULL) == 1 &&
        EVP_EncryptUpdate(ctx, bytes, &encrypted, bytes, (int)len) == 1 && (size_t)encrypted == len;

    EVP_CIPHER_CTX_free(ctx);
    EVP_CIPHER_free(cipher);
    return good;
}

/* Part 1, 23.3.2.4 and 24.4: symKey = KDFa (seed, "STORAGE", Name). */
static enum lct_code hide(const struct lct_wrapper *wrapper, uint8_t *bytes, size_t len,
                          struct lct_err *err)
{
    uint8_t key[32];
    size_t key_len = wrapper->key->symmetric_bits / 8u;
    enum lct_code code = lct_kdfa(key, key_len, wrapper->libctx,
                                  &(struct lct_kdf){.hash = lct_hash_by_id(wrapper->key->name_alg),
                                                    .key = wrapper->seed->data,
                                                    .key_len = wrapper->seed->len,
                                                    .label = "STORAGE",
                                                    .u = wrapper->name->data,
                                                    .u_len = wrapper->name->len},
                                  err);

    if (code == LCT_OK && !encrypt(bytes, len, wrapper->libctx, cipher_of(wrapper->key), key))
        code = LCT_FAIL(err, LCT_ERR_INTERNAL, "libcrypto cannot encrypt what is wrapped");
    explicit_bzero(key, sizeof key);
    return code;
}

/* The same places, and 24.5: HMACkey = KDFa (seed, "INTEGRITY"), over what is hidden and the Name.
 */
static enum lct_code protect(const struct lct_wrapper *wrapper, uint8_t *hmac, const uint8_t *bytes,
                             size_t len, struct lct_err *err)
{
    uint8_t key[LCT_MAX_HASH], text[MAX_WRAPPED + sizeof wrapper->name->data];
    const struct lct_hash *hash = lct_hash_by_id(wrapper->key->name_alg);
    size_t size = hash->size, hmac_len = 0;
    enum lct_code code = lct_kdfa(key, size, wrapper->libctx,
                                  &(struct lct_kdf){.hash = hash,
                                                    .key = wrapper->seed->data,
                                                    .key_len = wrapper->seed->len,
                                                    .label = "INTEGRITY"},
                                  err);

    if (code != LCT_OK)
        return code;
    memcpy(text, bytes, len);
    memcpy(text + len, wrapper->name->data, wrapper->name->len);
    if (EVP_Q_mac(wrapper->libctx, "HMAC", NULL, hash->openssl, NULL, key, size, text,
                  len + wrapper->name->len, hmac, size, &hmac_len) == NULL ||
        hmac_len != size)
        code = LCT_FAIL(err, LCT_ERR_INTERNAL, "libcrypto cannot make an HMAC");
    explicit_bzero(key, sizeof key);
    return code;
}

enum lct_code lct_wrapper_apply(const struct lct_wrapper *wrapper, uint8_t *hmac, uint8_t *bytes,
                                size_t bytes_len, struct lct_err *err)
{
    if (bytes_len > MAX_WRAPPED)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "what is wrapped is too long");
    enum lct_code code = hide(wrapper, bytes, bytes_len, err);

    return code == LCT_OK ? protect(wrapper, hmac, bytes, bytes_len, err) : code;
}
