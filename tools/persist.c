/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/as_owner.h"
#include "tools/describe.h"
#include "tools/tool.h"

#include "proof/json.h"
#include "store/persist.h"

struct persisting {
    struct lct_tool *tool;
    struct lct_persist_request request;
    uint32_t handle; /* where the key is, or was */
    bool evicted;
};

static enum lct_code persist(void *arg, const struct lct_tpm_auths *auths, struct lct_err *err)
{
    struct persisting *persisting = arg;
    struct lct_tool *tool = persisting->tool;

    persisting->request.auths = auths;
    return lct_persist_key(&tool->store, tool->tpm, tool->crypto, &persisting->request,
                           &persisting->handle, err);
}

static enum lct_code undo(void *arg, const struct lct_tpm_auths *auths, struct lct_err *err)
{
    struct persisting *persisting = arg;
    struct lct_tool *tool = persisting->tool;

    persisting->request.auths = auths;
    return lct_persist_undo(&tool->store, tool->tpm, tool->crypto, &persisting->request,
                            &persisting->handle, &persisting->evicted, err);
}

static enum lct_code read_handle(uint32_t *handle, const char *text, struct lct_err *err)
{
    *handle = 0;
    if (text == NULL || (lct_json_handle(handle, text) && *handle >= lct_persist_first &&
                         *handle <= lct_persist_last))
        return LCT_OK;
    return LCT_FAIL(err, LCT_ERR_USAGE, "--handle takes one from 0x%08x to 0x%08x",
                    lct_persist_first, lct_persist_last);
}

static enum lct_code run_as_owner(struct persisting *persisting,
                                  enum lct_code (*act)(void *, const struct lct_tpm_auths *,
                                                       struct lct_err *),
                                  struct lct_err *err)
{
    struct lct_secret owner_auth = {0};
    const struct lct_persist_request *request = &persisting->request;
    enum lct_code code = lct_tool_with_auths(persisting->tool, &owner_auth, request->id,
                                             request->generation, act, persisting, err);

    lct_secret_wipe(&owner_auth);
    return code;
}

enum lct_code lct_persist_run(struct lct_tool *tool, int argc, char **argv, struct lct_err *err)
{
    struct persisting persisting = {.tool = tool};
    const char *handle = NULL, *generation = NULL;
    const struct lct_option options[] = {
        {"handle", &handle, NULL}, {"generation", &generation, NULL}, {"json", NULL, &tool->json}};
    enum lct_code code = lct_tool_begin(tool, argc, argv, options, 3, &persisting.request.id, err);

    if (code == LCT_OK)
        code = read_handle(&persisting.request.handle, handle, err);
    if (code == LCT_OK)
        code = lct_tool_generation(&persisting.request.generation, generation, err);
    if (code == LCT_OK)
        code = run_as_owner(&persisting, persist, err);
    if (code == LCT_OK)
        code = lct_tool_say(tool, err, "lct:%s: its key is at 0x%08x in the TPM now\n",
                            persisting.request.id, persisting.handle);
    return code == LCT_OK ? lct_describe_result(tool, persisting.request.id, err) : code;
}

enum lct_code lct_unpersist_run(struct lct_tool *tool, int argc, char **argv, struct lct_err *err)
{
    struct persisting persisting = {.tool = tool};
    const char *generation = NULL;
    const struct lct_option options[] = {{"generation", &generation, NULL},
                                         {"json", NULL, &tool->json}};
    enum lct_code code = lct_tool_begin(tool, argc, argv, options, 2, &persisting.request.id, err);

    if (code == LCT_OK)
        code = lct_tool_generation(&persisting.request.generation, generation, err);
    if (code == LCT_OK)
        code = run_as_owner(&persisting, undo, err);
    if (code != LCT_OK)
        return code;
    code = lct_tool_say(tool, err,
                        persisting.evicted
                            ? "lct:%s: its key is no longer at 0x%08x, and is loaded from its key "
                              "file\n"
                            : "lct:%s: its key was not at 0x%08x any more, where its record had "
                              "it; it is loaded from its key file\n",
                        persisting.request.id, persisting.handle);
    return code == LCT_OK ? lct_describe_result(tool, persisting.request.id, err) : code;
}
