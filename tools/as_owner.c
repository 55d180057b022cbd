/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/as_owner.h"

#include "store/persist.h"
#include "tpm/hierarchy.h"
#include "tools/ask.h"
#include "tools/unlock.h"

#include <stdio.h>
#include <stdlib.h>

/* Whether what the TPM has refused may be for want of a hierarchy's authorization that somebody can
 * type: it has one set, and none was given. */
static bool is_missing(const struct lct_tool *tool, const struct lct_secret *auth,
                       uint32_t hierarchy)
{
    bool takes = false;

    return auth->len == 0 && lct_can_ask() &&
           lct_tpm_hierarchy_takes_auth(tool->tpm, &takes, hierarchy, "the TPM", NULL) == LCT_OK &&
           takes;
}

static enum lct_code ask_owner(struct lct_secret *owner_auth, struct lct_err *err)
{
    return lct_ask_secret(owner_auth, "authorization of the TPM's owner",
                          "owner_auth_file in openssl.cnf", false, err);
}

enum lct_code lct_tool_as_owner(struct lct_tool *tool, struct lct_secret *owner_auth,
                                enum lct_code (*act)(void *arg, const struct lct_secret *owner_auth,
                                                     struct lct_err *err),
                                void *arg, struct lct_err *err)
{
    enum lct_code code = owner_auth->len == 0 ? lct_tool_owner_auth(owner_auth, tool, err) : LCT_OK;

    if (code == LCT_OK)
        code = act(arg, owner_auth, err);
    if (code != LCT_ERR_AUTH || !is_missing(tool, owner_auth, TPM2_RH_OWNER))
        return code;
    code = ask_owner(owner_auth, err);
    return code == LCT_OK ? act(arg, owner_auth, err) : code;
}

/* The parent of a generation; of one that is not there, that of none, and the act says so. */
static uint32_t find_parent(const struct lct_tool *tool, const char *id, unsigned number)
{
    struct lct_record *record = NULL;
    const struct lct_generation *generation = NULL;

    if (lct_store_get_record(&tool->store, id, &record, NULL, NULL) == LCT_OK)
        generation = lct_record_generation(record, number);
    const uint32_t parent = generation != NULL ? generation->parent : TPM2_RH_NULL;
    free(record);
    return parent;
}

enum lct_code lct_tool_with_auths(struct lct_tool *tool, struct lct_secret *owner_auth,
                                  const char *id, unsigned number,
                                  enum lct_code (*act)(void *arg, const struct lct_tpm_auths *auths,
                                                       struct lct_err *err),
                                  void *arg, struct lct_err *err)
{
    struct lct_secret endorsement_auth = {0};
    const struct lct_tpm_auths auths = {owner_auth, &endorsement_auth};
    const bool endorsed = find_parent(tool, id, number) == TPM2_RH_ENDORSEMENT;
    enum lct_code code =
        endorsed ? lct_tool_endorsement_auth(&endorsement_auth, tool, false, err) : LCT_OK;

    if (code == LCT_OK && owner_auth->len == 0)
        code = lct_tool_owner_auth(owner_auth, tool, err);
    if (code == LCT_OK)
        code = act(arg, &auths, err);
    /* The parent is made before anything that takes the owner's: that was refused first. */
    if (code == LCT_ERR_AUTH && endorsed &&
        is_missing(tool, &endorsement_auth, TPM2_RH_ENDORSEMENT)) {
        code = lct_tool_endorsement_auth(&endorsement_auth, tool, true, err);
        if (code != LCT_OK)
            goto out;
        code = act(arg, &auths, err);
    }
    if (code == LCT_ERR_AUTH && is_missing(tool, owner_auth, TPM2_RH_OWNER)) {
        code = ask_owner(owner_auth, err);
        if (code == LCT_OK)
            code = act(arg, &auths, err);
    }
out:
    lct_secret_wipe(&endorsement_auth);
    return code;
}

const char *lct_tool_owner_option(const struct lct_tool *tool)
{
    bool takes = false;

    return lct_tpm_hierarchy_takes_auth(tool->tpm, &takes, TPM2_RH_OWNER, "the TPM", NULL) ==
                       LCT_OK &&
                   takes
               ? " -P file:FILE"
               : "";
}

/* A key that is to leave its persistent handle. */
struct eviction {
    struct lct_tool *tool;
    const char *id;
    const struct lct_generation *generation;
};

static enum lct_code evict(void *arg, const struct lct_tpm_auths *auths, struct lct_err *err)
{
    const struct eviction *eviction = arg;
    bool evicted;

    return lct_persist_remove(&eviction->tool->store, eviction->tool->tpm, eviction->tool->crypto,
                              eviction->id, eviction->generation, auths, &evicted, err);
}

/* Whether what is at the handle, and stays, may well be the key: another identity was not imported
 * from there, and the key file has not shown otherwise. */
static bool may_be_it(enum lct_code why)
{
    return why != LCT_ERR_UNSUPPORTED && why != LCT_ERR_BAD_RECORD && why != LCT_ERR_WRONG_KEY &&
           why != LCT_ERR_OTHER_TPM;
}

bool lct_tool_evict(struct lct_tool *tool, struct lct_secret *owner_auth, const char *id,
                    const struct lct_generation *generation)
{
    struct eviction eviction = {tool, id, generation};
    struct lct_err why = {.code = LCT_OK};
    char stays[96] = "";

    if (generation->persistent == 0 || lct_tool_with_auths(tool, owner_auth, id, generation->number,
                                                           evict, &eviction, &why) == LCT_OK)
        return false;
    if (may_be_it(why.code))
        (void)snprintf(stays, sizeof stays,
                       "; its key stays in the TPM, until: tpm2_evictcontrol -c 0x%08x%s",
                       generation->persistent, lct_tool_owner_option(tool));
    lct_tool_warn(NULL, "%s%s", why.text, stays);
    return may_be_it(why.code);
}
