/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_BASE_PACKED_H
#define LCT_BASE_PACKED_H

#include <stddef.h>

/*
 * Plain data with room for the most that there can be, and so mostly zeros, kept without these: for
 * what a process has many of. It is of this process alone: pointers in it stay as they are.
 */
struct lct_packed;

/* At most 65535 bytes. The caller frees it with free(). NULL if out of memory. */
struct lct_packed *lct_pack(const void *data, size_t len);

/* As many bytes as were packed, into `data`. */
void lct_unpack(void *data, size_t len, const struct lct_packed *packed);

/* Of these the `len` from `from` on, a member of a struct. */
void lct_unpack_part(void *data, size_t from, size_t len, const struct lct_packed *packed);

#endif
