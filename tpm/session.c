/* SPDX-License-Identifier: Apache-2.0 */
#include "tpm/session.h"

#include "tcg/seed.h"
#include "tpm/result.h"

#include <string.h>

static void forget(struct lct_tpm_session *session)
{
    session->handle = 0;
    lct_session_keys_wipe(&session->keys);
}

/* The TPM says of one of the command's sessions that it is gone; `session` is the first. */
static void lose(struct lct_tpm *tpm, struct lct_tpm_session *session, TSS2_RC rc)
{
    tpm->bereft = true;
    if (!lct_result_is_about_second(rc))
        forget(session);
}

static bool is_open(const struct lct_tpm_session *session, const struct lct_name *salted_to)
{
    return session->handle != 0 && lct_name_equal(&session->salted_to, salted_to);
}

static void end_session(struct lct_tpm *tpm, struct lct_tpm_session *session)
{
    if (session->handle != 0)
        lct_tpm_flush_session(tpm, session->handle);
    forget(session);
}

bool lct_tpm_session_is_open(const struct lct_tpm *tpm, const struct lct_name *salted_to)
{
    return is_open(&tpm->session, salted_to);
}

bool lct_tpm_policy_is_open(const struct lct_tpm *tpm, const struct lct_name *salted_to)
{
    return is_open(&tpm->policy, salted_to);
}

static bool is_salted(const struct lct_tpm_session *session)
{
    return session->handle != 0 && session->salted_to.len != 0;
}

bool lct_tpm_policy_is_salted(const struct lct_tpm *tpm)
{
    return is_salted(&tpm->policy);
}

void lct_tpm_session_close(struct lct_tpm *tpm)
{
    end_session(tpm, &tpm->session);
}

void lct_tpm_policy_close(struct lct_tpm *tpm)
{
    end_session(tpm, &tpm->policy);
}

void lct_tpm_session_leave(struct lct_tpm *tpm)
{
    if (!tpm->broken && tpm->channel->wire->keeps_sessions)
        return;
    lct_tpm_session_close(tpm);
    lct_tpm_policy_close(tpm);
}

/* A session that is to be. */
struct beginning {
    const char *label;
    TPM2_SE type;
    TPMI_ALG_HASH hash;
    TPM2_HANDLE salt; /* TPM2_RH_NULL: none */
    TPMT_SYM_DEF symmetric;
    TPM2B_ENCRYPTED_SECRET seed; /* that only the salt's TPM can open */
    TPM2B_NONCE nonce_caller, nonce_tpm;
};

/* TPM2_StartAuthSession. */
static enum lct_code start(struct lct_tpm *tpm, TPM2_HANDLE *session, struct beginning *beginning,
                           struct lct_err *err)
{
    const char *label = beginning->label;
    const TPM2_HT kind =
        beginning->type == TPM2_SE_HMAC ? TPM2_HT_HMAC_SESSION : TPM2_HT_POLICY_SESSION;
    TPMI_SH_AUTH_SESSION handle = 0;
    enum lct_code code = lct_tpm_list_sessions(tpm, label, err);

    if (code != LCT_OK)
        return code;
    TSS2_RC rc = Tss2_Sys_StartAuthSession(tpm->sys, beginning->salt, TPM2_RH_NULL, NULL,
                                           &beginning->nonce_caller, &beginning->seed,
                                           beginning->type, &beginning->symmetric, beginning->hash,
                                           &handle, &beginning->nonce_tpm, NULL);
    code = lct_tpm_result(tpm, label, TPM2_CC_StartAuthSession, rc, err);
    if (tpm->broken)
        lct_tpm_note_session(tpm, 0);
    if (code != LCT_OK)
        return code;
    if (handle >> TPM2_HR_SHIFT != kind) {
        tpm->broken = true;
        return LCT_FAIL(err, LCT_ERR_NO_TPM, "%s: the TPM's response is malformed", label);
    }
    *session = handle;
    return LCT_OK;
}

static enum lct_code start_salted(struct lct_tpm *tpm, struct lct_tpm_session *session,
                                  struct beginning *beginning,
                                  const struct lct_encrypted_seed *seed, struct lct_err *err)
{
    beginning->hash = LCT_SESSION_HASH;
    beginning->symmetric = (TPMT_SYM_DEF){.algorithm = LCT_SESSION_SYMMETRIC,
                                          .keyBits.aes = LCT_SESSION_SYMMETRIC_BITS,
                                          .mode.aes = LCT_SESSION_SYMMETRIC_MODE};
    if (seed->len > sizeof beginning->seed.secret)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                        "%s: the key that a session is salted to is too large", beginning->label);
    beginning->nonce_caller.size = LCT_SESSION_DIGEST;
    memcpy(beginning->nonce_caller.buffer, session->keys.nonce_caller, LCT_SESSION_DIGEST);
    beginning->seed.size = (UINT16)seed->len;
    memcpy(beginning->seed.secret, seed->data, seed->len);
    return start(tpm, &session->handle, beginning, err);
}

/* TPM 2.0 Part 3, 11.1: it needs neither a key nor a salt, and a nonce of no use. */
enum lct_code lct_tpm_unsalted_start(struct lct_tpm *tpm, TPM2_HANDLE *session, const char *label,
                                     TPM2_SE type, TPMI_ALG_HASH hash, struct lct_err *err)
{
    struct beginning beginning = {.label = label,
                                  .type = type,
                                  .hash = hash,
                                  .salt = TPM2_RH_NULL,
                                  .symmetric.algorithm = TPM2_ALG_NULL,
                                  .nonce_caller.size = LCT_SESSION_DIGEST};

    return start(tpm, session, &beginning, err);
}

/* tpm2-abrmd says of a session's handle that it does not know what it says of an object's. */
static bool is_handle_lost(TSS2_RC rc)
{
    TPM2_RC base = lct_result_base(rc);

    /* The second handle is that of TPM2_PolicySecret, the third that of TPM2_PolicyNV. */
    return lct_result_is_lost_session(rc) || lct_result_is_lost_handle(rc) ||
           base == TPM2_RC_REFERENCE_H1 || base == TPM2_RC_REFERENCE_H2;
}

bool lct_tpm_policy_is_lost(struct lct_tpm *tpm, TSS2_RC rc)
{
    bool lost = is_handle_lost(rc);

    if (lost) { /* a handle of the command, whatever its number */
        tpm->bereft = true;
        forget(&tpm->policy);
    }
    return lost;
}

void lct_tpm_unsalted_look(struct lct_tpm *tpm, TSS2_RC rc)
{
    if (is_handle_lost(rc))
        tpm->bereft = true;
}

/* TPM 2.0 Part 3, 23.4, without an expiration: there is no ticket. */
enum lct_code lct_tpm_policy_secret(struct lct_tpm *tpm, const char *label, TPM2_HANDLE session,
                                    TPM2_HANDLE hierarchy, const struct lct_secret *auth,
                                    OSSL_LIB_CTX *libctx, struct lct_err *err)
{
    const TPM2B_NONCE nothing = {0};
    const TPM2B_DIGEST any = {0};
    const struct lct_terms terms = {
        .libctx = libctx,
        .auth = auth,
        .num_names = 2,
        .names = {lct_name_of_handle(hierarchy), lct_name_of_handle(session)}};
    TSS2_RC rc =
        Tss2_Sys_PolicySecret_Prepare(tpm->sys, hierarchy, session, &nothing, &any, &nothing, 0);

    if (rc != TSS2_RC_SUCCESS)
        return lct_tpm_result(tpm, label, TPM2_CC_PolicySecret, rc, err);
    enum lct_code code = lct_tpm_execute(tpm, label, TPM2_CC_PolicySecret, &terms, &rc, err);
    lct_tpm_unsalted_look(tpm, rc);
    return code;
}

static enum lct_code open_session(struct lct_tpm *tpm, struct lct_tpm_session *session,
                                  TPM2_SE type, const char *label, OSSL_LIB_CTX *libctx,
                                  const struct lct_salt *salt, struct lct_err *err)
{
    struct beginning beginning = {.label = label, .type = type, .salt = salt->handle};
    const TPM2B_NONCE *nonce_tpm = &beginning.nonce_tpm;
    struct lct_secret seed = {0};
    struct lct_encrypted_seed encrypted;

    if (is_open(session, &salt->name))
        return LCT_OK;
    end_session(tpm, session);
    session->salted_to = salt->name;
    enum lct_code code =
        lct_seed_make(&seed, &encrypted, libctx, &salt->public_area, LCT_SEED_SESSION, err);
    if (code == LCT_OK)
        code = lct_session_roll(&session->keys, libctx, err);
    if (code != LCT_OK)
        (void)lct_err_prefix(err, label);
    if (code == LCT_OK)
        code = start_salted(tpm, session, &beginning, &encrypted, err);
    if (code == LCT_OK) {
        code = lct_session_derive(&session->keys, libctx, &seed, nonce_tpm->buffer, nonce_tpm->size,
                                  err);
        if (code != LCT_OK) {
            (void)lct_err_prefix(err, label);
            end_session(tpm, session);
        }
    }
    lct_secret_wipe(&seed);
    return code;
}

enum lct_code lct_tpm_session_open(struct lct_tpm *tpm, const char *label, OSSL_LIB_CTX *libctx,
                                   const struct lct_salt *salt, struct lct_err *err)
{
    return open_session(tpm, &tpm->session, TPM2_SE_HMAC, label, libctx, salt, err);
}

static enum lct_code open_unsalted(struct lct_tpm *tpm, struct lct_tpm_session *session,
                                   const char *label, struct lct_err *err)
{
    session->salted_to.len = 0;
    return lct_tpm_unsalted_start(tpm, &session->handle, label, TPM2_SE_POLICY, LCT_SESSION_HASH,
                                  err);
}

enum lct_code lct_tpm_policy_open(struct lct_tpm *tpm, const char *label, OSSL_LIB_CTX *libctx,
                                  const struct lct_salt *salt, struct lct_err *err)
{
    struct lct_tpm_session *session = &tpm->policy;

    if (salt == NULL ? session->handle != 0 : is_open(session, &salt->name))
        return LCT_OK;
    tpm->policy_begun = false;
    return salt == NULL ? open_unsalted(tpm, session, label, err)
                        : open_session(tpm, session, TPM2_SE_POLICY, label, libctx, salt, err);
}

enum lct_code lct_tpm_policy_check(struct lct_tpm *tpm, const char *label, OSSL_LIB_CTX *libctx,
                                   struct lct_err *err)
{
    const struct lct_terms terms = {.libctx = libctx, .policy = true, .decrypt = true};
    TSS2_RC rc = Tss2_Sys_GetRandom_Prepare(tpm->sys, 1);
    enum lct_code code = rc == TSS2_RC_SUCCESS
                             ? lct_tpm_execute(tpm, label, TPM2_CC_GetRandom, &terms, &rc, err)
                             : lct_tpm_result(tpm, label, TPM2_CC_GetRandom, rc, err);

    if (code == LCT_ERR_AUTH)
        tpm->broken = true;
    return code;
}

/* Encrypts the prepared command's first parameter in SAPI's buffer. */
static enum lct_code encrypt_parameter(struct lct_tpm *tpm, const struct lct_tpm_session *session,
                                       const struct lct_terms *terms, struct lct_err *err)
{
    const uint8_t *plain = NULL;
    uint8_t bytes[LCT_MAX_BLOB];
    size_t len = 0;

    if (Tss2_Sys_GetDecryptParam(tpm->sys, &len, &plain) != TSS2_RC_SUCCESS || len > sizeof bytes)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "the command has no parameter to encrypt");
    memcpy(bytes, plain, len);
    enum lct_code code =
        lct_session_encrypt(&session->keys, terms->libctx, terms->auth, bytes, len, err);
    if (code == LCT_OK && Tss2_Sys_SetDecryptParam(tpm->sys, len, bytes) != TSS2_RC_SUCCESS)
        code = LCT_FAIL(err, LCT_ERR_INTERNAL, "the command's parameter cannot be replaced");
    explicit_bzero(bytes, sizeof bytes);
    return code;
}

/* Whether the TPM ends the session with the command. */
static bool ends(const struct lct_tpm *tpm, const struct lct_terms *terms)
{
    return terms->last && !tpm->channel->wire->keeps_sessions;
}

/* The session's line in the command: its nonce, attributes and HMAC. */
static enum lct_code authorize(struct lct_tpm *tpm, struct lct_tpm_session *session,
                               TPM2_CC command, const struct lct_terms *terms,
                               TPMS_AUTH_COMMAND *line, struct lct_err *err)
{
    uint8_t cp_hash[LCT_SESSION_DIGEST];
    const uint8_t *params = NULL;
    size_t params_len = 0;
    enum lct_code code = lct_session_roll(&session->keys, terms->libctx, err);

    if (code == LCT_OK && terms->encrypt)
        code = encrypt_parameter(tpm, session, terms, err);
    if (code != LCT_OK)
        return code;
    if (Tss2_Sys_GetCpBuffer(tpm->sys, &params_len, &params) != TSS2_RC_SUCCESS)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "the command has no parameters");
    *line = (TPMS_AUTH_COMMAND){
        .sessionHandle = session->handle,
        .sessionAttributes = (TPMA_SESSION)((ends(tpm, terms) ? 0 : TPMA_SESSION_CONTINUESESSION) |
                                            (terms->encrypt ? TPMA_SESSION_DECRYPT : 0) |
                                            (terms->decrypt ? TPMA_SESSION_ENCRYPT : 0)),
        .nonce.size = LCT_SESSION_DIGEST,
        .hmac.size = LCT_SESSION_DIGEST,
    };
    memcpy(line->nonce.buffer, session->keys.nonce_caller, LCT_SESSION_DIGEST);
    code = lct_session_cp_hash(cp_hash, terms->libctx, command, terms->names, terms->num_names,
                               params, params_len, err);
    if (code == LCT_OK)
        code = lct_session_hmac(line->hmac.buffer, &session->keys, terms->libctx, terms->auth,
                                cp_hash, line->sessionAttributes, NULL, NULL, err);
    return code;
}

/* How many handles are authorized. */
static uint16_t num_lines(const struct lct_terms *terms)
{
    return terms != NULL && terms->second != 0 ? 2 : 1;
}

/* Whether the response is the TPM's: its first line is of our session. SAPI's lengths are not
 * bounded by what was received. */
static enum lct_code verify(struct lct_tpm *tpm, struct lct_tpm_session *session, TPM2_CC command,
                            const struct lct_terms *terms, struct lct_err *err)
{
    TSS2L_SYS_AUTH_RESPONSE answers = {0};
    uint8_t rp_hash[LCT_SESSION_DIGEST];
    const uint8_t *params = NULL;
    size_t params_len = 0;

    if (Tss2_Sys_GetRspAuths(tpm->sys, &answers) != TSS2_RC_SUCCESS ||
        answers.count != num_lines(terms) ||
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
        code =
            lct_session_verify(&session->keys, terms->libctx, terms->auth, rp_hash, &answer, err);
    return code;
}

/*
 * Sends the command with what authorizes it. The second handle's line is that of a password which
 * is empty, or of a policy session without a key and without an authorization value, whose HMAC is
 * empty, too (TPM 2.0 Part 1, 19.6.5).
 */
static TSS2_RC execute_with(struct lct_tpm *tpm, const struct lct_terms *terms,
                            const TPMS_AUTH_COMMAND *first)
{
    TSS2L_SYS_AUTH_COMMAND lines = {.count = num_lines(terms), .auths = {*first}};

    if (lines.count > 1) {
        lines.auths[1].sessionHandle = terms->second;
        if (terms->second != TPM2_RS_PW)
            lines.auths[1].sessionAttributes = TPMA_SESSION_CONTINUESESSION;
    }
    TSS2_RC rc = Tss2_Sys_SetCmdAuths(tpm->sys, &lines);
    return rc == TSS2_RC_SUCCESS ? Tss2_Sys_Execute(tpm->sys) : rc;
}

/* Without a key and without an authorization value the HMAC is empty (Part 1, 19.6.5), and that of
 * the response. */
static enum lct_code execute_unsalted(struct lct_tpm *tpm, struct lct_tpm_session *session,
                                      const char *label, TPM2_CC command,
                                      const struct lct_terms *terms, TSS2_RC *rc,
                                      struct lct_err *err)
{
    const TPMS_AUTH_COMMAND line = {
        .sessionHandle = session->handle,
        .sessionAttributes = ends(tpm, terms) ? 0 : TPMA_SESSION_CONTINUESESSION,
    };

    if (terms->encrypt || terms->decrypt || (terms->auth != NULL && terms->auth->len > 0))
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "%s: the session is none for what is secret", label);
    *rc = execute_with(tpm, terms, &line);
    if (lct_result_is_lost_session(*rc))
        lose(tpm, session, *rc);
    else if (*rc == TSS2_RC_SUCCESS && ends(tpm, terms))
        forget(session);
    return lct_tpm_result(tpm, label, command, *rc, err);
}

static enum lct_code execute_in_session(struct lct_tpm *tpm, struct lct_tpm_session *session,
                                        const char *label, TPM2_CC command,
                                        const struct lct_terms *terms, TSS2_RC *rc,
                                        struct lct_err *err)
{
    TPMS_AUTH_COMMAND line;
    enum lct_code code = authorize(tpm, session, command, terms, &line, err);

    if (code != LCT_OK)
        return lct_err_prefix(err, label);
    *rc = execute_with(tpm, terms, &line);
    if (*rc != TSS2_RC_SUCCESS) {
        if (lct_result_is_lost_session(*rc))
            lose(tpm, session, *rc);
        return lct_tpm_result(tpm, label, command, *rc, err);
    }
    code = verify(tpm, session, command, terms, err);
    if (code == LCT_OK && ends(tpm, terms))
        forget(session);
    if (code == LCT_OK)
        return LCT_OK;
    tpm->broken = true; /* what it says is not to be believed */
    return lct_err_prefix(err, label);
}

static struct lct_tpm_session *session_of(struct lct_tpm *tpm, const struct lct_terms *terms)
{
    return terms != NULL && terms->policy ? &tpm->policy : &tpm->session;
}

enum lct_code lct_tpm_decrypt(struct lct_tpm *tpm, const struct lct_terms *terms, uint8_t *bytes,
                              size_t bytes_len, struct lct_err *err)
{
    return lct_session_decrypt(&session_of(tpm, terms)->keys, terms->libctx, terms->auth, bytes,
                               bytes_len, err);
}

enum lct_code lct_tpm_execute(struct lct_tpm *tpm, const char *label, TPM2_CC command,
                              const struct lct_terms *terms, TSS2_RC *rc, struct lct_err *err)
{
    struct lct_tpm_session *session = session_of(tpm, terms);
    bool needs_session = terms != NULL && (terms->encrypt || terms->decrypt || terms->policy ||
                                           (terms->auth != NULL && terms->auth->len > 0));

    if (session->handle != 0 && terms != NULL && !terms->password && !is_salted(session))
        return execute_unsalted(tpm, session, label, command, terms, rc, err);
    if (session->handle != 0 && terms != NULL && !terms->password)
        return execute_in_session(tpm, session, label, command, terms, rc, err);
    if (needs_session || (terms != NULL && tpm->always && terms->in_session && !terms->password))
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "%s: there is no session for what is secret", label);
    *rc = execute_with(tpm, terms, &lct_tpm_no_auth.auths[0]);
    return lct_tpm_result(tpm, label, command, *rc, err);
}
