/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_PROOF_JSON_H
#define LCT_PROOF_JSON_H

#include "base/error.h"
#include "tcg/pcr.h"
#include "tcg/policy.h"
#include "tcg/public.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

/*
 * Values that stand in JSON wherever we write it: records, seals, approvals, evidence. Reading is
 * strict: one form of each value, the one that is written; false: it is another. What makes JSON
 * returns NULL if out of memory.
 */

/* Exactly `len` bytes in hexadecimal. */
bool lct_json_bytes(uint8_t *bytes, size_t len, const char *text);

/* "sha256:0,7", in the order that lct_pcrs_text writes. */
bool lct_json_pcrs(struct lct_pcrs *pcrs, const char *text);

/* {"sha256": {"0": "<hex>", ...}}: of the PCRs of values->pcrs, all of them and no other. */
bool lct_json_values(struct lct_pcr_values *values, const json_t *json);

/* Printable ASCII, since it is shown on terminals; `size` with the NUL. */
bool lct_json_text(char *text, size_t size, const char *value);

/*
 * The text of JSON, ended by a NUL, which the caller frees; `flags` as json_dumps(3), in whose
 * place this is: without memory for a key that one leaves it out, and succeeds (jansson 2.14).
 */
char *lct_json_dump(const json_t *json, size_t flags);

/*
 * The object or array that a text is, for the caller to free, as json_loadb(3), in whose place this
 * is, with JSON_REJECT_DUPLICATES: without memory that one crashes, or leaves a byte out. `where`
 * may be NULL; its column and position are of no use. NULL: it is no JSON, or out of memory; errno
 * is ENOMEM then and else 0.
 */
json_t *lct_json_load(const uint8_t *text, size_t text_len, json_error_t *where);

/* A string, borrowed, or null: NULL. */
bool lct_json_maybe(const char **text, const json_t *json);

/* "2026-11-23T20:00:00Z" */
bool lct_json_time(char text[21], const char *value);

/* Now, in that form; another time, false: it is of no year of four digits; and back, false: it is
 * not in that form or no time at all. */
void lct_json_now(char text[21]);
bool lct_json_of_time(char text[21], time_t seconds);
bool lct_json_seconds(time_t *seconds, const char *value);

/* "0x81000001": eight lower-case digits. */
bool lct_json_handle(uint32_t *handle, const char *text);

/* A Name, which is not empty. */
bool lct_json_name(struct lct_name *name, const char *text);

/* Bytes in hexadecimal; NULL also if there are more than LCT_MAX_JSON_BYTES. */
enum { LCT_MAX_JSON_BYTES = 1024 };
json_t *lct_json_of_bytes(const uint8_t *bytes, size_t bytes_len);

/* As they are read above. */
json_t *lct_json_of_pcrs(const struct lct_pcrs *pcrs);
json_t *lct_json_of_values(const struct lct_pcr_values *values);

/* {"handle": "0x01ac6374", "name": "<hex>", "value": 3}, or null: handle 0 */
bool lct_json_counter(struct lct_counter *counter, json_t *json);
json_t *lct_json_of_counter(const struct lct_counter *counter);

/*
 * What `lct pcrs` writes, {"version": 1, "pcrs": "sha256:0,7", "values": {...}, ...}, for whoever
 * compares values and asks not whose they are. LCT_ERR_BAD_EVIDENCE.
 */
enum lct_code lct_json_pcrs_file(struct lct_pcr_values *values, const uint8_t *text,
                                 size_t text_len, struct lct_err *err);

#endif
