/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TOOLS_AUTHORITY_H
#define LCT_TOOLS_AUTHORITY_H

#include "store/authority.h"
#include "tools/tool.h"

#include <limits.h>

/* What an authority is to be. */
struct lct_authority_request {
    const char *out;       /* the file of the private half, which is new */
    const char *algorithm; /* NULL: ec-p256 */
    bool passphrase;       /* under one that is asked for, not under a recovery phrase */
};

/*
 * Makes a recovery authority for the store that new identities go to. Its recovery phrase is shown
 * once, on the terminal, or where there is none on standard output, unless JSON goes there:
 * LCT_ERR_USAGE. What fails leaves no file. LCT_ERR_EXISTS: the store has one; LCT_ERR_USAGE;
 * LCT_ERR_IO; LCT_ERR_AUTH; LCT_ERR_STORE.
 */
enum lct_code lct_tool_make_authority(struct lct_tool *tool,
                                      const struct lct_authority_request *request,
                                      struct lct_err *err);

/* How a fingerprint is cut short in sentences: "%.*s". */
enum { LCT_FINGERPRINT_SHORT = 16 };

/* The file with the private half of the authority of this seal, as far as a store knows where it
 * was put; "KEY.pem" if none does. Returns `file` or that. */
const char *lct_authority_key_file(char file[PATH_MAX], const struct lct_tool *tool,
                                   const struct lct_seal *seal);

/* lct_tpm_try_authority of one that nothing may be sealed to yet; `label` is for messages. */
enum lct_code lct_authority_try(const struct lct_tool *tool, const struct lct_authority *authority,
                                const char *label, struct lct_err *err);

/* Whether there is a file where the private half was put: it may be on a stick. */
bool lct_authority_is_here(const struct lct_authority *authority);

#endif
