/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_PROOF_CHALLENGE_H
#define LCT_PROOF_CHALLENGE_H

#include "base/error.h"
#include "base/secret.h"
#include "proof/offer.h"
#include "proof/trust.h"
#include "tcg/credential.h"
#include "tcg/pcr.h"

#include <jansson.h>
#include <openssl/types.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

/*
 * The second file: what the verifier asks of who made an offer. JSON, version 1:
 *
 *     {"type": "lct-attestation-challenge", "version": 1, "challenge": "<32 hex>",
 *      "mode": "ak" | "direct", "nonce": "<64 hex>", "created": "...", "expires": "...",
 *      "offer": {...},                               -- whole: who made it has not to keep it
 *      "ek": "<hex of a Name>" | null,               -- whose credential it is
 *      "credential": {"id_object": "...", "secret": "..."} | null,
 *      "pcrs": "sha256:0,7" | null}                  -- to be quoted
 *
 * The credential (TPM 2.0 Part 1, 24) holds a secret that only a TPM learns that has both this EK
 * and an object of the AK's Name; with "direct", of the key's own Name: then no AK is needed, and
 * nothing is signed that a third party could be shown. There is none where the AK's certificate is
 * by an issuer that the verifier trusts.
 */
struct lct_challenge {
    char number[33]; /* "challenge" */
    bool direct;
    uint8_t nonce[32];
    char created[21], expires[21];
    struct lct_offer *offer;
    bool has_credential;
    struct lct_name ek;
    struct lct_credential credential;
    struct lct_pcrs pcrs; /* num_banks 0: no quote */
};

/* Zero is none; frees what it holds. */
void lct_challenge_clear(struct lct_challenge *challenge);

/* NULL if out of memory. */
json_t *lct_challenge_json(const struct lct_challenge *challenge);

/* Strict. Errors of lct_offer_read. lct_challenge_clear frees it. */
enum lct_code lct_challenge_read(struct lct_challenge *challenge, OSSL_LIB_CTX *libctx,
                                 const json_t *json, struct lct_err *err);

/* What the verifier keeps to itself of a challenge; JSON too:
 *
 *     {"type": "lct-attestation-state", "version": 1, "secret": "<64 hex>" | null, "used": false,
 *      "challenge": {...}}
 *
 * It is good for one judgement; then it is written again, used and without the secret. */
struct lct_challenge_state {
    struct lct_challenge challenge;
    struct lct_secret secret; /* 32 bytes; empty: there is no credential, or it was used */
    bool used;
};

void lct_challenge_state_clear(struct lct_challenge_state *state); /* wipes the secret */
json_t *lct_challenge_state_json(const struct lct_challenge_state *state);

/* Wipes the secret in such JSON, perhaps NULL, before it is freed. */
void lct_challenge_state_forget(json_t *json);

/* Errors of lct_challenge_read. */
enum lct_code lct_challenge_state_read(struct lct_challenge_state *state, OSSL_LIB_CTX *libctx,
                                       const json_t *json, struct lct_err *err);

/* What is to be asked. */
struct lct_challenge_request {
    const struct lct_trust *trust;
    bool direct;
    const struct lct_pcrs *pcrs; /* NULL: no quote */
    unsigned lifetime;           /* seconds */
    time_t now;
};

/*
 * Makes a challenge for an offer, which `state` takes over, on failure too: for the first EK in it
 * that is trusted; or where none is and the AK's certificate is, without a credential.
 * LCT_ERR_REFUSED: neither is, and the message says why; LCT_ERR_USAGE: a quote is no part of the
 * direct mode; LCT_ERR_UNSUPPORTED: the EK is of a kind that no credential can be made for;
 * LCT_ERR_INTERNAL.
 */
enum lct_code lct_challenge_make(struct lct_challenge_state *state, OSSL_LIB_CTX *libctx,
                                 struct lct_offer *offer,
                                 const struct lct_challenge_request *request, struct lct_err *err);

#endif
