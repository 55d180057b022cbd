/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/making.h"

#include "tools/ask.h"
#include "tools/progress.h"

#include <stdio.h>

/* `option` takes a file with the passphrase. */
static enum lct_code begin(struct lct_making *making, const struct lct_tool *tool, const char *file,
                           const char *option, bool passphrase, struct lct_err *err)
{
    enum lct_code code = LCT_OK;

    *making = (struct lct_making){.tool = tool};
    if (file != NULL)
        code = lct_secret_read(&making->passphrase, "the passphrase", file, err);
    else if (passphrase)
        code = lct_ask_secret(&making->passphrase, "new passphrase", option, true, err);
    return code == LCT_OK ? lct_tool_owner_auth(&making->owner_auth, tool, err) : code;
}

enum lct_code lct_making_begin(struct lct_making *making, const struct lct_tool *tool,
                               bool passphrase, struct lct_err *err)
{
    return begin(making, tool, tool->passphrase_file, "--passphrase-file", passphrase, err);
}

enum lct_code lct_making_begin_from(struct lct_making *making, const struct lct_tool *tool,
                                    const char *file, bool passphrase, struct lct_err *err)
{
    return begin(making, tool, file, "--new-passphrase-file, or say --no-passphrase", passphrase,
                 err);
}

void lct_making_end(struct lct_making *making)
{
    lct_secret_wipe(&making->passphrase);
    lct_secret_wipe(&making->owner_auth);
}

/* A TPM takes a minute for some keys. */
static enum lct_code make_once(const struct lct_making *making,
                               enum lct_code (*make)(void *arg, bool *made_srk,
                                                     struct lct_err *err),
                               void *arg, bool *made_srk, struct lct_err *err)
{
    struct lct_progress progress;
    char what[64] = "waiting for the TPM";

    if (making->algorithm != NULL)
        (void)snprintf(what, sizeof what, "making an %s key in the TPM", making->algorithm);
    lct_progress_begin(&progress, making->tool, what);
    enum lct_code code = make(arg, made_srk, err);
    lct_progress_end(&progress);
    return code;
}

enum lct_code lct_making_run(struct lct_making *making,
                             enum lct_code (*make)(void *arg, bool *made_srk, struct lct_err *err),
                             void *arg, struct lct_err *err)
{
    bool made_srk = false, ask = making->owner_auth.len == 0 && lct_can_ask();
    enum lct_code code = make_once(making, make, arg, &made_srk, err);

    if (code == LCT_ERR_AUTH && ask) {
        code = lct_ask_secret(&making->owner_auth, "authorization of the TPM's owner",
                              "owner_auth_file in openssl.cnf", false, err);
        if (code == LCT_OK)
            code = make_once(making, make, arg, &made_srk, err);
    }
    if (made_srk)
        lct_tool_note(making->tool, "made the TPM's storage root key and put it at 0x%08x",
                      lct_srk_handle);
    return code;
}
