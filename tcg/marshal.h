/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TCG_MARSHAL_H
#define LCT_TCG_MARSHAL_H

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes in the TPM's canonical encoding (TPM 2.0 Part 2, 4.1), written front to back. What does not
 * fit leaves `failed` set. */
struct lct_writer {
    uint8_t *bytes;
    size_t len, capacity;
    bool failed;
};

/* Room for `len` more bytes, to be filled in; NULL: there is none. */
uint8_t *lct_writer_grow(struct lct_writer *writer, size_t len);

void lct_write_u16(struct lct_writer *writer, size_t value);
void lct_write_u32(struct lct_writer *writer, uint32_t value);
void lct_write_u64(struct lct_writer *writer, uint64_t value);
void lct_write_bytes(struct lct_writer *writer, const uint8_t *bytes, size_t len);

/* A TPM2B. */
void lct_write_sized(struct lct_writer *writer, const uint8_t *bytes, size_t len);

/* Puts a size before what `writer` holds from `start` on, where two bytes were left for it. */
void lct_writer_close_sized(struct lct_writer *writer, size_t start);

/* A number of a key (OSSL_PKEY_PARAM_*) as a TPM2B of `size` bytes. The caller's key has to be
 * whole. */
void lct_write_number(struct lct_writer *writer, const EVP_PKEY *pkey, const char *param,
                      size_t size);

/* The same encoding, read front to back. The first thing that does not fit leaves `failed` set;
 * what is read then is 0 or NULL. */
struct lct_reader {
    const uint8_t *bytes;
    size_t left;
    bool failed;
};

/* The next `len` bytes, borrowed. */
const uint8_t *lct_reader_take(struct lct_reader *reader, size_t len);

uint8_t lct_read_u8(struct lct_reader *reader);
uint16_t lct_read_u16(struct lct_reader *reader);
uint32_t lct_read_u32(struct lct_reader *reader);
uint64_t lct_read_u64(struct lct_reader *reader);

/* A number of at most 8 bytes, little-endian: not the TPM's, but the firmware's event log's. */
uint64_t lct_read_little(struct lct_reader *reader, size_t size);

/* A TPM2B of at most `capacity` bytes into `bytes`; its length. */
size_t lct_read_sized(struct lct_reader *reader, uint8_t *bytes, size_t capacity);

#endif
