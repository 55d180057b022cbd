/* SPDX-License-Identifier: Apache-2.0 */
#include "export/cbor.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

cbor_item_t *lct_cbor_text(const char *text)
{
    return cbor_build_string(text);
}

cbor_item_t *lct_cbor_bytes(const uint8_t *bytes, size_t len)
{
    return cbor_build_bytestring(bytes, len);
}

/* In the width that it is built with. */
cbor_item_t *lct_cbor_number(unsigned value)
{
    if (value <= UINT8_MAX)
        return cbor_build_uint8((uint8_t)value);
    return value <= UINT16_MAX ? cbor_build_uint16((uint16_t)value) : cbor_build_uint32(value);
}

/* RFC 8949, 3.1: it is -1 - n. libcbor encodes n in the width that it is built with. */
cbor_item_t *lct_cbor_negative(int value)
{
    uint32_t n = (uint32_t)(-1 - value);

    if (n <= UINT8_MAX)
        return cbor_build_negint8((uint8_t)n);
    return n <= UINT16_MAX ? cbor_build_negint16((uint16_t)n) : cbor_build_negint32(n);
}

static void drop(cbor_item_t *item)
{
    if (item != NULL)
        cbor_decref(&item);
}

cbor_item_t *lct_cbor_array(cbor_item_t **items, size_t num)
{
    cbor_item_t *array = cbor_new_definite_array(num);
    bool good = array != NULL;

    for (size_t i = 0; i < num; i++) {
        good = good && items[i] != NULL && cbor_array_push(array, items[i]);
        drop(items[i]);
    }
    if (good)
        return array;
    drop(array);
    return NULL;
}

/* FIDO CTAP 2.1, 8: the shorter key first, then by its bytes. */
static int compare(const void *a, const void *b)
{
    const char *one = ((const struct lct_cbor_member *)a)->key;
    const char *other = ((const struct lct_cbor_member *)b)->key;
    size_t len = strlen(one), other_len = strlen(other);

    return len != other_len ? (len < other_len ? -1 : 1) : memcmp(one, other, len);
}

/* The map has references of its own. */
static bool add_member(cbor_item_t *map, const struct lct_cbor_member *member)
{
    cbor_item_t *key = lct_cbor_text(member->key);
    bool good = key != NULL && member->value != NULL &&
                cbor_map_add(map, (struct cbor_pair){.key = key, .value = member->value});

    drop(key);
    return good;
}

cbor_item_t *lct_cbor_map(struct lct_cbor_member *members, size_t num)
{
    cbor_item_t *map = cbor_new_definite_map(num);
    bool good = map != NULL;

    if (num > 0)
        qsort(members, num, sizeof *members, compare);
    for (size_t i = 0; i < num; i++) {
        good = good && add_member(map, &members[i]);
        drop(members[i].value);
    }
    if (good)
        return map;
    drop(map);
    return NULL;
}

cbor_item_t *lct_cbor_pairs(const struct cbor_pair *pairs, size_t num)
{
    cbor_item_t *map = cbor_new_definite_map(num);
    bool good = map != NULL;

    for (size_t i = 0; i < num; i++) {
        good =
            good && pairs[i].key != NULL && pairs[i].value != NULL && cbor_map_add(map, pairs[i]);
        drop(pairs[i].key);
        drop(pairs[i].value);
    }
    if (good)
        return map;
    drop(map);
    return NULL;
}

cbor_item_t *lct_cbor_tagged(unsigned tag, cbor_item_t *item)
{
    cbor_item_t *tagged = item != NULL ? cbor_new_tag(tag) : NULL;

    if (tagged != NULL)
        cbor_tag_set_item(tagged, item);
    drop(item);
    return tagged;
}

enum lct_code lct_cbor_encode(uint8_t **bytes, size_t *len, cbor_item_t *item, struct lct_err *err)
{
    size_t size = 0;

    *bytes = NULL;
    *len = item != NULL ? cbor_serialize_alloc(item, bytes, &size) : 0;
    drop(item);
    if (*len > 0)
        return LCT_OK;
    return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
}
