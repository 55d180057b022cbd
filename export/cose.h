/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_EXPORT_COSE_H
#define LCT_EXPORT_COSE_H

#include "base/error.h"
#include "proof/signer.h"

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * COSE_Sign1 (RFC 9052, 4.2), with its tag, over a payload that is in it:
 *
 *     18([<< {1: alg, 3: content type, 4: kid} >>, {}, payload, signature])
 *
 * by ES256 (-7; r || s) or EdDSA (-8), in deterministic CBOR (RFC 8949, 4.2). `kid` is text. The
 * caller frees *bytes with free(). LCT_ERR_UNSUPPORTED: the signer makes other signatures; errors
 * of the signer; LCT_ERR_INTERNAL.
 */
enum lct_code lct_cose_sign1(uint8_t **bytes, size_t *len, const struct lct_signer *signer,
                             const char *content_type, const char *kid, const uint8_t *payload,
                             size_t payload_len, struct lct_err *err);

enum { LCT_MAX_COSE = 16384, LCT_COSE_SIGNATURE = 64, LCT_COSE_TEXT = 128 };

/* Somebody's, taken apart; nothing of it is believed yet. What it points to is in the bytes that
 * were read. */
struct lct_cose {
    int alg;
    char content_type[LCT_COSE_TEXT], kid[LCT_COSE_TEXT];
    const uint8_t *header, *payload; /* the header's encoding */
    size_t header_len, payload_len;
    const uint8_t *signature; /* LCT_COSE_SIGNATURE bytes */
};

/*
 * Takes one apart: the form above and no other. What is longer than it need be, of no definite
 * length, twice there, out of order or behind its end, a header without these three or with a
 * fourth, and one that is not signed: LCT_ERR_BAD_EVIDENCE.
 */
enum lct_code lct_cose_read(struct lct_cose *cose, const uint8_t *bytes, size_t len,
                            struct lct_err *err);

/* Whether it is signed by this key. Which algorithm that is, the key says, and the header too. */
bool lct_cose_is_by(const struct lct_cose *cose, EVP_PKEY *pkey, OSSL_LIB_CTX *libctx);

#endif
