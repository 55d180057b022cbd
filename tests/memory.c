/* SPDX-License-Identifier: Apache-2.0 */
#include "memory.h"

#include <stdio.h>
#include <string.h>

enum { MASK = 0xa5 };

static bool is_at(const struct masked *masked, const uint8_t *at)
{
    size_t i = 0;

    while (i < masked->len && (at[i] ^ MASK) == masked->bytes[i])
        i++;
    return i == masked->len;
}

static size_t count_in(const struct masked *masked, const uint8_t *start, const uint8_t *end)
{
    size_t num = 0;

    for (const uint8_t *at = start; at + masked->len <= end; at++)
        num += is_at(masked, at);
    return num;
}

size_t masked_count(const struct masked *masked)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512], mode[5];
    unsigned long start, end;
    size_t num = 0;

    while (maps != NULL && fgets(line, sizeof line, maps) != NULL)
        if (sscanf(line, "%lx-%lx %4s", &start, &end, mode) == 3 && strncmp(mode, "rw", 2) == 0)
            num += count_in(masked, (const uint8_t *)start, (const uint8_t *)end);
    if (maps != NULL)
        fclose(maps);
    return num;
}

bool masked_read(struct masked *masked, const char *path)
{
    FILE *file = fopen(path, "rb");
    int c;

    if (file == NULL)
        return false;
    (void)setvbuf(file, NULL, _IONBF, 0);
    while ((c = getc(file)) != EOF && c != '\n' && masked->len < sizeof masked->bytes)
        masked->bytes[masked->len++] = (uint8_t)(c ^ MASK);
    fclose(file);
    return masked->len > 0;
}
