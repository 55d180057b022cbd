/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_PROOF_JCS_H
#define LCT_PROOF_JCS_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The JSON Canonicalization Scheme (RFC 8785), for what our statements have in them: objects,
 * arrays, strings of printable ASCII, integers that an IEEE 754 double holds exactly (RFC 8785, D:
 * below 2^53), true, false and null, and LCT_MAX_JCS_DEPTH of them in each other. What is outside
 * of that has no canonical form here.
 */
enum { LCT_MAX_JCS_DEPTH = 16 };

/* The canonical form, NUL-terminated; the caller frees it. NULL: the value has none here, or out of
 * memory. */
char *lct_jcs_write(const json_t *json);

/* The object whose canonical form the text is, byte by byte: a blank, an order or an escape of
 * another's is refused, and so are members that are there twice. NULL: it is none; else the caller
 * frees it with json_decref. */
json_t *lct_jcs_read(const uint8_t *text, size_t text_len);

#endif
