/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TOOLS_PRIVATE_KEY_H
#define LCT_TOOLS_PRIVATE_KEY_H

#include "base/error.h"

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>

/* What a private key in a file is encrypted under: a passphrase, or a recovery phrase as it is
 * shown. A secret: whoever has one wipes it. */
enum { LCT_MAX_PHRASE = 128 };
struct lct_phrase {
    size_t len;
    char text[LCT_MAX_PHRASE + 3]; /* a NUL follows it */
};
void lct_phrase_wipe(struct lct_phrase *phrase);

/* The first line of a file, whole. LCT_ERR_IO; LCT_ERR_AUTH: it is empty, too long, or has a
 * zero byte in it. */
enum lct_code lct_phrase_read(struct lct_phrase *phrase, const char *file, struct lct_err *err);

/* Which key is read, and how. */
struct lct_private_key_request {
    const char *file;
    const char *passphrase_file; /* NULL: it is asked for */
    const char *phrase;          /* what it may be encrypted under, in words: "passphrase" */
    const char *hint;            /* what ends the sentence that it is no key; "": nothing */
    /* What was typed in the form that it was shown in, to be tried as well; false: it is none.
     * NULL: there is no such form. */
    bool (*as_shown)(struct lct_phrase *shown, const struct lct_phrase *typed);
};

/*
 * Reads a private key in PEM or DER into `libctx`; *encrypted: whether it is, in the file. The
 * caller frees *pkey. LCT_ERR_IO; LCT_ERR_AUTH: the phrase is wrong, or was not given;
 * LCT_ERR_BAD_RECORD: it holds no private key.
 */
enum lct_code lct_private_key_read(EVP_PKEY **pkey, bool *encrypted, OSSL_LIB_CTX *libctx,
                                   const struct lct_private_key_request *request,
                                   struct lct_err *err);

#endif
