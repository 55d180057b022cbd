/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/web4.h"

#include "base/encode.h"

#include <openssl/evp.h>
#include <stdbool.h>
#include <string.h>

enum { UNCOMPRESSED = 65, COMPRESSED = 33, ED25519 = 32 };

static enum lct_code fail_encoding(struct lct_err *err)
{
    return LCT_FAIL(err, LCT_ERR_INTERNAL, "a public key cannot be encoded");
}

static bool is_p256(const EVP_PKEY *pkey)
{
    char group[32] = "";

    return EVP_PKEY_is_a(pkey, "EC") == 1 &&
           EVP_PKEY_get_group_name(pkey, group, sizeof group, NULL) == 1 &&
           strcmp(group, "prime256v1") == 0;
}

/* What the name is the digest of. */
static enum lct_code preimage(unsigned char bytes[UNCOMPRESSED], size_t *len, const EVP_PKEY *pkey,
                              struct lct_err *err)
{
    *len = UNCOMPRESSED;
    if (EVP_PKEY_is_a(pkey, "ED25519") == 1)
        return EVP_PKEY_get_raw_public_key(pkey, bytes, len) == 1 && *len == ED25519
                   ? LCT_OK
                   : fail_encoding(err);
    if (!is_p256(pkey))
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                        "only an Ed25519 or P-256 key has a name of Web4's that follows from it");
    if (EVP_PKEY_get_octet_string_param(pkey, "encoded-pub-key", bytes, UNCOMPRESSED, len) != 1 ||
        *len != UNCOMPRESSED)
        return fail_encoding(err);
    bytes[0] = (unsigned char)(2 | (bytes[UNCOMPRESSED - 1] & 1)); /* which y belongs to x */
    *len = COMPRESSED;
    return LCT_OK;
}

enum lct_code lct_web4_name(char name[LCT_WEB4_NAME], OSSL_LIB_CTX *libctx, const EVP_PKEY *pkey,
                            struct lct_err *err)
{
    static const char prefix[] = "lct:web4:mb32:b";
    unsigned char bytes[UNCOMPRESSED], digest[32];
    size_t len = 0;
    enum lct_code code = preimage(bytes, &len, pkey, err);

    if (code != LCT_OK)
        return code;
    if (EVP_Q_digest(libctx, "SHA256", NULL, bytes, len, digest, NULL) != 1)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "SHA-256 cannot be computed");
    memcpy(name, prefix, sizeof prefix);
    lct_base32_encode(name + sizeof prefix - 1, digest, sizeof digest);
    return LCT_OK;
}
