/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_BASE_ERROR_H
#define LCT_BASE_ERROR_H

#include "base/attribute.h"

#include <stdint.h>

/*
 * Every way to fail: name, exit status of the command, and the reason string OpenSSL shows. The
 * numbers are part of the interface (they are the provider's reason codes and the command's exit
 * statuses): never reuse one.
 */
#define LCT_CODES(X)                                                                               \
    X(LCT_OK, 0, "success")                                                                        \
    X(LCT_ERR_INTERNAL, 1, "internal error")                                                       \
    X(LCT_ERR_USAGE, 2, "wrong usage")                                                             \
    X(LCT_ERR_NOT_FOUND, 3, "no such identity")                                                    \
    X(LCT_ERR_EXISTS, 4, "identity exists already")                                                \
    X(LCT_ERR_BAD_ID, 5, "malformed id")                                                           \
    X(LCT_ERR_BAD_RECORD, 6, "damaged identity")                                                   \
    X(LCT_ERR_STORE, 7, "store cannot be read or written")                                         \
    X(LCT_ERR_CONFIG, 8, "wrong configuration")                                                    \
    X(LCT_ERR_NO_TPM, 9, "TPM not reachable")                                                      \
    X(LCT_ERR_TPM, 10, "TPM refused a command")                                                    \
    X(LCT_ERR_LOCKOUT, 11, "TPM in lockout")                                                       \
    X(LCT_ERR_AUTH, 12, "not authorized")                                                          \
    X(LCT_ERR_OTHER_TPM, 13, "key of another TPM")                                                 \
    X(LCT_ERR_WRONG_KEY, 14, "not the recorded key")                                               \
    X(LCT_ERR_UNSUPPORTED, 15, "not supported")                                                    \
    X(LCT_ERR_CHECK, 16, "identity fails its check")                                               \
    X(LCT_ERR_TPM_FULL, 17, "TPM out of memory")                                                   \
    X(LCT_ERR_IO, 18, "input or output failed")                                                    \
    X(LCT_ERR_TIMEOUT, 19, "TPM does not answer in time")                                          \
    X(LCT_ERR_SEALED, 20, "sealed to another boot state")                                          \
    X(LCT_ERR_NO_AUTHORITY, 21, "no recovery authority")                                           \
    X(LCT_ERR_BAD_EVIDENCE, 22, "malformed evidence")                                              \
    X(LCT_ERR_REFUSED, 23, "evidence does not hold")                                               \
    X(LCT_ERR_UNBOUND, 24, "evidence is bound to no TPM")                                          \
    X(LCT_ERR_ENDED, 25, "key not to be used any more")                                            \
    X(LCT_ERR_HARDWARE, 26, "only keys in a TPM are allowed")

enum lct_code {
#define LCT_CODE_ENUM(name, status, text) name = (status),
    LCT_CODES(LCT_CODE_ENUM)
#undef LCT_CODE_ENUM
};

/*
 * An error is a value: filled once, where the fact is known, and shown once, at the edge (OpenSSL's
 * error queue or the command's stderr). `text` is one sentence for a person: lower case, no full
 * stop, what failed, on which key, what to do; never a secret. `tpm_rc` is the TPM's or TSS's
 * return code where there was one, else 0.
 */
struct lct_err {
    enum lct_code code;
    uint32_t tpm_rc;
    const char *file;
    int line;
    const char *func;
    char text[640];
};

/*
 * Fills *err, which may be NULL. LCT_FAIL returns the code as well and
 * captures the place: return LCT_FAIL(err, LCT_ERR_NOT_FOUND, "lct:%s: no such identity", id);
 */
void lct_err_set(struct lct_err *err, enum lct_code code, const char *file, int line,
                 const char *func, const char *format, ...) LCT_PRINTF(6, 7);
#define LCT_FAIL(err, code, ...)                                                                   \
    (lct_err_set((err), (code), __FILE__, __LINE__, __func__, __VA_ARGS__), (enum lct_code)(code))

/* Puts "label: " before the sentence, where only the caller knows which key it speaks of. Returns
 * err->code. */
enum lct_code lct_err_prefix(struct lct_err *err, const char *label);

#endif
