/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TOOLS_ISSUER_H
#define LCT_TOOLS_ISSUER_H

#include "base/error.h"
#include "proof/signer.h"
#include "tools/tool.h"

#include <openssl/types.h>

/* Who signs what is issued: a private key in a file or, in a program that has identities, one of
 * them. */

/* What the program `lct` knows, and lct-verify does not: how an identity signs. */
struct lct_identities {
    /* `signer` borrows *held, which `close` frees. Errors of lct_signing_open. */
    enum lct_code (*open)(void **held, struct lct_signer *signer, struct lct_tool *tool,
                          const char *uri, struct lct_err *err);
    void (*close)(void *held);
};

extern const struct lct_identities lct_identities;

/* Zero is none. */
struct lct_issuer {
    struct lct_signer signer;
    EVP_PKEY *pkey; /* of a file; owned */
    const struct lct_identities *identities;
    void *held; /* theirs */
};

/*
 * Opens the key that `name` is: lct:ID, or else a file with a private key, in PEM or DER, encrypted
 * or not. lct_issuer_close frees it. LCT_ERR_USAGE: this program has no identities; errors of
 * lct_private_key_read, lct_signer_of_pkey and of the identity.
 */
enum lct_code lct_issuer_open(struct lct_issuer *issuer, struct lct_tool *tool,
                              OSSL_LIB_CTX *libctx, const char *name, struct lct_err *err);
void lct_issuer_close(struct lct_issuer *issuer);

#endif
