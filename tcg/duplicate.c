/* SPDX-License-Identifier: Apache-2.0 */
#include "tcg/duplicate.h"

#include "base/unconst.h"
#include "tcg/marshal.h"
#include "tcg/wrapper.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <string.h>

const struct lct_algorithm *lct_duplicate_algorithm(const EVP_PKEY *pkey)
{
    char group[64] = "";

    if (EVP_PKEY_is_a(pkey, "RSA"))
        return lct_algorithm_by_key(TPM2_ALG_RSA, 0, (uint16_t)EVP_PKEY_get_bits(pkey));
    if (EVP_PKEY_is_a(pkey, "EC") && EVP_PKEY_get_group_name(pkey, group, sizeof group, NULL) == 1)
        return lct_algorithm_by_group(group);
    return NULL;
}

/* TPM 2.0 Part 2, 12.2.3.5: 0 stands for 65537. */
static void write_exponent(struct lct_writer *writer, const EVP_PKEY *pkey)
{
    BIGNUM *exponent = NULL;
    BN_ULONG value = 0;

    if (EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_E, &exponent) == 1)
        value = BN_get_word(exponent);
    if (value == 0 || value > UINT32_MAX)
        writer->failed = true;
    lct_write_u32(writer, value == 65537 ? 0 : (uint32_t)value);
    BN_free(exponent);
}

/* TPMT_PUBLIC, TPM 2.0 Part 2, 12.2.4: a signing key whose scheme is chosen at each signature. */
static void write_public(struct lct_writer *writer, const EVP_PKEY *pkey,
                         const struct lct_algorithm *algorithm, bool has_auth)
{
    lct_write_u16(writer, algorithm->type);
    lct_write_u16(writer, TPM2_ALG_SHA256);
    lct_write_u32(writer, TPMA_OBJECT_USERWITHAUTH | TPMA_OBJECT_SIGN_ENCRYPT |
                              (has_auth ? 0 : TPMA_OBJECT_NODA));
    lct_write_sized(writer, NULL, 0);     /* policy */
    lct_write_u16(writer, TPM2_ALG_NULL); /* symmetric */
    lct_write_u16(writer, TPM2_ALG_NULL); /* scheme */
    if (algorithm->type == TPM2_ALG_RSA) {
        lct_write_u16(writer, algorithm->bits);
        write_exponent(writer, pkey);
        lct_write_number(writer, pkey, OSSL_PKEY_PARAM_RSA_N, algorithm->size);
        return;
    }
    lct_write_u16(writer, algorithm->curve);
    lct_write_u16(writer, TPM2_ALG_NULL); /* kdf */
    lct_write_number(writer, pkey, OSSL_PKEY_PARAM_EC_PUB_X, algorithm->size);
    lct_write_number(writer, pkey, OSSL_PKEY_PARAM_EC_PUB_Y, algorithm->size);
}

/* TPMT_SENSITIVE, Part 2, 12.3.2.4: of RSA one prime of two, of ECC the private scalar. */
static void write_sensitive(struct lct_writer *writer, const EVP_PKEY *pkey,
                            const struct lct_algorithm *algorithm, const struct lct_secret *auth)
{
    lct_write_u16(writer, algorithm->type);
    lct_write_sized(writer, auth != NULL ? auth->data : NULL, auth != NULL ? auth->len : 0);
    lct_write_sized(writer, NULL, 0); /* seed: only of storage keys */
    if (algorithm->type == TPM2_ALG_RSA)
        lct_write_number(writer, pkey, OSSL_PKEY_PARAM_RSA_FACTOR1, algorithm->size / 2u);
    else
        lct_write_number(writer, pkey, OSSL_PKEY_PARAM_PRIV_KEY, algorithm->size);
}

static bool has_more_primes(const EVP_PKEY *pkey)
{
    BIGNUM *third = NULL;
    bool more = EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_FACTOR3, &third) == 1;

    BN_clear_free(third);
    return more;
}

/* TPM2B_PRIVATE: its size, the HMAC as a TPM2B, the hidden part. */
static enum lct_code wrap(struct lct_duplicate *duplicate, const EVP_PKEY *pkey,
                          const struct lct_algorithm *algorithm, const struct lct_secret *auth,
                          const struct lct_wrapper *wrapper, struct lct_err *err)
{
    struct lct_writer writer = {duplicate->private_area, 0, sizeof duplicate->private_area, false};
    size_t size = lct_wrapper_size(wrapper), hidden = 2 + 2 + size;

    lct_write_u16(&writer, 0);
    lct_write_u16(&writer, size);
    (void)lct_writer_grow(&writer, size);
    lct_write_u16(&writer, 0);
    write_sensitive(&writer, pkey, algorithm, auth);
    enum lct_code code = writer.failed ? LCT_FAIL(err, LCT_ERR_BAD_RECORD,
                                                  "it is not a whole private key of two primes")
                                       : LCT_OK;
    if (code == LCT_OK) {
        lct_writer_close_sized(&writer, hidden);
        lct_writer_close_sized(&writer, 0);
        code = lct_wrapper_apply(wrapper, duplicate->private_area + 4,
                                 duplicate->private_area + hidden, writer.len - hidden, err);
    }
    duplicate->private_len = writer.len;
    if (code != LCT_OK)
        explicit_bzero(duplicate, sizeof *duplicate);
    return code;
}

/* Whether the private key is that of the public one: a TPM says so, if at all, by a number. */
static bool belongs_together(const EVP_PKEY *pkey, OSSL_LIB_CTX *libctx)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, lct_unconst(pkey), NULL);

    (void)ERR_set_mark();
    bool good = ctx != NULL && EVP_PKEY_pairwise_check(ctx) == 1;
    (void)ERR_pop_to_mark();
    EVP_PKEY_CTX_free(ctx);
    return good;
}

enum lct_code lct_duplicate_make(struct lct_duplicate *duplicate, OSSL_LIB_CTX *libctx,
                                 const EVP_PKEY *pkey, const struct lct_secret *auth,
                                 const struct lct_public *parent, struct lct_err *err)
{
    const struct lct_algorithm *algorithm = lct_duplicate_algorithm(pkey);
    struct lct_writer writer = {duplicate->public_area, 0, sizeof duplicate->public_area, false};
    struct lct_secret seed = {0};
    struct lct_name name;
    const struct lct_wrapper wrapper = {libctx, parent, &seed, &name};

    memset(duplicate, 0, sizeof *duplicate);
    if (algorithm == NULL || has_more_primes(pkey))
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                        "a key of this kind is not supported; EC P-256 and P-384, RSA 2048 and "
                        "3072 are");
    enum lct_code code = lct_wrapper_check(&wrapper, err);
    if (code != LCT_OK)
        return code;
    if (!belongs_together(pkey, libctx))
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD,
                        "its private key does not belong to its public one");
    lct_write_u16(&writer, 0);
    write_public(&writer, pkey, algorithm, auth != NULL && auth->len > 0);
    if (writer.failed)
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD, "it is not a whole key");
    lct_writer_close_sized(&writer, 0);
    duplicate->public_len = writer.len;
    code = lct_public_name(&name, libctx, duplicate->public_area, duplicate->public_len, err);
    if (code == LCT_OK)
        code = lct_seed_make(&seed, &duplicate->seed, libctx, parent, LCT_SEED_DUPLICATE, err);
    if (code == LCT_OK)
        code = wrap(duplicate, pkey, algorithm, auth, &wrapper, err);
    lct_secret_wipe(&seed);
    return code;
}
