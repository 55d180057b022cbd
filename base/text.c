/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"

#include <string.h>

enum { REPLACEMENT = 0xFFFD, LAST = 0x10FFFF, LONGEST = 4 /* bytes */ };

/* How many bytes the letter that begins so has, and which bits of the first are its; 0: none does.
 */
static size_t shape_of(uint8_t first, uint32_t *bits)
{
    static const struct {
        uint8_t mask, lead;
    } shapes[] = {{0x80, 0x00}, {0xE0, 0xC0}, {0xF0, 0xE0}, {0xF8, 0xF0}};

    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        if ((first & shapes[i].mask) == shapes[i].lead) {
            *bits = first & (uint8_t)~shapes[i].mask;
            return i + 1;
        }
    return 0;
}

uint32_t lct_text_letter(const char *text, size_t text_len, size_t *used)
{
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    uint32_t letter = 0;
    size_t num = shape_of((uint8_t)text[0], &letter);

    *used = 1;
    if (num == 0 || num > text_len)
        return REPLACEMENT;
    for (size_t i = 1; i < num; i++) {
        const uint8_t byte = (uint8_t)text[i];
        if ((byte & 0xC0) != 0x80)
            return REPLACEMENT;
        letter = letter << 6 | (byte & 0x3F);
    }
    if (letter < least[num - 1] || letter > LAST || (letter >= 0xD800 && letter <= 0xDFFF))
        return REPLACEMENT;
    *used = num;
    return letter;
}

bool lct_text_is_control(uint32_t letter)
{
    static const struct {
        uint32_t first, last;
    } controls[] = {{0x0, 0x1F}, {0x7F, 0x9F}, {0x202A, 0x202E}, {0x2066, 0x2069}};

    for (size_t i = 0; i < sizeof controls / sizeof controls[0]; i++)
        if (letter >= controls[i].first && letter <= controls[i].last)
            return true;
    return false;
}

/* How many bytes the control character has that the text begins with; 0: it begins with none. */
static size_t control_len(const char *text)
{
    size_t used = 0;
    uint32_t letter = lct_text_letter(text, strnlen(text, LONGEST), &used);

    return lct_text_is_control(letter) ? used : 0;
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
        memset(text, '?', control_len(text));
}
