/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/unlock.h"

#include "tools/ask.h"

#include <stdio.h>

/* A key in software that is used although no more of them are to be made. */
static void warn_of_software(const struct lct_tool *tool, const struct lct_key *key)
{
    if (lct_key_is_software(key) && tool->config.require_hardware == LCT_REQUIRE_NEW)
        lct_tool_warn(key->label,
                      "its key is in software, and require_hardware is new; lct rotate %s --to tpm "
                      "makes one in the TPM",
                      key->id);
}

enum lct_code lct_tool_unlock(struct lct_tool *tool, struct lct_key *key, struct lct_err *err)
{
    char what[LCT_KEY_LABEL + 16];

    if (tool->passphrase_file != NULL && lct_key_is_locked(key)) {
        enum lct_code code = lct_key_read_passphrase(key, tool->passphrase_file, err);
        if (code != LCT_OK)
            return lct_err_prefix(err, key->label);
    }
    enum lct_code code = lct_key_unlock(key, &tool->config, err);
    if (code == LCT_OK)
        warn_of_software(tool, key);
    if (code != LCT_OK || !lct_key_is_locked(key))
        return code;
    (void)snprintf(what, sizeof what, "passphrase of %s", key->label);
    code = lct_ask_secret(&key->passphrase, what,
                          "--passphrase-file, or passphrase_file in openssl.cnf", false, err);
    return code == LCT_OK ? lct_key_open(key, err) : code;
}

enum lct_code lct_tool_endorsement_auth(struct lct_secret *endorsement_auth,
                                        const struct lct_tool *tool, bool ask, struct lct_err *err)
{
    const char *file = tool->config.endorsement_auth_file;

    if (endorsement_auth->len > 0)
        return LCT_OK;
    if (file != NULL)
        return lct_secret_read(endorsement_auth, "the endorsement hierarchy's authorization", file,
                               err);
    if (!ask || !lct_can_ask())
        return LCT_OK;
    return lct_ask_secret(endorsement_auth, "authorization of the TPM's endorsement hierarchy",
                          "endorsement_auth_file in openssl.cnf", false, err);
}

static enum lct_code unlock(void *arg, struct lct_key *key, struct lct_err *err)
{
    return lct_tool_unlock(arg, key, err);
}

struct lct_unlocker lct_tool_unlocker(struct lct_tool *tool)
{
    return (struct lct_unlocker){unlock, tool};
}
