/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/pcrfile.h"

#include <stdbool.h>
#include <string.h>

enum {
    FILE_BANKS = 16, /* TPM2_NUM_PCR_BANKS */
    BANK = 8,
    SELECTION = 4 + FILE_BANKS * BANK,
    LIST_VALUES = 8, /* of a TPML_DIGEST */
    VALUE = 2 + 64,
    LIST = 4 + LIST_VALUES * VALUE,
    SELECT_SIZE = LCT_NUM_PCRS / 8
};

/* The banks in the file's order, which the values are in. */
struct banks {
    size_t num;
    struct lct_pcr_bank banks[LCT_MAX_BANKS];
};

/* The values one after the other, across the lists. */
struct reader {
    const uint8_t *lists;
    size_t num_lists, list, at;
};

static uint32_t little(const uint8_t *bytes, size_t size)
{
    uint32_t number = 0;

    for (size_t i = 0; i < size; i++)
        number |= (uint32_t)bytes[i] << (8 * i);
    return number;
}

static bool add_bank(struct banks *banks, const uint8_t *entry)
{
    const struct lct_hash *hash = lct_hash_by_id((uint16_t)little(entry, 2));
    uint32_t pcrs = little(entry + 3, SELECT_SIZE);

    if (hash == NULL || entry[2] != SELECT_SIZE)
        return false;
    for (size_t i = 0; i < banks->num; i++)
        if (banks->banks[i].hash == hash)
            return false;
    if (pcrs == 0) /* a bank that the TPM does not keep */
        return true;
    if (banks->num == LCT_MAX_BANKS)
        return false;
    banks->banks[banks->num++] = (struct lct_pcr_bank){hash, pcrs};
    return true;
}

static bool read_banks(struct banks *banks, const uint8_t *bytes)
{
    uint32_t num = little(bytes, 4);

    if (num > FILE_BANKS)
        return false;
    for (size_t i = 0; i < num; i++)
        if (!add_bank(banks, bytes + 4 + i * (size_t)BANK))
            return false;
    return banks->num > 0;
}

/* The same in our order. */
static void sort_banks(struct lct_pcrs *pcrs, const struct banks *banks)
{
    for (size_t i = 0; i < banks->num; i++) {
        size_t at = pcrs->num_banks++;
        for (; at > 0 && pcrs->banks[at - 1].hash > banks->banks[i].hash; at--)
            pcrs->banks[at] = pcrs->banks[at - 1];
        pcrs->banks[at] = banks->banks[i];
    }
}

/* The next value, which has `size` bytes; NULL: there is none. */
static const uint8_t *next_value(struct reader *reader, size_t size)
{
    if (reader->list == reader->num_lists)
        return NULL;
    const uint8_t *list = reader->lists + reader->list * LIST;
    uint32_t num = little(list, 4);
    if (num == 0 || num > LIST_VALUES)
        return NULL;
    const uint8_t *value = list + 4 + reader->at * VALUE;
    if (little(value, 2) != size)
        return NULL;
    if (++reader->at == num) {
        reader->list++;
        reader->at = 0;
    }
    return value + 2;
}

static bool read_values(struct lct_pcr_values *values, const struct banks *banks,
                        struct reader *reader)
{
    for (size_t i = 0; i < banks->num; i++) {
        size_t size = banks->banks[i].hash->size;
        int row = lct_pcrs_find(&values->pcrs, banks->banks[i].hash->id);
        for (unsigned n = 0; n < LCT_NUM_PCRS; n++) {
            if ((banks->banks[i].pcrs & 1u << n) == 0)
                continue;
            const uint8_t *value = next_value(reader, size);
            if (value == NULL || row < 0)
                return false;
            memcpy(values->values[row][n], value, size);
        }
    }
    return reader->list == reader->num_lists;
}

enum lct_code lct_pcrfile_read(struct lct_pcr_values *values, const uint8_t *bytes,
                               size_t bytes_len, struct lct_err *err)
{
    struct banks banks = {0};

    memset(values, 0, sizeof *values);
    bool good = bytes_len >= SELECTION + 4 && read_banks(&banks, bytes);
    if (good) {
        struct reader reader = {.lists = bytes + SELECTION + 4,
                                .num_lists = little(bytes + SELECTION, 4)};
        size_t rest = bytes_len - SELECTION - 4;
        sort_banks(&values->pcrs, &banks);
        good = rest % LIST == 0 && rest / LIST == reader.num_lists &&
               read_values(values, &banks, &reader);
    }
    return good ? LCT_OK
                : LCT_FAIL(err, LCT_ERR_BAD_EVIDENCE,
                           "these are no PCR values; lct pcrs writes them, and tpm2_quote -o in "
                           "the format serialized");
}
