/* SPDX-License-Identifier: Apache-2.0 */
#include "tcg/policy.h"

#include "tcg/marshal.h"

#include <openssl/evp.h>
#include <string.h>

static enum lct_code hash(uint8_t digest[LCT_POLICY_DIGEST], OSSL_LIB_CTX *libctx,
                          const struct lct_writer *parts, struct lct_err *err)
{
    if (parts->failed ||
        !EVP_Q_digest(libctx, "SHA256", NULL, parts->bytes, parts->len, digest, NULL))
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "libcrypto cannot hash a policy");
    return LCT_OK;
}

enum { MAX_PARTS = 256 }; /* bytes that one command hashes */

/* policyDigest and the command's code, which most begin with. */
static void begin(struct lct_writer *writer, const uint8_t digest[LCT_POLICY_DIGEST],
                  uint32_t command_code)
{
    lct_write_bytes(writer, digest, LCT_POLICY_DIGEST);
    lct_write_u32(writer, command_code);
}

/* Part 3, 23.7 */
enum lct_code lct_policy_pcr(uint8_t digest[LCT_POLICY_DIGEST], OSSL_LIB_CTX *libctx,
                             const struct lct_pcrs *pcrs,
                             const uint8_t pcr_digest[LCT_POLICY_DIGEST], struct lct_err *err)
{
    uint8_t bytes[MAX_PARTS], selection[LCT_PCRS_BYTES];
    struct lct_writer writer = {bytes, 0, sizeof bytes, false};

    size_t len = lct_pcrs_marshal(selection, pcrs);
    begin(&writer, digest, TPM2_CC_PolicyPCR);
    lct_write_bytes(&writer, selection, len);
    lct_write_bytes(&writer, pcr_digest, LCT_POLICY_DIGEST);
    return hash(digest, libctx, &writer, err);
}

/* Part 3, 23.9: args is the hash of operandB, offset and operation. */
enum lct_code lct_policy_counter(uint8_t digest[LCT_POLICY_DIGEST], OSSL_LIB_CTX *libctx,
                                 const struct lct_counter *counter, struct lct_err *err)
{
    uint8_t bytes[MAX_PARTS], args[LCT_POLICY_DIGEST];
    struct lct_writer writer = {bytes, 0, sizeof bytes, false};

    lct_write_u64(&writer, counter->value);
    lct_write_u16(&writer, 0);
    lct_write_u16(&writer, TPM2_EO_UNSIGNED_LE);
    enum lct_code code = hash(args, libctx, &writer, err);
    if (code != LCT_OK)
        return code;
    writer.len = 0;
    begin(&writer, digest, TPM2_CC_PolicyNV);
    lct_write_bytes(&writer, args, sizeof args);
    lct_write_bytes(&writer, counter->name.data, counter->name.len);
    return hash(digest, libctx, &writer, err);
}

/* Part 3, 23.2.3: PolicyUpdate, in two steps; the second has policyRef alone. */
enum lct_code lct_policy_authorize(uint8_t digest[LCT_POLICY_DIGEST], OSSL_LIB_CTX *libctx,
                                   const struct lct_name *key, const uint8_t *ref, size_t ref_len,
                                   struct lct_err *err)
{
    uint8_t bytes[MAX_PARTS];
    struct lct_writer writer = {bytes, 0, sizeof bytes, false};

    memset(digest, 0, LCT_POLICY_DIGEST);
    begin(&writer, digest, TPM2_CC_PolicyAuthorize);
    lct_write_bytes(&writer, key->data, key->len);
    enum lct_code code = hash(digest, libctx, &writer, err);
    if (code != LCT_OK)
        return code;
    writer.len = 0;
    lct_write_bytes(&writer, digest, LCT_POLICY_DIGEST);
    lct_write_bytes(&writer, ref, ref_len);
    return hash(digest, libctx, &writer, err);
}

/* Part 3, 23.6 */
enum lct_code lct_policy_or(uint8_t digest[LCT_POLICY_DIGEST], OSSL_LIB_CTX *libctx,
                            const uint8_t first[LCT_POLICY_DIGEST],
                            const uint8_t second[LCT_POLICY_DIGEST], struct lct_err *err)
{
    static const uint8_t zeros[LCT_POLICY_DIGEST];
    uint8_t bytes[MAX_PARTS];
    struct lct_writer writer = {bytes, 0, sizeof bytes, false};

    begin(&writer, zeros, TPM2_CC_PolicyOR);
    lct_write_bytes(&writer, first, LCT_POLICY_DIGEST);
    lct_write_bytes(&writer, second, LCT_POLICY_DIGEST);
    return hash(digest, libctx, &writer, err);
}

/* Part 3, 23.14 */
enum lct_code lct_policy_auth_value(uint8_t digest[LCT_POLICY_DIGEST], OSSL_LIB_CTX *libctx,
                                    struct lct_err *err)
{
    uint8_t bytes[MAX_PARTS];
    struct lct_writer writer = {bytes, 0, sizeof bytes, false};

    begin(&writer, digest, TPM2_CC_PolicyAuthValue);
    return hash(digest, libctx, &writer, err);
}

enum lct_code lct_policy_to_sign(uint8_t digest[LCT_POLICY_DIGEST], OSSL_LIB_CTX *libctx,
                                 const uint8_t policy[LCT_POLICY_DIGEST], const uint8_t *ref,
                                 size_t ref_len, struct lct_err *err)
{
    uint8_t bytes[MAX_PARTS];
    struct lct_writer writer = {bytes, 0, sizeof bytes, false};

    lct_write_bytes(&writer, policy, LCT_POLICY_DIGEST);
    lct_write_bytes(&writer, ref, ref_len);
    return hash(digest, libctx, &writer, err);
}
