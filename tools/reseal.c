/* SPDX-License-Identifier: Apache-2.0 */
#include "store/change.h"
#include "tools/approver.h"
#include "tools/as_owner.h"
#include "tools/tool.h"

struct resealing {
    struct lct_approver *approver;
    const char *id;
};

/* One at a time: two that count at once would leave approvals that are void at once. */
static enum lct_code revoke(void *arg, const struct lct_secret *owner_auth, struct lct_err *err)
{
    const struct resealing *resealing = arg;
    struct lct_approver *approver = resealing->approver;
    struct lct_change change;
    enum lct_code code = lct_change_begin(&change, &approver->tool->store, resealing->id, err);

    approver->owner_auth = owner_auth;
    lct_approver_forget(approver);
    if (code == LCT_OK)
        code = lct_approver_plan(approver, resealing->id, NULL, err);
    if (code == LCT_OK)
        code = lct_approver_revoke(approver, err);
    lct_change_end(&change);
    return code;
}

static enum lct_code revoke_as_owner(struct lct_approver *approver, const char *id,
                                     struct lct_err *err)
{
    struct resealing resealing = {approver, id};
    struct lct_secret owner_auth = {0};
    enum lct_code code = lct_tool_as_owner(approver->tool, &owner_auth, revoke, &resealing, err);

    lct_secret_wipe(&owner_auth);
    return code;
}

static enum lct_code approve(struct lct_approver *approver, const char *id, struct lct_err *err)
{
    enum lct_code code = lct_approver_plan(approver, id, NULL, err);

    return code == LCT_OK ? lct_approver_finish(approver, err) : code;
}

enum lct_code lct_reseal_run(struct lct_tool *tool, int argc, char **argv, struct lct_err *err)
{
    struct lct_approver approver = {0};
    const char *key_file = NULL, *id = NULL;
    const struct lct_option options[] = {{"authority", &key_file, NULL},
                                         {"revoke", NULL, &approver.revoke},
                                         {"json", NULL, &tool->json}};
    enum lct_code code =
        lct_tool_begin(tool, argc, argv, options, sizeof options / sizeof options[0], &id, err);

    if (code == LCT_OK && key_file == NULL)
        code = LCT_FAIL(err, LCT_ERR_USAGE,
                        "whose approval? --authority KEY.pem, the file that lct authority init "
                        "wrote");
    if (code == LCT_OK)
        code = lct_approver_open(&approver, tool, key_file, err);
    if (code == LCT_OK)
        code = approver.revoke ? revoke_as_owner(&approver, id, err) : approve(&approver, id, err);
    lct_approver_close(&approver);
    return code;
}
