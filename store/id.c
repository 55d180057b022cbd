/* SPDX-License-Identifier: Apache-2.0 */
#include "store/id.h"

#include "base/encode.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

static const char permitted[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:@+-";

enum lct_code lct_id_check(const char *id, struct lct_err *err)
{
    size_t len = strlen(id);

    if (len == 0)
        return LCT_FAIL(err, LCT_ERR_BAD_ID, "an id has at least one character");
    if (len > LCT_MAX_ID)
        return LCT_FAIL(err, LCT_ERR_BAD_ID, "an id has at most %d characters, this one has %zu",
                        LCT_MAX_ID, len);
    if (strspn(id, permitted) != len)
        return LCT_FAIL(err, LCT_ERR_BAD_ID,
                        "an id consists of letters, digits and . _ : @ + - only: \"%.140s\"", id);
    if (id[0] == '.' || id[0] == '-')
        return LCT_FAIL(err, LCT_ERR_BAD_ID, "an id does not start with . or -: %s", id);
    return LCT_OK;
}

enum lct_code lct_id_check_new(const char *id, struct lct_err *err)
{
    static const char reserved[] = "web4:mb32:";
    enum lct_code code = lct_id_check(id, err);

    if (code == LCT_OK && lct_uri_is_ours(id))
        return LCT_FAIL(err, LCT_ERR_BAD_ID, "%s is a URI; its id is what follows the scheme", id);
    if (code == LCT_OK && strncmp(id, reserved, sizeof reserved - 1) == 0)
        return LCT_FAIL(err, LCT_ERR_BAD_ID,
                        "ids that start with %s are derived from keys and cannot be chosen: %s",
                        reserved, id);
    return code;
}

static const char scheme[] = "lct:";

bool lct_uri_is_ours(const char *text)
{
    return strncasecmp(text, scheme, sizeof scheme - 1) == 0;
}

/* Percent-decodes up to `end` into an id. A NUL, a bad escape or too long a text is not one. */
static bool decode(char *id, size_t capacity, const char *text, const char *end)
{
    size_t len = 0;

    while (text < end) {
        int c = (unsigned char)*text++;
        if (c == '%') {
            int high = end - text >= 2 ? lct_hex_digit(text[0]) : -1;
            int low = high >= 0 ? lct_hex_digit(text[1]) : -1;
            if (low < 0)
                return false;
            c = high << 4 | low;
            text += 2;
        }
        if (c == 0 || len + 1 >= capacity)
            return false;
        id[len++] = (char)c;
    }
    id[len] = '\0';
    return true;
}

/* A decimal from 1 to 999999, without leading zeros, to the end of the text. */
static bool parse_generation(unsigned *generation, const char *text)
{
    size_t len = strlen(text);

    if (len == 0 || len > 6 || strspn(text, "0123456789") != len || text[0] == '0')
        return false;
    *generation = 0;
    for (; *text != '\0'; text++)
        *generation = *generation * 10 + (unsigned)(*text - '0');
    return true;
}

enum lct_code lct_uri_parse(struct lct_uri *uri, const char *text, struct lct_err *err)
{
    static const char parameter[] = "generation=";
    const char *at = text;

    *uri = (struct lct_uri){0};
    if (!lct_uri_is_ours(text))
        return LCT_FAIL(err, LCT_ERR_BAD_ID, "not a URI of the scheme lct");
    at += sizeof scheme - 1;
    if (strncmp(at, "//", 2) == 0)
        at += at[2] == '/' ? 3 : 2;
    const char *end = at + strcspn(at, "?#");
    if (!decode(uri->id, sizeof uri->id, at, end))
        return LCT_FAIL(err, LCT_ERR_BAD_ID,
                        "the URI holds no id: it is longer than %d characters, or a %%XX in it is "
                        "wrong",
                        LCT_MAX_ID);
    if (*end != '\0' && (strncmp(end + 1, parameter, sizeof parameter - 1) != 0 || *end != '?' ||
                         !parse_generation(&uri->generation, end + sizeof parameter)))
        return LCT_FAIL(err, LCT_ERR_BAD_ID,
                        "\"%.40s\" is not a parameter of an lct: URI; ?generation=N is", end);
    if (uri->id[0] == '\0' && *end == '\0')
        return LCT_OK;
    return lct_id_check(uri->id, err);
}
