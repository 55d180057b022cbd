/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TOOLS_VERIFY_KINDS_H
#define LCT_TOOLS_VERIFY_KINDS_H

#include "base/error.h"
#include "tools/judging.h"

#include <jansson.h>
#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The kinds of things that `lct verify` judges, a file each: verify.c looks which one it is. */

/* What the command line says. */
struct lct_verify_asked {
    const char *certify, *quote, *signature, *ak, *issuers, *pcrs, *nonce, *hash; /* raw files */
    struct lct_judging judging;
    const char *threshold, *old_key, *counter, *extract; /* of statements */
    bool require_verdicts, offline, json;
};

/* Structures as a TPM made them, in files. */
enum lct_code lct_verify_raw(const struct lct_verify_asked *asked, OSSL_LIB_CTX *libctx,
                             struct lct_err *err);

/* Evidence, as it was read from JSON; `file` is how messages call it. */
enum lct_code lct_verify_evidence(const struct lct_verify_asked *asked, OSSL_LIB_CTX *libctx,
                                  const char *file, const json_t *document, struct lct_err *err);

/* A verdict that somebody else signed: a JWS, without what is around it. */
enum lct_code lct_verify_issued(const struct lct_verify_asked *asked, OSSL_LIB_CTX *libctx,
                                const char *file, const char *jws, size_t jws_len,
                                struct lct_err *err);

/* A statement that several keys may have signed: the text of it. */
enum lct_code lct_verify_statement(const struct lct_verify_asked *asked, OSSL_LIB_CTX *libctx,
                                   const char *file, const uint8_t *text, size_t text_len,
                                   struct lct_err *err);

/* A Web4 document (export/token.h): as JSON, or if `jws` is not NULL as that. */
enum lct_code lct_verify_document(const struct lct_verify_asked *asked, OSSL_LIB_CTX *libctx,
                                  const char *file, const json_t *document, const char *jws,
                                  size_t jws_len, struct lct_err *err);

#endif
