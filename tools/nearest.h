/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TOOLS_NEAREST_H
#define LCT_TOOLS_NEAREST_H

#include <stddef.h>

/* What somebody may have meant by a word that there is not. */
struct lct_nearest {
    const char *typed;
    const char *word; /* the best so far; NULL: none is near enough. Borrowed */
    size_t distance;  /* of it */
};

/* Tries one of the words that there are. Near is what one slip of the finger makes of a short word,
 * and three of a long one: a letter too many, too few, another, or two in the wrong order. */
void lct_nearest_try(struct lct_nearest *nearest, const char *word);

/* "; did you mean alice?", with `prefix` before the word, for the end of a part of a sentence;
 * nothing if no word is near enough. Returns `hint`. */
enum { LCT_NEAREST_HINT = 192 };
const char *lct_nearest_hint(char hint[LCT_NEAREST_HINT], const struct lct_nearest *nearest,
                             const char *prefix);

#endif
