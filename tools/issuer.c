/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/issuer.h"

#include "tools/private_key.h"

#include <openssl/evp.h>
#include <string.h>

static enum lct_code open_identity(struct lct_issuer *issuer, struct lct_tool *tool,
                                   const char *uri, struct lct_err *err)
{
    if (tool->identities == NULL)
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "%s is an identity, and this program knows none: lct attest issue signs "
                        "with it; a file of that name is ./%s",
                        uri, uri);
    issuer->identities = tool->identities;
    return issuer->identities->open(&issuer->held, &issuer->signer, tool, uri, err);
}

static enum lct_code open_file(struct lct_issuer *issuer, const struct lct_tool *tool,
                               OSSL_LIB_CTX *libctx, const char *file, struct lct_err *err)
{
    const struct lct_private_key_request request = {
        .file = file,
        .passphrase_file = tool->passphrase_file,
        .phrase = "passphrase",
        .hint = "; --issuer-key takes one",
    };
    bool encrypted;
    enum lct_code code = lct_private_key_read(&issuer->pkey, &encrypted, libctx, &request, err);

    if (code != LCT_OK)
        return code;
    code = lct_signer_of_pkey(&issuer->signer, issuer->pkey, libctx, err);
    return code == LCT_OK ? LCT_OK : lct_err_prefix(err, file);
}

enum lct_code lct_issuer_open(struct lct_issuer *issuer, struct lct_tool *tool,
                              OSSL_LIB_CTX *libctx, const char *name, struct lct_err *err)
{
    *issuer = (struct lct_issuer){.held = NULL};
    return strncmp(name, "lct:", 4) == 0 ? open_identity(issuer, tool, name, err)
                                         : open_file(issuer, tool, libctx, name, err);
}

void lct_issuer_close(struct lct_issuer *issuer)
{
    if (issuer->identities != NULL)
        issuer->identities->close(issuer->held);
    EVP_PKEY_free(issuer->pkey);
    *issuer = (struct lct_issuer){.held = NULL};
}
