/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jansson's lexer collects a token in a buffer that it lets grow, and ignores that there is no
 * memory for that (2.14; its issue 362): a string loses a byte, or its closing quote, and then it
 * reads and writes beyond its buffers. The buffer keeps its size. So the text comes as the second
 * element of an array, after a string that is longer than any token of the text, and that is given
 * byte by byte: there is no more of it once there was no memory, and that is an error which the
 * lexer knows. Within the text the buffer does not grow.
 */
#include "proof/json.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct feed {
    const uint8_t *text;
    size_t text_len;
    size_t head_len; /* ["xxx...x", */
    size_t at;       /* in head, text and ] */
};

/* No token is longer than what is between two quotes, or with them. */
static size_t longest_token(const uint8_t *text, size_t text_len)
{
    size_t longest = 0, begin = 0;
    bool escaped = false;

    for (size_t i = 0; i <= text_len; i++) {
        if (i == text_len || (text[i] == '"' && !escaped)) {
            if (i - begin > longest)
                longest = i - begin;
            begin = i + 1;
        }
        escaped = i < text_len && text[i] == '\\' && !escaped;
    }
    return longest + 2;
}

/* How long the string is, without its quotes: the buffer does not grow for the closing one, which
 * must not be missing. It does so one byte before it has a power of two. */
static size_t string_len(size_t longest)
{
    size_t with_quotes = longest + 2;

    return (with_quotes & (with_quotes - 1)) == 0 ? longest + 1 : longest;
}

static uint8_t head_byte(const struct feed *feed)
{
    if (feed->at == 0)
        return '[';
    if (feed->at == 1 || feed->at == feed->head_len - 2)
        return '"';
    return feed->at == feed->head_len - 1 ? ',' : 'x';
}

static size_t give(void *buffer, size_t size, void *arg)
{
    struct feed *feed = (struct feed *)arg;
    size_t end = feed->head_len + feed->text_len;

    if (feed->at < feed->head_len) {
        if (errno == ENOMEM)
            return (size_t)-1;
        *(uint8_t *)buffer = head_byte(feed);
        feed->at++;
        return 1;
    }
    if (feed->at == end) {
        *(uint8_t *)buffer = ']';
        feed->at++;
        return 1;
    }
    if (feed->at > end)
        return 0;
    if (size > end - feed->at)
        size = end - feed->at;
    memcpy(buffer, feed->text + (feed->at - feed->head_len), size);
    feed->at += size;
    return size;
}

static void set_error(json_error_t *where, enum json_error_code code, const char *text)
{
    where->line = where->line > 0 ? where->line : 1;
    (void)snprintf(where->text, sizeof where->text, "%s", text);
    where->text[JSON_ERROR_TEXT_LENGTH - 1] = (char)code; /* where json_error_code looks for it */
}

/* Why there is nothing: the text is JSON of another kind, or of several values; it `ended` too
 * early; or what jansson says. */
static void explain(json_error_t *error, bool is_json, bool ended)
{
    if (errno == ENOMEM) {
        set_error(error, json_error_out_of_memory, "out of memory");
        return;
    }
    errno = 0;
    if (is_json)
        set_error(error, json_error_invalid_syntax, "not one object or array");
    else if (ended)
        set_error(error, json_error_premature_end_of_input, "premature end of input");
}

/* The second of two elements. */
static json_t *take_text(json_t *array)
{
    json_t *json = json_array_size(array) == 2 ? json_array_get(array, 1) : NULL;

    if (!json_is_object(json) && !json_is_array(json))
        json = NULL;
    json_incref(json);
    json_decref(array);
    return json;
}

json_t *lct_json_load(const uint8_t *text, size_t text_len, json_error_t *where)
{
    size_t head_len = string_len(longest_token(text, text_len)) + 4;
    struct feed feed = {text, text_len, head_len, 0};
    json_error_t error;

    errno = 0;
    json_t *array = json_load_callback(give, &feed, JSON_REJECT_DUPLICATES, &error);
    json_t *json = array != NULL ? take_text(array) : NULL;
    if (json == NULL) {
        bool ended = error.position > 0 && (size_t)error.position > head_len + text_len;
        explain(&error, array != NULL, ended);
    }
    if (where != NULL)
        *where = error;
    return json;
}
