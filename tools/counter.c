/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/counter.h"

#include "tools/ask.h"

enum lct_code
lct_tool_counter(struct lct_tool *tool, struct lct_counter *counter, const char *label,
                 enum lct_code (*command)(struct lct_tpm *, struct lct_counter *,
                                          const struct lct_tpm_counter_request *, struct lct_err *),
                 struct lct_err *err)
{
    struct lct_secret owner_auth = {0};
    const struct lct_tpm_counter_request request = {label, &owner_auth,
                                                    lct_crypto_get(tool->crypto, err)};
    enum lct_code code =
        request.libctx != NULL ? lct_tool_owner_auth(&owner_auth, tool, err) : LCT_ERR_INTERNAL;

    if (code == LCT_OK)
        code = command(tool->tpm, counter, &request, err);
    if (code == LCT_ERR_AUTH && owner_auth.len == 0 && lct_can_ask()) {
        code = lct_ask_secret(&owner_auth, "authorization of the TPM's owner",
                              "owner_auth_file in openssl.cnf", false, err);
        if (code == LCT_OK)
            code = command(tool->tpm, counter, &request, err);
    }
    lct_secret_wipe(&owner_auth);
    return code;
}
