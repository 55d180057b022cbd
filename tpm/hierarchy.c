/* SPDX-License-Identifier: Apache-2.0 */
#include "tpm/hierarchy.h"

#include "tpm/parent.h"
#include "tpm/session.h"

static const char label[] = "the TPM";

/* What is to be checked, and what that takes. */
struct check {
    uint32_t hierarchy;
    const struct lct_secret *secret;
    OSSL_LIB_CTX *libctx;
};

/* TPM 2.0 Part 3, 11.1: a trial session authorizes nothing, and needs neither a key nor a salt. */
static enum lct_code start_trial(struct lct_tpm *tpm, TPM2_HANDLE *trial, struct lct_err *err)
{
    static const TPM2B_NONCE nonce_caller = {.size = LCT_SESSION_DIGEST};
    static const TPMT_SYM_DEF symmetric = {.algorithm = TPM2_ALG_NULL};
    TPM2B_NONCE nonce_tpm = {0};
    TPM2B_ENCRYPTED_SECRET unsalted = {0};
    enum lct_code code = lct_tpm_list_sessions(tpm, label, err);

    if (code != LCT_OK)
        return code;
    TSS2_RC rc = Tss2_Sys_StartAuthSession(tpm->sys, TPM2_RH_NULL, TPM2_RH_NULL, NULL,
                                           &nonce_caller, &unsalted, TPM2_SE_TRIAL, &symmetric,
                                           LCT_SESSION_HASH, trial, &nonce_tpm, NULL);
    code = lct_tpm_result(tpm, label, TPM2_CC_StartAuthSession, rc, err);
    if (tpm->broken)
        lct_tpm_note_session(tpm, 0);
    return code;
}

/* TPM 2.0 Part 3, 23.4, without an expiration: there is no ticket. */
static enum lct_code prove(struct lct_tpm *tpm, const struct check *check, TPM2_HANDLE trial,
                           struct lct_err *err)
{
    const TPM2B_NONCE nothing = {0};
    const TPM2B_DIGEST any = {0};
    const struct lct_terms terms = {
        .libctx = check->libctx,
        .auth = check->secret,
        .num_names = 2,
        .names = {lct_name_of_handle(check->hierarchy), lct_name_of_handle(trial)}};
    TSS2_RC rc = Tss2_Sys_PolicySecret_Prepare(tpm->sys, check->hierarchy, trial, &nothing, &any,
                                               &nothing, 0);

    if (rc != TSS2_RC_SUCCESS)
        return lct_tpm_result(tpm, label, TPM2_CC_PolicySecret, rc, err);
    return lct_tpm_execute(tpm, label, TPM2_CC_PolicySecret, &terms, &rc, err);
}

/*
 * One that is not surely gone is found by what was there before it: the one session that
 * lct_tpm_note_session can know by its handle is the one that it was authorized by.
 */
static void end_trial(struct lct_tpm *tpm, TPM2_HANDLE trial)
{
    if (!tpm->broken)
        (void)lct_tpm_result(tpm, label, TPM2_CC_FlushContext,
                             Tss2_Sys_FlushContext(tpm->sys, trial), NULL);
    if (tpm->broken)
        lct_tpm_note_session(tpm, 0);
}

static enum lct_code check_taken(struct lct_tpm *tpm, void *arg, struct lct_err *err)
{
    const struct check *check = arg;
    TPM2_HANDLE trial = 0;
    enum lct_code code = lct_parent_open_session(tpm, label, check->libctx, err);

    if (code != LCT_OK)
        return code;
    code = start_trial(tpm, &trial, err);
    if (code == LCT_OK) {
        code = prove(tpm, check, trial, err);
        end_trial(tpm, trial);
    }
    lct_tpm_session_close(tpm);
    return code;
}

enum lct_code lct_tpm_check_hierarchy(struct lct_tpm *tpm, uint32_t hierarchy,
                                      const struct lct_secret *secret, OSSL_LIB_CTX *libctx,
                                      struct lct_err *err)
{
    struct check check = {hierarchy, secret, libctx};

    return lct_tpm_run(tpm, label, check_taken, &check, err);
}
