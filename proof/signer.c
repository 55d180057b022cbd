/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/signer.h"

#include <openssl/asn1.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/x509.h>
#include <stdbool.h>

enum { MIN_RSA_BITS = 2048, MAX_RSA_BITS = 4096 };

/* The row of a key on a curve, or NULL. */
static const struct lct_algorithm *row_of(const EVP_PKEY *pkey)
{
    char group[64] = "";

    if (!EVP_PKEY_is_a(pkey, "EC") || EVP_PKEY_get_group_name(pkey, group, sizeof group, NULL) != 1)
        return NULL;
    return lct_algorithm_by_group(group);
}

static bool is_fit_rsa(const EVP_PKEY *pkey)
{
    int bits = EVP_PKEY_get_bits(pkey);

    return EVP_PKEY_is_a(pkey, "RSA") && bits >= MIN_RSA_BITS && bits <= MAX_RSA_BITS;
}

static enum lct_code sign_in_software(const struct lct_signer *signer,
                                      struct lct_signature *signature, const uint8_t *message,
                                      size_t message_len, struct lct_err *err)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    signature->len = sizeof signature->data;
    (void)ERR_set_mark();
    bool good = ctx != NULL &&
                EVP_DigestSignInit_ex(ctx, NULL, signer->scheme.hash->openssl, signer->libctx, NULL,
                                      signer->pkey, NULL) == 1 &&
                EVP_DigestSign(ctx, signature->data, &signature->len, message, message_len) == 1;
    (void)ERR_pop_to_mark();
    EVP_MD_CTX_free(ctx);
    if (good)
        return LCT_OK;
    signature->len = 0;
    return LCT_FAIL(err, LCT_ERR_INTERNAL, "libcrypto cannot sign with this key");
}

enum lct_code lct_signer_of_pkey(struct lct_signer *signer, EVP_PKEY *pkey, OSSL_LIB_CTX *libctx,
                                 struct lct_err *err)
{
    const struct lct_algorithm *row = row_of(pkey);

    *signer = (struct lct_signer){.pkey = pkey, .libctx = libctx, .sign = sign_in_software};
    if (row != NULL)
        signer->scheme = (struct lct_scheme){TPM2_ALG_ECDSA, lct_hash_by_id(row->hash), 0};
    else if (is_fit_rsa(pkey))
        signer->scheme = (struct lct_scheme){TPM2_ALG_RSASSA, lct_hash_by_id(TPM2_ALG_SHA256), 0};
    else
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                        "the key is none of P-256, P-384, and RSA of %d to %d bits",
                        (int)MIN_RSA_BITS, (int)MAX_RSA_BITS);
    return LCT_OK;
}

const char *lct_signer_jose(const struct lct_signer *signer)
{
    const struct lct_algorithm *row = row_of(signer->pkey);
    uint16_t hash = signer->scheme.hash->id;

    /* RFC 7518, 3.4: each curve has one hash. */
    if (signer->scheme.id == TPM2_ALG_ECDSA)
        return row != NULL && row->hash == hash ? row->jose : NULL;
    return signer->scheme.id == TPM2_ALG_RSASSA && hash == TPM2_ALG_SHA256 ? "RS256" : NULL;
}

/* RFC 5758, 3.2: ECDSA has no parameters; RFC 8017, A.2.4: RSA has NULL. */
enum lct_code lct_signer_algorithm(X509_ALGOR *algorithm, const struct lct_signer *signer,
                                   struct lct_err *err)
{
    bool ecdsa = signer->scheme.id == TPM2_ALG_ECDSA;
    int hash = OBJ_sn2nid(signer->scheme.hash->openssl);
    int key = ecdsa ? NID_X9_62_id_ecPublicKey : NID_rsaEncryption;
    int signature = NID_undef;

    if ((ecdsa || signer->scheme.id == TPM2_ALG_RSASSA) &&
        OBJ_find_sigid_by_algs(&signature, hash, key) == 1 &&
        X509_ALGOR_set0(algorithm, OBJ_nid2obj(signature), ecdsa ? V_ASN1_UNDEF : V_ASN1_NULL,
                        NULL) == 1)
        return LCT_OK;
    return LCT_FAIL(err, LCT_ERR_INTERNAL, "the signature's algorithm cannot be encoded");
}

enum lct_code lct_signer_bits(ASN1_BIT_STRING *bits, const struct lct_signer *signer,
                              const uint8_t *message, size_t message_len, struct lct_err *err)
{
    struct lct_signature signature = {0};
    enum lct_code code = signer->sign(signer, &signature, message, message_len, err);

    if (code != LCT_OK)
        return code;
    if (!ASN1_BIT_STRING_set(bits, signature.data, (int)signature.len))
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "the signature cannot be encoded");
    bits->flags &= ~(ASN1_STRING_FLAG_BITS_LEFT | 7); /* every bit of the last byte counts */
    bits->flags |= ASN1_STRING_FLAG_BITS_LEFT;
    return LCT_OK;
}
