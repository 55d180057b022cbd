/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/counter.h"

#include "tools/as_owner.h"

struct removal {
    struct lct_tool *tool;
    const struct lct_counter *counter;
    struct lct_tpm_counter_request request;
};

static enum lct_code remove_counter(void *arg, const struct lct_secret *owner_auth,
                                    struct lct_err *err)
{
    struct removal *removal = arg;

    removal->request.owner_auth = owner_auth;
    return lct_tpm_counter_remove(removal->tool->tpm, removal->counter, &removal->request, err);
}

enum lct_code lct_tool_counter_remove(struct lct_tool *tool, const struct lct_counter *counter,
                                      const char *label, struct lct_err *err)
{
    struct lct_secret owner_auth = {0};
    struct removal removal = {
        tool, counter, {.label = label, .libctx = lct_crypto_get(tool->crypto, err)}};
    enum lct_code code = removal.request.libctx != NULL
                             ? lct_tool_as_owner(tool, &owner_auth, remove_counter, &removal, err)
                             : LCT_ERR_INTERNAL;

    lct_secret_wipe(&owner_auth);
    return code;
}
