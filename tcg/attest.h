/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TCG_ATTEST_H
#define LCT_TCG_ATTEST_H

#include "base/error.h"
#include "tcg/pcr.h"
#include "tcg/public.h"
#include "tcg/signature.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of extraData: a TPM2B_DATA has those of a TPMT_HA (TPM 2.0 Part 2, 10.4.3). */
enum { LCT_MAX_EXTRA_DATA = 2 + LCT_MAX_HASH };

/* A decoded TPMS_ATTEST (TPM 2.0 Part 2, 10.12.12). Its magic, TPM_GENERATED, is checked. */
struct lct_attest {
    uint16_t type;          /* TPM2_ST_ATTEST_CERTIFY, _QUOTE or _CREATION */
    struct lct_name signer; /* qualifiedSigner: the qualified Name of the key that signed */
    size_t extra_len;       /* extraData: what the caller of the command gave */
    uint8_t extra[LCT_MAX_EXTRA_DATA];
    uint64_t clock; /* milliseconds */
    uint32_t reset_count, restart_count;
    bool safe;
    uint64_t firmware_version;
    struct lct_name name;           /* certify, creation: of the object */
    struct lct_name qualified_name; /* certify */
    struct lct_pcrs pcrs;           /* quote: what is selected, in the quote's order of banks */
    size_t digest_len;              /* quote: pcrDigest; creation: creationHash */
    uint8_t digest[LCT_MAX_HASH];
};

/*
 * Decodes a TPMS_ATTEST (without the size of a TPM2B_ATTEST), all of it. LCT_ERR_BAD_EVIDENCE: a
 * byte too few or too many, another magic, a type that is not above, a Name that is none or of a
 * hash we do not know, a TPMI_YES_NO that is neither, a bank that we do not know or twice, a PCR
 * over 23.
 */
enum lct_code lct_attest_decode(struct lct_attest *attest, const uint8_t *bytes, size_t bytes_len,
                                struct lct_err *err);

/*
 * Decodes a TPMT_SIGNATURE (Part 2, 11.3.4) of RSASSA, RSAPSS or ECDSA, all of it; `scheme` is what
 * its header says, with any salt. LCT_ERR_BAD_EVIDENCE: it is none; LCT_ERR_UNSUPPORTED: a hash we
 * do not know.
 */
enum lct_code lct_attest_signature(struct lct_signature *signature, struct lct_scheme *scheme,
                                   const uint8_t *bytes, size_t bytes_len, struct lct_err *err);

#endif
