/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TPM_HOLDER_H
#define LCT_TPM_HOLDER_H

#include <stddef.h>

/*
 * The processes that have a device open, where /proc, below `root`, shows it to this user: "redis
 * (process 42), tpm2-abrmd (process 7)", as many as `size` has room for; not this process itself.
 * Returns how many there are; without any, the text is empty.
 */
size_t lct_holders_find(char *text, size_t size, const char *root, const char *path);

#endif
