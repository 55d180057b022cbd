/* SPDX-License-Identifier: Apache-2.0 */
#include "store/software.h"

#include "store/armour.h"

#include <openssl/asn1t.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/pkcs12.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <string.h>

static const char label[] = "ENCRYPTED PRIVATE KEY"; /* RFC 7468, 11 */

/* RFC 7914, 2: CPU and memory cost, block size, parallelization. */
enum { COST = 1 << 14, BLOCK = 8, PARALLEL = 5, MAX_PARALLEL = 4 * PARALLEL };
enum { SALT = 16, IV = 16 };

enum lct_code lct_software_make(EVP_PKEY **pkey, const struct lct_algorithm *algorithm,
                                OSSL_LIB_CTX *libctx, struct lct_err *err)
{
    *pkey = algorithm->group != NULL
                ? EVP_PKEY_Q_keygen(libctx, NULL, algorithm->key_type, algorithm->group)
                : EVP_PKEY_Q_keygen(libctx, NULL, algorithm->key_type);
    return *pkey != NULL
               ? LCT_OK
               : LCT_FAIL(err, LCT_ERR_INTERNAL, "libcrypto makes no %s key", algorithm->name);
}

enum lct_code lct_software_describe(struct lct_generation *generation,
                                    const struct lct_algorithm *algorithm, EVP_PKEY *pkey,
                                    struct lct_err *err)
{
    unsigned char *end = generation->public_area;
    int len = i2d_PUBKEY(pkey, NULL);

    if (len <= 0 || (size_t)len > sizeof generation->public_area || i2d_PUBKEY(pkey, &end) != len)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "the public key cannot be encoded");
    generation->custody = LCT_CUSTODY_SOFTWARE;
    generation->algorithm = algorithm;
    generation->passphrase = true;
    generation->public_len = (size_t)len;
    return LCT_OK;
}

/* libcrypto looks here for the parts that it is not told where to look for, so the private library
 * context is this thread's default meanwhile. */
static X509_ALGOR *make_pbe(OSSL_LIB_CTX *libctx)
{
    unsigned char salt[SALT], iv[IV];

    if (RAND_bytes_ex(libctx, salt, sizeof salt, 0) != 1 ||
        RAND_bytes_ex(libctx, iv, sizeof iv, 0) != 1)
        return NULL;
    OSSL_LIB_CTX *before = OSSL_LIB_CTX_set0_default(libctx);
    X509_ALGOR *pbe =
        PKCS5_pbe2_set_scrypt(EVP_aes_256_cbc(), salt, sizeof salt, iv, COST, BLOCK, PARALLEL);
    (void)OSSL_LIB_CTX_set0_default(before);
    return pbe;
}

/* NULL: it cannot be encrypted. */
static X509_SIG *encrypt(EVP_PKEY *pkey, const struct lct_secret *passphrase, OSSL_LIB_CTX *libctx)
{
    PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(pkey);
    X509_ALGOR *pbe = make_pbe(libctx);
    X509_SIG *encrypted = NULL;

    if (info != NULL && pbe != NULL)
        encrypted = PKCS8_set0_pbe_ex((const char *)passphrase->data, (int)passphrase->len, info,
                                      pbe, libctx, NULL);
    if (encrypted == NULL) /* else it has it */
        X509_ALGOR_free(pbe);
    PKCS8_PRIV_KEY_INFO_free(info); /* which wipes it */
    return encrypted;
}

enum lct_code lct_software_write(uint8_t **pem, size_t *pem_len, EVP_PKEY *pkey,
                                 const struct lct_secret *passphrase, OSSL_LIB_CTX *libctx,
                                 struct lct_err *err)
{
    unsigned char *der = NULL;

    *pem = NULL;
    (void)ERR_set_mark();
    X509_SIG *encrypted = encrypt(pkey, passphrase, libctx);
    int der_len = encrypted != NULL ? i2d_X509_SIG(encrypted, &der) : -1;
    bool good = der_len > 0 && lct_armour_write(pem, pem_len, label, der, (size_t)der_len);
    (void)ERR_pop_to_mark();
    OPENSSL_free(der);
    X509_SIG_free(encrypted);
    return good ? LCT_OK : LCT_FAIL(err, LCT_ERR_INTERNAL, "the private key cannot be encrypted");
}

static int nid_of(const X509_ALGOR *algorithm)
{
    const ASN1_OBJECT *object = NULL;

    X509_ALGOR_get0(&object, NULL, NULL, algorithm);
    return OBJ_obj2nid(object);
}

/* The parameters of an algorithm as a structure; NULL: they are none. */
static void *unpack(const X509_ALGOR *algorithm, const ASN1_ITEM *item)
{
    return algorithm->parameter != NULL ? ASN1_TYPE_unpack_sequence(item, algorithm->parameter)
                                        : NULL;
}

static bool is_between(const ASN1_INTEGER *value, uint64_t min, uint64_t max)
{
    uint64_t number = 0;

    return ASN1_INTEGER_get_uint64(&number, value) == 1 && number >= min && number <= max;
}

/* Known before anything is computed: a file could ask for years, or for all memory. */
static bool is_fit_scrypt(const X509_ALGOR *kdf)
{
    SCRYPT_PARAMS *params =
        nid_of(kdf) == NID_id_scrypt ? unpack(kdf, ASN1_ITEM_rptr(SCRYPT_PARAMS)) : NULL;
    bool fit = params != NULL && ASN1_STRING_length(params->salt) >= SALT &&
               is_between(params->costParameter, COST, COST) &&
               is_between(params->blockSize, BLOCK, BLOCK) &&
               is_between(params->parallelizationParameter, PARALLEL, MAX_PARALLEL) &&
               params->keyLength == NULL;

    SCRYPT_PARAMS_free(params);
    return fit;
}

static bool is_fit_cipher(const X509_ALGOR *cipher)
{
    const ASN1_TYPE *iv = cipher->parameter;

    return nid_of(cipher) == NID_aes_256_cbc && iv != NULL && iv->type == V_ASN1_OCTET_STRING &&
           ASN1_STRING_length(iv->value.octet_string) == IV;
}

static bool is_fit_pbe(const X509_ALGOR *algorithm)
{
    PBE2PARAM *params =
        nid_of(algorithm) == NID_pbes2 ? unpack(algorithm, ASN1_ITEM_rptr(PBE2PARAM)) : NULL;
    bool fit =
        params != NULL && is_fit_scrypt(params->keyfunc) && is_fit_cipher(params->encryption);

    PBE2PARAM_free(params);
    return fit;
}

static enum lct_code check_encrypted(const uint8_t *der, size_t der_len, struct lct_err *err)
{
    const unsigned char *at = der;
    const X509_ALGOR *algorithm = NULL;
    X509_SIG *encrypted = d2i_X509_SIG(NULL, &at, (long)der_len);
    enum lct_code code = LCT_OK;

    if (encrypted == NULL || !lct_armour_is_canonical((const ASN1_VALUE *)encrypted,
                                                      ASN1_ITEM_rptr(X509_SIG), der, der_len)) {
        code = LCT_FAIL(err, LCT_ERR_BAD_RECORD,
                        "the encrypted private key is damaged; restore it from a backup");
    } else {
        X509_SIG_get0(encrypted, &algorithm, NULL);
        if (!is_fit_pbe(algorithm))
            code = LCT_FAIL(err, LCT_ERR_BAD_RECORD,
                            "the private key is not encrypted as lct does it: scrypt with N=%d, "
                            "r=%d and p=%d to %d, and AES-256-CBC",
                            (int)COST, (int)BLOCK, (int)PARALLEL, (int)MAX_PARALLEL);
    }
    X509_SIG_free(encrypted);
    return code;
}

enum lct_code lct_software_read(uint8_t **der, size_t *der_len, const uint8_t *pem, size_t pem_len,
                                struct lct_err *err)
{
    if (!lct_armour_read(der, der_len, label, pem, pem_len))
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD,
                        "it is not one PEM block %s, which the key of an identity in software is; "
                        "restore it from a backup",
                        label);
    (void)ERR_set_mark();
    enum lct_code code = check_encrypted(*der, *der_len, err);
    (void)ERR_pop_to_mark();
    if (code != LCT_OK) {
        OPENSSL_free(*der);
        *der = NULL;
    }
    return code;
}

static bool is_of(const EVP_PKEY *pkey, const struct lct_algorithm *algorithm)
{
    char group[32] = "";

    if (EVP_PKEY_is_a(pkey, algorithm->key_type) != 1)
        return false;
    return algorithm->group == NULL ||
           (EVP_PKEY_get_group_name(pkey, group, sizeof group, NULL) == 1 &&
            strcmp(group, algorithm->group) == 0);
}

/* What was read is what would be written. */
static bool is_canonical(EVP_PKEY *pkey, const struct lct_generation *generation)
{
    unsigned char *again = NULL;
    int len = i2d_PUBKEY(pkey, &again);
    bool same = len > 0 && (size_t)len == generation->public_len &&
                memcmp(again, generation->public_area, generation->public_len) == 0;

    OPENSSL_free(again);
    return same;
}

enum lct_code lct_software_public(EVP_PKEY **pkey, const struct lct_generation *generation,
                                  OSSL_LIB_CTX *libctx, struct lct_err *err)
{
    const unsigned char *at = generation->public_area;

    (void)ERR_set_mark();
    *pkey = d2i_PUBKEY_ex(NULL, &at, (long)generation->public_len, libctx, NULL);
    bool good =
        *pkey != NULL && is_of(*pkey, generation->algorithm) && is_canonical(*pkey, generation);
    (void)ERR_pop_to_mark();
    if (good)
        return LCT_OK;
    EVP_PKEY_free(*pkey);
    *pkey = NULL;
    return LCT_FAIL(err, LCT_ERR_BAD_RECORD,
                    "the record's public key is none of %s; restore it from a backup",
                    generation->algorithm->name);
}

/* NULL: the passphrase is wrong, or what was encrypted is no key. */
static EVP_PKEY *decrypt(const uint8_t *der, size_t der_len, const struct lct_secret *passphrase,
                         OSSL_LIB_CTX *libctx)
{
    const unsigned char *at = der;
    X509_SIG *encrypted = d2i_X509_SIG(NULL, &at, (long)der_len);
    PKCS8_PRIV_KEY_INFO *info = encrypted != NULL
                                    ? PKCS8_decrypt_ex(encrypted, (const char *)passphrase->data,
                                                       (int)passphrase->len, libctx, NULL)
                                    : NULL;
    EVP_PKEY *pkey = info != NULL ? EVP_PKCS82PKEY_ex(info, libctx, NULL) : NULL;

    PKCS8_PRIV_KEY_INFO_free(info); /* which wipes it */
    X509_SIG_free(encrypted);
    return pkey;
}

/* Whoever can write to the file can flip bits of the key in it (AES-CBC): that its public key is
 * the recorded one says nothing of the private one yet. */
static bool belongs_to(EVP_PKEY *pkey, const EVP_PKEY *public_key, OSSL_LIB_CTX *libctx)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, pkey, NULL);
    bool good =
        EVP_PKEY_eq(pkey, public_key) == 1 && ctx != NULL && EVP_PKEY_pairwise_check(ctx) == 1;

    EVP_PKEY_CTX_free(ctx);
    return good;
}

enum lct_code lct_software_decrypt(EVP_PKEY **pkey, const uint8_t *der, size_t der_len,
                                   const struct lct_secret *passphrase, const EVP_PKEY *public_key,
                                   OSSL_LIB_CTX *libctx, struct lct_err *err)
{
    enum lct_code code = LCT_OK;

    (void)ERR_set_mark();
    *pkey = decrypt(der, der_len, passphrase, libctx);
    if (*pkey == NULL)
        code = LCT_FAIL(err, LCT_ERR_AUTH, "wrong passphrase, or its key file is damaged");
    else if (!belongs_to(*pkey, public_key, libctx))
        code = LCT_FAIL(err, LCT_ERR_BAD_RECORD,
                        "the key file holds another key than the one in the record; restore both "
                        "from a backup");
    (void)ERR_pop_to_mark();
    if (code != LCT_OK) {
        EVP_PKEY_free(*pkey);
        *pkey = NULL;
    }
    return code;
}

enum lct_code lct_software_encode(uint8_t **der, size_t *der_len, const EVP_PKEY *pkey,
                                  struct lct_err *err)
{
    PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(pkey);
    int len = info != NULL ? i2d_PKCS8_PRIV_KEY_INFO(info, der) : -1;

    PKCS8_PRIV_KEY_INFO_free(info);
    *der_len = len > 0 ? (size_t)len : 0;
    return len > 0 ? LCT_OK : LCT_FAIL(err, LCT_ERR_INTERNAL, "the private key cannot be encoded");
}

static enum lct_code fail_signing(struct lct_signature *signature, struct lct_err *err)
{
    signature->len = 0;
    return LCT_FAIL(err, LCT_ERR_INTERNAL, "libcrypto cannot sign with this key");
}

enum lct_code lct_software_sign(struct lct_signature *signature, EVP_PKEY *pkey,
                                const struct lct_scheme *scheme, const uint8_t *digest,
                                size_t digest_len, OSSL_LIB_CTX *libctx, struct lct_err *err)
{
    if (scheme->hash == NULL)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED, "it signs whole messages, and no digests");
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, pkey, NULL);
    signature->len = sizeof signature->data;
    (void)ERR_set_mark();
    bool good = ctx != NULL && EVP_PKEY_sign_init(ctx) == 1 &&
                EVP_PKEY_sign(ctx, signature->data, &signature->len, digest, digest_len) == 1;
    (void)ERR_pop_to_mark();
    EVP_PKEY_CTX_free(ctx);
    return good ? LCT_OK : fail_signing(signature, err);
}

enum lct_code lct_software_sign_message(struct lct_signature *signature, EVP_PKEY *pkey,
                                        const uint8_t *message, size_t message_len,
                                        OSSL_LIB_CTX *libctx, struct lct_err *err)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    signature->len = sizeof signature->data;
    (void)ERR_set_mark();
    bool good = ctx != NULL &&
                EVP_DigestSignInit_ex(ctx, NULL, NULL, libctx, NULL, pkey, NULL) == 1 &&
                EVP_DigestSign(ctx, signature->data, &signature->len, message, message_len) == 1;
    (void)ERR_pop_to_mark();
    EVP_MD_CTX_free(ctx);
    return good ? LCT_OK : fail_signing(signature, err);
}
