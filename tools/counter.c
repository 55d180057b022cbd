/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/counter.h"

#include "tools/as_owner.h"

struct counting {
    struct lct_tool *tool;
    struct lct_counter *counter;
    struct lct_tpm_counter_request request;
    enum lct_code (*command)(struct lct_tpm *, struct lct_counter *,
                             const struct lct_tpm_counter_request *, struct lct_err *);
};

static enum lct_code count(void *arg, const struct lct_secret *owner_auth, struct lct_err *err)
{
    struct counting *counting = arg;

    counting->request.owner_auth = owner_auth;
    return counting->command(counting->tool->tpm, counting->counter, &counting->request, err);
}

enum lct_code
lct_tool_counter(struct lct_tool *tool, struct lct_counter *counter, const char *label,
                 enum lct_code (*command)(struct lct_tpm *, struct lct_counter *,
                                          const struct lct_tpm_counter_request *, struct lct_err *),
                 struct lct_err *err)
{
    struct lct_secret owner_auth = {0};
    struct counting counting = {
        tool, counter, {.label = label, .libctx = lct_crypto_get(tool->crypto, err)}, command};
    enum lct_code code = counting.request.libctx != NULL
                             ? lct_tool_as_owner(tool, &owner_auth, count, &counting, err)
                             : LCT_ERR_INTERNAL;

    lct_secret_wipe(&owner_auth);
    return code;
}

static enum lct_code remove_command(struct lct_tpm *tpm, struct lct_counter *counter,
                                    const struct lct_tpm_counter_request *request,
                                    struct lct_err *err)
{
    return lct_tpm_counter_remove(tpm, counter, request, err);
}

enum lct_code lct_tool_counter_remove(struct lct_tool *tool, const struct lct_counter *counter,
                                      const char *label, struct lct_err *err)
{
    struct lct_counter copy = *counter;

    return lct_tool_counter(tool, &copy, label, remove_command, err);
}
