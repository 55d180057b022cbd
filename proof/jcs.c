/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/jcs.h"

#include "proof/json.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* RFC 8785, 3.2.2.3 and D: beyond it, a reader with doubles has another number. */
static const unsigned long long max_integer = (1ULL << 53) - 1;

/*
 * What jansson writes, sorted and without white space, is in canonical form where each string is
 * printable ASCII: of that it escapes what RFC 8785, 3.2.2.2 does, the quotation mark and the
 * backslash, and sorts as UTF-16 code units do (3.2.3). So the text itself is looked at. Each of
 * these goes from the first character of a value to what is behind it; NULL: it has no form here.
 */
static const char *skip_string(const char *at)
{
    for (at++; *at != '"'; at++) {
        if (*at < ' ' || *at > '~')
            return NULL;
        if (*at == '\\' && *++at != '"' && *at != '\\')
            return NULL;
    }
    return at + 1;
}

/* Of 19 digits at most, as jansson's integers have. */
static const char *skip_number(const char *at)
{
    char *end;
    unsigned long long value = strtoull(*at == '-' ? at + 1 : at, &end, 10);

    return value <= max_integer && *end != '.' && *end != 'e' ? end : NULL;
}

static bool has_form(const char *text)
{
    unsigned depth = 0;

    for (const char *at = text; at != NULL;) {
        if (*at == '\0')
            return true;
        if (*at == '"') {
            at = skip_string(at);
        } else if (*at == '-' || (*at >= '0' && *at <= '9')) {
            at = skip_number(at);
        } else {
            depth += *at == '{' || *at == '[' ? 1 : 0;
            depth -= *at == '}' || *at == ']' ? 1 : 0;
            at = depth <= LCT_MAX_JCS_DEPTH ? at + 1 : NULL;
        }
    }
    return false;
}

char *lct_jcs_write(const json_t *json)
{
    char *text =
        json != NULL ? lct_json_dump(json, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY) : NULL;

    if (text == NULL || has_form(text))
        return text;
    free(text);
    return NULL;
}

json_t *lct_jcs_read(const uint8_t *text, size_t text_len)
{
    json_t *json = lct_json_load(text, text_len, NULL);
    char *again = json_is_object(json) ? lct_jcs_write(json) : NULL;
    bool good = again != NULL && strlen(again) == text_len && memcmp(again, text, text_len) == 0;

    free(again);
    if (good)
        return json;
    json_decref(json);
    return NULL;
}
