/* SPDX-License-Identifier: Apache-2.0 */
#include "tpm/session.h"

#include "tcg/seed.h"
#include "tpm/capability.h"
#include "tpm/result.h"

#include <string.h>

static bool is_worth_keeping(const struct lct_tpm *tpm)
{
    return tpm->channel->wire->private_handles && !tpm->adopted;
}

static void forget(struct lct_tpm *tpm)
{
    tpm->session = 0;
    lct_session_keys_wipe(&tpm->session_keys);
}

bool lct_tpm_session_is_open(const struct lct_tpm *tpm, const struct lct_name *salted_to)
{
    return tpm->session != 0 && lct_name_equal(&tpm->salted_to, salted_to);
}

void lct_tpm_session_close(struct lct_tpm *tpm)
{
    if (tpm->session != 0)
        lct_tpm_flush_session(tpm, tpm->session);
    forget(tpm);
}

void lct_tpm_session_leave(struct lct_tpm *tpm)
{
    if (tpm->broken || !is_worth_keeping(tpm))
        lct_tpm_session_close(tpm);
}

/* TPM2_StartAuthSession with the seed that only the salt's TPM can open. */
static enum lct_code start(struct lct_tpm *tpm, const char *label, TPM2_HANDLE salt,
                           const struct lct_encrypted_seed *seed, TPM2B_NONCE *nonce_tpm,
                           struct lct_err *err)
{
    TPM2B_NONCE nonce_caller = {.size = LCT_SESSION_DIGEST};
    TPM2B_ENCRYPTED_SECRET encrypted = {.size = (UINT16)seed->len};
    const TPMT_SYM_DEF symmetric = {.algorithm = LCT_SESSION_SYMMETRIC,
                                    .keyBits.aes = LCT_SESSION_SYMMETRIC_BITS,
                                    .mode.aes = LCT_SESSION_SYMMETRIC_MODE};
    TPMI_SH_AUTH_SESSION handle = 0;

    if (seed->len > sizeof encrypted.secret)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED, "%s: its parent's key is too large", label);
    memcpy(nonce_caller.buffer, tpm->session_keys.nonce_caller, LCT_SESSION_DIGEST);
    memcpy(encrypted.secret, seed->data, seed->len);
    enum lct_code code = lct_tpm_list_sessions(tpm, label, err);
    if (code != LCT_OK)
        return code;
    TSS2_RC rc = Tss2_Sys_StartAuthSession(tpm->sys, salt, TPM2_RH_NULL, NULL, &nonce_caller,
                                           &encrypted, TPM2_SE_HMAC, &symmetric, LCT_SESSION_HASH,
                                           &handle, nonce_tpm, NULL);
    code = lct_tpm_result(tpm, label, TPM2_CC_StartAuthSession, rc, err);
    if (tpm->broken)
        lct_tpm_note_session(tpm, 0);
    if (code != LCT_OK)
        return code;
    if (handle >> TPM2_HR_SHIFT != TPM2_HT_HMAC_SESSION) {
        tpm->broken = true;
        return LCT_FAIL(err, LCT_ERR_NO_TPM, "%s: the TPM's response is malformed", label);
    }
    tpm->session = handle;
    return LCT_OK;
}

enum lct_code lct_tpm_session_open(struct lct_tpm *tpm, const char *label, OSSL_LIB_CTX *libctx,
                                   const struct lct_salt *salt, struct lct_err *err)
{
    struct lct_secret seed = {0};
    struct lct_encrypted_seed encrypted;
    TPM2B_NONCE nonce_tpm = {0};

    if (tpm->session != 0 && lct_name_equal(&tpm->salted_to, &salt->name))
        return LCT_OK;
    lct_tpm_session_close(tpm);
    tpm->salted_to = salt->name;
    enum lct_code code =
        lct_seed_make(&seed, &encrypted, libctx, &salt->public_area, LCT_SEED_SESSION, err);
    if (code == LCT_OK)
        code = lct_session_roll(&tpm->session_keys, libctx, err);
    if (code != LCT_OK)
        (void)lct_err_prefix(err, label);
    if (code == LCT_OK)
        code = start(tpm, label, salt->handle, &encrypted, &nonce_tpm, err);
    if (code == LCT_OK) {
        code = lct_session_derive(&tpm->session_keys, libctx, &seed, nonce_tpm.buffer,
                                  nonce_tpm.size, err);
        if (code != LCT_OK) {
            (void)lct_err_prefix(err, label);
            lct_tpm_session_close(tpm);
        }
    }
    lct_secret_wipe(&seed);
    return code;
}

/* Encrypts the prepared command's first parameter in SAPI's buffer. */
static enum lct_code encrypt_parameter(struct lct_tpm *tpm, const struct lct_terms *terms,
                                       struct lct_err *err)
{
    const uint8_t *plain = NULL;
    uint8_t bytes[LCT_MAX_BLOB];
    size_t len = 0;

    if (Tss2_Sys_GetDecryptParam(tpm->sys, &len, &plain) != TSS2_RC_SUCCESS || len > sizeof bytes)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "the command has no parameter to encrypt");
    memcpy(bytes, plain, len);
    enum lct_code code =
        lct_session_encrypt(&tpm->session_keys, terms->libctx, terms->auth, bytes, len, err);
    if (code == LCT_OK && Tss2_Sys_SetDecryptParam(tpm->sys, len, bytes) != TSS2_RC_SUCCESS)
        code = LCT_FAIL(err, LCT_ERR_INTERNAL, "the command's parameter cannot be replaced");
    explicit_bzero(bytes, sizeof bytes);
    return code;
}

/* The session's line in the command: its nonce, attributes and HMAC. */
static enum lct_code authorize(struct lct_tpm *tpm, TPM2_CC command, const struct lct_terms *terms,
                               TPMS_AUTH_COMMAND *line, struct lct_err *err)
{
    uint8_t cp_hash[LCT_SESSION_DIGEST];
    const uint8_t *params = NULL;
    size_t params_len = 0;
    enum lct_code code = lct_session_roll(&tpm->session_keys, terms->libctx, err);

    if (code == LCT_OK && terms->encrypt)
        code = encrypt_parameter(tpm, terms, err);
    if (code != LCT_OK)
        return code;
    if (Tss2_Sys_GetCpBuffer(tpm->sys, &params_len, &params) != TSS2_RC_SUCCESS)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "the command has no parameters");
    *line = (TPMS_AUTH_COMMAND){
        .sessionHandle = tpm->session,
        .sessionAttributes = (TPMA_SESSION)(TPMA_SESSION_CONTINUESESSION |
                                            (terms->encrypt ? TPMA_SESSION_DECRYPT : 0)),
        .nonce.size = LCT_SESSION_DIGEST,
        .hmac.size = LCT_SESSION_DIGEST,
    };
    memcpy(line->nonce.buffer, tpm->session_keys.nonce_caller, LCT_SESSION_DIGEST);
    code = lct_session_cp_hash(cp_hash, terms->libctx, command, terms->names, terms->num_names,
                               params, params_len, err);
    if (code == LCT_OK)
        code = lct_session_hmac(line->hmac.buffer, &tpm->session_keys, terms->libctx, terms->auth,
                                cp_hash, line->sessionAttributes, NULL, NULL, err);
    return code;
}

/* Whether the response is the TPM's. SAPI's lengths are not bounded by what was received. */
static enum lct_code verify(struct lct_tpm *tpm, TPM2_CC command, const struct lct_terms *terms,
                            struct lct_err *err)
{
    TSS2L_SYS_AUTH_RESPONSE answers = {0};
    uint8_t rp_hash[LCT_SESSION_DIGEST];
    const uint8_t *params = NULL;
    size_t params_len = 0;

    if (Tss2_Sys_GetRspAuths(tpm->sys, &answers) != TSS2_RC_SUCCESS || answers.count != 1 ||
        Tss2_Sys_GetRpBuffer(tpm->sys, &params_len, &params) != TSS2_RC_SUCCESS ||
        params_len > tpm->channel->response_len)
        return LCT_FAIL(err, LCT_ERR_NO_TPM, "the TPM's response is malformed");
    const TPMS_AUTH_RESPONSE *line = &answers.auths[0];
    const struct lct_session_answer answer = {line->nonce.buffer, line->nonce.size,
                                              line->sessionAttributes, line->hmac.buffer,
                                              line->hmac.size};
    enum lct_code code =
        lct_session_rp_hash(rp_hash, terms->libctx, command, params, params_len, err);
    if (code == LCT_OK)
        code = lct_session_verify(&tpm->session_keys, terms->libctx, terms->auth, rp_hash, &answer,
                                  err);
    return code;
}

static enum lct_code execute_in_session(struct lct_tpm *tpm, const char *label, TPM2_CC command,
                                        const struct lct_terms *terms, TSS2_RC *rc,
                                        struct lct_err *err)
{
    TSS2L_SYS_AUTH_COMMAND lines = {.count = 1};
    enum lct_code code = authorize(tpm, command, terms, &lines.auths[0], err);

    if (code != LCT_OK)
        return lct_err_prefix(err, label);
    *rc = Tss2_Sys_SetCmdAuths(tpm->sys, &lines);
    if (*rc == TSS2_RC_SUCCESS)
        *rc = Tss2_Sys_Execute(tpm->sys);
    if (*rc != TSS2_RC_SUCCESS) {
        if (lct_result_is_lost_session(*rc))
            forget(tpm);
        return lct_tpm_result(tpm, label, command, *rc, err);
    }
    code = verify(tpm, command, terms, err);
    if (code == LCT_OK)
        return LCT_OK;
    tpm->broken = true; /* what it says is not to be believed */
    return lct_err_prefix(err, label);
}

enum lct_code lct_tpm_execute(struct lct_tpm *tpm, const char *label, TPM2_CC command,
                              const struct lct_terms *terms, TSS2_RC *rc, struct lct_err *err)
{
    bool needs_session =
        terms != NULL && (terms->encrypt || (terms->auth != NULL && terms->auth->len > 0));

    if (tpm->session != 0 && terms != NULL)
        return execute_in_session(tpm, label, command, terms, rc, err);
    if (needs_session || (terms != NULL && tpm->always && terms->in_session))
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "%s: there is no session for what is secret", label);
    *rc = Tss2_Sys_SetCmdAuths(tpm->sys, &lct_tpm_no_auth);
    if (*rc == TSS2_RC_SUCCESS)
        *rc = Tss2_Sys_Execute(tpm->sys);
    return lct_tpm_result(tpm, label, command, *rc, err);
}
