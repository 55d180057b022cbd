/* SPDX-License-Identifier: Apache-2.0 */
#include "store/part.h"

#include <stdio.h>
#include <string.h>

const char lct_ending_file[] = "ending.json";

static const struct {
    const char *before, *after;
} parts[LCT_NUM_PARTS] = {[LCT_PART_KEY] = {"key", "pem"},
                          [LCT_PART_CERTS] = {"certs", "pem"},
                          [LCT_PART_SUCCESSION] = {"succession", "json"}};

bool lct_part_is(const char *name)
{
    size_t before = strcspn(name, "-"), number = strspn(name + before, "-0123456789");

    for (enum lct_part part = 0; part < LCT_NUM_PARTS; part++)
        if (number > 1 && name[before + number] == '.' && before == strlen(parts[part].before) &&
            strncmp(name, parts[part].before, before) == 0 &&
            strcmp(name + before + number + 1, parts[part].after) == 0)
            return true;
    return strcmp(name, lct_ending_file) == 0;
}

void lct_part_name(char name[LCT_PART_NAME], enum lct_part part, unsigned number)
{
    (void)snprintf(name, LCT_PART_NAME, "%s-%u.%s", parts[part].before, number, parts[part].after);
}
