/* SPDX-License-Identifier: Apache-2.0 */
#include "store/part.h"

#include <stdio.h>

const char lct_ending_file[] = "ending.json";

void lct_part_name(char name[LCT_PART_NAME], enum lct_part part, unsigned number)
{
    static const struct {
        const char *before, *after;
    } parts[LCT_NUM_PARTS] = {[LCT_PART_KEY] = {"key", "pem"},
                              [LCT_PART_CERTS] = {"certs", "pem"},
                              [LCT_PART_SUCCESSION] = {"succession", "json"}};

    (void)snprintf(name, LCT_PART_NAME, "%s-%u.%s", parts[part].before, number, parts[part].after);
}
