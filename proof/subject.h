/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_PROOF_SUBJECT_H
#define LCT_PROOF_SUBJECT_H

#include "base/error.h"
#include "tcg/public.h"

#include <jansson.h>
#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A key of an identity, as statements on its life have it:
 *
 *     {"generation": 2, "algorithm": "ec-p256", "custody": "tpm", "name": "<hex>",
 *      "public_key": "<base64 of SubjectPublicKeyInfo>"}
 *
 * Of a key in software, {"custody": "software", "name": null}. Custody and Name are what the
 * identity's owner says; evidence and verdicts prove them.
 */
enum {
    LCT_MAX_SUBJECT_SPKI = 600, /* bytes of a SubjectPublicKeyInfo: RSA of 4096 bits has 550 */
    LCT_MAX_SUBJECT_GENERATION = 999999
};

struct lct_subject {
    unsigned generation;
    char algorithm[16];   /* "ec-p256", "ec-p384", "rsa-2048", "rsa-3072", "ed25519" */
    bool software;        /* its custody; else it is a TPM */
    struct lct_name name; /* empty: it is in software */
    size_t spki_len;
    uint8_t spki[LCT_MAX_SUBJECT_SPKI];
};

/* Sets `algorithm` and `spki` by a public key. LCT_ERR_UNSUPPORTED: it is of another kind. */
enum lct_code lct_subject_set_key(struct lct_subject *subject, const EVP_PKEY *pkey,
                                  struct lct_err *err);

/* The public key, in `libctx`; the caller frees it. NULL: it is none, not in the one encoding that
 * lct_subject_set_key writes, or not of `algorithm`. */
EVP_PKEY *lct_subject_pkey(const struct lct_subject *subject, OSSL_LIB_CTX *libctx);

/* SHA-256 of the SubjectPublicKeyInfo in hexadecimal: the key's "kid". LCT_ERR_INTERNAL. */
enum lct_code lct_subject_kid(char kid[65], const struct lct_subject *subject, OSSL_LIB_CTX *libctx,
                              struct lct_err *err);

/* That object; the caller frees it with json_decref. NULL if out of memory. */
json_t *lct_subject_json(const struct lct_subject *subject);

/* Strict; the public key is one. False: it is no such object. */
bool lct_subject_read(struct lct_subject *subject, OSSL_LIB_CTX *libctx, json_t *json);

/* What a key is revoked or followed by another for (Web4's words): "compromise", "superseded",
 * "expired", "violation"; NULL after the last. */
extern const char *const lct_end_reasons[];
bool lct_is_end_reason(const char *text);

#endif
