/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/jose.h"

#include <openssl/evp.h>
#include <string.h>

/* Bytes of r and of s; 0: there are none, the signatures are of another kind than ECDSA. */
static size_t half_size(const struct lct_signer *signer)
{
    bool ecdsa = signer->scheme.id == TPM2_ALG_ECDSA;

    return ecdsa ? ((size_t)EVP_PKEY_get_bits(signer->pkey) + 7) / 8 : 0;
}

enum lct_code lct_jose_sign(struct lct_jose_signature *signature, const struct lct_signer *signer,
                            const uint8_t *message, size_t message_len, struct lct_err *err)
{
    struct lct_signature made = {0};
    size_t half = half_size(signer);
    enum lct_code code = signer->sign(signer, &made, message, message_len, err);

    if (code != LCT_OK)
        return code;
    signature->len = half > 0 ? 2 * half : made.len;
    if (half > 0)
        return lct_signature_to_p1363(signature->data, half, &made, err);
    memcpy(signature->data, made.data, made.len);
    return LCT_OK;
}

/* In OpenSSL's encoding. */
static bool take(struct lct_signature *taken, const struct lct_jose_signature *signature,
                 const struct lct_signer *signer)
{
    size_t half = half_size(signer);

    if (half > 0)
        return signature->len == 2 * half &&
               lct_signature_from_ecdsa(taken, signature->data, half, signature->data + half, half,
                                        NULL) == LCT_OK;
    taken->len = signature->len;
    memcpy(taken->data, signature->data, signature->len);
    return true;
}

bool lct_jose_is_by(const struct lct_jose_signature *signature, const char *alg,
                    const uint8_t *message, size_t message_len, EVP_PKEY *pkey,
                    OSSL_LIB_CTX *libctx)
{
    struct lct_signer signer;
    struct lct_signature taken;

    if (lct_signer_of_pkey(&signer, pkey, libctx, NULL) != LCT_OK)
        return false;
    const char *jose = lct_signer_jose(&signer);
    return jose != NULL && strcmp(alg, jose) == 0 && take(&taken, signature, &signer) &&
           lct_signer_is_by(&signer, &taken, message, message_len);
}
