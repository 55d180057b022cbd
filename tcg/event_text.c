/* SPDX-License-Identifier: Apache-2.0 */
#include "tcg/event_text.h"

#include "tcg/marshal.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Text on its way out; what does not fit leaves `full` set. */
struct sink {
    char *text;
    size_t len;
    bool full;
};

static void put(struct sink *sink, unsigned c)
{
    static const char cut[] = "...";

    if (sink->full)
        return;
    if (sink->len + sizeof cut == LCT_EVENT_TEXT) {
        memcpy(sink->text + sink->len, cut, sizeof cut);
        sink->full = true;
        return;
    }
    bool blank = c == ' ' || (c >= '\t' && c <= '\r');
    sink->text[sink->len++] = (char)(blank ? ' ' : c > ' ' && c <= '~' ? c : '?');
    sink->text[sink->len] = '\0';
}

static void put_string(struct sink *sink, const char *string)
{
    for (; *string != '\0'; string++)
        put(sink, (unsigned char)*string);
}

static bool is_readable(unsigned c)
{
    return (c >= ' ' && c <= '~') || (c >= '\t' && c <= '\r');
}

/* The rest of what is read as characters of `width` bytes, little-endian, until a NUL. */
struct characters {
    const uint8_t *bytes;
    size_t len, width;
};

static unsigned character(const struct characters *from, size_t at)
{
    const uint8_t *c = from->bytes + at * from->width;

    return from->width == 1 ? c[0] : (unsigned)c[1] << 8 | c[0];
}

/* Nobody says which of both it is: UTF-16 if the second byte is zero. */
static struct characters take_characters(const struct lct_reader *reader)
{
    bool wide = reader->left >= 2 && reader->bytes[0] != 0 && reader->bytes[1] == 0;
    struct characters taken = {reader->bytes, wide ? reader->left / 2 : reader->left, wide ? 2 : 1};
    size_t len = 0;

    while (len < taken.len && character(&taken, len) != 0)
        len++;
    taken.len = len;
    return taken;
}

static void put_characters(struct sink *sink, const struct characters *from)
{
    size_t len = from->len;

    while (len > 0 && character(from, len - 1) <= ' ')
        len--; /* the end of a line */
    for (size_t i = 0; i < len && !sink->full; i++)
        put(sink, character(from, i));
}

static void put_wide(struct sink *sink, const uint8_t *bytes, size_t bytes_len)
{
    struct characters from = {bytes, bytes_len / 2, 2};
    size_t len = 0;

    while (len < from.len && character(&from, len) != 0)
        len++;
    from.len = len;
    put_characters(sink, &from);
}

/* What is text by its type. */
static void tell_text(struct sink *sink, const struct lct_event *event)
{
    struct lct_reader reader = {event->bytes, event->bytes_len, false};
    struct characters from = take_characters(&reader);

    put_characters(sink, &from);
}

/* What may be text: all of it or nothing. */
static void tell_if_text(struct sink *sink, struct lct_reader reader)
{
    struct characters from = take_characters(&reader);

    for (size_t i = 0; i < from.len; i++)
        if (!is_readable(character(&from, i)))
            return;
    put_characters(sink, &from);
}

static void tell_anything(struct sink *sink, const struct lct_event *event)
{
    tell_if_text(sink, (struct lct_reader){event->bytes, event->bytes_len, false});
}

/* PFP, 10.4.1: four bytes, all of them 0 or 0xff, unless the firmware has met an error: 1. Windows
 * has separators with a text. */
static void tell_separator(struct sink *sink, const struct lct_event *event)
{
    static const uint8_t error[] = {1, 0, 0, 0};

    if (event->bytes_len == sizeof error && memcmp(event->bytes, error, sizeof error) == 0)
        put_string(sink, "an error of the firmware");
    else
        tell_anything(sink, event);
}

/* A signature of 16 bytes, and of one of them the locality behind it (PFP, 10.4.5). */
static void tell_no_action(struct sink *sink, const struct lct_event *event)
{
    struct lct_reader reader = {event->bytes, event->bytes_len, false};
    const uint8_t *signature = lct_reader_take(&reader, 16);
    char number[24];

    if (signature == NULL)
        return;
    tell_if_text(sink, (struct lct_reader){signature, 16, false});
    if (strcmp(sink->text, "StartupLocality") == 0 && reader.left == 1) {
        (void)snprintf(number, sizeof number, " %u", (unsigned)reader.bytes[0]);
        put_string(sink, number);
    }
}

/* TCG_PCClientTaggedEvent (PFP, 10.4.2.1). */
static void tell_tag(struct sink *sink, const struct lct_event *event)
{
    struct lct_reader reader = {event->bytes, event->bytes_len, false};

    (void)lct_read_little(&reader, 4); /* taggedEventID */
    if (lct_read_little(&reader, 4) == reader.left && !reader.failed)
        tell_if_text(sink, reader);
}

static bool is_boot_option(const struct lct_event_variable *variable)
{
    static const char name[] = "Boot####";

    if (variable->name_len != sizeof name - 1)
        return false;
    for (size_t i = 0; i < variable->name_len; i++) {
        unsigned c = (unsigned)variable->name[2 * i + 1] << 8 | variable->name[2 * i];
        bool digit = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F');
        if (name[i] == '#' ? !digit : c != (unsigned char)name[i])
            return false;
    }
    return true;
}

/* The variable's name; of one byte, such as SecureBoot's, its value; of a boot option
 * (EFI_LOAD_OPTION: UEFI 2.10, 3.1.3) how it is called. */
static void tell_variable(struct sink *sink, const struct lct_event *event)
{
    struct lct_event_variable variable;
    char number[24];

    if (!lct_event_variable(&variable, event))
        return;
    put_wide(sink, variable.name, 2 * variable.name_len);
    if (variable.content_len == 1) {
        (void)snprintf(number, sizeof number, " = %u", (unsigned)variable.content[0]);
        put_string(sink, number);
    } else if (is_boot_option(&variable) && variable.content_len > 6) {
        put_string(sink, ": ");
        put_wide(sink, variable.content + 6, variable.content_len - 6);
    }
}

/* A device path (UEFI 2.10, 10.3): of its nodes those that are a file's name, type 4, subtype 4. */
static void tell_device_path(struct sink *sink, struct lct_reader reader)
{
    enum { HEAD = 4, MEDIA = 4, FILE_PATH = 4 };

    while (reader.left >= HEAD) {
        uint64_t type = lct_read_little(&reader, 1), subtype = lct_read_little(&reader, 1);
        uint64_t len = lct_read_little(&reader, 2);
        const uint8_t *node = len >= HEAD ? lct_reader_take(&reader, (size_t)len - HEAD) : NULL;
        if (node == NULL)
            return;
        if (type == MEDIA && subtype == FILE_PATH)
            put_wide(sink, node, (size_t)len - HEAD);
    }
}

/* UEFI_IMAGE_LOAD_EVENT (PFP, 10.2.3): where it was put, how long it is, what it was linked for. */
static void tell_image(struct sink *sink, const struct lct_event *event)
{
    struct lct_reader reader = {event->bytes, event->bytes_len, false};

    (void)lct_reader_take(&reader, 3 * sizeof(uint64_t));
    if (lct_read_little(&reader, 8) == reader.left && !reader.failed)
        tell_device_path(sink, reader);
}

/* UEFI_PLATFORM_FIRMWARE_BLOB2 and UEFI_HANDOFF_TABLE_POINTERS2 (PFP, 10.2.4 and 10.2.6) begin with
 * a description behind its length. */
static void tell_described(struct sink *sink, const struct lct_event *event)
{
    struct lct_reader reader = {event->bytes, event->bytes_len, false};
    size_t len = (size_t)lct_read_little(&reader, 1);
    const uint8_t *start = lct_reader_take(&reader, len);

    if (start != NULL)
        tell_if_text(sink, (struct lct_reader){start, len, false});
}

/* PFP, 10.4.1. */
static const struct row {
    uint32_t type;
    const char *name;
    void (*tell)(struct sink *sink, const struct lct_event *event);
} rows[] = {
    {0x00000000, "EV_PREBOOT_CERT", tell_anything},
    {0x00000001, "EV_POST_CODE", tell_anything},
    {0x00000002, "EV_UNUSED", tell_anything},
    {0x00000003, "EV_NO_ACTION", tell_no_action},
    {0x00000004, "EV_SEPARATOR", tell_separator},
    {0x00000005, "EV_ACTION", tell_text},
    {0x00000006, "EV_EVENT_TAG", tell_tag},
    {0x00000007, "EV_S_CRTM_CONTENTS", tell_anything},
    {0x00000008, "EV_S_CRTM_VERSION", tell_anything},
    {0x00000009, "EV_CPU_MICROCODE", tell_anything},
    {0x0000000a, "EV_PLATFORM_CONFIG_FLAGS", tell_anything},
    {0x0000000b, "EV_TABLE_OF_DEVICES", tell_anything},
    {0x0000000c, "EV_COMPACT_HASH", tell_anything},
    {0x0000000d, "EV_IPL", tell_text},
    {0x0000000e, "EV_IPL_PARTITION_DATA", tell_anything},
    {0x0000000f, "EV_NONHOST_CODE", tell_anything},
    {0x00000010, "EV_NONHOST_CONFIG", tell_anything},
    {0x00000011, "EV_NONHOST_INFO", tell_anything},
    {0x00000012, "EV_OMIT_BOOT_DEVICE_EVENTS", tell_text},
    {0x00000013, "EV_POST_CODE2", tell_described},
    {0x80000000, "EV_EFI_EVENT_BASE", tell_anything},
    {0x80000001, "EV_EFI_VARIABLE_DRIVER_CONFIG", tell_variable},
    {0x80000002, "EV_EFI_VARIABLE_BOOT", tell_variable},
    {0x80000003, "EV_EFI_BOOT_SERVICES_APPLICATION", tell_image},
    {0x80000004, "EV_EFI_BOOT_SERVICES_DRIVER", tell_image},
    {0x80000005, "EV_EFI_RUNTIME_SERVICES_DRIVER", tell_image},
    {0x80000006, "EV_EFI_GPT_EVENT", NULL},
    {0x80000007, "EV_EFI_ACTION", tell_text},
    {0x80000008, "EV_EFI_PLATFORM_FIRMWARE_BLOB", NULL},
    {0x80000009, "EV_EFI_HANDOFF_TABLES", NULL},
    {0x8000000a, "EV_EFI_PLATFORM_FIRMWARE_BLOB2", tell_described},
    {0x8000000b, "EV_EFI_HANDOFF_TABLES2", tell_described},
    {0x8000000c, "EV_EFI_VARIABLE_BOOT2", tell_variable},
    {0x8000000d, "EV_EFI_GPT_EVENT2", NULL},
    {0x80000010, "EV_EFI_HCRTM_EVENT", tell_text},
    {0x800000e0, "EV_EFI_VARIABLE_AUTHORITY", tell_variable},
    {0x800000e1, "EV_EFI_SPDM_FIRMWARE_BLOB", NULL},
    {0x800000e2, "EV_EFI_SPDM_FIRMWARE_CONFIG", NULL},
    {0x800000e3, "EV_EFI_SPDM_DEVICE_POLICY", NULL},
    {0x800000e4, "EV_EFI_SPDM_DEVICE_AUTHORITY", NULL},
};

static const struct row *find(uint32_t type)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].type == type)
            return &rows[i];
    return NULL;
}

const char *lct_event_name(char name[LCT_EVENT_NAME], uint32_t type)
{
    const struct row *row = find(type);

    (void)snprintf(name, LCT_EVENT_NAME, "0x%08" PRIx32, type);
    return row != NULL ? row->name : name;
}

void lct_event_text(char text[LCT_EVENT_TEXT], const struct lct_event *event)
{
    const struct row *row = find(event->type);
    struct sink sink = {.text = text};

    text[0] = '\0';
    if (row == NULL)
        tell_anything(&sink, event);
    else if (row->tell != NULL)
        row->tell(&sink, event);
}
