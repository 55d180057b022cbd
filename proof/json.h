/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_PROOF_JSON_H
#define LCT_PROOF_JSON_H

#include "base/error.h"
#include "tcg/pcr.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Values that stand in JSON wherever we write it. Reading is strict: one form of each value, the
 * one that is written; false: it is another.
 */

/* Exactly `len` bytes in hexadecimal. */
bool lct_json_bytes(uint8_t *bytes, size_t len, const char *text);

/* "sha256:0,7", in the order that lct_pcrs_text writes. */
bool lct_json_pcrs(struct lct_pcrs *pcrs, const char *text);

/* {"sha256": {"0": "<hex>", ...}}: of the PCRs of values->pcrs, all of them and no other. */
bool lct_json_values(struct lct_pcr_values *values, const json_t *json);

/*
 * What `lct pcrs` writes, {"version": 1, "pcrs": "sha256:0,7", "values": {...}, ...}, for whoever
 * compares values and asks not whose they are. LCT_ERR_BAD_EVIDENCE.
 */
enum lct_code lct_json_pcrs_file(struct lct_pcr_values *values, const uint8_t *text,
                                 size_t text_len, struct lct_err *err);

#endif
