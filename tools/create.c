/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/authority.h"
#include "tools/describe.h"
#include "tools/making.h"
#include "tools/seal_text.h"
#include "tools/sealing.h"
#include "tools/shell.h"
#include "tools/tool.h"

#include "store/enrol.h"
#include "store/identity.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct request {
    const char *id, *algorithm, *seal, *owner;
    bool if_absent, passphrase, bind, revocable, software, new_parent;
};

static enum lct_code find_algorithm(const struct lct_algorithm **algorithm,
                                    const struct request *request, struct lct_err *err)
{
    const char *name = request->algorithm != NULL ? request->algorithm : "ec-p256";

    *algorithm = lct_algorithm_by_name(name);
    if (*algorithm != NULL && (request->software ? (*algorithm)->software : (*algorithm)->tpm))
        return LCT_OK;
    return LCT_FAIL(err, LCT_ERR_USAGE, "there is no algorithm \"%s\" %s; choose %s", name,
                    request->software ? "in software" : "in a TPM",
                    request->software ? "ec-p256, ec-p384 or ed25519"
                                      : "ec-p256, ec-p384, rsa-2048 or rsa-3072");
}

/* Whether no approval that is there is for the state of this boot. Of a new counter there is none.
 * Where there is none at all the TPM need not be asked. */
static bool is_refused(const struct lct_tool *tool, struct lct_key *key)
{
    const struct lct_store *store = &tool->store;
    struct lct_generation generation;

    if (lct_key_generation(&generation, key)->seal.counter.handle != 0)
        return true;
    if (lct_key_look_in(key, store->dirs[store->create_in], &tool->config, NULL) != LCT_OK)
        return false;
    return lct_key_values(key, &generation).num_approvals == 0 ||
           lct_enrol_try(key, tool->tpm, NULL) == LCT_ERR_SEALED;
}

/* A key that only the authority's approvals open: what to do next. */
static enum lct_code say_approvals(struct lct_tool *tool, struct lct_key *key, struct lct_err *err)
{
    char file[PATH_MAX], command[LCT_SHELL_COMMAND];
    struct lct_generation generation;
    const struct lct_seal *seal = &lct_key_generation(&generation, key)->seal;
    enum lct_code code = LCT_OK;

    if (seal->kind != LCT_SEAL_AUTHORITY)
        return LCT_OK;
    if (is_refused(tool, key))
        code = lct_tool_say(tool, err, "it signs once a state is approved: %s %s\n",
                            lct_shell_command(command, "lct approve --authority",
                                              lct_authority_key_file(file, tool, seal)),
                            key->id);
    if (code == LCT_OK && seal->counter.handle != 0)
        code = lct_tool_say(tool, err,
                            "its counter takes an index of the TPM's NV memory, 0x%08x, until "
                            "lct delete %s\n",
                            seal->counter.handle, key->id);
    return code;
}

static enum lct_code say_created(struct lct_tool *tool, struct lct_key *key, bool provision,
                                 struct lct_err *err)
{
    struct lct_generation unpacked;
    const struct lct_generation *generation = lct_key_generation(&unpacked, key);
    char words[LCT_SEAL_WORDS];

    if (provision && generation->parent != lct_srk_handle)
        lct_tool_note(tool,
                      "the TPM keeps no storage root key at 0x%08x: its NV memory may be full; "
                      "it is made anew each time the key is loaded",
                      lct_srk_handle);
    enum lct_code code = lct_tool_say(
        tool, err, "created %s (%s, %s%s, in the TPM: %s%s)\n", key->label,
        generation->algorithm->name, lct_seal_words(words, &generation->seal, NULL, key->libctx),
        generation->passphrase ? ", with a passphrase" : "", generation->tpm,
        generation->software_tpm ? ", a software TPM" : "");
    return code == LCT_OK ? say_approvals(tool, key, err) : code;
}

/* --if-absent: what is there already must have the algorithm and the seal that were asked for. */
static enum lct_code accept_existing(struct lct_tool *tool, const struct request *request,
                                     const struct lct_seal *seal, struct lct_err *err)
{
    struct lct_record *record = NULL;
    char text[LCT_SEAL_TEXT], wanted[LCT_SEAL_TEXT];
    enum lct_code code = lct_store_get_record(&tool->store, request->id, &record, NULL, err);

    if (code != LCT_OK)
        return code;
    const struct lct_generation *generation = lct_record_generation(record, 0);
    const char *algorithm = generation->algorithm->name;
    lct_seal_text(text, &generation->seal);
    lct_seal_text(wanted, seal);
    if (request->software != (generation->custody == LCT_CUSTODY_SOFTWARE))
        code = LCT_FAIL(err, LCT_ERR_EXISTS, "lct:%s: this identity exists already, %s",
                        request->id, request->software ? "in the TPM" : "in software");
    else if (request->algorithm != NULL && strcmp(request->algorithm, algorithm) != 0)
        code = LCT_FAIL(err, LCT_ERR_EXISTS, "lct:%s: this identity exists already, with %s",
                        request->id, algorithm);
    else if (request->seal != NULL && strcmp(text, wanted) != 0)
        code = LCT_FAIL(err, LCT_ERR_EXISTS, "lct:%s: this identity exists already, sealed to %s",
                        request->id, text);
    else
        code = lct_tool_say(tool, err, "lct:%s is there already (%s)\n", request->id, algorithm);
    free(record);
    return code;
}

/* What making an identity takes; a `make` of lct_making_run. */
struct attempt {
    struct lct_tool *tool;
    const struct lct_identity_request *request;
    struct lct_key **key;
};

static enum lct_code make(void *arg, bool *made_srk, struct lct_err *err)
{
    const struct attempt *attempt = arg;
    const struct lct_tool *tool = attempt->tool;

    return lct_identity_create(&tool->store, tool->tpm, tool->crypto, attempt->request,
                               attempt->key, made_srk, err);
}

/* Seals and makes it: what is made in the TPM for the seal goes if the key cannot be made. */
static enum lct_code seal_and_make(struct lct_tool *tool, const struct request *request,
                                   struct lct_seal *seal, struct lct_identity_request *identity,
                                   struct lct_making *making, struct lct_key **key,
                                   struct lct_err *err)
{
    char label[sizeof "lct:" + LCT_MAX_ID];
    const struct lct_sealing_request sealing = {.spec = request->seal,
                                                .label = label,
                                                .id = request->id,
                                                .bind = request->bind,
                                                .revocable = request->revocable,
                                                .owner_auth = &making->owner_auth};
    struct attempt attempt = {tool, identity, key};

    (void)snprintf(label, sizeof label, "lct:%s", request->id);
    enum lct_code code = lct_sealing_complete(seal, tool, &sealing, err);
    if (code != LCT_OK)
        return code;
    identity->seal = seal->kind != LCT_SEAL_NONE ? seal : NULL;
    identity->passphrase = making->passphrase.len > 0 ? &making->passphrase : NULL;
    identity->owner_auth = &making->owner_auth;
    code = lct_making_run(making, make, &attempt, err);
    if (code != LCT_OK)
        lct_sealing_abandon(seal, tool, &sealing);
    return code;
}

static enum lct_code create(struct lct_tool *tool, const struct request *request,
                            struct lct_seal *seal, struct lct_err *err)
{
    struct lct_identity_request identity = {.id = request->id,
                                            .provision = !tool->config.no_provision,
                                            .new_parent = request->new_parent};
    struct lct_making making = {0};
    struct lct_key *key = NULL;
    enum lct_code code = find_algorithm(&identity.algorithm, request, err);

    if (code == LCT_OK)
        code = lct_tool_owner(&identity.owner, request->owner, err);
    if (code == LCT_OK)
        code = lct_making_begin(&making, tool, request->passphrase, err);
    if (code == LCT_OK)
        code = lct_enrol_check(&tool->store, request->id, &identity.owner, err);
    if (code == LCT_OK) {
        making.algorithm = identity.algorithm->name;
        code = seal_and_make(tool, request, seal, &identity, &making, &key, err);
    }
    lct_making_end(&making);
    if (code == LCT_ERR_EXISTS && request->if_absent)
        return accept_existing(tool, request, seal, err);
    if (code == LCT_OK)
        code = say_created(tool, key, identity.provision, err);
    lct_key_free(key);
    return code;
}

static enum lct_code check_software(const struct lct_tool *tool, const struct request *request,
                                    struct lct_err *err)
{
    if (request->seal != NULL || request->bind || request->revocable)
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "a key in software is not sealed: --software excludes --seal, --bind and "
                        "--revocable");
    if (request->new_parent)
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "a key in software is under no TPM's storage key: --software excludes "
                        "--new-parent");
    if (tool->config.require_hardware == LCT_REQUIRE_NO)
        return LCT_OK;
    return LCT_FAIL(err, LCT_ERR_HARDWARE,
                    "lct:%s: it is not made in software: require_hardware is %s in the "
                    "configuration of lct; without --software its key is made in the TPM",
                    request->id, tool->config.require_hardware == LCT_REQUIRE_NEW ? "new" : "yes");
}

static enum lct_code make_software(struct lct_tool *tool, const struct request *request,
                                   const struct lct_identity_request *identity, struct lct_err *err)
{
    struct lct_identity_request with_passphrase = *identity;
    struct lct_making making = {0};
    struct lct_key *key = NULL;
    enum lct_code code = lct_making_begin(&making, tool, true, err);

    with_passphrase.passphrase = &making.passphrase;
    if (code == LCT_OK)
        code =
            lct_identity_create_software(&tool->store, tool->crypto, &with_passphrase, &key, err);
    lct_making_end(&making);
    if (code == LCT_OK)
        code =
            lct_tool_say(tool, err, "created lct:%s (%s, custody: software, with a passphrase)\n",
                         request->id, identity->algorithm->name);
    lct_key_free(key);
    return code;
}

static enum lct_code create_software(struct lct_tool *tool, const struct request *request,
                                     struct lct_err *err)
{
    struct lct_identity_request identity = {.id = request->id};
    const struct lct_seal unsealed = {0};
    enum lct_code code = check_software(tool, request, err);

    if (code == LCT_OK)
        code = find_algorithm(&identity.algorithm, request, err);
    if (code == LCT_OK)
        code = lct_tool_owner(&identity.owner, request->owner, err);
    if (code == LCT_OK)
        code = lct_enrol_check(&tool->store, request->id, &identity.owner, err);
    if (code == LCT_OK)
        code = make_software(tool, request, &identity, err);
    return code == LCT_ERR_EXISTS && request->if_absent
               ? accept_existing(tool, request, &unsealed, err)
               : code;
}

enum lct_code lct_create_run(struct lct_tool *tool, int argc, char **argv, struct lct_err *err)
{
    struct request request = {0};
    const struct lct_option options[] = {
        {"algorithm", &request.algorithm, NULL},   {"seal", &request.seal, NULL},
        {"owner", &request.owner, NULL},           {"if-absent", NULL, &request.if_absent},
        {"passphrase", NULL, &request.passphrase}, {"bind", NULL, &request.bind},
        {"revocable", NULL, &request.revocable},   {"software", NULL, &request.software},
        {"new-parent", NULL, &request.new_parent}, {"json", NULL, &tool->json},
    };
    struct lct_sealing_request sealing = {0};
    struct lct_seal seal = {0};
    enum lct_code code = lct_tool_begin_new(tool, argc, argv, options,
                                            sizeof options / sizeof options[0], &request.id, err);

    if (code != LCT_OK)
        return code;
    sealing.spec = request.seal;
    sealing.bind = request.bind;
    sealing.revocable = request.revocable;
    if (!request.software)
        code = lct_sealing_parse(&seal, tool, &sealing, err);
    if (code == LCT_OK)
        code = request.software ? create_software(tool, &request, err)
                                : create(tool, &request, &seal, err);
    return code == LCT_OK ? lct_describe_result(tool, request.id, err) : code;
}
