/* SPDX-License-Identifier: Apache-2.0 */
#include "base/packed.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* A run is that many zeros and then so many other bytes, which follow it. */
struct run {
    uint16_t zeros, len;
};

struct lct_packed {
    size_t len; /* of `bytes` */
    uint8_t bytes[];
};

/* Where the zeros from `at` on end. */
static size_t skip_zeros(const uint8_t *data, size_t at, size_t len)
{
    static const uint8_t zeros[64];

    while (len - at >= sizeof zeros && memcmp(data + at, zeros, sizeof zeros) == 0)
        at += sizeof zeros;
    while (at < len && data[at] == 0)
        at++;
    return at;
}

/* Where so many zeros begin that a run costs less than they do. */
static size_t find_zeros(const uint8_t *data, size_t at, size_t len)
{
    while (at < len) {
        size_t end = skip_zeros(data, at, len);
        if (end - at > sizeof(struct run) || end == len)
            return at;
        at = end + 1;
    }
    return len;
}

/* Into `to`, if that is not NULL; how many bytes it takes. */
static size_t pack(uint8_t *to, const uint8_t *data, size_t len)
{
    size_t size = 0;

    for (size_t at = 0, from, end; at < len; at = end) {
        from = skip_zeros(data, at, len);
        end = find_zeros(data, from, len);
        const struct run run = {(uint16_t)(from - at), (uint16_t)(end - from)};
        if (to != NULL) {
            memcpy(to + size, &run, sizeof run);
            memcpy(to + size + sizeof run, data + from, run.len);
        }
        size += sizeof run + run.len;
    }
    return size;
}

struct lct_packed *lct_pack(const void *data, size_t len)
{
    size_t size = len <= UINT16_MAX ? pack(NULL, data, len) : 0;
    struct lct_packed *packed = size > 0 ? malloc(sizeof *packed + size) : NULL;

    if (packed == NULL)
        return NULL;
    packed->len = size;
    (void)pack(packed->bytes, data, len);
    return packed;
}

void lct_unpack(void *data, size_t len, const struct lct_packed *packed)
{
    lct_unpack_part(data, 0, len, packed);
}

void lct_unpack_part(void *data, size_t from, size_t len, const struct lct_packed *packed)
{
    uint8_t *to = data;
    struct run run;

    memset(data, 0, len);
    for (size_t at = 0, done = 0; at < packed->len; at += sizeof run + run.len) {
        memcpy(&run, packed->bytes + at, sizeof run);
        const uint8_t *bytes = packed->bytes + at + sizeof run;
        size_t begin = done + run.zeros, end = begin + run.len;
        size_t first = begin > from ? begin : from, last = end < from + len ? end : from + len;
        if (first < last)
            memcpy(to + (first - from), bytes + (first - begin), last - first);
        done = end;
    }
}
