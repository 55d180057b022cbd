/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/json.h"

#include "base/date.h"
#include "base/encode.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { NUMBER_TEXT = 16 };

bool lct_json_bytes(uint8_t *bytes, size_t len, const char *text)
{
    size_t decoded = 0;

    return lct_hex_decode(bytes, &decoded, len, text) && decoded == len;
}

char *lct_json_dump(const json_t *json, size_t flags)
{
    /* Written into a buffer: what is allocated beside that is refused where it is not there. */
    size_t size = json_dumpb(json, NULL, 0, flags);
    char *text = size > 0 ? malloc(size + 1) : NULL;

    if (text == NULL)
        return NULL;
    if (json_dumpb(json, text, size, flags) != size) {
        explicit_bzero(text, size);
        free(text);
        return NULL;
    }
    text[size] = '\0';
    return text;
}

bool lct_json_pcrs(struct lct_pcrs *pcrs, const char *text)
{
    char canonical[LCT_PCRS_TEXT];

    if (lct_pcrs_parse(pcrs, text, strlen(text), NULL) != LCT_OK)
        return false;
    lct_pcrs_text(canonical, pcrs);
    return strcmp(text, canonical) == 0;
}

static bool bank_values(uint8_t values[LCT_NUM_PCRS][LCT_MAX_HASH], const struct lct_pcr_bank *bank,
                        const json_t *json)
{
    char number[NUMBER_TEXT];
    size_t num = 0;

    for (unsigned n = 0; n < LCT_NUM_PCRS; n++) {
        if ((bank->pcrs & 1u << n) == 0)
            continue;
        (void)snprintf(number, sizeof number, "%u", n);
        const char *text = json_string_value(json_object_get(json, number));
        if (text == NULL || !lct_json_bytes(values[n], bank->hash->size, text))
            return false;
        num++;
    }
    return json_object_size(json) == num;
}

bool lct_json_values(struct lct_pcr_values *values, const json_t *json)
{
    const struct lct_pcrs *pcrs = &values->pcrs;

    for (size_t i = 0; i < pcrs->num_banks; i++)
        if (!bank_values(values->values[i], &pcrs->banks[i],
                         json_object_get(json, pcrs->banks[i].hash->name)))
            return false;
    return json_is_object(json) && json_object_size(json) == pcrs->num_banks;
}

bool lct_json_text(char *text, size_t size, const char *value)
{
    size_t len = strlen(value);

    for (size_t i = 0; i < len; i++)
        if ((unsigned char)value[i] < ' ' || (unsigned char)value[i] > '~')
            return false;
    if (len >= size)
        return false;
    memcpy(text, value, len + 1);
    return true;
}

bool lct_json_maybe(const char **text, const json_t *json)
{
    *text = json_string_value(json);
    return *text != NULL || json_is_null(json);
}

bool lct_json_time(char text[21], const char *value)
{
    return lct_date_is_formed(value) && lct_json_text(text, 21, value);
}

bool lct_json_of_time(char text[21], time_t seconds)
{
    return lct_date_of_seconds(text, seconds);
}

void lct_json_now(char text[21])
{
    (void)lct_json_of_time(text, time(NULL));
}

bool lct_json_seconds(time_t *seconds, const char *value)
{
    int64_t wide = 0;

    if (!lct_date_to_seconds(&wide, value))
        return false;
    *seconds = (time_t)wide;
    return *seconds == wide; /* a time_t of 32 bits ends in 2038 */
}

bool lct_json_handle(uint32_t *handle, const char *text)
{
    uint8_t bytes[4];

    if (strncmp(text, "0x", 2) != 0 || !lct_json_bytes(bytes, sizeof bytes, text + 2))
        return false;
    *handle =
        (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
    return true;
}

bool lct_json_name(struct lct_name *name, const char *text)
{
    return lct_hex_decode(name->data, &name->len, sizeof name->data, text) && name->len > 2;
}

json_t *lct_json_of_bytes(const uint8_t *bytes, size_t bytes_len)
{
    char text[2 * LCT_MAX_JSON_BYTES + 1];

    if (bytes_len > LCT_MAX_JSON_BYTES)
        return NULL;
    lct_hex_encode(text, bytes, bytes_len);
    return json_string(text);
}

json_t *lct_json_of_pcrs(const struct lct_pcrs *pcrs)
{
    char text[LCT_PCRS_TEXT];

    lct_pcrs_text(text, pcrs);
    return json_string(text);
}

static json_t *of_bank(const uint8_t values[LCT_NUM_PCRS][LCT_MAX_HASH],
                       const struct lct_pcr_bank *bank)
{
    json_t *json = json_object();
    char number[NUMBER_TEXT];
    bool good = json != NULL;

    for (unsigned n = 0; n < LCT_NUM_PCRS && good; n++) {
        (void)snprintf(number, sizeof number, "%u", n);
        if ((bank->pcrs & 1u << n) != 0)
            good = json_object_set_new(json, number,
                                       lct_json_of_bytes(values[n], bank->hash->size)) == 0;
    }
    if (good)
        return json;
    json_decref(json);
    return NULL;
}

json_t *lct_json_of_values(const struct lct_pcr_values *values)
{
    json_t *json = json_object();
    bool good = json != NULL;

    for (size_t i = 0; i < values->pcrs.num_banks && good; i++) {
        const struct lct_pcr_bank *bank = &values->pcrs.banks[i];
        good = json_object_set_new(json, bank->hash->name, of_bank(values->values[i], bank)) == 0;
    }
    if (good)
        return json;
    json_decref(json);
    return NULL;
}

bool lct_json_counter(struct lct_counter *counter, json_t *json)
{
    const char *handle, *name;
    json_int_t value = 0;

    *counter = (struct lct_counter){0};
    if (json_is_null(json))
        return true;
    if (json_unpack_ex(json, NULL, JSON_STRICT, "{s:s, s:s, s:I}", "handle", &handle, "name", &name,
                       "value", &value) != 0 ||
        value < 0)
        return false;
    counter->value = (uint64_t)value;
    return lct_json_handle(&counter->handle, handle) &&
           counter->handle >> TPM2_HR_SHIFT == TPM2_HT_NV_INDEX &&
           lct_json_name(&counter->name, name);
}

json_t *lct_json_of_counter(const struct lct_counter *counter)
{
    if (counter->handle == 0)
        return json_null();
    return json_pack("{s:o, s:o, s:I}", "handle", json_sprintf("0x%08x", counter->handle), "name",
                     lct_json_of_bytes(counter->name.data, counter->name.len), "value",
                     (json_int_t)counter->value);
}

static bool read_pcrs_file(struct lct_pcr_values *values, json_t *json)
{
    json_t *id, *ref, *counter, *all;
    const char *pcrs;
    int version;

    return json_unpack_ex(json, NULL, JSON_STRICT, "{s:i, s:s, s:o, s?o, s?o, s?o}", "version",
                          &version, "pcrs", &pcrs, "values", &all, "id", &id, "policy_ref", &ref,
                          "counter", &counter) == 0 &&
           version == 1 && lct_json_pcrs(&values->pcrs, pcrs) && lct_json_values(values, all);
}

enum lct_code lct_json_pcrs_file(struct lct_pcr_values *values, const uint8_t *text,
                                 size_t text_len, struct lct_err *err)
{
    json_t *json = lct_json_load(text, text_len, NULL);

    memset(values, 0, sizeof *values);
    bool good = json != NULL && read_pcrs_file(values, json);
    json_decref(json);
    return good ? LCT_OK
                : LCT_FAIL(err, LCT_ERR_BAD_EVIDENCE,
                           "these are no PCR values; lct pcrs writes "
                           "them");
}
