/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/tool.h"

#include "store/identity.h"

#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct request {
    const char *id, *algorithm, *seal, *owner;
    bool if_absent;
};

static enum lct_code find_algorithm(const struct lct_algorithm **algorithm, const char *name,
                                    struct lct_err *err)
{
    *algorithm = lct_algorithm_by_name(name != NULL ? name : "ec-p256");
    if (*algorithm != NULL)
        return LCT_OK;
    return LCT_FAIL(err, LCT_ERR_USAGE,
                    "there is no algorithm \"%s\"; choose ec-p256, ec-p384, rsa-2048 or rsa-3072",
                    name);
}

/* "USER:GROUP", either of them perhaps missing; names as the system knows them. */
static enum lct_code find_owner(struct lct_owner *owner, const char *text, struct lct_err *err)
{
    char user[64] = "";

    *owner = (struct lct_owner){(uid_t)-1, (gid_t)-1};
    if (text == NULL)
        return LCT_OK;
    if (text[strspn(text, ":")] == '\0')
        return LCT_FAIL(err, LCT_ERR_USAGE, "--owner takes a user, a group, or both: USER:GROUP");
    size_t user_len = strcspn(text, ":");
    const char *group = text[user_len] == ':' ? text + user_len + 1 : "";
    (void)snprintf(user, sizeof user, "%.*s", (int)user_len, text);
    const struct passwd *passwd = *user != '\0' ? getpwnam(user) : NULL;
    if (*user != '\0' && passwd == NULL)
        return LCT_FAIL(err, LCT_ERR_USAGE, "there is no user \"%s\"", user);
    if (passwd != NULL)
        owner->user = passwd->pw_uid;
    const struct group *entry = *group != '\0' ? getgrnam(group) : NULL;
    if (*group != '\0' && entry == NULL)
        return LCT_FAIL(err, LCT_ERR_USAGE, "there is no group \"%s\"", group);
    if (entry != NULL)
        owner->group = entry->gr_gid;
    return LCT_OK;
}

static enum lct_code say_created(const struct lct_key *key, bool provision, struct lct_err *err)
{
    const struct lct_generation *generation = &key->generation;

    if (provision && generation->parent != lct_srk_handle)
        (void)fprintf(
            stderr,
            "lct: the TPM keeps no storage root key at 0x%08x: its NV memory may be full; "
            "it is made anew each time the key is loaded\n",
            lct_srk_handle);
    return lct_tool_print(err, "created %s (%s, unsealed, in the TPM: %s%s)\n", key->label,
                          generation->algorithm->name, generation->tpm,
                          generation->software_tpm ? ", a software TPM" : "");
}

/* --if-absent: what is there already must have the algorithm that was asked for. */
static enum lct_code accept_existing(struct lct_tool *tool, const struct request *request,
                                     struct lct_err *err)
{
    struct lct_record *record = NULL;
    enum lct_code code = lct_store_get_record(&tool->store, request->id, &record, NULL, err);

    if (code != LCT_OK)
        return code;
    const char *algorithm = lct_record_generation(record, 0)->algorithm->name;
    if (request->algorithm != NULL && strcmp(request->algorithm, algorithm) != 0)
        code = LCT_FAIL(err, LCT_ERR_EXISTS, "lct:%s: this identity exists already, with %s",
                        request->id, algorithm);
    else
        code = lct_tool_print(err, "lct:%s is there already (%s)\n", request->id, algorithm);
    free(record);
    return code;
}

static enum lct_code create(struct lct_tool *tool, const struct request *request,
                            struct lct_err *err)
{
    struct lct_identity_request identity = {.id = request->id,
                                            .provision = !tool->config.no_provision};
    struct lct_key *key = NULL;
    bool made_srk = false;
    enum lct_code code = find_algorithm(&identity.algorithm, request->algorithm, err);

    if (code == LCT_OK)
        code = find_owner(&identity.owner, request->owner, err);
    if (code != LCT_OK)
        return code;
    code =
        lct_identity_create(&tool->store, tool->tpm, tool->crypto, &identity, &key, &made_srk, err);
    if (made_srk)
        (void)fprintf(stderr, "lct: made the TPM's storage root key and put it at 0x%08x\n",
                      lct_srk_handle);
    if (code == LCT_ERR_EXISTS && request->if_absent)
        return accept_existing(tool, request, err);
    if (code == LCT_OK)
        code = say_created(key, identity.provision, err);
    lct_key_free(key);
    return code;
}

enum lct_code lct_create_run(struct lct_tool *tool, int argc, char **argv, struct lct_err *err)
{
    struct request request = {0};
    const struct lct_option options[] = {
        {"algorithm", &request.algorithm, NULL},
        {"seal", &request.seal, NULL},
        {"owner", &request.owner, NULL},
        {"if-absent", NULL, &request.if_absent},
    };
    char **operands;
    int num_operands;
    enum lct_code code =
        lct_options_parse(tool, argc, argv, options, sizeof options / sizeof options[0], 1, 1,
                          &operands, &num_operands, err);

    if (code == LCT_OK)
        code = lct_tool_id(tool, &request.id, operands[0], err);
    if (code == LCT_OK && request.seal != NULL && strcmp(request.seal, "none") != 0)
        code = LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                        "sealing to \"%s\" is not there yet; --seal none is what this lct can do",
                        request.seal);
    if (code == LCT_OK)
        code = lct_tool_open(tool, err);
    return code == LCT_OK ? create(tool, &request, err) : code;
}
