/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/web4.h"

#include "base/encode.h"

#include <openssl/evp.h>
#include <string.h>

enum { UNCOMPRESSED = 65, COMPRESSED = 33 };

enum lct_code lct_web4_name(char name[LCT_WEB4_NAME], OSSL_LIB_CTX *libctx, const EVP_PKEY *pkey,
                            struct lct_err *err)
{
    static const char prefix[] = "lct:web4:mb32:b";
    char group[32] = "";
    unsigned char point[UNCOMPRESSED], digest[32];
    size_t len = 0;

    if (EVP_PKEY_is_a(pkey, "EC") != 1 ||
        EVP_PKEY_get_group_name(pkey, group, sizeof group, NULL) != 1 ||
        strcmp(group, "prime256v1") != 0)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                        "only a P-256 key has a name of Web4's that follows from it");
    if (EVP_PKEY_get_octet_string_param(pkey, "encoded-pub-key", point, sizeof point, &len) != 1 ||
        len != UNCOMPRESSED)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "a public key cannot be encoded");
    point[0] = (unsigned char)(2 | (point[UNCOMPRESSED - 1] & 1)); /* which y belongs to x */
    if (EVP_Q_digest(libctx, "SHA256", NULL, point, COMPRESSED, digest, NULL) != 1)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "SHA-256 cannot be computed");
    memcpy(name, prefix, sizeof prefix);
    lct_base32_encode(name + sizeof prefix - 1, digest, sizeof digest);
    return LCT_OK;
}
