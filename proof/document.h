/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_PROOF_DOCUMENT_H
#define LCT_PROOF_DOCUMENT_H

#include "base/error.h"

#include <jansson.h>
#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the documents of an attestation have in common: JSON, bytes in base64url without padding. */

/*
 * SHA-256 of a document: of its JSON without white space and with sorted members (RFC 8785, for the
 * ASCII and the integers that there are in ours), so that how it was sent is of no matter.
 * LCT_ERR_INTERNAL.
 */
enum lct_code lct_document_digest(uint8_t digest[32], OSSL_LIB_CTX *libctx, const json_t *json,
                                  struct lct_err *err);

/*
 * A document from text: an object without duplicate members. "type" says what it is, borrowed;
 * NULL: it says nothing. The caller frees *json with json_decref. LCT_ERR_BAD_EVIDENCE,
 * LCT_ERR_INTERNAL.
 */
enum lct_code lct_document_read(json_t **json, const char **type, const uint8_t *text,
                                size_t text_len, struct lct_err *err);

/* Whether a document is of this "type", one of ours, and of "version" 1.
 * LCT_ERR_BAD_EVIDENCE: another type; LCT_ERR_UNSUPPORTED: another version. */
enum lct_code lct_document_check(const json_t *json, const char *type, struct lct_err *err);

/* Bytes, as base64url: NULL if out of memory; and back, at most `capacity`. */
json_t *lct_document_of_bytes(const uint8_t *bytes, size_t len);
bool lct_document_bytes(uint8_t *bytes, size_t *len, size_t capacity, const json_t *json);

/* The same of any length from 1 to `max`, which the caller frees; NULL: it is none, or out of
 * memory. */
uint8_t *lct_document_take_bytes(size_t *len, size_t max, const json_t *json);

#endif
