/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_PROOF_TRANSCRIPT_H
#define LCT_PROOF_TRANSCRIPT_H

#include "base/error.h"
#include "base/secret.h"
#include "proof/challenge.h"

#include <openssl/types.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What every part of evidence is tied to: SHA-256 of "LCT-ATTEST-v1", a zero byte, and
 * lct_document_digest of the challenge, which has the nonce, the offer and so the id in it. Part by
 * part another text goes before it, so that none can stand in another's place.
 */
struct lct_transcript {
    uint8_t digest[32];
};

enum lct_slot { LCT_SLOT_ACTIVATION, LCT_SLOT_CERTIFY, LCT_SLOT_QUOTE, LCT_SLOT_POSSESSION };

/* LCT_ERR_INTERNAL. */
enum lct_code lct_transcript_make(struct lct_transcript *transcript, OSSL_LIB_CTX *libctx,
                                  const struct lct_challenge *challenge, struct lct_err *err);

/* What the key itself signs (LCT_SLOT_POSSESSION), and what is hashed and authenticated below: the
 * slot's text, a zero byte, the digest. Returns its length. */
enum { LCT_TRANSCRIPT_MESSAGE = 64 };
size_t lct_transcript_message(uint8_t message[LCT_TRANSCRIPT_MESSAGE],
                              const struct lct_transcript *transcript, enum lct_slot slot);

/* Its SHA-256: the qualifyingData of an attestation. LCT_ERR_INTERNAL. */
enum lct_code lct_transcript_extra(uint8_t extra[32], OSSL_LIB_CTX *libctx,
                                   const struct lct_transcript *transcript, enum lct_slot slot,
                                   struct lct_err *err);

/* Its HMAC-SHA256 by the credential's secret: LCT_SLOT_ACTIVATION. LCT_ERR_INTERNAL. */
enum lct_code lct_transcript_activation(uint8_t mac[32], OSSL_LIB_CTX *libctx,
                                        const struct lct_transcript *transcript,
                                        const struct lct_secret *secret, struct lct_err *err);

#endif
