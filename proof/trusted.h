/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_PROOF_TRUSTED_H
#define LCT_PROOF_TRUSTED_H

#include "proof/anchor.h"
#include "proof/trust.h"
#include "tcg/pcr.h"

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A SHA-256 of SubjectPublicKeyInfo. */
struct lct_fingerprint {
    uint8_t bytes[32];
};

struct lct_fingerprints {
    size_t num;
    struct lct_fingerprint *all;
};

/* What a trust file says (proof/trust.h), between who reads it and who judges by it. Zero trusts
 * nobody. */
struct lct_trust {
    OSSL_LIB_CTX *libctx;
    X509_STORE *ek_roots, *ak_issuers; /* NULL: none */
    struct lct_fingerprints ek_keys;
    size_t num_vendors; /* 0: those of the TCG's registry */
    uint32_t *vendors;
    struct lct_anchors verdict_issuers, witnesses;
    bool has_policies;
    struct lct_pcrs pcrs;
    struct lct_fingerprints authorities;
};

bool lct_fingerprints_have(const struct lct_fingerprints *fingerprints,
                           const struct lct_fingerprint *fingerprint);

#endif
