/* SPDX-License-Identifier: Apache-2.0 */
#include "tpm/bus_message.h"

#include <string.h>

/* D-Bus Specification, "Message Format". */
enum { METHOD_CALL = 1 };
enum { NO_AUTO_START = 2 }; /* a flag of a call */
enum { F_PATH = 1, F_INTERFACE, F_MEMBER, F_ERROR_NAME, F_REPLY_SERIAL, F_DESTINATION };

static void put(struct lct_bus_message *message, const void *bytes, size_t len)
{
    message->bad = message->bad || len > sizeof message->bytes - message->len;
    if (message->bad)
        return;
    memcpy(message->bytes + message->len, bytes, len);
    message->len += len;
}

static void put_padding(struct lct_bus_message *message)
{
    static const uint8_t zeros[8];

    put(message, zeros, -message->len % 8);
}

static void write_u32(uint8_t bytes[4], size_t value)
{
    for (size_t i = 0; i < 4; i++)
        bytes[i] = (uint8_t)(value >> 8 * i);
}

static void put_u32(struct lct_bus_message *message, size_t value)
{
    uint8_t bytes[4];

    write_u32(bytes, value);
    put(message, bytes, sizeof bytes);
}

/* A field of the header: its code, its type, and a string. */
static void put_field(struct lct_bus_message *message, int code, char type, const char *value)
{
    const char start[4] = {(char)code, 1, type, '\0'};

    put_padding(message);
    put(message, start, sizeof start);
    put_u32(message, strlen(value));
    put(message, value, strlen(value) + 1);
}

void lct_bus_message_put_call(struct lct_bus_message *message, int serial,
                              const struct lct_bus_call *call)
{
    const uint8_t start[4] = {'l', METHOD_CALL, call->start ? 0 : NO_AUTO_START, 1};

    put_padding(message);
    put(message, start, sizeof start);
    put_u32(message, 0); /* no parameters */
    put_u32(message, (size_t)serial);
    size_t len_at = message->len;
    put_u32(message, 0);
    size_t fields_at = message->len;
    put_field(message, F_PATH, 'o', call->path);
    put_field(message, F_DESTINATION, 's', call->name);
    put_field(message, F_INTERFACE, 's', call->interface);
    put_field(message, F_MEMBER, 's', call->member);
    if (!message->bad)
        write_u32(message->bytes + len_at, message->len - fields_at);
    put_padding(message);
}

/* The next `len` bytes on a boundary of `align`, or NULL. */
static const uint8_t *take(struct lct_bus_message *message, size_t align, size_t len)
{
    size_t at = message->at + -message->at % align;

    message->bad = message->bad || at > message->len || len > message->len - at;
    if (message->bad)
        return NULL;
    message->at = at + len;
    return message->bytes + at;
}

static uint8_t take_byte(struct lct_bus_message *message)
{
    const uint8_t *byte = take(message, 1, 1);

    return byte != NULL ? *byte : 0;
}

static uint32_t take_u32(struct lct_bus_message *message)
{
    const uint8_t *b = take(message, 4, 4);

    if (b == NULL)
        return 0;
    if (message->big_endian)
        return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
    return (uint32_t)b[3] << 24 | (uint32_t)b[2] << 16 | (uint32_t)b[1] << 8 | b[0];
}

/* Its bytes in the message, which end with a zero, or NULL. */
static const char *take_text(struct lct_bus_message *message, size_t len)
{
    /* In 32 bits the longest text with its zero has no bytes at all. */
    const uint8_t *text = len < message->len ? take(message, 1, len + 1) : NULL;

    message->bad = text == NULL || text[len] != '\0' || strlen((const char *)text) != len;
    return message->bad ? NULL : (const char *)text;
}

static const char *take_string(struct lct_bus_message *message)
{
    return take_text(message, take_u32(message));
}

/* Fields of other types than these the header of an answer has none. */
static void take_field(struct lct_bus_message *message, struct lct_bus_reply *reply, bool *has_text)
{
    (void)take(message, 8, 0);
    uint8_t code = take_byte(message);
    const char *type = take_text(message, take_byte(message));

    if (type == NULL)
        return;
    if (strcmp(type, "u") == 0) {
        uint32_t value = take_u32(message);
        if (code == F_REPLY_SERIAL)
            reply->serial = value;
    } else if (strcmp(type, "g") == 0) { /* the types of the parameters */
        const char *value = take_text(message, take_byte(message));
        *has_text = value != NULL && value[0] == 's';
    } else if (strcmp(type, "s") == 0 || strcmp(type, "o") == 0) {
        const char *value = take_string(message);
        if (code == F_ERROR_NAME)
            reply->error_name = value;
    } else {
        message->bad = true;
    }
}

bool lct_bus_message_measure(struct lct_bus_message *message, size_t *rest)
{
    message->big_endian = message->bytes[0] == 'B';
    message->at = 4;
    size_t body = take_u32(message);
    (void)take_u32(message); /* its serial */
    size_t fields = take_u32(message);
    if (body > LCT_BUS_MAX_MESSAGE || fields > LCT_BUS_MAX_MESSAGE)
        return false;
    *rest = (fields + 7) / 8 * 8 + body;
    return *rest <= LCT_BUS_MAX_MESSAGE - LCT_BUS_FIXED;
}

bool lct_bus_message_parse(struct lct_bus_message *message, struct lct_bus_reply *reply)
{
    bool has_text = false;

    *reply = (struct lct_bus_reply){.type = message->bytes[1]};
    message->at = LCT_BUS_FIXED - 4;
    size_t end = take_u32(message);
    end += LCT_BUS_FIXED;
    while (!message->bad && message->at < end)
        take_field(message, reply, &has_text);
    (void)take(message, 8, 0);
    if (has_text)
        reply->text = take_string(message);
    return !message->bad;
}
