/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_BASE_TEXT_H
#define LCT_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What others have written, on its way to a terminal. Control characters are those of C0, DEL and
 * those of C1 (ECMA-48, 5.3), which have two bytes in UTF-8 (RFC 3629), C2 80 to C2 9F: U+009B
 * begins what moves the cursor as ESC and [ do. And those that turn the direction of all that
 * follows (UAX #9, 2.1 to 2.5): of what they embed, override or isolate another is read than is
 * there.
 */

/* The letter that a text of at least one byte begins with, and how many bytes it has; of what is
 * none U+FFFD and one (RFC 3629, 3: not the shortest form, a surrogate, more than there are). */
uint32_t lct_text_letter(const char *text, size_t text_len, size_t *used);

/* Whether a letter is a control character. */
bool lct_text_is_control(uint32_t letter);

/* Whether a text has one. */
bool lct_text_has_control(const char *text);

/* Each byte of each control character becomes '?'. */
void lct_text_disarm(char *text);

#endif
