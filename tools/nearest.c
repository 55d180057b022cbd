/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/nearest.h"

#include <stdio.h>
#include <string.h>

enum { LONGEST = 128 }; /* letters; what is longer is like nothing */

static size_t least(size_t one, size_t other)
{
    return one < other ? one : other;
}

/* The distance of Damerau and Levenshtein in which no part is edited twice: rows of its matrix, of
 * which three are kept. Both words have LONGEST letters at most. */
static size_t distance(const char *one, size_t one_len, const char *other, size_t other_len)
{
    size_t rows[3][LONGEST + 1];
    size_t *last = rows[0], *before = rows[1], *row = rows[2];

    for (size_t j = 0; j <= other_len; j++)
        before[j] = j;
    for (size_t i = 1; i <= one_len; i++) {
        row[0] = i;
        for (size_t j = 1; j <= other_len; j++) {
            row[j] = least(before[j - 1] + (one[i - 1] != other[j - 1] ? 1 : 0),
                           least(before[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1])
                row[j] = least(row[j], last[j - 2] + 1);
        }
        size_t *free_row = last;
        last = before;
        before = row;
        row = free_row;
    }
    return before[other_len];
}

void lct_nearest_try(struct lct_nearest *nearest, const char *word)
{
    const size_t len = strlen(nearest->typed), word_len = strlen(word);
    const size_t farthest = len < 6 ? 1 : len < 10 ? 2 : 3;

    if (len < 2 || len > LONGEST || word_len > LONGEST)
        return;
    const size_t found = distance(nearest->typed, len, word, word_len);
    if (found > farthest || (nearest->word != NULL && found >= nearest->distance))
        return;
    nearest->word = word;
    nearest->distance = found;
}

const char *lct_nearest_hint(char hint[LCT_NEAREST_HINT], const struct lct_nearest *nearest,
                             const char *prefix)
{
    hint[0] = '\0';
    if (nearest->word != NULL)
        (void)snprintf(hint, LCT_NEAREST_HINT, "; did you mean %s%s?", prefix, nearest->word);
    return hint;
}
