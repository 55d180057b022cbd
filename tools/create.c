/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/tool.h"
#include "tools/unlock.h"

#include "store/identity.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct request {
    const char *id, *algorithm, *seal, *owner;
    bool if_absent, passphrase;
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

static enum lct_code say_created(const struct lct_key *key, bool provision, struct lct_err *err)
{
    const struct lct_generation *generation = &key->generation;

    if (provision && generation->parent != lct_srk_handle)
        (void)fprintf(
            stderr,
            "lct: the TPM keeps no storage root key at 0x%08x: its NV memory may be full; "
            "it is made anew each time the key is loaded\n",
            lct_srk_handle);
    return lct_tool_print(err, "created %s (%s, unsealed%s, in the TPM: %s%s)\n", key->label,
                          generation->algorithm->name,
                          generation->passphrase ? ", with a passphrase" : "", generation->tpm,
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

/* The secrets that making an identity takes. */
struct secrets {
    struct lct_secret passphrase, owner_auth;
};

static enum lct_code find_secrets(struct secrets *secrets, const struct lct_tool *tool,
                                  const struct request *request, struct lct_err *err)
{
    enum lct_code code = LCT_OK;

    if (tool->passphrase_file != NULL)
        code = lct_secret_read(&secrets->passphrase, "the passphrase", tool->passphrase_file, err);
    else if (request->passphrase)
        code =
            lct_ask_secret(&secrets->passphrase, "new passphrase", "--passphrase-file", true, err);
    if (code == LCT_OK && tool->config.owner_auth_file != NULL)
        code = lct_secret_read(&secrets->owner_auth, "the owner's authorization",
                               tool->config.owner_auth_file, err);
    return code;
}

/* Once more with the owner's authorization if that is what it takes and there is somebody to ask.
 */
static enum lct_code make(struct lct_tool *tool, struct lct_identity_request *request,
                          struct secrets *secrets, struct lct_key **key, struct lct_err *err)
{
    bool made_srk = false, ask = secrets->owner_auth.len == 0 && lct_can_ask();

    request->passphrase = secrets->passphrase.len > 0 ? &secrets->passphrase : NULL;
    request->owner_auth = &secrets->owner_auth;
    enum lct_code code =
        lct_identity_create(&tool->store, tool->tpm, tool->crypto, request, key, &made_srk, err);
    if (code == LCT_ERR_AUTH && ask) {
        code = lct_ask_secret(&secrets->owner_auth, "authorization of the TPM's owner",
                              "owner_auth_file in openssl.cnf", false, err);
        if (code == LCT_OK)
            code = lct_identity_create(&tool->store, tool->tpm, tool->crypto, request, key,
                                       &made_srk, err);
    }
    if (made_srk)
        (void)fprintf(stderr, "lct: made the TPM's storage root key and put it at 0x%08x\n",
                      lct_srk_handle);
    return code;
}

static enum lct_code create(struct lct_tool *tool, const struct request *request,
                            struct lct_err *err)
{
    struct lct_identity_request identity = {.id = request->id,
                                            .provision = !tool->config.no_provision};
    struct secrets secrets = {0};
    struct lct_key *key = NULL;
    enum lct_code code = find_algorithm(&identity.algorithm, request->algorithm, err);

    if (code == LCT_OK)
        code = lct_tool_owner(&identity.owner, request->owner, err);
    if (code == LCT_OK)
        code = find_secrets(&secrets, tool, request, err);
    if (code == LCT_OK)
        code = make(tool, &identity, &secrets, &key, err);
    lct_secret_wipe(&secrets.passphrase);
    lct_secret_wipe(&secrets.owner_auth);
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
        {"algorithm", &request.algorithm, NULL},   {"seal", &request.seal, NULL},
        {"owner", &request.owner, NULL},           {"if-absent", NULL, &request.if_absent},
        {"passphrase", NULL, &request.passphrase},
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
