/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TOOLS_SEAL_TEXT_H
#define LCT_TOOLS_SEAL_TEXT_H

#include "tcg/seal.h"

/* The fingerprint of a seal's authority, "" if it has none or it is damaged. */
void lct_seal_authority(char fingerprint[65], const struct lct_seal *seal, OSSL_LIB_CTX *libctx);

/*
 * A seal for people: "sealed to sha256:7 or any state approved by 9f3c0a1b2c3d4e5f", with `date`,
 * an RFC 3339 time, "sealed to sha256:7 as of 2026-11-23, or ..."; "unsealed". Returns `words`.
 */
enum { LCT_SEAL_WORDS = LCT_PCRS_TEXT + 160 };
const char *lct_seal_words(char words[LCT_SEAL_WORDS], const struct lct_seal *seal,
                           const char *date, OSSL_LIB_CTX *libctx);

#endif
