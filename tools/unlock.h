/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TOOLS_UNLOCK_H
#define LCT_TOOLS_UNLOCK_H

#include "base/secret.h"
#include "store/identity.h"
#include "tools/tool.h"

/* Gives a key its passphrase: from --passphrase-file, passphrase_file, or by asking; errors of
 * lct_key_unlock and lct_ask_secret. */
enum lct_code lct_tool_unlock(struct lct_tool *tool, struct lct_key *key, struct lct_err *err);

/*
 * The endorsement hierarchy's authorization: from endorsement_auth_file, or where that is not set,
 * with `ask`, from the terminal, if there is one; else it stays empty, and the TPM's refusal says
 * what to do. One that is known already is left alone. Errors of lct_secret_read and
 * lct_ask_secret.
 */
enum lct_code lct_tool_endorsement_auth(struct lct_secret *endorsement_auth,
                                        const struct lct_tool *tool, bool ask, struct lct_err *err);

/* The same, for lct_identity_check. */
struct lct_unlocker lct_tool_unlocker(struct lct_tool *tool);

#endif
