/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TCG_PCR_H
#define LCT_TCG_PCR_H

#include "base/error.h"
#include "tcg/algorithm.h"

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Which PCRs of which banks, and what is in them: plain data, no TPM. Banks are in the order of our
 * table of hashes (tcg/algorithm.h), each once, whatever order they were written in.
 */
enum {
    LCT_NUM_PCRS = 24,  /* of a PC Client TPM (PC Client Platform TPM Profile, 4.6) */
    LCT_MAX_BANKS = 4,  /* of one selection */
    LCT_PCRS_TEXT = 384 /* bytes of a selection in words, NUL included */
};

struct lct_pcr_bank {
    const struct lct_hash *hash;
    uint32_t pcrs; /* bit n: PCR n; never 0 */
};

/* num_banks 0: no PCR at all. */
struct lct_pcrs {
    size_t num_banks;
    struct lct_pcr_bank banks[LCT_MAX_BANKS];
};

/* A selection with a value for each of its PCRs: values[bank][n], of the bank's digest size. Those
 * that are not selected are zero. */
struct lct_pcr_values {
    struct lct_pcrs pcrs;
    uint8_t values[LCT_MAX_BANKS][LCT_NUM_PCRS][LCT_MAX_HASH];
};

/*
 * From "sha256:0,2,7+sha384:11", all `text_len` bytes of it. LCT_ERR_USAGE, in a sentence: not of
 * that form, an empty selection, an unknown bank or one twice, a PCR twice or over 23.
 */
enum lct_code lct_pcrs_parse(struct lct_pcrs *pcrs, const char *text, size_t text_len,
                             struct lct_err *err);

/* In that form, NUL-terminated; "" for none. */
void lct_pcrs_text(char text[LCT_PCRS_TEXT], const struct lct_pcrs *pcrs);

/* Whether nothing can be sealed to one of them, since whoever runs may reset it: 16 (debug) and 23
 * (application). LCT_ERR_USAGE. */
enum lct_code lct_pcrs_check_seal(const struct lct_pcrs *pcrs, struct lct_err *err);

bool lct_pcrs_equal(const struct lct_pcrs *a, const struct lct_pcrs *b);

/* The row of a bank in the selection, or -1. */
int lct_pcrs_find(const struct lct_pcrs *pcrs, uint16_t hash);

/* As TPML_PCR_SELECTION (TPM 2.0 Part 2, 10.9.7), three bytes of bitmap a bank: how many bytes. */
enum { LCT_PCRS_BYTES = 4 + LCT_MAX_BANKS * 6 };
size_t lct_pcrs_marshal(uint8_t bytes[LCT_PCRS_BYTES], const struct lct_pcrs *pcrs);

/*
 * From the beginning of bytes that hold a TPML_PCR_SELECTION; *used: how many it took. Strict:
 * LCT_ERR_BAD_RECORD for an unknown bank, one twice or out of our order, a PCR over 23. Banks
 * without a PCR in them are left out; so is everything if there is none.
 */
enum lct_code lct_pcrs_unmarshal(struct lct_pcrs *pcrs, size_t *used, const uint8_t *bytes,
                                 size_t bytes_len, struct lct_err *err);

/* pcrDigest of TPM2_PolicyPCR and TPM2_Quote (Part 1, 17.5): SHA-256 of the values in order.
 * LCT_ERR_INTERNAL. */
enum lct_code lct_pcr_digest(uint8_t digest[32], OSSL_LIB_CTX *libctx,
                             const struct lct_pcr_values *values, struct lct_err *err);

/* Whether every selected value is zero, or all ones: nothing has been measured. */
bool lct_pcr_values_are_blank(const struct lct_pcr_values *values);

/*
 * Those of the selected PCRs that tell no boot from another: all, if all are blank, else the blank
 * ones of 0 to 7. Firmware that measures leaves none of these as it was: at the end it extends a
 * separator into each (TCG PC Client Platform Firmware Profile, EV_SEPARATOR). The others are the
 * operating system's, which need not use them.
 */
void lct_pcr_values_blank(struct lct_pcrs *blank, const struct lct_pcr_values *values);

/* Those of `values` that are in `pcrs` too, into *picked. False: a PCR of `pcrs` is not in them. */
bool lct_pcr_values_pick(struct lct_pcr_values *picked, const struct lct_pcrs *pcrs,
                         const struct lct_pcr_values *values);

/* What a PCR holds and what usually changes it, for people: "the command line ...". */
const char *lct_pcr_meaning(unsigned pcr);

#endif
