/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_STORE_ARMOUR_H
#define LCT_STORE_ARMOUR_H

#include <openssl/asn1.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * PEM (RFC 7468) of one block whose label is known. What it leaves in libcrypto's error queue is
 * taken off again. The caller frees *der and *text with OPENSSL_free.
 */

/* Whether it is PEM, by how it begins after white space; else it is taken for DER. */
bool lct_armour_is_pem(const uint8_t *bytes, size_t bytes_len);

/* Whether a label is of a private key, whoever's kind: "EC PRIVATE KEY". */
bool lct_armour_is_private(const char *label);

/* The DER in one block of that label, without headers, with nothing but white space around it. */
bool lct_armour_read(uint8_t **der, size_t *der_len, const char *label, const uint8_t *bytes,
                     size_t bytes_len);

/*
 * The same of the next block of several, whatever its label, which the caller frees like *der.
 * *bytes and *bytes_len are left at what follows it, after white space: nothing, after the last.
 */
bool lct_armour_next(char **label, uint8_t **der, size_t *der_len, const uint8_t **bytes,
                     size_t *bytes_len);

/* False if out of memory. */
bool lct_armour_write(uint8_t **text, size_t *text_len, const char *label, const uint8_t *der,
                      size_t der_len);

/* Whether a DER SEQUENCE, of which only the beginning need be here, begins with those bytes. */
bool lct_armour_holds_first(const uint8_t *der, size_t der_len, const uint8_t *first,
                            size_t first_len);

/* Whether what a value was read from is DER, not some other BER: encoded again it is the same. */
bool lct_armour_is_canonical(const ASN1_VALUE *value, const ASN1_ITEM *item, const uint8_t *der,
                             size_t der_len);

#endif
