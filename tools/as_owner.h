/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TOOLS_AS_OWNER_H
#define LCT_TOOLS_AS_OWNER_H

#include "store/record.h"
#include "tools/tool.h"

/*
 * Does what takes the authorization of the TPM's owner: with the one that is configured, and after
 * LCT_ERR_AUTH without one, where there is a terminal and the TPM has one set, once more with what
 * is typed there. It is in *owner_auth then, for what comes next, until the caller wipes it. Errors
 * of `act`, lct_tool_owner_auth and lct_ask_secret.
 */
enum lct_code lct_tool_as_owner(struct lct_tool *tool, struct lct_secret *owner_auth,
                                enum lct_code (*act)(void *arg, const struct lct_secret *owner_auth,
                                                     struct lct_err *err),
                                void *arg, struct lct_err *err);

/*
 * The same of what may have to make the parent of a generation of an identity anew besides (0: of
 * the active one). If that is in the endorsement hierarchy, its authorization is read as well, or
 * asked for in the same way; else it is not looked at, and a file that cannot be read is in
 * nobody's way. Errors also of lct_tool_endorsement_auth.
 */
enum lct_code lct_tool_with_auths(struct lct_tool *tool, struct lct_secret *owner_auth,
                                  const char *id, unsigned number,
                                  enum lct_code (*act)(void *arg, const struct lct_tpm_auths *auths,
                                                       struct lct_err *err),
                                  void *arg, struct lct_err *err);

/* What a command of tpm2-tools takes besides, where the TPM's owner has an authorization set:
 * " -P file:FILE"; else, or where the TPM does not say, "". */
const char *lct_tool_owner_option(const struct lct_tool *tool);

/*
 * Evicts what lct persist has put into the TPM of a generation, if anything, and only that
 * (lct_persist_remove), before its record goes: nobody would know afterwards that it is ours.
 * Without its handle a key is loaded from its file; one that stays there is told on stderr, with
 * what removes it unless it may be another's, and is none of the store's troubles. Whether one
 * stays that is not another's, as far as is known.
 */
bool lct_tool_evict(struct lct_tool *tool, struct lct_secret *owner_auth, const char *id,
                    const struct lct_generation *generation);

#endif
