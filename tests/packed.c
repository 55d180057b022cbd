/* SPDX-License-Identifier: Apache-2.0 */
/*
 * base/packed.h: what is packed comes back, whatever it is. Each block has a length of its own, so
 * that a sanitizer sees a byte too many. Prints "ok".
 */
#include "base/packed.h"

#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 65535, BLOCKS = 2000 };

/* Each by itself, into a block of its length. */
static bool parts_come_back(const uint8_t *data, size_t len, const struct lct_packed *packed)
{
    size_t step = 1 + len / 20;
    bool same = true;

    for (size_t from = 0; from < len && same; from += step) {
        size_t part_len = from % 3 == 0 ? len - from : 1 + from % (len - from);
        uint8_t *part = malloc(part_len);
        if (part == NULL)
            abort();
        memset(part, 0xa5, part_len);
        lct_unpack_part(part, from, part_len, packed);
        same = memcmp(part, data + from, part_len) == 0;
        free(part);
    }
    return same;
}

static bool comes_back(const uint8_t *data, size_t len)
{
    struct lct_packed *packed = lct_pack(data, len);
    uint8_t *back = malloc(len);

    if (packed == NULL || back == NULL)
        abort();
    memset(back, 0xa5, len);
    lct_unpack(back, len, packed);
    bool same = memcmp(back, data, len) == 0 && parts_come_back(data, len, packed);
    free(back);
    free(packed);
    return same;
}

/* Always the same numbers (Marsaglia's xorshift32). */
static uint32_t number(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

/* A block of runs of zeros and of other bytes, each of up to `longest`. */
static void fill(uint8_t *data, size_t len, uint32_t longest, uint32_t *state)
{
    for (size_t at = 0; at < len;) {
        size_t run = 1 + number(state) % longest;
        uint8_t value = (uint8_t)(number(state) % 2 == 0 ? 0 : 1 + number(state) % 255);
        for (; run > 0 && at < len; run--)
            data[at++] = value;
    }
}

static bool all_come_back(void)
{
    uint32_t state = 1;

    for (unsigned i = 0; i < BLOCKS; i++) {
        size_t len = 1 + number(&state) % (i % 100 == 0 ? MOST : 300u);
        uint8_t *data = malloc(len);
        if (data == NULL)
            abort();
        fill(data, len, 1 + i % 40, &state);
        bool same = comes_back(data, len);
        free(data);
        if (!same)
            return false;
    }
    return true;
}

static bool is_small(void)
{
    static uint8_t data[8000];

    memset(data + 3000, 1, 100);
    struct lct_packed *packed = lct_pack(data, sizeof data);
    bool small = packed != NULL && malloc_usable_size(packed) < 200;
    free(packed);
    return small && comes_back(data, sizeof data);
}

int main(void)
{
    static uint8_t zeros[MOST + 1], ones[MOST];

    memset(ones, 1, sizeof ones);
    if (!comes_back(zeros, 1) || !comes_back(zeros, MOST) || !comes_back(ones, MOST) ||
        !all_come_back())
        puts("another came back");
    else if (!is_small())
        puts("it is not small");
    else if (lct_pack(zeros, MOST + 1) != NULL)
        puts("more was packed than there is room for");
    else
        puts("ok");
    return 0;
}
