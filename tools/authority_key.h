/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TOOLS_AUTHORITY_KEY_H
#define LCT_TOOLS_AUTHORITY_KEY_H

#include "tools/private_key.h"
#include "tools/tool.h"

#include <openssl/types.h>

/* A new recovery phrase: 140 bits, as seven groups of four letters and digits. LCT_ERR_INTERNAL. */
enum lct_code lct_phrase_make(struct lct_phrase *phrase, OSSL_LIB_CTX *libctx, struct lct_err *err);

/* A new key of an authority: "ec-p256", "rsa-2048" or "rsa-3072". LCT_ERR_USAGE; LCT_ERR_INTERNAL.
 */
enum lct_code lct_authority_key_make(EVP_PKEY **pkey, OSSL_LIB_CTX *libctx, const char *algorithm,
                                     struct lct_err *err);

/* How a key of an authority is called: "ec-p256", "rsa-2048". */
void lct_authority_key_algorithm(char name[16], EVP_PKEY *pkey);

/* Writes a private key to a new file, 0600, as encrypted PKCS#8 (PBES2, AES-256, scrypt) in PEM,
 * all on disk when it returns. LCT_ERR_IO: it cannot be written, or is there already. */
enum lct_code lct_authority_key_write(const char *file, EVP_PKEY *pkey, OSSL_LIB_CTX *libctx,
                                      const struct lct_phrase *phrase, struct lct_err *err);

/*
 * Reads the private key of an authority, in PEM or DER. If it is encrypted, under what is in the
 * file of --passphrase-file, or asked for; a recovery phrase is taken without regard to case,
 * spaces and hyphens. LCT_ERR_IO; LCT_ERR_AUTH; LCT_ERR_BAD_RECORD: it holds no private key.
 */
enum lct_code lct_authority_key_read(EVP_PKEY **pkey, const struct lct_tool *tool, const char *file,
                                     struct lct_err *err);

#endif
