/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TESTS_MEMORY_H
#define LCT_TESTS_MEMORY_H

#include "base/secret.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Looks for a secret in the memory of this process. */

/* What is looked for, so that it is not found here. */
struct masked {
    uint8_t bytes[LCT_MAX_AUTH];
    size_t len;
};

/* The first line of a file. What is not secret of it, its length, is all that is left here. False:
 * there is none. */
bool masked_read(struct masked *masked, const char *path);

/* How often it is in the memory that can be written to. */
size_t masked_count(const struct masked *masked);

#endif
