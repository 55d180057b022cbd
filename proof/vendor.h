/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_PROOF_VENDOR_H
#define LCT_PROOF_VENDOR_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Makers of TPMs, by TCG's id (TPM_PT_MANUFACTURER): four characters, filled up with NUL or spaces.
 * Those of the TCG TPM Vendor ID Registry 1.08, table 2, are known by name.
 */

/* "INTC", which is of the Registry, or any eight hexadecimal digits. False: it is neither. */
bool lct_vendor_parse(uint32_t *id, const char *text);

bool lct_vendor_is_registered(uint32_t id);

/* For people: "Intel (INTC)", or "00001014, which is none of the TCG's registry". */
enum { LCT_VENDOR_TEXT = 64 };
void lct_vendor_text(char text[LCT_VENDOR_TEXT], uint32_t id);

#endif
