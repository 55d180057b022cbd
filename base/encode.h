/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_BASE_ENCODE_H
#define LCT_BASE_ENCODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Lower-case hexadecimal of `bytes`, NUL-terminated: `text` holds 2 * bytes_len + 1. */
void lct_hex_encode(char *text, const uint8_t *bytes, size_t bytes_len);

/*
 * The canonical form that lct_hex_encode writes, and nothing else: an even number of lower-case
 * digits, at most 2 * capacity. False if `text` is anything else; *bytes_len is the number of bytes
 * written.
 */
bool lct_hex_decode(uint8_t *bytes, size_t *bytes_len, size_t capacity, const char *text);

/* The value of a hexadecimal digit of either case, or -1. */
int lct_hex_digit(char c);

/* Characters of base64url without padding (RFC 4648, 5; RFC 7515, 2), without the NUL. */
size_t lct_base64url_size(size_t bytes_len);

/* base64url without padding, NUL-terminated: `text` holds lct_base64url_size(bytes_len) + 1. */
void lct_base64url_encode(char *text, const uint8_t *bytes, size_t bytes_len);

/*
 * The form that lct_base64url_encode writes, and nothing else: no padding, no white space, no bits
 * beyond the last byte. `bytes` holds `capacity`; *bytes_len is the number of bytes written. False:
 * `text_len` characters of `text` are not that, or are too many.
 */
bool lct_base64url_decode(uint8_t *bytes, size_t *bytes_len, size_t capacity, const char *text,
                          size_t text_len);

/* Characters of base32 without padding (RFC 4648, 6), without the NUL. */
size_t lct_base32_size(size_t bytes_len);

/* base32 in lower case without padding, NUL-terminated: `text` holds lct_base32_size and 1 more. */
void lct_base32_encode(char *text, const uint8_t *bytes, size_t bytes_len);

#endif
