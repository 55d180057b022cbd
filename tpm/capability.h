/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TPM_CAPABILITY_H
#define LCT_TPM_CAPABILITY_H

#include "tpm/connection.h"

/*
 * Inside of the room, with the connection taken: TPM2_GetCapability (TPM 2.0 Part 3, 30.2), at most
 * `count` entries from `property` on. What the TPM answers instead of `capability`, as it does in
 * failure mode, is taken for nothing: *data is all zero then.
 */
enum lct_code lct_capability_get(struct lct_tpm *tpm, TPMS_CAPABILITY_DATA *data, const char *label,
                                 TPM2_CAP capability, uint32_t property, uint32_t count,
                                 struct lct_err *err);

/* How many more objects the TPM can load now (TPM2_PT_HR_TRANSIENT_AVAIL); 0 if it does not say. */
uint32_t lct_capability_free_slots(struct lct_tpm *tpm);

#endif
