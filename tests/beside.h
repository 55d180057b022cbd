/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TESTS_BESIDE_H
#define LCT_TESTS_BESIDE_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A decoder of ours beside libtss2-mu's. Ours must take what a TPM made; of every mutation of it,
 * whatever ours takes mu takes too, and puts together again to the same bytes. */

enum { MAX_FILE = 2048 };

/* One structure. */
struct structure {
    /* Decodes `bytes`, none of which follow; what ours takes, and mu does not or has other values
     * of, ends the program by `fail`. */
    enum lct_code (*decode)(const uint8_t *bytes, size_t len, struct lct_err *err);
    enum lct_code malformed; /* what ours may refuse with, besides LCT_ERR_UNSUPPORTED */
    bool sized;              /* it is a TPM2B: its first two bytes are the size of the rest */
};

/* Ends the program, with the bytes. */
_Noreturn void fail(const char *what, const uint8_t *bytes, size_t len);

/* What mu has put together, which has to be what was taken apart. */
void expect_same(bool good, const uint8_t *again, size_t written, const uint8_t *bytes, size_t len);

/* Tries each file and its mutations, as the structure that it is; prints how many were taken. The
 * status that the program ends with. */
int beside(int argc, char **argv,
           const struct structure *(*find)(const uint8_t *bytes, size_t len));

#endif
