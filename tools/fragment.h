/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TOOLS_FRAGMENT_H
#define LCT_TOOLS_FRAGMENT_H

#include <stddef.h>

/* The configuration of a program, a file of conf/, for the identity `web`: tools/fragments.cmake.
 */
struct lct_fragment {
    const char *name; /* of the program, or of the unit whose drop-in it is */
    const char *text;
};

extern const struct lct_fragment lct_fragments[];
extern const size_t lct_num_fragments;

#endif
