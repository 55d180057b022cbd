/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_PROOF_OFFER_H
#define LCT_PROOF_OFFER_H

#include "base/error.h"
#include "proof/der.h"
#include "tcg/public.h"
#include "tcg/seal.h"

#include <jansson.h>
#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The first of the three files of an attestation: what the owner of a key shows of it, before
 * anything is proved. JSON, version 1; bytes are base64url without padding:
 *
 *     {"type": "lct-attestation-offer", "version": 1, "id": "alice", "generation": 1,
 *      "tpm": "...", "software_tpm": false,          -- what the TPM calls itself: a claim
 *      "key": {"public": "<TPM2B_PUBLIC>", "parent": "<TPM2B_PUBLIC>" | null,
 *              "passphrase": false, "seal": {...} | null},             -- proof/seal.h
 *      "ak": {"public": "<TPM2B_PUBLIC>", "certificates": ["<DER>"]},  -- its own first, or none
 *      "eks": [{"public": "<TPM2B_PUBLIC>", "certificate": "<DER>" | null}],
 *      "issuers": ["<DER>"]}                         -- of EK certificates, from the TPM
 *
 * All of it is what somebody says.
 */
enum {
    LCT_MAX_OFFER_ID = 128, /* bytes of an id, as store/id.h has it */
    LCT_MAX_OFFER_EKS = 8,
    LCT_MAX_OFFER_PUBLIC = 1024 /* bytes of a public area */
};

/* A TPM2B_PUBLIC and what it is; len 0: none. */
struct lct_offered_public {
    size_t len;
    uint8_t bytes[LCT_MAX_OFFER_PUBLIC];
    struct lct_public area;
    struct lct_name name;
};

/* Takes a TPM2B_PUBLIC apart. LCT_ERR_BAD_EVIDENCE: it is none, all of it; LCT_ERR_UNSUPPORTED: its
 * Name is of a hash that we do not know. */
enum lct_code lct_offered_public_set(struct lct_offered_public *offered, OSSL_LIB_CTX *libctx,
                                     const uint8_t *bytes, size_t len, struct lct_err *err);

struct lct_offered_ek {
    struct lct_offered_public public_area;
    struct lct_der certificate;
};

struct lct_offer {
    char id[LCT_MAX_OFFER_ID + 1];
    unsigned generation;
    char tpm[64];
    bool software_tpm;
    struct lct_offered_public key, parent;
    bool passphrase;
    struct lct_seal seal; /* kind LCT_SEAL_NONE: it says nothing of one */
    struct lct_offered_public ak;
    struct lct_der_chain ak_chain;
    size_t num_eks;
    struct lct_offered_ek eks[LCT_MAX_OFFER_EKS];
    struct lct_der_chain issuers;
};

/* Takes an id as somebody says it: not empty, printable ASCII, and without a blank, so that it
 * cannot look like more than an id where it is shown. False: it is none. */
bool lct_offer_take_id(char id[LCT_MAX_OFFER_ID + 1], const char *text);

/* NULL if out of memory. */
struct lct_offer *lct_offer_new(void);
void lct_offer_free(struct lct_offer *offer);

/* As JSON; NULL if out of memory. */
json_t *lct_offer_json(const struct lct_offer *offer);

/* Strict. LCT_ERR_BAD_EVIDENCE: it is no such JSON, a public area in it is none, or two EKs have
 * one Name; LCT_ERR_UNSUPPORTED: a newer version, or a hash that we do not know. lct_offer_free
 * frees it. */
enum lct_code lct_offer_read(struct lct_offer **offer, OSSL_LIB_CTX *libctx, const json_t *json,
                             struct lct_err *err);

#endif
