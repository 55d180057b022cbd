/* SPDX-License-Identifier: Apache-2.0 */
#include "store/json.h"

#include "base/encode.h"
#include "proof/json.h"
#include "tpm/tpm.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

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
    static const char form[] = "dddd-dd-ddTdd:dd:ddZ";
    struct tm tm = {0};

    if (strlen(value) != sizeof form - 1)
        return false;
    for (size_t i = 0; form[i] != '\0'; i++)
        if (form[i] == 'd' ? value[i] < '0' || value[i] > '9' : value[i] != form[i])
            return false;
    return strptime(value, "%Y-%m-%dT%H:%M:%SZ", &tm) != NULL && lct_json_text(text, 21, value);
}

void lct_json_now(char text[21])
{
    time_t seconds = time(NULL);
    struct tm utc;

    (void)gmtime_r(&seconds, &utc);
    (void)strftime(text, 21, "%Y-%m-%dT%H:%M:%SZ", &utc);
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
    char text[2 * LCT_MAX_BLOB + 1];

    if (bytes_len > LCT_MAX_BLOB)
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

enum { NUMBER_TEXT = 16 };

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
