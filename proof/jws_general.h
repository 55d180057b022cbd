/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_PROOF_JWS_GENERAL_H
#define LCT_PROOF_JWS_GENERAL_H

#include "base/error.h"
#include "proof/jose.h"
#include "proof/signer.h"

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A statement that several sign: JWS General JSON Serialization (RFC 7515, 7.2.1),
 *
 *     {"payload": "<base64url>",
 *      "signatures": [{"protected": "<base64url>", "signature": "<base64url>"}, ...]}
 *
 * where each protected header is
 *
 *     {"alg": "ES256", "kid": "<SHA-256 of SubjectPublicKeyInfo, hex>", "role": "old",
 *      "typ": "lct-statement+jws", "time": "...", "verdict": "<compact JWS>"}
 *
 * "time" and "verdict" are a witness's: the first has to be there, the second may. Nothing is
 * unprotected, and no other member is known: "crit", "jwk", "b64" and the like are refused.
 */
enum {
    LCT_MAX_JWS_GENERAL = 4 << 20, /* characters of the text */
    LCT_MAX_JWS_PAYLOAD = 2 << 20, /* bytes */
    LCT_MAX_JWS_SIGNATURES = 64
};

/* What somebody signs a statement as. */
enum lct_role {
    LCT_ROLE_OLD,     /* the key that is succeeded */
    LCT_ROLE_NEW,     /* the one that follows it */
    LCT_ROLE_WITNESS, /* somebody else, who has asked the new key */
    LCT_ROLE_SUBJECT, /* the key whose end it is */
    LCT_ROLE_SIGNER   /* of what an identity says */
};

/* "old", "new", "witness", "subject", "signer" */
const char *lct_role_name(enum lct_role role);

/* One signature; nothing of it is believed. */
struct lct_jws_signature {
    enum lct_role role;
    char alg[16], kid[65];
    char time[21]; /* of a witness; else "" */
    char *verdict; /* a compact JWS; NULL: none */
    char *header;  /* "protected", as it was sent */

    struct lct_jose_signature signature;
};

/* A statement, taken apart. Zero is none; lct_jws_general_clear frees what it holds. */
struct lct_jws_general {
    uint8_t *payload; /* a NUL follows it */
    size_t payload_len;
    char *payload_text; /* "payload", as it was sent */
    size_t num_signatures;
    struct lct_jws_signature *signatures;
};

/* One without a signature yet. LCT_ERR_UNSUPPORTED: it is too long; LCT_ERR_INTERNAL. */
enum lct_code lct_jws_general_begin(struct lct_jws_general *jws, const uint8_t *payload,
                                    size_t payload_len, struct lct_err *err);

/*
 * Adds a signature; `time` and `verdict` are NULL unless it is a witness's. Whether the role is the
 * signer's is for the caller to know. LCT_ERR_UNSUPPORTED: JOSE has no name for what the signer
 * makes, or there are LCT_MAX_JWS_SIGNATURES; LCT_ERR_INTERNAL; errors of the signer.
 */
struct lct_jws_as {
    enum lct_role role;
    const char *time, *verdict;
};
enum lct_code lct_jws_general_sign(struct lct_jws_general *jws, const struct lct_signer *signer,
                                   const struct lct_jws_as *as, struct lct_err *err);

/* The text, NUL-terminated, one line without its end; the caller frees it. NULL if out of memory.
 */
char *lct_jws_general_write(const struct lct_jws_general *jws);

/*
 * Takes one apart, strictly: the members above and no others, each once, base64url in its canonical
 * form, printable ASCII in the headers, at most one signature of each key in each role, at most one
 * of each role but witnesses. LCT_ERR_BAD_EVIDENCE, in a sentence that says what is wrong;
 * LCT_ERR_INTERNAL. The caller clears it, whatever comes back.
 */
enum lct_code lct_jws_general_read(struct lct_jws_general *jws, const uint8_t *text,
                                   size_t text_len, struct lct_err *err);
void lct_jws_general_clear(struct lct_jws_general *jws);

/* Whether signature `i` is by this key, as lct_jws_is_by: its kind, not the header, says which
 * algorithm that is, and "kid" is this key's. */
bool lct_jws_general_is_by(const struct lct_jws_general *jws, size_t i, EVP_PKEY *pkey,
                           OSSL_LIB_CTX *libctx);

/* The signature of a role other than LCT_ROLE_WITNESS, or NULL. */
const struct lct_jws_signature *lct_jws_general_find(const struct lct_jws_general *jws,
                                                     enum lct_role role);

#endif
