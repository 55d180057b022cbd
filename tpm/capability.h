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

/* Where handles of transient objects begin (TPM 2.0 Part 2, 7.4): TSS's constant shifts into the
 * sign bit. */
static const uint32_t lct_transient_first = 0x80000000;

/* One property (TPM2_PT_*); 0 if this TPM does not tell it. */
enum lct_code lct_capability_property(struct lct_tpm *tpm, const char *label, uint32_t property,
                                      uint32_t *value, struct lct_err *err);

/* What the TPM's protection against guessing counts (TPM 2.0 Part 1, 19.8); 0 where it does not
 * tell. */
struct lct_lockout {
    uint32_t tries;   /* wrong ones that are not forgotten */
    uint32_t most;    /* that many are the lockout */
    uint32_t seconds; /* after which one is forgotten */
};

enum lct_code lct_capability_lockout(struct lct_tpm *tpm, struct lct_lockout *lockout,
                                     const char *label, struct lct_err *err);

/* The handles there are from `first` to `last`, which are of one kind, in order. */
enum lct_code lct_capability_handles(struct lct_tpm *tpm, TPML_HANDLE *list, const char *label,
                                     uint32_t first, uint32_t last, struct lct_err *err);

#endif
