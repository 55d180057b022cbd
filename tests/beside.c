/* SPDX-License-Identifier: Apache-2.0 */
#include "beside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct count {
    size_t tried, taken;
};

_Noreturn void fail(const char *what, const uint8_t *bytes, size_t len)
{
    printf("%s:", what);
    for (size_t i = 0; i < len; i++)
        printf(" %02x", bytes[i]);
    puts("");
    exit(1);
}

void expect_same(bool good, const uint8_t *again, size_t written, const uint8_t *bytes, size_t len)
{
    if (!good || written != len || memcmp(again, bytes, len) != 0)
        fail("mu makes other bytes of it", bytes, len);
}

static bool try(struct count *count, const struct structure *structure, const uint8_t *bytes,
                size_t len)
{
    struct lct_err err = {.code = LCT_OK};
    uint8_t *exact = malloc(len > 0 ? len : 1); /* so that a sanitizer sees a byte too many */

    if (exact == NULL)
        abort();
    memcpy(exact, bytes, len);
    enum lct_code code = structure->decode(exact, len, &err);
    free(exact);
    count->tried++;
    count->taken += code == LCT_OK;
    if (code != LCT_OK && code != structure->malformed && code != LCT_ERR_UNSUPPORTED)
        fail("refused with another code", bytes, len);
    return code == LCT_OK;
}

static void cut(struct count *count, const struct structure *structure, const uint8_t *bytes,
                size_t len)
{
    uint8_t changed[MAX_FILE];

    if (try(count, structure, bytes, len))
        fail("ours takes a part", bytes, len);
    if (!structure->sized || len < 2)
        return;
    memcpy(changed, bytes, len);
    changed[0] = (uint8_t)((len - 2) >> 8);
    changed[1] = (uint8_t)(len - 2);
    (void)try(count, structure, changed, len);
}

static void mutate(struct count *count, const struct structure *structure, const uint8_t *bytes,
                   size_t len)
{
    uint8_t changed[MAX_FILE + 1];

    memcpy(changed, bytes, len);
    for (size_t i = 0; i < len; i++) {
        for (unsigned value = 0; value < 256; value++) {
            changed[i] = (uint8_t)value;
            (void)try(count, structure, changed, len);
        }
        changed[i] = bytes[i];
    }
    for (size_t left = 0; left < len; left++)
        cut(count, structure, bytes, left);
    changed[len] = 0;
    if (try(count, structure, changed, len + 1))
        fail("ours takes a byte too many", changed, len + 1);
}

int beside(int argc, char **argv, const struct structure *(*find)(const uint8_t *bytes, size_t len))
{
    struct count count = {0, 0};

    setenv("TSS2_LOG", "all+none", 1);
    for (int i = 1; i < argc; i++) {
        uint8_t bytes[MAX_FILE];
        FILE *file = fopen(argv[i], "rb");
        if (file == NULL) {
            printf("cannot open %s\n", argv[i]);
            return 1;
        }
        size_t len = fread(bytes, 1, sizeof bytes, file);
        fclose(file);
        const struct structure *structure = find(bytes, len);
        if (!try(&count, structure, bytes, len))
            fail("ours refuses what a TPM made", bytes, len);
        mutate(&count, structure, bytes, len);
    }
    printf("ok: %zu of %zu taken\n", count.taken, count.tried);
    return argc > 1 ? 0 : 2;
}
