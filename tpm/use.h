/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TPM_USE_H
#define LCT_TPM_USE_H

#include "tpm/connection.h"
#include "tpm/session.h"

/* Inside of the room, with the connection taken: what using a key takes, whatever it is used for.
 */

/*
 * One command with a key. `once` prepares, executes with lct_use_execute and completes it; *rc is
 * what the TPM said. It is called again where the key, its session or the state of the boot was
 * lost on the way, never after a wrong authorization.
 */
struct lct_use {
    const struct lct_tpm_key *key;
    enum lct_code (*once)(struct lct_tpm *tpm, struct lct_use *use, TSS2_RC *rc,
                          struct lct_err *err);
    /* A second handle of the command's, which is authorized by `second`: struct lct_terms. NULL:
     * there is none. */
    const struct lct_name *second_name;
    TPM2_HANDLE second;
    bool secret; /* the response's first parameter comes encrypted */
    bool again;  /* it was begun before */
    /* What it did last turned out not to be the key's doing: what is taken for the key is not. */
    bool doubted;
};

/* For lct_tpm_run: makes the key ready, satisfies its policy, and does it. `arg` is a struct
 * lct_use. */
enum lct_code lct_use_run(struct lct_tpm *tpm, void *arg, struct lct_err *err);

/* Whether the use can be authorized, as far as that is known without the TPM: LCT_ERR_AUTH. `what`
 * it is, for the message: "signing with it". */
enum lct_code lct_use_check(const struct lct_tpm_key *key, const char *what, struct lct_err *err);

/* Where the key is, once it is ready. */
TPM2_HANDLE lct_use_handle(const struct lct_tpm *tpm, const struct lct_tpm_key *key);

/* How its use is authorized. */
struct lct_terms lct_use_terms(const struct lct_use *use);

/* Executes the prepared command by these terms, and says what a refusal means. */
enum lct_code lct_use_execute(struct lct_tpm *tpm, const struct lct_use *use, TPM2_CC command,
                              TSS2_RC *rc, struct lct_err *err);

/* Loads the key afresh, without satisfying its policy, to be looked at: a wrapped one from its
 * private area, wherever it is besides. */
enum lct_code lct_use_load(struct lct_tpm *tpm, const struct lct_use *use, struct lct_err *err);

#endif
