/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/json.h"

#include "base/encode.h"

#include <stdio.h>
#include <string.h>

enum { NUMBER_TEXT = 16 };

bool lct_json_bytes(uint8_t *bytes, size_t len, const char *text)
{
    size_t decoded = 0;

    return lct_hex_decode(bytes, &decoded, len, text) && decoded == len;
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
    json_t *json = json_loadb((const char *)text, text_len, JSON_REJECT_DUPLICATES, NULL);

    memset(values, 0, sizeof *values);
    bool good = json != NULL && read_pcrs_file(values, json);
    json_decref(json);
    return good ? LCT_OK
                : LCT_FAIL(err, LCT_ERR_BAD_EVIDENCE,
                           "these are no PCR values; lct pcrs writes "
                           "them");
}
