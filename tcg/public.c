/* SPDX-License-Identifier: Apache-2.0 */
#include "tcg/public.h"

#include "tcg/marshal.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <stdio.h>
#include <string.h>

enum { MAX_IMPORT = 1024 };

/* TPMT_SYM_DEF_OBJECT, TPM 2.0 Part 2, 11.1.7: only the block ciphers have parameters. */
static void read_symmetric(struct lct_reader *reader, struct lct_public *public_area)
{
    public_area->symmetric = lct_read_u16(reader);
    switch (public_area->symmetric) {
    case TPM2_ALG_NULL:
        return;
    case TPM2_ALG_AES:
    case TPM2_ALG_SM4:
    case TPM2_ALG_CAMELLIA:
        public_area->symmetric_bits = lct_read_u16(reader);
        public_area->symmetric_mode = lct_read_u16(reader);
        return;
    default:
        reader->failed = true;
    }
}

/* TPMT_RSA_SCHEME and TPMT_ECC_SCHEME, Part 2, 11.2.4.2 and 11.2.5.6: a selector, and for most a
 * hash. */
static void read_scheme(struct lct_reader *reader, struct lct_public *public_area)
{
    public_area->scheme = lct_read_u16(reader);
    switch (public_area->scheme) {
    case TPM2_ALG_NULL:
    case TPM2_ALG_RSAES:
        return;
    case TPM2_ALG_RSASSA:
    case TPM2_ALG_RSAPSS:
    case TPM2_ALG_OAEP:
    case TPM2_ALG_ECDSA:
    case TPM2_ALG_ECDH:
    case TPM2_ALG_SM2:
    case TPM2_ALG_ECSCHNORR:
    case TPM2_ALG_ECMQV:
        public_area->scheme_hash = lct_read_u16(reader);
        return;
    case TPM2_ALG_ECDAA:
        public_area->scheme_hash = lct_read_u16(reader);
        (void)lct_read_u16(reader); /* count */
        return;
    default:
        reader->failed = true;
    }
}

static void read_rsa(struct lct_reader *reader, struct lct_public *public_area)
{
    read_symmetric(reader, public_area);
    read_scheme(reader, public_area);
    public_area->bits = lct_read_u16(reader);
    public_area->exponent = lct_read_u32(reader);
    public_area->modulus_len =
        lct_read_sized(reader, public_area->modulus, sizeof public_area->modulus);
}

/* A sealed data object (Part 2, 12.2.3.3 and 12.3.2.3): no scheme, and a digest of what is sealed.
 */
static void read_keyed_hash(struct lct_reader *reader, struct lct_public *public_area)
{
    uint8_t unique[LCT_MAX_HASH];

    public_area->symmetric = TPM2_ALG_NULL;
    public_area->scheme = lct_read_u16(reader);
    if (public_area->scheme != TPM2_ALG_NULL)
        reader->failed = true;
    (void)lct_read_sized(reader, unique, sizeof unique);
}

/* TPMT_KDF_SCHEME, Part 2, 11.2.3.3. No command uses it, and TSS does not know KDF2. */
static void read_kdf(struct lct_reader *reader)
{
    switch (lct_read_u16(reader)) {
    case TPM2_ALG_NULL:
        return;
    case TPM2_ALG_MGF1:
    case TPM2_ALG_KDF1_SP800_56A:
    case TPM2_ALG_KDF1_SP800_108:
        (void)lct_read_u16(reader); /* hash */
        return;
    default:
        reader->failed = true;
    }
}

static void read_ecc(struct lct_reader *reader, struct lct_public *public_area)
{
    read_symmetric(reader, public_area);
    read_scheme(reader, public_area);
    public_area->curve = lct_read_u16(reader);
    read_kdf(reader);
    public_area->x_len = lct_read_sized(reader, public_area->x, sizeof public_area->x);
    public_area->y_len = lct_read_sized(reader, public_area->y, sizeof public_area->y);
}

enum lct_code lct_public_decode(struct lct_public *public_area, const uint8_t *tpm2b,
                                size_t tpm2b_len, struct lct_err *err)
{
    struct lct_reader reader = {tpm2b, tpm2b_len, false};
    static const uint32_t reserved = TPMA_OBJECT_RESERVED1_MASK | TPMA_OBJECT_RESERVED2_MASK |
                                     TPMA_OBJECT_RESERVED3_MASK | TPMA_OBJECT_RESERVED4_MASK |
                                     (TPMA_OBJECT_RESERVED5_MASK & ~TPMA_OBJECT_X509SIGN);

    memset(public_area, 0, sizeof *public_area);
    if (lct_read_u16(&reader) != reader.left)
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD, "the public area is not as long as it says");
    public_area->type = lct_read_u16(&reader);
    public_area->name_alg = lct_read_u16(&reader);
    public_area->attributes = lct_read_u32(&reader);
    public_area->policy_len =
        lct_read_sized(&reader, public_area->policy, sizeof public_area->policy);
    if (public_area->type == TPM2_ALG_RSA)
        read_rsa(&reader, public_area);
    else if (public_area->type == TPM2_ALG_ECC)
        read_ecc(&reader, public_area);
    else if (public_area->type == TPM2_ALG_KEYEDHASH)
        read_keyed_hash(&reader, public_area);
    else
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD, "the public area is not of an RSA or ECC key");
    if (reader.failed || reader.left != 0 || (public_area->attributes & reserved) != 0)
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD, "the public area is not a TPMT_PUBLIC");
    return LCT_OK;
}

enum lct_code lct_public_name(struct lct_name *name, OSSL_LIB_CTX *libctx, const uint8_t *tpm2b,
                              size_t tpm2b_len, struct lct_err *err)
{
    struct lct_reader reader = {tpm2b, tpm2b_len, false};

    *name = (struct lct_name){0};
    (void)lct_reader_take(&reader, 4); /* size, type */
    const uint8_t *name_alg = lct_reader_take(&reader, 2);
    const struct lct_hash *hash =
        name_alg != NULL ? lct_hash_by_id((uint16_t)((unsigned)name_alg[0] << 8 | name_alg[1]))
                         : NULL;
    if (hash == NULL)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED, "the object's Name uses a hash we do not know");
    memcpy(name->data, name_alg, 2);
    if (!EVP_Q_digest(libctx, hash->openssl, NULL, tpm2b + 2, tpm2b_len - 2, name->data + 2, NULL))
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "%s is not to be had from libcrypto", hash->openssl);
    name->len = 2 + hash->size;
    return LCT_OK;
}

enum lct_code lct_public_import(struct lct_public *public_area, struct lct_name *name,
                                OSSL_LIB_CTX *libctx, const uint8_t *bytes, size_t bytes_len,
                                struct lct_err *err)
{
    uint8_t tpm2b[2 + MAX_IMPORT];
    struct lct_writer writer = {tpm2b, 0, sizeof tpm2b, false};
    struct lct_reader reader = {bytes, bytes_len, false};

    if (lct_read_u16(&reader) != reader.left) {
        lct_write_sized(&writer, bytes, bytes_len);
        if (writer.failed)
            return LCT_FAIL(err, LCT_ERR_BAD_RECORD, "it is too long for a public area");
        bytes = tpm2b;
        bytes_len = writer.len;
    }
    enum lct_code code = lct_public_decode(public_area, bytes, bytes_len, err);
    return code == LCT_OK ? lct_public_name(name, libctx, bytes, bytes_len, err) : code;
}

struct lct_name lct_name_of_handle(uint32_t handle)
{
    struct lct_name name = {.len = sizeof handle};

    for (size_t i = 0; i < sizeof handle; i++)
        name.data[i] = (uint8_t)(handle >> (24 - 8 * i));
    return name;
}

bool lct_name_qualify(struct lct_name *qualified, OSSL_LIB_CTX *libctx,
                      const struct lct_name *parent, const struct lct_name *name)
{
    uint8_t text[2 * sizeof name->data];
    const struct lct_hash *hash =
        lct_hash_by_id((uint16_t)((unsigned)name->data[0] << 8 | name->data[1]));

    *qualified = (struct lct_name){0};
    memcpy(text, parent->data, parent->len);
    memcpy(text + parent->len, name->data, name->len);
    if (hash == NULL || !EVP_Q_digest(libctx, hash->openssl, NULL, text, parent->len + name->len,
                                      qualified->data + 2, NULL))
        return false;
    memcpy(qualified->data, name->data, 2);
    qualified->len = 2 + hash->size;
    return true;
}

bool lct_name_equal(const struct lct_name *a, const struct lct_name *b)
{
    return a->len != 0 && a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

const struct lct_algorithm *lct_public_algorithm(const struct lct_public *public_area)
{
    return lct_algorithm_by_key(public_area->type, public_area->curve, public_area->bits);
}

/* 04 || X || Y with both coordinates as long as the field: a TPM may leave leading zeros out. */
static bool push_point(OSSL_PARAM_BLD *builder, const struct lct_public *public_area,
                       uint8_t *point)
{
    const struct lct_curve *curve = lct_curve_by_id(public_area->curve);
    size_t size = curve->size;

    if (public_area->x_len > size || public_area->y_len > size)
        return false;
    memset(point, 0, 1 + 2 * size);
    point[0] = 4;
    memcpy(point + 1 + size - public_area->x_len, public_area->x, public_area->x_len);
    memcpy(point + 1 + 2 * size - public_area->y_len, public_area->y, public_area->y_len);
    return OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, curve->group, 0) &&
           OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, point, 1 + 2 * size);
}

static bool push_modulus(OSSL_PARAM_BLD *builder, const struct lct_public *public_area,
                         BIGNUM *modulus)
{
    return public_area->modulus_len == public_area->bits / 8u &&
           BN_bin2bn(public_area->modulus, (int)public_area->modulus_len, modulus) != NULL &&
           OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, modulus) &&
           OSSL_PARAM_BLD_push_uint32(builder, OSSL_PKEY_PARAM_RSA_E,
                                      public_area->exponent != 0 ? public_area->exponent : 65537);
}

/* More than our own keys have: storage and endorsement keys are the TPM's maker's choice. */
static bool is_known(const struct lct_public *public_area)
{
    if (public_area->type == TPM2_ALG_ECC)
        return lct_curve_by_id(public_area->curve) != NULL;
    return public_area->type == TPM2_ALG_RSA &&
           (public_area->bits == 2048 || public_area->bits == 3072 || public_area->bits == 4096);
}

EVP_PKEY *lct_public_pkey(const struct lct_public *public_area, OSSL_LIB_CTX *libctx,
                          struct lct_err *err)
{
    bool ecc = public_area->type == TPM2_ALG_ECC;
    uint8_t point[1 + 2 * LCT_MAX_COORDINATE];
    EVP_PKEY *pkey = NULL;

    if (!is_known(public_area)) {
        (void)LCT_FAIL(err, LCT_ERR_UNSUPPORTED, "a key of this curve or size is not supported");
        return NULL;
    }
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(libctx, ecc ? "EC" : "RSA", NULL);
    BIGNUM *modulus = BN_new();
    OSSL_PARAM *params = NULL;
    if (builder == NULL || ctx == NULL || modulus == NULL)
        goto out;
    if (ecc ? !push_point(builder, public_area, point)
            : !push_modulus(builder, public_area, modulus))
        goto out;
    params = OSSL_PARAM_BLD_to_param(builder);
    if (params == NULL || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1)
        pkey = NULL;
out:
    if (pkey == NULL)
        (void)LCT_FAIL(err, LCT_ERR_BAD_RECORD, "the public area is not of a valid %s key",
                       ecc ? "EC" : "RSA");
    OSSL_PARAM_free(params);
    BN_free(modulus);
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_BLD_free(builder);
    return pkey;
}

bool lct_public_is_bound(const struct lct_public *public_area)
{
    static const TPMA_OBJECT bound =
        TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_SENSITIVEDATAORIGIN;

    return (public_area->attributes & bound) == bound;
}

void lct_public_attributes(char text[LCT_ATTRIBUTES_TEXT], uint32_t attributes)
{
    static const struct {
        uint32_t bit;
        const char *name;
    } words[] = {
        {TPMA_OBJECT_FIXEDTPM, "fixedtpm"},
        {TPMA_OBJECT_STCLEAR, "stclear"},
        {TPMA_OBJECT_FIXEDPARENT, "fixedparent"},
        {TPMA_OBJECT_SENSITIVEDATAORIGIN, "sensitivedataorigin"},
        {TPMA_OBJECT_USERWITHAUTH, "userwithauth"},
        {TPMA_OBJECT_ADMINWITHPOLICY, "adminwithpolicy"},
        {TPMA_OBJECT_NODA, "noda"},
        {TPMA_OBJECT_ENCRYPTEDDUPLICATION, "encryptedduplication"},
        {TPMA_OBJECT_RESTRICTED, "restricted"},
        {TPMA_OBJECT_DECRYPT, "decrypt"},
        {TPMA_OBJECT_SIGN_ENCRYPT, "sign"},
        {TPMA_OBJECT_X509SIGN, "x509sign"},
    };
    size_t len = 0;

    text[0] = '\0';
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if ((attributes & words[i].bit) != 0)
            len += (size_t)snprintf(text + len, LCT_ATTRIBUTES_TEXT - len, "%s%s",
                                    len > 0 ? " " : "", words[i].name);
}
