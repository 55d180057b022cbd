/* SPDX-License-Identifier: Apache-2.0 */
#include "tcg/seed.h"

#include "base/unconst.h"
#include "tcg/kdf.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <stdbool.h>
#include <string.h>

/* 04 || X || Y, the coordinates as long as the field. */
struct point {
    size_t size; /* bytes of a coordinate */
    uint8_t data[1 + 2 * LCT_MAX_COORDINATE];
};

static bool get_point(struct point *point, size_t size, EVP_PKEY *pkey)
{
    size_t len = 0;

    point->size = size;
    return EVP_PKEY_get_octet_string_param(pkey, OSSL_PKEY_PARAM_PUB_KEY, point->data,
                                           sizeof point->data, &len) == 1 &&
           len == 1 + 2 * size && point->data[0] == 4;
}

static const uint8_t *x_of(const struct point *point)
{
    return point->data + 1;
}

/* TPMS_ECC_POINT: two TPM2B. */
static void put_point(struct lct_encrypted_seed *encrypted, const struct point *point)
{
    uint8_t *end = encrypted->data;

    for (size_t i = 0; i < 2; i++) {
        *end++ = (uint8_t)(point->size >> 8);
        *end++ = (uint8_t)point->size;
        memcpy(end, x_of(point) + i * point->size, point->size);
        end += point->size;
    }
    encrypted->len = 2 * (2 + point->size);
}

/* The x coordinate of the shared point, as long as the field. */
static bool agree(uint8_t *z, size_t size, OSSL_LIB_CTX *libctx, EVP_PKEY *own, EVP_PKEY *peer)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, own, NULL);
    size_t len = size;
    bool agreed = ctx != NULL && EVP_PKEY_derive_init(ctx) == 1 &&
                  EVP_PKEY_derive_set_peer(ctx, peer) == 1 && EVP_PKEY_derive(ctx, z, &len) == 1 &&
                  len == size;

    EVP_PKEY_CTX_free(ctx);
    return agreed;
}

static enum lct_code make_ecc(struct lct_secret *seed, struct lct_encrypted_seed *encrypted,
                              OSSL_LIB_CTX *libctx, EVP_PKEY *pkey, const struct lct_curve *curve,
                              const struct lct_hash *hash, const char *label, struct lct_err *err)
{
    uint8_t z[LCT_MAX_COORDINATE];
    struct point ours, theirs;
    EVP_PKEY *ephemeral = EVP_PKEY_Q_keygen(libctx, NULL, "EC", curve->group);
    enum lct_code code;

    if (ephemeral == NULL || !get_point(&ours, curve->size, ephemeral) ||
        !get_point(&theirs, curve->size, pkey) || !agree(z, curve->size, libctx, ephemeral, pkey)) {
        code = LCT_FAIL(err, LCT_ERR_INTERNAL, "libcrypto cannot agree on a seed");
        goto out;
    }
    put_point(encrypted, &ours);
    seed->len = hash->size;
    code = lct_kdfe(seed->data, seed->len, libctx,
                    &(struct lct_kdf){.hash = hash,
                                      .key = z,
                                      .key_len = curve->size,
                                      .label = label,
                                      .u = x_of(&ours),
                                      .u_len = curve->size,
                                      .v = x_of(&theirs),
                                      .v_len = curve->size},
                    err);
out:
    OPENSSL_cleanse(z, sizeof z);
    EVP_PKEY_free(ephemeral);
    return code;
}

static enum lct_code make_rsa(struct lct_secret *seed, struct lct_encrypted_seed *encrypted,
                              OSSL_LIB_CTX *libctx, EVP_PKEY *pkey, const struct lct_hash *hash,
                              const char *label, struct lct_err *err)
{
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_ASYM_CIPHER_PARAM_PAD_MODE,
                                         lct_unconst(OSSL_PKEY_RSA_PAD_MODE_OAEP), 0),
        OSSL_PARAM_construct_utf8_string(OSSL_ASYM_CIPHER_PARAM_OAEP_DIGEST,
                                         lct_unconst(hash->openssl), 0),
        OSSL_PARAM_construct_octet_string(OSSL_ASYM_CIPHER_PARAM_OAEP_LABEL, lct_unconst(label),
                                          strlen(label) + 1),
        OSSL_PARAM_END,
    };
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, pkey, NULL);
    enum lct_code code = LCT_OK;

    seed->len = hash->size;
    encrypted->len = sizeof encrypted->data;
    if (ctx == NULL || RAND_priv_bytes_ex(libctx, seed->data, seed->len, 0) != 1 ||
        EVP_PKEY_encrypt_init_ex(ctx, params) != 1 ||
        EVP_PKEY_encrypt(ctx, encrypted->data, &encrypted->len, seed->data, seed->len) != 1)
        code = LCT_FAIL(err, LCT_ERR_INTERNAL, "libcrypto cannot encrypt a seed");
    EVP_PKEY_CTX_free(ctx);
    return code;
}

/* TPM 2.0 Part 1, B.4: OAEP is with the scheme's hash where the key has one; a storage key has
 * none.
 */
static const struct lct_hash *seed_hash(const struct lct_public *key)
{
    bool of_scheme = key->type == TPM2_ALG_RSA && key->scheme == TPM2_ALG_OAEP;

    return lct_hash_by_id(of_scheme ? key->scheme_hash : key->name_alg);
}

enum lct_code lct_seed_make(struct lct_secret *seed, struct lct_encrypted_seed *encrypted,
                            OSSL_LIB_CTX *libctx, const struct lct_public *key,
                            enum lct_seed_use use, struct lct_err *err)
{
    static const char *const labels[] = {
        [LCT_SEED_SESSION] = "SECRET",
        [LCT_SEED_CREDENTIAL] = "IDENTITY",
        [LCT_SEED_DUPLICATE] = "DUPLICATE",
    };
    const struct lct_hash *hash = seed_hash(key);

    *seed = (struct lct_secret){0};
    *encrypted = (struct lct_encrypted_seed){0};
    if (hash == NULL)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED, "the key uses a hash we do not know");
    EVP_PKEY *pkey = lct_public_pkey(key, libctx, err);
    if (pkey == NULL)
        return err != NULL ? err->code : LCT_ERR_BAD_RECORD;
    enum lct_code code = key->type == TPM2_ALG_ECC
                             ? make_ecc(seed, encrypted, libctx, pkey, lct_curve_by_id(key->curve),
                                        hash, labels[use], err)
                             : make_rsa(seed, encrypted, libctx, pkey, hash, labels[use], err);
    if (code != LCT_OK)
        lct_secret_wipe(seed);
    EVP_PKEY_free(pkey);
    return code;
}
