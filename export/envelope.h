/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_EXPORT_ENVELOPE_H
#define LCT_EXPORT_ENVELOPE_H

#include "base/error.h"
#include "proof/certified.h"

#include <jansson.h>
#include <openssl/types.h>
#include <stdbool.h>

/*
 * Evidence with a quote as Web4's AttestationEnvelope 0.1 (docs/specs/attestation-envelope.md of
 * Web4, and its JSON schema, which takes no other members):
 *
 *     {"@context": [...], "@type": "AttestationEnvelope", "envelope_version": "0.1",
 *      "entity_id": proof/web4.h; of keys that have no such name "lct:alice",
 *      "public_key": PEM, "public_key_fingerprint": 16 hex of SHA-256 of that text,
 *      "anchor": {"type": "tpm2" | "software", "manufacturer", "model", "firmware_version"},
 *      "proof": {"format": "tpm2_quote", "signature", "challenge", "attestation_object",
 *                "pcr_digest", "pcr_selection"},
 *      "timestamp", "challenge_issued_at", "challenge_ttl",
 *      "platform_state": {"available": true, "pcr_values": {"0": hex}},
 *      "trust_ceiling": 0.85 | 0.4, "purpose"}
 *
 * "signature" is the TPMT_SIGNATURE by the AK over the quote, "challenge" the quote's extraData in
 * hexadecimal (proof/transcript.h). "attestation_object", which is what a verifier needs, is the
 * map of export/webauthn.h and in it
 *
 *     "quote": {"sig": TPMT_SIGNATURE, "quoteInfo": TPMS_ATTEST}, "akPublic": TPM2B_PUBLIC,
 *     "ekPublic": TPM2B_PUBLIC, "ekX5c": [the EK's certificate, and its issuers']
 *
 * Maker and model are what the EK's certificate says, the firmware version, 64 bits in hexadecimal,
 * what the quote does. Nothing of all that is verified by exporting it, so there is no
 * "boot_verified", and no ceiling of 1.0.
 *
 * `purpose` is one of Web4's, or NULL. The caller frees *envelope. LCT_ERR_UNSUPPORTED: there is no
 * quote, or one of several banks, for which an envelope has no room; LCT_ERR_BAD_EVIDENCE: it is
 * malformed, or of other PCRs than those whose values are with it; LCT_ERR_INTERNAL.
 */
enum lct_code lct_envelope_make(json_t **envelope, OSSL_LIB_CTX *libctx,
                                const struct lct_certified *certified, const char *purpose,
                                struct lct_err *err);

/* Whether Web4 knows of such a purpose. */
bool lct_envelope_is_purpose(const char *purpose);

#endif
