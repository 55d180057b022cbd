/* SPDX-License-Identifier: Apache-2.0 */
#include "base/encode.h"

#include <string.h>

void lct_hex_encode(char *text, const uint8_t *bytes, size_t bytes_len)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < bytes_len; i++) {
        *text++ = digits[bytes[i] >> 4];
        *text++ = digits[bytes[i] & 15];
    }
    *text = '\0';
}

int lct_hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool lct_hex_decode(uint8_t *bytes, size_t *bytes_len, size_t capacity, const char *text)
{
    size_t digits = strlen(text);

    if (digits % 2 != 0 || digits / 2 > capacity || strspn(text, "0123456789abcdef") != digits)
        return false;
    for (size_t i = 0; i < digits / 2; i++)
        bytes[i] = (uint8_t)((unsigned)lct_hex_digit(text[2 * i]) << 4 |
                             (unsigned)lct_hex_digit(text[2 * i + 1]));
    *bytes_len = digits / 2;
    return true;
}

size_t lct_base64url_size(size_t bytes_len)
{
    return bytes_len / 3 * 4 + (bytes_len % 3 != 0 ? bytes_len % 3 + 1 : 0);
}

static const char base64url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* By digits of `width` bits each, 8 at most, without padding (RFC 4648, 4 to 6). */
static void encode(char *text, const char *digits, unsigned width, const uint8_t *bytes,
                   size_t bytes_len)
{
    const uint32_t mask = (1u << width) - 1;
    uint32_t bits = 0;
    unsigned num_bits = 0;

    for (size_t i = 0; i < bytes_len; i++) {
        bits = (bits << 8 | bytes[i]) & 0xffffu;
        num_bits += 8;
        for (; num_bits >= width; num_bits -= width)
            *text++ = digits[bits >> (num_bits - width) & mask];
    }
    if (num_bits > 0)
        *text++ = digits[bits << (width - num_bits) & mask];
    *text = '\0';
}

void lct_base64url_encode(char *text, const uint8_t *bytes, size_t bytes_len)
{
    encode(text, base64url, 6, bytes, bytes_len);
}

/* The value of a digit, or -1. */
static int base64url_digit(char c)
{
    const char *at = c != '\0' ? strchr(base64url, c) : NULL;

    return at != NULL ? (int)(at - base64url) : -1;
}

bool lct_base64url_decode(uint8_t *bytes, size_t *bytes_len, size_t capacity, const char *text,
                          size_t text_len)
{
    uint32_t bits = 0;
    unsigned num_bits = 0;
    size_t len = text_len / 4 * 3 + text_len % 4 * 3 / 4;

    *bytes_len = 0;
    if (text_len % 4 == 1 || len > capacity)
        return false;
    for (size_t i = 0; i < text_len; i++) {
        int digit = base64url_digit(text[i]);
        if (digit < 0)
            return false;
        bits = (bits << 6 | (uint32_t)digit) & 0xffffu;
        num_bits += 6;
        if (num_bits >= 8) {
            num_bits -= 8;
            *bytes++ = (uint8_t)(bits >> num_bits);
        }
    }
    if ((bits & ((1u << num_bits) - 1)) != 0)
        return false;
    *bytes_len = len;
    return true;
}

size_t lct_base32_size(size_t bytes_len)
{
    return (bytes_len * 8 + 4) / 5;
}

void lct_base32_encode(char *text, const uint8_t *bytes, size_t bytes_len)
{
    encode(text, "abcdefghijklmnopqrstuvwxyz234567", 5, bytes, bytes_len);
}
