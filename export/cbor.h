/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_EXPORT_CBOR_H
#define LCT_EXPORT_CBOR_H

#include "base/error.h"

#include <cbor.h>
#include <stddef.h>
#include <stdint.h>

/* Items in the one form that CTAP2 has for them (FIDO CTAP 2.1, 8): numbers and lengths as short as
 * they can be, maps sorted. What makes an item returns NULL if out of memory. */

cbor_item_t *lct_cbor_text(const char *text);
cbor_item_t *lct_cbor_bytes(const uint8_t *bytes, size_t len);

/* `value` is not negative, and in the second negative. */
cbor_item_t *lct_cbor_number(unsigned value);
cbor_item_t *lct_cbor_negative(int value);

/* Of all the items, which it takes over, on failure too; NULL also if one of them is NULL. */
cbor_item_t *lct_cbor_array(cbor_item_t **items, size_t num);

struct lct_cbor_member {
    const char *key;
    cbor_item_t *value;
};

/* The same of a map's members, which it sorts. */
cbor_item_t *lct_cbor_map(struct lct_cbor_member *members, size_t num);

/* A map whose keys are no text, in the order that they come in; of a map without any, `pairs` may
 * be NULL. It takes the items over as lct_cbor_array does. */
cbor_item_t *lct_cbor_pairs(const struct cbor_pair *pairs, size_t num);

/* An item with a tag, which it takes over. */
cbor_item_t *lct_cbor_tagged(unsigned tag, cbor_item_t *item);

/* The encoding of an item, which it takes over; the caller frees *bytes with free().
 * LCT_ERR_INTERNAL: out of memory, also where `item` is NULL. */
enum lct_code lct_cbor_encode(uint8_t **bytes, size_t *len, cbor_item_t *item, struct lct_err *err);

#endif
