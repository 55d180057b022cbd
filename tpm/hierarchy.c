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

/* A trial session authorizes nothing (TPM 2.0 Part 3, 11.1). */
static enum lct_code check_taken(struct lct_tpm *tpm, void *arg, struct lct_err *err)
{
    const struct check *check = arg;
    TPM2_HANDLE trial = 0;
    enum lct_code code = lct_parent_open_session(tpm, label, check->libctx, err);

    if (code != LCT_OK)
        return code;
    code = lct_tpm_unsalted_start(tpm, &trial, label, TPM2_SE_TRIAL, LCT_SESSION_HASH, err);
    if (code == LCT_OK) {
        code = lct_tpm_policy_secret(tpm, label, trial, check->hierarchy, check->secret,
                                     check->libctx, err);
        lct_tpm_flush_session(tpm, trial);
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

struct question {
    bool *takes;
    uint32_t hierarchy;
    const char *of;
};

static enum lct_code ask_taken(struct lct_tpm *tpm, void *arg, struct lct_err *err)
{
    const struct question *question = arg;

    return lct_parent_takes_auth(tpm, question->takes, question->hierarchy, question->of, err);
}

enum lct_code lct_tpm_hierarchy_takes_auth(struct lct_tpm *tpm, bool *takes, uint32_t hierarchy,
                                           const char *of, struct lct_err *err)
{
    struct question question = {takes, hierarchy, of};

    return lct_tpm_run(tpm, of, ask_taken, &question, err);
}
