/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TPM_SESSION_H
#define LCT_TPM_SESSION_H

#include "tpm/connection.h"

#include "tcg/public.h"

#include <openssl/types.h>

/*
 * Inside of the room, with the connection taken: the HMAC session that authorization values and
 * secrets travel by, and the policy session that satisfies the policy of a sealed key. Each is
 * salted to a key whose Name the caller knows, so that nobody on the bus learns its key, and is of
 * one process: a child of fork begins its own. A policy session by which nothing secret goes may do
 * without: whoever could use it could begin another.
 */

/* What a session is salted to. */
struct lct_salt {
    TPM2_HANDLE handle;
    struct lct_name name;
    struct lct_public public_area; /* what `name` is of */
};

/* Opens the session, unless one that is salted so is open: TPM2_StartAuthSession (TPM 2.0 Part 3,
 * 11.1). Where lct_tpm_session_is_open, a salt need not be looked for. */
enum lct_code lct_tpm_session_open(struct lct_tpm *tpm, const char *label, OSSL_LIB_CTX *libctx,
                                   const struct lct_salt *salt, struct lct_err *err);
bool lct_tpm_session_is_open(const struct lct_tpm *tpm, const struct lct_name *salted_to);

/* The same for the policy session; what was said in it before is forgotten (TPM2_PolicyRestart; TPM
 * 2.0 Part 3, 11.2). With `salt` NULL any is as good, and a new one is unsalted: no authorization
 * is proved in it, and nothing encrypted. */
enum lct_code lct_tpm_policy_open(struct lct_tpm *tpm, const char *label, OSSL_LIB_CTX *libctx,
                                  const struct lct_salt *salt, struct lct_err *err);
/*
 * Uses the policy session, which was just opened, in a command that authorizes nothing: where its
 * beginning was spoiled on the way this shows here, and all is begun anew. With an authorization
 * value the TPM would count it as a wrong try.
 */
enum lct_code lct_tpm_policy_check(struct lct_tpm *tpm, const char *label, OSSL_LIB_CTX *libctx,
                                   struct lct_err *err);
bool lct_tpm_policy_is_open(const struct lct_tpm *tpm, const struct lct_name *salted_to);
bool lct_tpm_policy_is_salted(const struct lct_tpm *tpm);

/* Ends the sessions at the end of a piece of work, unless the way in keeps them for the next. */
void lct_tpm_session_leave(struct lct_tpm *tpm);

/* Ends it now. */
void lct_tpm_session_close(struct lct_tpm *tpm);
void lct_tpm_policy_close(struct lct_tpm *tpm);

/* Whether the result says that the policy session, a handle of the command, is gone; then it is
 * forgotten. */
bool lct_tpm_policy_is_lost(struct lct_tpm *tpm, TSS2_RC rc);

/*
 * A policy session of our own beside that one, or a trial one (TPM2_SE_*): unsalted and unbound, so
 * nothing is secret in it. Its policy is in `hash`. The caller ends it with lct_tpm_flush_session.
 */
enum lct_code lct_tpm_unsalted_start(struct lct_tpm *tpm, TPM2_HANDLE *session, const char *label,
                                     TPM2_SE type, TPMI_ALG_HASH hash, struct lct_err *err);

/* After a command that such a session is a handle of, and no authorization: if it is gone the work
 * is begun again. */
void lct_tpm_unsalted_look(struct lct_tpm *tpm, TSS2_RC rc);

/* TPM2_PolicySecret for a policy session of that kind: proves the authorization of a hierarchy, in
 * the HMAC session unless it is NULL or empty. LCT_ERR_AUTH: it is another. */
enum lct_code lct_tpm_policy_secret(struct lct_tpm *tpm, const char *label, TPM2_HANDLE session,
                                    TPM2_HANDLE hierarchy, const struct lct_secret *auth,
                                    OSSL_LIB_CTX *libctx, struct lct_err *err);

/* How a command is authorized. */
struct lct_terms {
    OSSL_LIB_CTX *libctx;
    const struct lct_secret *auth; /* of the first handle; NULL: it has none */
    size_t num_names;
    struct lct_name names[2]; /* of the handles: cpHash has them, so none can be swapped */
    /* What authorizes the second handle, where it is too: TPM2_RS_PW, with an empty password, or a
     * session of lct_tpm_unsalted_start. 0: nothing. */
    TPM2_HANDLE second;
    bool password;   /* the first handle by an empty password, whatever session is open */
    bool encrypt;    /* the command's first parameter */
    bool in_session; /* with session = always: not without */
    bool policy;     /* by the policy session; TPM2_PolicyAuthValue was said in it if there is an
                        authorization */
    bool decrypt;    /* the response's first parameter is encrypted */
    /* Nothing else is to go by the session: where the way in keeps none it ends with the command,
     * once that has succeeded (Part 2, 8.4: continueSession), which saves a command. Not with
     * `decrypt`. */
    bool last;
};

/*
 * Executes the command that was prepared in tpm->sys, by the session that `terms` mean, if it is
 * open, else in a password session without a password: never so with an authorization or something
 * to encrypt. NULL: by a password, of one handle. The caller completes it. The response's
 * HMAC is verified: LCT_ERR_NO_TPM if it is not the TPM's. The TPM's own refusals are in *rc.
 */
enum lct_code lct_tpm_execute(struct lct_tpm *tpm, const char *label, TPM2_CC command,
                              const struct lct_terms *terms, TSS2_RC *rc, struct lct_err *err);

/* After a command of such terms, with `decrypt`: the contents of the response's first parameter, in
 * place, so that nothing decrypted is ever in SAPI's buffers. LCT_ERR_INTERNAL. */
enum lct_code lct_tpm_decrypt(struct lct_tpm *tpm, const struct lct_terms *terms, uint8_t *bytes,
                              size_t bytes_len, struct lct_err *err);

#endif
