/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_PROOF_CERTIFIED_H
#define LCT_PROOF_CERTIFIED_H

#include "base/error.h"
#include "proof/evidence.h"
#include "tcg/attest.h"
#include "tcg/signature.h"

#include <openssl/types.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What the formats of others take from evidence: a key that an AK certified. Borrowed from the
 * evidence, decoded and found to belong together; no signature is verified and no challenge looked
 * at, which is for whoever is shown it.
 */
struct lct_certified {
    const struct lct_evidence *evidence;
    struct lct_attest attest;   /* of evidence->certify */
    struct lct_scheme scheme;   /* of its signature */
    const uint8_t *public_area; /* TPMT_PUBLIC of the key: a TPM2B_PUBLIC without its size */
    size_t public_len;
    EVP_PKEY *key; /* the public key of that; owned */
};

/*
 * lct_certified_clear, whatever comes back. LCT_ERR_UNSUPPORTED: the evidence has no certification,
 * its challenge being of the direct mode; LCT_ERR_BAD_EVIDENCE: it is malformed, or of another key
 * than the offer in it; LCT_ERR_WRONG_KEY: the AK's certificate is of another key;
 * LCT_ERR_INTERNAL.
 */
enum lct_code lct_certified_take(struct lct_certified *certified, OSSL_LIB_CTX *libctx,
                                 const struct lct_evidence *evidence, struct lct_err *err);
void lct_certified_clear(struct lct_certified *certified);

#endif
