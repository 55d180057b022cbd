/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"

#include <stddef.h>

/* How many bytes the control character has that the text begins with; 0: it begins with none. */
static size_t control_len(const char *text)
{
    const unsigned char first = (unsigned char)text[0];

    if (first == 0xc2 && (unsigned char)text[1] >= 0x80 && (unsigned char)text[1] <= 0x9f)
        return 2;
    return first < ' ' || first == 0x7f ? 1 : 0;
}

bool lct_text_has_control(const char *text)
{
    for (; *text != '\0'; text++)
        if (control_len(text) > 0)
            return true;
    return false;
}

void lct_text_disarm(char *text)
{
    for (; *text != '\0'; text++)
        for (size_t len = control_len(text); len > 0; len--)
            text[len - 1] = '?';
}
