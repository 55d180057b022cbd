/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TPM_RESULT_H
#define LCT_TPM_RESULT_H

#include "base/error.h"

#include <stdbool.h>
#include <tss2/tss2_sys.h>

/*
 * The error for a return code of `command` (TPM2_CC_*) about `label` ("lct:alice"), decoded in
 * words with what to do. Returns its code; LCT_OK for TPM2_RC_SUCCESS. TPM 2.0 Part 2, 6.6.
 */
enum lct_code lct_result(struct lct_err *err, const char *label, TPM2_CC command, TSS2_RC rc);

/* The code without the handle, parameter or session it is about: comparable with TPM2_RC_*. */
TPM2_RC lct_result_base(TSS2_RC rc);

/*
 * Whether it says that there is nothing behind a handle of the command: never was, or flushed, or
 * lost when the TPM or a resource manager was restarted (tpm2-abrmd says so with TPM2_RC_VALUE).
 * That one without a number is about nothing of the command: TPM2_PolicyOR's "none of these".
 * TPM2_RC_HANDLE without a number is what some TPMs say of an NV index that is not there.
 */
bool lct_result_is_lost_handle(TSS2_RC rc);

/* Whether it says that there is no such session, any more: the TPM or its resource manager was
 * restarted, or somebody flushed it. Nothing was authorized, rightly or wrongly. */
bool lct_result_is_lost_session(TSS2_RC rc);

/* Whether it is about another session than the command's first. */
bool lct_result_is_about_second(TSS2_RC rc);

/* Whether it is of a layer of TSS, not of the TPM: the connection is not to be used again. */
bool lct_result_is_local(TSS2_RC rc);

#endif
