/* SPDX-License-Identifier: Apache-2.0 */
#include "tcg/marshal.h"

#include <openssl/bn.h>
#include <openssl/evp.h>
#include <string.h>

uint8_t *lct_writer_grow(struct lct_writer *writer, size_t len)
{
    if (writer->failed || len > writer->capacity - writer->len) {
        writer->failed = true;
        return NULL;
    }
    uint8_t *start = writer->bytes + writer->len;
    writer->len += len;
    return start;
}

void lct_write_u16(struct lct_writer *writer, size_t value)
{
    uint8_t *start = lct_writer_grow(writer, 2);

    if (start == NULL)
        return;
    start[0] = (uint8_t)(value >> 8);
    start[1] = (uint8_t)value;
}

void lct_write_u32(struct lct_writer *writer, uint32_t value)
{
    lct_write_u16(writer, value >> 16);
    lct_write_u16(writer, value & 0xffff);
}

void lct_write_u64(struct lct_writer *writer, uint64_t value)
{
    lct_write_u32(writer, (uint32_t)(value >> 32));
    lct_write_u32(writer, (uint32_t)value);
}

void lct_write_bytes(struct lct_writer *writer, const uint8_t *bytes, size_t len)
{
    uint8_t *start = lct_writer_grow(writer, len);

    if (start != NULL && len > 0)
        memcpy(start, bytes, len);
}

void lct_write_sized(struct lct_writer *writer, const uint8_t *bytes, size_t len)
{
    lct_write_u16(writer, len);
    lct_write_bytes(writer, bytes, len);
}

void lct_writer_close_sized(struct lct_writer *writer, size_t start)
{
    if (writer->failed)
        return;
    size_t len = writer->len - start - 2;
    writer->bytes[start] = (uint8_t)(len >> 8);
    writer->bytes[start + 1] = (uint8_t)len;
}

void lct_write_number(struct lct_writer *writer, const EVP_PKEY *pkey, const char *param,
                      size_t size)
{
    BIGNUM *number = NULL;

    lct_write_u16(writer, size);
    uint8_t *start = lct_writer_grow(writer, size);
    if (start == NULL || EVP_PKEY_get_bn_param(pkey, param, &number) != 1 ||
        BN_bn2binpad(number, start, (int)size) < 0)
        writer->failed = true;
    BN_clear_free(number);
}

const uint8_t *lct_reader_take(struct lct_reader *reader, size_t len)
{
    const uint8_t *start = reader->bytes;

    if (reader->failed || len > reader->left) {
        reader->failed = true;
        return NULL;
    }
    reader->bytes += len;
    reader->left -= len;
    return start;
}

uint8_t lct_read_u8(struct lct_reader *reader)
{
    const uint8_t *b = lct_reader_take(reader, 1);

    return b != NULL ? b[0] : 0;
}

uint16_t lct_read_u16(struct lct_reader *reader)
{
    const uint8_t *b = lct_reader_take(reader, 2);

    return b != NULL ? (uint16_t)((unsigned)b[0] << 8 | b[1]) : 0;
}

uint32_t lct_read_u32(struct lct_reader *reader)
{
    uint32_t high = lct_read_u16(reader);

    return high << 16 | lct_read_u16(reader);
}

uint64_t lct_read_u64(struct lct_reader *reader)
{
    uint64_t high = lct_read_u32(reader);

    return high << 32 | lct_read_u32(reader);
}

uint64_t lct_read_little(struct lct_reader *reader, size_t size)
{
    const uint8_t *bytes = lct_reader_take(reader, size);
    uint64_t number = 0;

    for (size_t i = size; bytes != NULL && i > 0; i--)
        number = number << 8 | bytes[i - 1];
    return number;
}

size_t lct_read_sized(struct lct_reader *reader, uint8_t *bytes, size_t capacity)
{
    size_t len = lct_read_u16(reader);

    if (len > capacity)
        reader->failed = true;
    const uint8_t *start = lct_reader_take(reader, len);
    if (start == NULL)
        return 0;
    memcpy(bytes, start, len);
    return len;
}
