/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_PROOF_PCRFILE_H
#define LCT_PROOF_PCRFILE_H

#include "base/error.h"
#include "tcg/pcr.h"

#include <stddef.h>
#include <stdint.h>

/*
 * PCR values as tpm2-tools writes them (tpm2_quote -o, its format "serialized", the default): a
 * TPML_PCR_SELECTION and TPML_DIGESTs as C has them in memory, in little-endian on every machine,
 *
 *     u32 number of banks, 16 times {u16 hash, u8 3, 4 bytes of bitmap, u8},
 *     u32 number of lists, each {u32 number of values, 8 times {u16 size, 64 bytes}}
 *
 * the values in the order of the banks as they are selected, and in a bank by number. It is all of
 * `bytes`. LCT_ERR_BAD_EVIDENCE: anything else, as the format "values", which does not say of which
 * PCRs they are; a bank that we do not know or twice, a value too few or too many or of another
 * size than its bank's. Whether these are the PCRs that were quoted is for the caller to ask
 * (CVE-2024-29039).
 */
enum lct_code lct_pcrfile_read(struct lct_pcr_values *values, const uint8_t *bytes,
                               size_t bytes_len, struct lct_err *err);

#endif
