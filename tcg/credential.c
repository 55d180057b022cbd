/* SPDX-License-Identifier: Apache-2.0 */
#include "tcg/credential.h"

#include "tcg/marshal.h"
#include "tcg/wrapper.h"

#include <string.h>

/* TPM 2.0 Part 3, 12.6: TPM2_MakeCredential takes only a storage key, which an EK is, too. */
static bool is_storage_key(const struct lct_public *ek)
{
    static const uint32_t needed = TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT;

    return (ek->attributes & (needed | TPMA_OBJECT_SIGN_ENCRYPT)) == needed;
}

enum lct_code lct_credential_wrap(struct lct_credential *credential, OSSL_LIB_CTX *libctx,
                                  const struct lct_public *ek, const struct lct_name *name,
                                  const struct lct_secret *secret, const struct lct_secret *seed,
                                  struct lct_err *err)
{
    const struct lct_wrapper wrapper = {libctx, ek, seed, name};
    struct lct_writer writer = {credential->id, 0, sizeof credential->id, false};

    if (!is_storage_key(ek))
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED, "the EK is not a restricted decryption key");
    enum lct_code code = lct_wrapper_check(&wrapper, err);
    if (code != LCT_OK)
        return code;
    size_t size = lct_wrapper_size(&wrapper), hidden = 2 + size;
    if (secret->len == 0 || secret->len > size || name->len == 0)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "a credential is a secret for a Name");
    lct_write_u16(&writer, size);
    (void)lct_writer_grow(&writer, size);
    lct_write_sized(&writer, secret->data, secret->len);
    credential->id_len = writer.len;
    code = lct_wrapper_apply(&wrapper, credential->id + 2, credential->id + hidden,
                             writer.len - hidden, err);
    if (code != LCT_OK)
        explicit_bzero(credential, sizeof *credential);
    return code;
}

enum lct_code lct_credential_make(struct lct_credential *credential, OSSL_LIB_CTX *libctx,
                                  const struct lct_public *ek, const struct lct_name *name,
                                  const struct lct_secret *secret, struct lct_err *err)
{
    struct lct_secret seed = {0};

    memset(credential, 0, sizeof *credential);
    enum lct_code code =
        lct_seed_make(&seed, &credential->seed, libctx, ek, LCT_SEED_CREDENTIAL, err);
    if (code == LCT_OK)
        code = lct_credential_wrap(credential, libctx, ek, name, secret, &seed, err);
    lct_secret_wipe(&seed);
    return code;
}
