/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_BASE_TEXT_H
#define LCT_BASE_TEXT_H

#include <stdbool.h>

/*
 * What others have written, on its way to a terminal. Control characters are those of C0, DEL and
 * those of C1 (ECMA-48, 5.3), which have two bytes in UTF-8 (RFC 3629), C2 80 to C2 9F: U+009B
 * begins what moves the cursor as ESC and [ do.
 */

/* Whether it has a control character. */
bool lct_text_has_control(const char *text);

/* Each byte of each control character becomes '?'. */
void lct_text_disarm(char *text);

#endif
