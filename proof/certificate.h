/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_PROOF_CERTIFICATE_H
#define LCT_PROOF_CERTIFICATE_H

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What a certificate says, one question each. To an extension that cannot be read, or that is there
 * twice, the answer is no. They leave errors in OpenSSL's queue: whoever asks has set a mark.
 */

/* All of `bytes` in DER, in `libctx`; the caller frees it. NULL: it is no certificate. */
X509 *lct_certificate_decode(OSSL_LIB_CTX *libctx, const uint8_t *bytes, size_t bytes_len);

/* Whether the extended key usage names it; none names nothing. */
bool lct_certificate_has_usage(const X509 *certificate, const char *oid);

/* Whether it is no certification authority's; none says so either. */
bool lct_certificate_is_no_ca(const X509 *certificate);

/* Whether the key usage allows it (RFC 5280, 4.2.1.3); none allows everything. */
enum lct_key_use { LCT_USE_SIGN = 0, LCT_USE_ENCIPHER = 2, LCT_USE_AGREE = 4 };
bool lct_certificate_allows(const X509 *certificate, enum lct_key_use use);

/*
 * The maker of the TPM that it is of: from the subjectAltName, which has maker, model and version
 * in one RDN or in three (TCG EK Credential Profile 2.5, 3.1.2). NULL, or why there is none, in
 * words that follow "the certificate ".
 */
const char *lct_certificate_maker(uint32_t *vendor, const X509 *certificate);

/* The model of that TPM, in printable ASCII; "" where it names none, or no maker. */
enum { LCT_MODEL_TEXT = 65 };
void lct_certificate_model(char text[LCT_MODEL_TEXT], const X509 *certificate);

/* Its subject's common name, or what there is of it, in printable ASCII, for people. */
enum { LCT_SUBJECT_TEXT = 65 };
void lct_certificate_subject(char text[LCT_SUBJECT_TEXT], const X509 *certificate);

/* The same of who issued it. */
void lct_certificate_issuer(char text[LCT_SUBJECT_TEXT], const X509 *certificate);

#endif
