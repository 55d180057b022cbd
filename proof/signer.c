/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/signer.h"

#include <openssl/asn1.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/x509.h>

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

/* libcrypto's name of the scheme's hash; NULL: it has none. */
static const char *hash_of(const struct lct_signer *signer)
{
    return signer->scheme.hash != NULL ? signer->scheme.hash->openssl : NULL;
}

static enum lct_code sign_in_software(const struct lct_signer *signer,
                                      struct lct_signature *signature, const uint8_t *message,
                                      size_t message_len, struct lct_err *err)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    signature->len = sizeof signature->data;
    (void)ERR_set_mark();
    bool good = ctx != NULL &&
                EVP_DigestSignInit_ex(ctx, NULL, hash_of(signer), signer->libctx, NULL,
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
    else if (EVP_PKEY_is_a(pkey, "ED25519"))
        signer->scheme = (struct lct_scheme){LCT_ALG_EDDSA, NULL, 0};
    else
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                        "the key is none of P-256, P-384, RSA of %d to %d bits, and Ed25519",
                        (int)MIN_RSA_BITS, (int)MAX_RSA_BITS);
    return LCT_OK;
}

const char *lct_signer_jose(const struct lct_signer *signer)
{
    const struct lct_algorithm *row = row_of(signer->pkey);
    uint16_t hash = signer->scheme.hash != NULL ? signer->scheme.hash->id : TPM2_ALG_NULL;

    if (signer->scheme.id == LCT_ALG_EDDSA)
        return "EdDSA";
    /* RFC 7518, 3.4: each curve has one hash. */
    if (signer->scheme.id == TPM2_ALG_ECDSA)
        return row != NULL && row->hash == hash ? row->jose : NULL;
    return signer->scheme.id == TPM2_ALG_RSASSA && hash == TPM2_ALG_SHA256 ? "RS256" : NULL;
}

static bool is_edwards_signature(const struct lct_signer *signer,
                                 const struct lct_signature *signature, const uint8_t *message,
                                 size_t message_len)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool good =
        ctx != NULL &&
        EVP_DigestVerifyInit_ex(ctx, NULL, NULL, signer->libctx, NULL, signer->pkey, NULL) == 1 &&
        EVP_DigestVerify(ctx, signature->data, signature->len, message, message_len) == 1;

    EVP_MD_CTX_free(ctx);
    return good;
}

bool lct_signer_is_by(const struct lct_signer *signer, const struct lct_signature *signature,
                      const uint8_t *message, size_t message_len)
{
    const struct lct_hash *hash = signer->scheme.hash;
    uint8_t digest[LCT_MAX_HASH];

    (void)ERR_set_mark();
    bool good = signer->scheme.id == LCT_ALG_EDDSA
                    ? is_edwards_signature(signer, signature, message, message_len)
                    : EVP_Q_digest(signer->libctx, hash->openssl, NULL, message, message_len,
                                   digest, NULL) == 1 &&
                          lct_signature_verify(signature, signer->pkey, signer->libctx,
                                               &signer->scheme, digest, hash->size, NULL) == LCT_OK;
    (void)ERR_pop_to_mark();
    return good;
}

/* The OID of its signatures; NID_undef: there is none. */
static int signature_nid(const struct lct_signer *signer)
{
    bool ecdsa = signer->scheme.id == TPM2_ALG_ECDSA;
    int nid = NID_undef;

    if (signer->scheme.id == LCT_ALG_EDDSA)
        return NID_ED25519;
    if (ecdsa || signer->scheme.id == TPM2_ALG_RSASSA)
        (void)OBJ_find_sigid_by_algs(&nid, OBJ_sn2nid(hash_of(signer)),
                                     ecdsa ? NID_X9_62_id_ecPublicKey : NID_rsaEncryption);
    return nid;
}

/* RFC 5758, 3.2 and RFC 8410, 3: ECDSA and EdDSA have no parameters; RFC 8017, A.2.4: RSA has NULL.
 */
enum lct_code lct_signer_algorithm(X509_ALGOR *algorithm, const struct lct_signer *signer,
                                   struct lct_err *err)
{
    int nid = signature_nid(signer);
    int parameters = signer->scheme.id == TPM2_ALG_RSASSA ? V_ASN1_NULL : V_ASN1_UNDEF;

    if (nid != NID_undef && X509_ALGOR_set0(algorithm, OBJ_nid2obj(nid), parameters, NULL) == 1)
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
