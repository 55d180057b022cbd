/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/spki.h"

#include "base/encode.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdint.h>

enum lct_code lct_spki_fingerprint(char fingerprint[65], const EVP_PKEY *pkey, OSSL_LIB_CTX *libctx,
                                   struct lct_err *err)
{
    uint8_t digest[32];
    unsigned char *der = NULL;
    int len = i2d_PUBKEY(pkey, &der);
    bool good =
        len > 0 && EVP_Q_digest(libctx, "SHA256", NULL, der, (size_t)len, digest, NULL) == 1;

    OPENSSL_free(der);
    if (!good)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "a public key cannot be encoded");
    lct_hex_encode(fingerprint, digest, sizeof digest);
    return LCT_OK;
}
