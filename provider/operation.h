/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_PROVIDER_OPERATION_H
#define LCT_PROVIDER_OPERATION_H

#include "provider/keydata.h"

#include <openssl/evp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An algorithm whose name says key type and digest, and for RSA the padding PKCS #1 v1.5. */
struct lct_composite {
    const char *name;     /* OpenSSL's: "ECDSA-SHA2-256" */
    const char *key_type; /* "EC" or "RSA" */
    const char *digest;   /* for EVP_MD_fetch: "SHA2-256" */
};

/*
 * A signature operation. Everything but signing by the TPM is forwarded to libcrypto's own
 * implementation, in the private library context: `parameters` is its context. While signing by the
 * TPM that is a *verification* context of the public key: it takes, checks and reports parameters
 * exactly as OpenSSL does, and what it holds says what the TPM is asked to do. Nothing here speaks
 * to the TPM before there is a digest to sign: libssl calls init as a probe.
 *
 * Functions that give bool raise why not in libcrypto's queue.
 */
struct lct_operation {
    struct lct_provider *provider;
    const struct lct_composite *composite; /* NULL: the parameters say digest and padding */
    EVP_PKEY *pkey;                        /* kept between inits: a later one may name no key */
    struct lct_key *key;                   /* NULL: a software key */
    bool by_tpm;                           /* the operation is a signature by `key` */
    EVP_PKEY_CTX *parameters;
    EVP_MD_CTX *hash; /* of a digest operation; unless by_tpm it owns `parameters` */
};

/* NULL if out of memory, which is raised. */
struct lct_operation *lct_operation_new(struct lct_provider *provider);
void lct_operation_free(struct lct_operation *operation);

/* A copy that goes on by itself. NULL if there is none to be had. */
struct lct_operation *lct_operation_dup(const struct lct_operation *from);

/* Raises an error; false. */
bool lct_operation_fail(const struct lct_operation *operation, const struct lct_err *err);

/* Begins anew, with another key if one is named. */
bool lct_operation_begin(struct lct_operation *operation, const struct lct_keydata *keydata);

/* Then one of these: the context that holds the parameters of a signature by the TPM, or a
 * forwarded operation on a digest. */
bool lct_operation_begin_by_tpm(struct lct_operation *operation);
bool lct_operation_forward(struct lct_operation *operation, const OSSL_PARAM params[],
                           int (*init)(EVP_PKEY_CTX *ctx, const OSSL_PARAM params[]));

/* Of a signature by the TPM. Its digest, by any name of it. */
bool lct_operation_set_digest(const struct lct_operation *operation, const char *name);

/* Its hash: in software, whatever the size of the message. */
bool lct_operation_begin_hash(struct lct_operation *operation, const char *name);

/* The parameters, for GET_CTX_PARAMS, and which there are, for GETTABLE_CTX_PARAMS. */
bool lct_operation_get_params(const struct lct_operation *operation, OSSL_PARAM params[]);
const OSSL_PARAM *lct_operation_gettable_params(const struct lct_operation *operation);

/* Whether what the parameters ask can be signed, as far as they say: called by init, so that TLS
 * picks what can be. */
bool lct_operation_check(const struct lct_operation *operation);

/* The most bytes that a signature can have. */
bool lct_operation_give_size(const struct lct_operation *operation, size_t *siglen);

/* Asks the TPM: *siglen bytes of signature of a digest; with sig NULL the most there can be, and
 * nothing is asked. */
bool lct_operation_sign(const struct lct_operation *operation, unsigned char *sig, size_t *siglen,
                        size_t sigsize, const uint8_t *tbs, size_t tbs_len);

/*
 * The same of what has been hashed and the rest of the message, which is hashed once, however long.
 * lct_operation_sign_hash leaves the hash as it is. lct_operation_sign_rest goes on from there, but
 * only when it is signed: one that tries again, after the TPM could not be reached say, gets no
 * signature of its message twice over.
 */
bool lct_operation_sign_hash(const struct lct_operation *operation, unsigned char *sig,
                             size_t *siglen, size_t sigsize, const uint8_t *rest, size_t rest_len);
bool lct_operation_sign_rest(struct lct_operation *operation, unsigned char *sig, size_t *siglen,
                             size_t sigsize, const uint8_t *rest, size_t rest_len);

#endif
