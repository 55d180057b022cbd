/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TESTS_FUZZ_H
#define LCT_TESTS_FUZZ_H

#include "tcg/crypto.h"

#include <openssl/types.h>
#include <stddef.h>
#include <stdint.h>

/* What the targets of tests/fuzz.c share, and those that are in files of their own. */

/* The process's own, made when it is first asked for; never NULL. */
struct lct_crypto *fuzz_crypto(void);
OSSL_LIB_CTX *fuzz_libctx(void);

/* The input as text that ends with a NUL, or where it has one; the caller frees it with free(). */
char *fuzz_text(const uint8_t *bytes, size_t len);

/* tests/fuzz_text.c: what users, files of theirs and the D-Bus say. */
void fuzz_uri(const uint8_t *bytes, size_t len);
void fuzz_selection(const uint8_t *bytes, size_t len);
void fuzz_configuration(const uint8_t *bytes, size_t len);
void fuzz_approval(const uint8_t *bytes, size_t len);
void fuzz_sealed(const uint8_t *bytes, size_t len);
void fuzz_bus(const uint8_t *bytes, size_t len);
void fuzz_html(const uint8_t *bytes, size_t len);

/* tests/fuzz_tpm.c: a TPM's responses, to whatever is asked of it. */
void fuzz_tpm(const uint8_t *bytes, size_t len);

/* For libFuzzer's own mutations, one response at a time: LLVMFuzzerCustomMutator of `tpm`. */
size_t fuzz_tpm_mutate(uint8_t *bytes, size_t len, size_t room, unsigned seed);

#endif
