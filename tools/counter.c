/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/counter.h"

#include "store/counters.h"
#include "tools/as_owner.h"

#include <stdio.h>

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

/* The tool's stores, as they are for who makes new identities in `dir`. */
static struct lct_store store_for(const struct lct_tool *tool, const char *dir)
{
    struct lct_store store = tool->store;

    for (size_t i = 0; i < store.num_dirs; i++)
        if (store.dirs[i] == dir)
            store.create_in = i;
    return store;
}

/* That nobody else may need it, as long as the lock is held. Of one that the TPM did not show as
 * well: whether another identity has it, the records alone say. */
static enum lct_code check(const struct removal *removal, struct lct_descriptor *alone,
                           const struct lct_store *store, struct lct_err *err)
{
    const struct lct_counter *counter = removal->counter;
    const char *label = removal->request.label;
    struct lct_tpm_counter found;
    struct lct_err unseen = {.code = LCT_OK};
    char stays[192];

    if (lct_tpm_counter_find(removal->tool->tpm, &found, counter, label, &unseen) != LCT_OK)
        found = (struct lct_tpm_counter){.handle = counter->handle, .name = counter->name};
    enum lct_code code =
        unseen.code != LCT_ERR_OTHER_TPM ? lct_counters_lock(alone, store, true, err) : unseen.code;
    if (code == LCT_OK)
        code = lct_counters_check(store, &found, removal->request.libctx, err);
    if (unseen.code != LCT_OK && code != LCT_ERR_EXISTS) {
        *err = unseen;
        return unseen.code;
    }
    if (code == LCT_OK)
        return code;
    (void)snprintf(stays, sizeof stays, "%s: its NV counter at 0x%08x stays", label,
                   counter->handle);
    return lct_err_prefix(err, stays);
}

enum lct_code lct_tool_counter_remove(struct lct_tool *tool, const char *dir,
                                      const struct lct_counter *counter, const char *label,
                                      struct lct_err *err)
{
    const struct lct_store store = store_for(tool, dir);
    struct lct_secret owner_auth = {0};
    struct lct_descriptor alone = {0};
    struct removal removal = {
        tool, counter, {.label = label, .libctx = lct_crypto_get(tool->crypto, err)}};
    enum lct_code code =
        removal.request.libctx != NULL ? check(&removal, &alone, &store, err) : LCT_ERR_INTERNAL;

    if (code == LCT_OK)
        code = lct_tool_as_owner(tool, &owner_auth, remove_counter, &removal, err);
    lct_descriptor_close(&alone);
    lct_secret_wipe(&owner_auth);
    return code;
}
