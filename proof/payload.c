/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/payload.h"

#include "proof/document.h"
#include "proof/jcs.h"
#include "proof/json.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum lct_payload lct_payload_kind(const struct lct_jws_general *jws)
{
    static const char *const types[] = {
        [LCT_PAYLOAD_SUCCESSION] = "lct-succession",
        [LCT_PAYLOAD_END] = "lct-end",
        [LCT_PAYLOAD_STATEMENT] = "lct-statement",
    };
    json_t *json = lct_json_load(jws->payload, jws->payload_len, NULL);
    const char *type = json_string_value(json_object_get(json, "type"));
    enum lct_payload kind = LCT_PAYLOAD_OTHER;

    for (size_t i = LCT_PAYLOAD_SUCCESSION; i < sizeof types / sizeof types[0]; i++)
        if (type != NULL && strcmp(types[i], type) == 0)
            kind = (enum lct_payload)i;
    json_decref(json);
    return kind;
}

enum lct_code lct_payload_begin(struct lct_jws_general *jws, json_t *json, struct lct_err *err)
{
    char *text = lct_jcs_write(json);
    enum lct_code code;

    *jws = (struct lct_jws_general){.payload = NULL};
    json_decref(json);
    if (text == NULL)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "the statement cannot be encoded");
    code = lct_jws_general_begin(jws, (const uint8_t *)text, strlen(text), err);
    free(text);
    return code;
}

enum lct_code lct_payload_read(json_t **json, const struct lct_jws_general *jws, const char *type,
                               struct lct_err *err)
{
    *json = lct_jcs_read(jws->payload, jws->payload_len);
    if (*json != NULL)
        return lct_document_check(*json, type, err);
    return LCT_FAIL(err, LCT_ERR_BAD_EVIDENCE,
                    "the statement is malformed: its payload is not canonical JSON (RFC 8785) of "
                    "ASCII and integers");
}

enum lct_code lct_payload_check_alone(const struct lct_jws_general *jws, enum lct_role role,
                                      struct lct_err *err)
{
    if (jws->num_signatures == 1 && jws->signatures[0].role == role)
        return LCT_OK;
    return LCT_FAIL(err, LCT_ERR_BAD_EVIDENCE,
                    "the statement is malformed: it is to have one signature, in the role \"%s\"",
                    lct_role_name(role));
}

bool lct_payload_number(unsigned *number, unsigned max, json_int_t value)
{
    if (value < 1 || value > (json_int_t)max)
        return false;
    *number = (unsigned)value;
    return true;
}

bool lct_payload_time(char text[21], const char *value)
{
    time_t seconds;

    return lct_json_seconds(&seconds, value) && lct_json_time(text, value);
}
