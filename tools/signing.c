/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/signing.h"

#include "base/unconst.h"
#include "store/life.h"
#include "tools/unlock.h"

enum lct_code lct_signing_open(struct lct_signing *signing, struct lct_tool *tool, const char *id,
                               struct lct_err *err)
{
    return lct_signing_open_generation(signing, tool, id, 0, err);
}

enum lct_code lct_signing_open_generation(struct lct_signing *signing, struct lct_tool *tool,
                                          const char *id, unsigned generation, struct lct_err *err)
{
    struct lct_key *key = NULL;
    enum lct_code code = lct_store_get_key(&tool->store, tool->crypto, id, generation, &key, err);

    *signing = (struct lct_signing){.tool = tool};
    return code == LCT_OK ? lct_signing_take(signing, tool, key, err) : code;
}

enum lct_code lct_signing_take(struct lct_signing *signing, struct lct_tool *tool,
                               struct lct_key *key, struct lct_err *err)
{
    *signing = (struct lct_signing){.tool = tool, .key = key};
    enum lct_code code = lct_life_check_key(key, err);
    if (code == LCT_OK)
        code = lct_tool_unlock(tool, key, err);
    if (code != LCT_OK)
        return code;
    return lct_key_scheme(&signing->scheme, key, lct_hash_by_id(key->algorithm->hash), false, err);
}

void lct_signing_close(struct lct_signing *signing)
{
    lct_key_free(signing->key);
    *signing = (struct lct_signing){0};
}

enum lct_code lct_signing_digest(const struct lct_signing *signing, struct lct_signature *signature,
                                 const uint8_t *digest, size_t digest_len, struct lct_err *err)
{
    return lct_key_sign(signing->key, signing->tool->tpm, signature, &signing->scheme, digest,
                        digest_len, err);
}

enum lct_code lct_signing_message(const struct lct_signing *signing,
                                  struct lct_signature *signature, const uint8_t *message,
                                  size_t message_len, struct lct_err *err)
{
    return lct_key_sign_message(signing->key, signing->tool->tpm, signature, &signing->scheme,
                                message, message_len, err);
}

static enum lct_code sign_by(const struct lct_signer *signer, struct lct_signature *signature,
                             const uint8_t *message, size_t message_len, struct lct_err *err)
{
    return lct_signing_message(signer->arg, signature, message, message_len, err);
}

struct lct_signer lct_signing_signer(const struct lct_signing *signing)
{
    return (struct lct_signer){.pkey = signing->key->pkey,
                               .libctx = signing->key->libctx,
                               .scheme = signing->scheme,
                               .sign = sign_by,
                               .arg = lct_unconst(signing)};
}
