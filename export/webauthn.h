/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_EXPORT_WEBAUTHN_H
#define LCT_EXPORT_WEBAUTHN_H

#include "base/error.h"
#include "export/cbor.h"
#include "proof/certified.h"

#include <stddef.h>
#include <stdint.h>

/*
 * A key's certification as a TPM attestation statement (W3C Web Authentication Level 2, 8.3), the
 * "attStmt" of the format "tpm": a CBOR map
 *
 *     {"ver": "2.0", "alg": COSE's number of the AK's signature, "x5c": [the AK's certificate, and
 *      its issuers'], "sig": TPMT_SIGNATURE, "certInfo": TPMS_ATTEST, "pubArea": TPMT_PUBLIC}
 *
 * of byte strings. WebAuthn's extraData is a hash of authenticator data and of the client's; here
 * it is what proof/transcript.h makes of the challenge, so the statement is for those who know that
 * and not for browsers.
 *
 * The caller frees *bytes with free(). LCT_ERR_UNSUPPORTED: the evidence has no certificate of the
 * AK, or its signature is one that COSE has no number for; LCT_ERR_INTERNAL.
 */
enum lct_code lct_webauthn_encode(uint8_t **bytes, size_t *len,
                                  const struct lct_certified *certified, struct lct_err *err);

/* The members of that map for a larger one; without a certificate there is no "x5c". *num is how
 * many. LCT_ERR_UNSUPPORTED of the signature. That memory is out shows when they become a map. */
enum { LCT_WEBAUTHN_MEMBERS = 6 };
enum lct_code lct_webauthn_members(struct lct_cbor_member members[LCT_WEBAUTHN_MEMBERS],
                                   size_t *num, const struct lct_certified *certified,
                                   struct lct_err *err);

#endif
