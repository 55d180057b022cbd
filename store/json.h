/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_STORE_JSON_H
#define LCT_STORE_JSON_H

#include "tcg/pcr.h"
#include "tcg/policy.h"
#include "tcg/public.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What records, seals and approvals have in common in JSON, beside proof/json.h. Reading is strict:
 * one form of each value, the one that is written; false: it is another. What makes JSON returns
 * NULL if out of memory.
 */

/* Printable ASCII, since it is shown on terminals; `size` with the NUL. */
bool lct_json_text(char *text, size_t size, const char *value);

/* A string, borrowed, or null: NULL. */
bool lct_json_maybe(const char **text, const json_t *json);

/* "2026-11-23T20:00:00Z" */
bool lct_json_time(char text[21], const char *value);

/* Now, in that form. */
void lct_json_now(char text[21]);

/* "0x81000001": eight lower-case digits. */
bool lct_json_handle(uint32_t *handle, const char *text);

/* A Name, which is not empty. */
bool lct_json_name(struct lct_name *name, const char *text);

/* Bytes in hexadecimal; `bytes_len` is LCT_MAX_BLOB at most. */
json_t *lct_json_of_bytes(const uint8_t *bytes, size_t bytes_len);

/* As proof/json.h reads them. */
json_t *lct_json_of_pcrs(const struct lct_pcrs *pcrs);
json_t *lct_json_of_values(const struct lct_pcr_values *values);

/* {"handle": "0x01ac6374", "name": "<hex>", "value": 3}, or null: handle 0 */
bool lct_json_counter(struct lct_counter *counter, json_t *json);
json_t *lct_json_of_counter(const struct lct_counter *counter);

#endif
