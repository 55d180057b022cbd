/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_BASE_UNCONST_H
#define LCT_BASE_UNCONST_H

#include <string.h>

/*
 * The pointer without its const, for interfaces that only read but say otherwise: libcrypto's
 * OSSL_PARAM and its references to objects. Nothing may be written through it.
 */
static inline void *lct_unconst(const void *pointer)
{
    void *bare;

    memcpy(&bare, &pointer, sizeof bare);
    return bare;
}

#endif
