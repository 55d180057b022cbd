/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TPM_SHAPE_H
#define LCT_TPM_SHAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <tss2/tss2_tpm2_types.h>

/*
 * Whether the parameters of a successful response are those of its command (TPM 2.0 Part 3): each
 * as long as it says, and after the last one nothing. TSS reads what is behind them where a size is
 * wrong, and prints on the host's standard error where a list is longer than it has room for. True
 * for commands that are looked at elsewhere. It does not talk to the TPM.
 */
bool lct_shape_is_whole(TPM2_CC command, const uint8_t *params, size_t len);

/*
 * Whether TSS knows all algorithms by which the public area that TPM2_ReadPublic gives goes on,
 * that of its object and those of its parameters (TPM 2.0 Part 2, 12.2.3.7). It prints where it
 * does not. Anybody may have put an object of a newer kind into the TPM. True for other commands.
 * It does not talk to the TPM.
 */
bool lct_shape_is_known(TPM2_CC command, const uint8_t *params, size_t len);

#endif
