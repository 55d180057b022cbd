/* SPDX-License-Identifier: Apache-2.0 */
#include "tcg/seal.h"

#include "tcg/marshal.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <string.h>

const char lct_seal_default[] = "sha256:0,1,2,3,7";

/* What a user writes before the PCRs. */
static const struct {
    enum lct_seal_kind kind;
    const char *prefix;
} forms[] = {
    {LCT_SEAL_STRICT, "strict:"},
    {LCT_SEAL_AUTHORITY, "authority:"},
    {LCT_SEAL_EITHER, ""},
};

enum lct_code lct_seal_parse(struct lct_seal *seal, const char *text, struct lct_err *err)
{
    enum lct_code code = LCT_OK;

    memset(seal, 0, sizeof *seal);
    if (strcmp(text, "none") == 0)
        return LCT_OK;
    if (strcmp(text, "strict") == 0)
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "\"strict\" names no PCRs; they stand behind it, as in strict:sha256:7");
    if (strcmp(text, "authority") == 0) {
        seal->kind = LCT_SEAL_AUTHORITY;
        text = lct_seal_default;
    }
    for (size_t i = 0; seal->kind == LCT_SEAL_NONE; i++) { /* the last form fits all */
        size_t len = strlen(forms[i].prefix);
        if (strncmp(text, forms[i].prefix, len) == 0) {
            seal->kind = forms[i].kind;
            text += len;
        }
    }
    code = lct_pcrs_parse(&seal->pcrs.pcrs, text, strlen(text), err);
    return code == LCT_OK ? lct_pcrs_check_seal(&seal->pcrs.pcrs, err) : code;
}

void lct_seal_text(char text[LCT_SEAL_TEXT], const struct lct_seal *seal)
{
    char pcrs[LCT_PCRS_TEXT];
    const char *prefix = seal->kind == LCT_SEAL_AUTHORITY ? "authority" : "none";

    lct_pcrs_text(pcrs, &seal->pcrs.pcrs);
    if (seal->kind == LCT_SEAL_AUTHORITY &&
        (pcrs[0] == '\0' || strcmp(pcrs, lct_seal_default) == 0))
        pcrs[0] = '\0';
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++)
        if (forms[i].kind == seal->kind && pcrs[0] != '\0')
            prefix = forms[i].prefix;
    (void)snprintf(text, LCT_SEAL_TEXT, "%s%s", prefix, pcrs);
}

enum lct_code lct_seal_bind(struct lct_seal *seal, OSSL_LIB_CTX *libctx, const char *id,
                            struct lct_err *err)
{
    static const char bound[] = "lct:bound:", revocable[] = "lct:revocable:";
    uint8_t bytes[512];
    struct lct_writer writer = {bytes, 0, sizeof bytes, false};

    if (seal->counter.handle != 0) {
        lct_write_bytes(&writer, (const uint8_t *)revocable, sizeof revocable - 1);
        lct_write_sized(&writer, seal->counter.name.data, seal->counter.name.len);
    } else {
        lct_write_bytes(&writer, (const uint8_t *)bound, sizeof bound - 1);
    }
    lct_write_bytes(&writer, (const uint8_t *)id, strlen(id));
    if (writer.failed || !EVP_Q_digest(libctx, "SHA256", NULL, bytes, writer.len, seal->ref, NULL))
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "libcrypto cannot hash a policyRef");
    seal->ref_len = LCT_POLICY_DIGEST;
    return LCT_OK;
}

static enum lct_code strict_policy(uint8_t digest[LCT_POLICY_DIGEST], OSSL_LIB_CTX *libctx,
                                   const struct lct_seal *seal, struct lct_err *err)
{
    memset(digest, 0, LCT_POLICY_DIGEST);
    return lct_policy_pcr(digest, libctx, &seal->pcrs.pcrs, seal->pcr_digest, err);
}

static enum lct_code authority_policy(uint8_t digest[LCT_POLICY_DIGEST], OSSL_LIB_CTX *libctx,
                                      const struct lct_seal *seal, struct lct_err *err)
{
    struct lct_public public_area;
    struct lct_name name;
    enum lct_code code = lct_public_decode(&public_area, seal->authority, seal->authority_len, err);

    if (code == LCT_OK)
        code = lct_public_name(&name, libctx, seal->authority, seal->authority_len, err);
    if (code != LCT_OK)
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD, "the authority's public area is malformed");
    return lct_policy_authorize(digest, libctx, &name, seal->ref, seal->ref_len, err);
}

enum lct_code lct_seal_branches(uint8_t strict[LCT_POLICY_DIGEST],
                                uint8_t authority[LCT_POLICY_DIGEST], OSSL_LIB_CTX *libctx,
                                const struct lct_seal *seal, struct lct_err *err)
{
    enum lct_code code = strict_policy(strict, libctx, seal, err);

    return code == LCT_OK ? authority_policy(authority, libctx, seal, err) : code;
}

static enum lct_code either_policy(uint8_t digest[LCT_POLICY_DIGEST], OSSL_LIB_CTX *libctx,
                                   const struct lct_seal *seal, struct lct_err *err)
{
    uint8_t strict[LCT_POLICY_DIGEST], authority[LCT_POLICY_DIGEST];
    enum lct_code code = lct_seal_branches(strict, authority, libctx, seal, err);

    return code == LCT_OK ? lct_policy_or(digest, libctx, strict, authority, err) : code;
}

enum lct_code lct_seal_policy(uint8_t digest[LCT_POLICY_DIGEST], OSSL_LIB_CTX *libctx,
                              const struct lct_seal *seal, bool passphrase, struct lct_err *err)
{
    enum lct_code code = LCT_OK;

    memset(digest, 0, LCT_POLICY_DIGEST);
    switch (seal->kind) {
    case LCT_SEAL_NONE:
    case LCT_SEAL_AUTH:
        break;
    case LCT_SEAL_STRICT:
        code = strict_policy(digest, libctx, seal, err);
        break;
    case LCT_SEAL_AUTHORITY:
        code = authority_policy(digest, libctx, seal, err);
        break;
    case LCT_SEAL_EITHER:
        code = either_policy(digest, libctx, seal, err);
        break;
    }
    if (code == LCT_OK && (passphrase || seal->kind == LCT_SEAL_AUTH))
        code = lct_policy_auth_value(digest, libctx, err);
    return code;
}

enum lct_code lct_seal_state(uint8_t digest[LCT_POLICY_DIGEST], OSSL_LIB_CTX *libctx,
                             const struct lct_pcr_values *values, const struct lct_counter *counter,
                             struct lct_err *err)
{
    uint8_t pcr_digest[LCT_POLICY_DIGEST];
    enum lct_code code = lct_pcr_digest(pcr_digest, libctx, values, err);

    memset(digest, 0, LCT_POLICY_DIGEST);
    if (code == LCT_OK)
        code = lct_policy_pcr(digest, libctx, &values->pcrs, pcr_digest, err);
    if (code == LCT_OK && counter->handle != 0)
        code = lct_policy_counter(digest, libctx, counter, err);
    return code;
}

static bool is_p256(const EVP_PKEY *pkey)
{
    char group[64] = "";

    return EVP_PKEY_is_a(pkey, "EC") &&
           EVP_PKEY_get_group_name(pkey, group, sizeof group, NULL) == 1 &&
           strcmp(group, "prime256v1") == 0;
}

enum { COMMON_EXPONENT = 65537 };

static bool has_common_exponent(const EVP_PKEY *pkey)
{
    BIGNUM *exponent = NULL;
    bool common = EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_E, &exponent) == 1 &&
                  BN_is_word(exponent, COMMON_EXPONENT);

    BN_free(exponent);
    return common;
}

static bool is_rsa(const EVP_PKEY *pkey)
{
    int bits = EVP_PKEY_get_bits(pkey);

    return EVP_PKEY_is_a(pkey, "RSA") && (bits == 2048 || bits == 3072 || bits == 4096) &&
           has_common_exponent(pkey);
}

enum lct_code lct_authority_public(uint8_t public_area[LCT_MAX_AUTHORITY], size_t *public_len,
                                   EVP_PKEY *pkey, struct lct_err *err)
{
    struct lct_writer writer = {public_area, 0, LCT_MAX_AUTHORITY, false};
    bool rsa = is_rsa(pkey);
    size_t bits = (size_t)EVP_PKEY_get_bits(pkey);

    *public_len = 0;
    if (!rsa && !is_p256(pkey))
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                        "an authority's key is on P-256, or RSA of 2048, 3072 or 4096 bits with "
                        "the exponent 65537");
    (void)lct_writer_grow(&writer, 2);
    lct_write_u16(&writer, rsa ? TPM2_ALG_RSA : TPM2_ALG_ECC);
    lct_write_u16(&writer, TPM2_ALG_SHA256);
    lct_write_u32(&writer,
                  TPMA_OBJECT_DECRYPT | TPMA_OBJECT_SIGN_ENCRYPT | TPMA_OBJECT_USERWITHAUTH);
    lct_write_sized(&writer, NULL, 0);     /* policy */
    lct_write_u16(&writer, TPM2_ALG_NULL); /* symmetric */
    lct_write_u16(&writer, TPM2_ALG_NULL); /* scheme */
    if (rsa) {
        lct_write_u16(&writer, bits);
        lct_write_u32(&writer, COMMON_EXPONENT); /* not 0, which means the same: as systemd does */
        lct_write_number(&writer, pkey, OSSL_PKEY_PARAM_RSA_N, bits / 8);
    } else {
        lct_write_u16(&writer, TPM2_ECC_NIST_P256);
        lct_write_u16(&writer, TPM2_ALG_NULL); /* kdf */
        lct_write_number(&writer, pkey, OSSL_PKEY_PARAM_EC_PUB_X, 32);
        lct_write_number(&writer, pkey, OSSL_PKEY_PARAM_EC_PUB_Y, 32);
    }
    lct_writer_close_sized(&writer, 0);
    if (writer.failed)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED, "the authority's public key is not whole");
    *public_len = writer.len;
    return LCT_OK;
}

/* RSA PKCS#1 v1.5 or ECDSA, with SHA-256. */
static struct lct_scheme scheme_of(const EVP_PKEY *authority)
{
    return (struct lct_scheme){EVP_PKEY_is_a(authority, "RSA") ? TPM2_ALG_RSASSA : TPM2_ALG_ECDSA,
                               lct_hash_by_id(TPM2_ALG_SHA256), 0};
}

static bool sign(struct lct_signature *signature, OSSL_LIB_CTX *libctx, EVP_PKEY *authority,
                 const uint8_t *digest, size_t digest_len)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, authority, NULL);
    EVP_MD *md = EVP_MD_fetch(libctx, "SHA256", NULL);
    bool rsa = EVP_PKEY_is_a(authority, "RSA");
    bool good = ctx != NULL && md != NULL && EVP_PKEY_sign_init(ctx) == 1 &&
                EVP_PKEY_CTX_set_signature_md(ctx, md) == 1 &&
                (!rsa || EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) == 1);

    signature->len = sizeof signature->data;
    good = good && EVP_PKEY_sign(ctx, signature->data, &signature->len, digest, digest_len) == 1;
    EVP_MD_free(md);
    EVP_PKEY_CTX_free(ctx);
    return good;
}

enum lct_code lct_approval_sign(struct lct_approval *approval, OSSL_LIB_CTX *libctx,
                                const struct lct_pcr_values *values, EVP_PKEY *authority,
                                struct lct_err *err)
{
    uint8_t public_area[LCT_MAX_AUTHORITY], digest[LCT_POLICY_DIGEST];
    size_t public_len;
    enum lct_code code = lct_authority_public(public_area, &public_len, authority, err);

    approval->pcrs = values->pcrs;
    if (code == LCT_OK)
        code = lct_seal_state(approval->policy, libctx, values, &approval->counter, err);
    if (code == LCT_OK)
        code = lct_pcr_digest(approval->pcr_digest, libctx, values, err);
    approval->has_pcr_digest = code == LCT_OK;
    if (code == LCT_OK)
        code = lct_policy_to_sign(digest, libctx, approval->policy, approval->ref,
                                  approval->ref_len, err);
    if (code == LCT_OK && !sign(&approval->signature, libctx, authority, digest, sizeof digest))
        code = LCT_FAIL(err, LCT_ERR_INTERNAL, "libcrypto cannot sign with the authority's key");
    return code;
}

enum lct_code lct_approval_verify(const struct lct_approval *approval, OSSL_LIB_CTX *libctx,
                                  const uint8_t *authority, size_t authority_len,
                                  struct lct_err *err)
{
    struct lct_public public_area;
    uint8_t digest[LCT_POLICY_DIGEST];
    enum lct_code code = lct_public_decode(&public_area, authority, authority_len, err);
    EVP_PKEY *pkey = code == LCT_OK ? lct_public_pkey(&public_area, libctx, err) : NULL;

    if (code == LCT_OK && pkey == NULL)
        code = LCT_ERR_BAD_RECORD;
    if (code == LCT_OK)
        code = lct_policy_to_sign(digest, libctx, approval->policy, approval->ref,
                                  approval->ref_len, err);
    if (code == LCT_OK) {
        const struct lct_scheme scheme = scheme_of(pkey);
        code = lct_signature_verify(&approval->signature, pkey, libctx, &scheme, digest,
                                    sizeof digest, err);
    }
    EVP_PKEY_free(pkey);
    return code;
}

bool lct_approval_fits(const struct lct_approval *approval, const struct lct_seal *seal)
{
    return approval->ref_len == seal->ref_len &&
           memcmp(approval->ref, seal->ref, seal->ref_len) == 0 &&
           (approval->counter.handle == 0) == (seal->counter.handle == 0) &&
           (seal->counter.handle == 0 ||
            lct_name_equal(&approval->counter.name, &seal->counter.name));
}
