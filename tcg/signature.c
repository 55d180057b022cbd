/* SPDX-License-Identifier: Apache-2.0 */
#include "tcg/signature.h"

#include "base/unconst.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rsa.h>
#include <stdbool.h>

enum lct_code lct_signature_from_ecdsa(struct lct_signature *signature, const uint8_t *r,
                                       size_t r_len, const uint8_t *s, size_t s_len,
                                       struct lct_err *err)
{
    ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *r_bn = BN_bin2bn(r, (int)r_len, NULL);
    BIGNUM *s_bn = BN_bin2bn(s, (int)s_len, NULL);
    unsigned char *end = signature->data;
    int len = 0;

    if (sig != NULL && r_bn != NULL && s_bn != NULL && ECDSA_SIG_set0(sig, r_bn, s_bn)) {
        r_bn = s_bn = NULL; /* sig has them */
        len = i2d_ECDSA_SIG(sig, NULL);
        if (len > 0 && (size_t)len <= sizeof signature->data)
            len = i2d_ECDSA_SIG(sig, &end);
        else
            len = 0;
    }
    BN_free(r_bn);
    BN_free(s_bn);
    ECDSA_SIG_free(sig);
    signature->len = len > 0 ? (size_t)len : 0;
    return len > 0 ? LCT_OK : LCT_FAIL(err, LCT_ERR_INTERNAL, "the signature cannot be encoded");
}

enum lct_code lct_signature_to_p1363(uint8_t *raw, size_t size,
                                     const struct lct_signature *signature, struct lct_err *err)
{
    const unsigned char *start = signature->data;
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &start, (long)signature->len);
    enum lct_code code = LCT_OK;

    if (sig == NULL || start != signature->data + signature->len ||
        BN_bn2binpad(ECDSA_SIG_get0_r(sig), raw, (int)size) < 0 ||
        BN_bn2binpad(ECDSA_SIG_get0_s(sig), raw + size, (int)size) < 0)
        code = LCT_FAIL(err, LCT_ERR_INTERNAL, "the signature is not one of this key's size");
    ECDSA_SIG_free(sig);
    return code;
}

/* Digest and padding of an RSA verification; ECDSA has neither. */
static bool set_scheme(EVP_PKEY_CTX *ctx, const struct lct_scheme *scheme)
{
    bool pss = scheme->id == TPM2_ALG_RSAPSS;
    OSSL_PARAM hash[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST,
                                         lct_unconst(scheme->hash->openssl), 0),
        OSSL_PARAM_END,
    };

    if (scheme->id == TPM2_ALG_ECDSA)
        return true;
    return EVP_PKEY_CTX_set_params(ctx, hash) == 1 &&
           EVP_PKEY_CTX_set_rsa_padding(ctx, pss ? RSA_PKCS1_PSS_PADDING : RSA_PKCS1_PADDING) ==
               1 &&
           (!pss || EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, scheme->salt_len) == 1);
}

enum lct_code lct_signature_verify(const struct lct_signature *signature, EVP_PKEY *pkey,
                                   OSSL_LIB_CTX *libctx, const struct lct_scheme *scheme,
                                   const uint8_t *digest, size_t digest_len, struct lct_err *err)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, pkey, NULL);
    enum lct_code code = LCT_OK;

    (void)ERR_set_mark();
    if (ctx == NULL || EVP_PKEY_verify_init(ctx) != 1 || !set_scheme(ctx, scheme))
        code = LCT_FAIL(err, LCT_ERR_INTERNAL, "libcrypto cannot verify this kind of signature");
    else if (EVP_PKEY_verify(ctx, signature->data, signature->len, digest, digest_len) != 1)
        code = LCT_FAIL(err, LCT_ERR_WRONG_KEY,
                        "the TPM's signature is not by the recorded key; another program may have "
                        "put its own object behind the handle");
    (void)ERR_pop_to_mark();
    EVP_PKEY_CTX_free(ctx);
    return code;
}
