/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TPM_HIERARCHY_H
#define LCT_TPM_HIERARCHY_H

#include "tpm/tpm.h"

/*
 * Whether `secret` is the authorization of a hierarchy (TPM2_RH_OWNER, TPM2_RH_ENDORSEMENT), which
 * are not subject to the TPM's lockout: it may be wrong. Proved with TPM2_PolicySecret for a trial
 * session, in a salted session, so that it does not cross the bus; nothing is changed. LCT_ERR_AUTH
 * with TPM2_RC_BAD_AUTH in err->tpm_rc: it is another.
 */
enum lct_code lct_tpm_check_hierarchy(struct lct_tpm *tpm, uint32_t hierarchy,
                                      const struct lct_secret *secret, OSSL_LIB_CTX *libctx,
                                      struct lct_err *err);

/* Whether a hierarchy (one of these two) has an authorization that is not empty. `of` is what it is
 * asked for: "lct:alice", for messages. */
enum lct_code lct_tpm_hierarchy_takes_auth(struct lct_tpm *tpm, bool *takes, uint32_t hierarchy,
                                           const char *of, struct lct_err *err);

#endif
