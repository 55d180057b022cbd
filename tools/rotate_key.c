/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/rotate.h"

#include "base/encode.h"
#include "proof/document.h"
#include "store/life.h"
#include "tools/evidence.h"
#include "tools/making.h"
#include "tools/seal_text.h"
#include "tools/sealing.h"
#include "tools/signing.h"
#include "tools/unlock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A rotation under way. */
struct work {
    struct lct_tool *tool;
    const struct lct_rotate_request *request;
    struct lct_signing before, after; /* by the active key, by the one that is to follow */
    struct lct_signer by, to;         /* of these */
};

static void close_work(struct work *work)
{
    lct_signing_close(&work->before);
    lct_signing_close(&work->after);
}

/* The active key, and unless it is gone, what it takes to sign with it. */
static enum lct_code open_before(struct work *work, struct lct_err *err)
{
    struct lct_tool *tool = work->tool;

    if (!work->request->without_old_key)
        return lct_signing_open(&work->before, tool, work->request->id, err);
    return lct_store_get_key(&tool->store, tool->crypto, work->request->id, 0, &work->before.key,
                             err);
}

static struct lct_rotation rotation_of(struct work *work, const char *reason)
{
    work->to = lct_signing_signer(&work->after);
    if (!work->request->without_old_key)
        work->by = lct_signing_signer(&work->before);
    return (struct lct_rotation){
        .id = work->request->id,
        .reason = reason,
        .key = work->before.key,
        .by = work->request->without_old_key ? NULL : &work->by,
        .to = &work->to,
    };
}

/* What can be known before the TPM or anybody is asked. */
static enum lct_code check(const struct work *work, struct lct_err *err)
{
    const struct lct_rotate_request *request = work->request;
    struct lct_record *record = NULL;

    if (request->reason != NULL && !lct_is_end_reason(request->reason))
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "\"%s\" is no reason; choose superseded, compromise, expired or violation",
                        request->reason);
    if (request->to != NULL && strcmp(request->to, "tpm") != 0)
        return LCT_FAIL(err, LCT_ERR_USAGE, "--to takes tpm: keys go into a TPM, and nowhere else");
    if (request->no_passphrase && (request->passphrase || request->new_passphrase_file != NULL))
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "--no-passphrase contradicts --passphrase and --new-passphrase-file");
    enum lct_code code = lct_store_get_record(&work->tool->store, request->id, &record, NULL, err);
    if (code == LCT_OK)
        code = lct_life_check_room(record, err);
    if (code == LCT_OK && request->to == NULL &&
        lct_record_generation(record, 0)->custody == LCT_CUSTODY_SOFTWARE)
        code = LCT_FAIL(err, LCT_ERR_USAGE,
                        "lct:%s: its key is in software, and what follows it is in the TPM: lct "
                        "rotate %s --to tpm",
                        request->id, request->id);
    free(record);
    return code;
}

/* That of the active key, if the TPM makes such keys. */
static enum lct_code find_algorithm(const struct lct_algorithm **algorithm, const struct work *work,
                                    struct lct_err *err)
{
    const struct lct_algorithm *before = work->before.key->algorithm;
    const char *name = work->request->algorithm;

    if (name == NULL)
        name = before->tpm ? before->name : "ec-p256";
    *algorithm = lct_algorithm_by_name(name);
    if (*algorithm != NULL && (*algorithm)->tpm)
        return LCT_OK;
    return LCT_FAIL(err, LCT_ERR_USAGE,
                    "there is no algorithm \"%s\"; choose ec-p256, ec-p384, rsa-2048 or rsa-3072",
                    name);
}

/* A seal as the active key has it, unless another is asked for. `text` is for its specification. */
static void inherit_seal(struct lct_sealing_request *sealing, char text[LCT_SEAL_TEXT],
                         const struct work *work)
{
    struct lct_generation unpacked;
    const struct lct_generation *before = lct_key_generation(&unpacked, work->before.key);

    sealing->bind = work->request->bind;
    sealing->revocable = work->request->revocable;
    sealing->spec = work->request->seal;
    if (sealing->spec != NULL || before->custody == LCT_CUSTODY_SOFTWARE)
        return;
    lct_seal_text(text, &before->seal);
    sealing->spec = text;
    sealing->bind |= before->seal.ref_len > 0;
    sealing->revocable |= before->seal.counter.handle != 0 && work->request->without_old_key;
}

/* Approvals are revoked for an identity, and so its keys in one TPM share the counter. */
static void share_counter(struct lct_seal *seal, const struct lct_sealing_request *sealing,
                          const struct work *work)
{
    struct lct_generation before;

    if (work->request->seal == NULL && !sealing->revocable)
        seal->counter = lct_key_generation(&before, work->before.key)->seal.counter;
}

/* What making a key takes; a `make` of lct_making_run. */
struct attempt {
    const struct lct_tool *tool;
    const struct lct_identity_request *request;
    struct lct_made_key *made;
};

static enum lct_code make(void *arg, bool *made_srk, struct lct_err *err)
{
    const struct attempt *attempt = arg;

    return lct_identity_make_key(attempt->made, &attempt->tool->store, attempt->tool->tpm,
                                 attempt->tool->crypto, attempt->request, made_srk, err);
}

static enum lct_code say(const struct work *work, const struct lct_generation *generation,
                         unsigned number, const char *statement, struct lct_err *err)
{
    const char *id = work->request->id;
    char words[LCT_SEAL_WORDS];

    if (work->tool->quiet)
        return lct_tool_print(err, "%s\n", statement);
    (void)fprintf(
        stderr,
        "lct:%s: generation %u is pending (%s, %s%s); its certificate is asked for with lct csr %s "
        "--generation %u and set with lct cert %s --set FILE, or it goes live by lct rotate %s "
        "--commit\n",
        id, number, generation->algorithm->name,
        lct_seal_words(words, &generation->seal, NULL, work->before.key->libctx),
        generation->passphrase ? ", with a passphrase" : "", id, number, id, id);
    return lct_tool_print(err, "%s\n", statement);
}

/* Lets both keys sign, and adds the new one to the identity. */
static enum lct_code add(struct work *work, const struct lct_made_key *made, struct lct_err *err)
{
    const char *reason = work->request->reason != NULL ? work->request->reason : "superseded";
    struct lct_tool *tool = work->tool;
    const char *dir = tool->store.dirs[tool->store.create_in];
    char *statement = NULL;
    unsigned number = 0;
    enum lct_code code = lct_key_look_in(made->key, dir, &tool->config, err);

    if (code == LCT_OK)
        code = lct_signing_take(&work->after, tool, lct_key_up_ref(made->key), err);
    if (code != LCT_OK)
        return code;
    const struct lct_rotation rotation = rotation_of(work, reason);
    code = lct_rotate_add(&statement, &number, &tool->store, &rotation, made, err);
    if (code == LCT_OK)
        code = say(work, &made->record->generations[0], number, statement, err);
    free(statement);
    return code;
}

/* Approvals by a counter can be made once that is there, and the statement takes one now. */
static enum lct_code fail_new_counter(const struct work *work, struct lct_err *err)
{
    return LCT_FAIL(err, LCT_ERR_SEALED,
                    "lct:%s: a key with a counter of its own has no approval yet, and cannot sign "
                    "that it follows; choose another seal for it: --seal authority, without "
                    "--revocable",
                    work->request->id);
}

/* Makes the key: what is made in the TPM for its seal goes if it does not come to be a generation.
 */
static enum lct_code seal_and_make(struct work *work, struct lct_making *making,
                                   struct lct_err *err)
{
    struct lct_tool *tool = work->tool;
    struct lct_identity_request identity = {.id = work->request->id,
                                            .provision = !tool->config.no_provision,
                                            .new_parent = work->request->new_parent};
    struct lct_sealing_request sealing = {.label = work->before.key->label,
                                          .id = work->request->id,
                                          .owner_auth = &making->owner_auth};
    struct lct_made_key made = {0};
    struct attempt attempt = {tool, &identity, &made};
    char text[LCT_SEAL_TEXT];
    struct lct_seal seal = {0};
    enum lct_code code = find_algorithm(&identity.algorithm, work, err);

    inherit_seal(&sealing, text, work);
    if (code == LCT_OK)
        code = lct_sealing_parse(&seal, tool, &sealing, err);
    if (code == LCT_OK) {
        share_counter(&seal, &sealing, work);
        code = lct_sealing_complete(&seal, tool, &sealing, err);
    }
    if (code != LCT_OK)
        return code;
    identity.seal = seal.kind != LCT_SEAL_NONE ? &seal : NULL;
    identity.passphrase = making->passphrase.len > 0 ? &making->passphrase : NULL;
    identity.owner_auth = &making->owner_auth;
    making->algorithm = identity.algorithm->name;
    code = lct_making_run(making, make, &attempt, err);
    if (code == LCT_OK)
        code = add(work, &made, err);
    if (code == LCT_ERR_SEALED && sealing.revocable)
        code = fail_new_counter(work, err);
    if (code != LCT_OK)
        lct_sealing_abandon(&seal, tool, &sealing);
    lct_made_key_clear(&made);
    return code;
}

enum lct_code lct_rotate_make(struct lct_tool *tool, const struct lct_rotate_request *request,
                              struct lct_err *err)
{
    struct work work = {.tool = tool, .request = request};
    struct lct_making making = {0};
    enum lct_code code = check(&work, err);

    if (code == LCT_OK)
        code = open_before(&work, err);
    if (code == LCT_OK) {
        bool passphrase =
            request->passphrase || (work.before.key->has_passphrase && !request->no_passphrase);
        code = lct_making_begin_from(&making, tool, request->new_passphrase_file, passphrase, err);
    }
    if (code == LCT_OK)
        code = seal_and_make(&work, &making, err);
    lct_making_end(&making);
    close_work(&work);
    return code;
}

/* The digest of evidence of this very key, in hexadecimal. */
static enum lct_code digest_evidence(char hex[65], const struct work *work, struct lct_err *err)
{
    const struct lct_key *key = work->after.key;
    struct lct_evidence *evidence = NULL;
    struct lct_generation generation;
    uint8_t digest[32];
    enum lct_code code = lct_tool_evidence(&evidence, work->tool, work->request->evidence, err);

    if (code != LCT_OK)
        return code;
    const struct lct_offer *offer = evidence->challenge.offer;
    json_t *json = lct_evidence_json(evidence);
    code = lct_name_equal(&offer->key.name, &lct_key_generation(&generation, key)->name)
               ? lct_document_digest(digest, key->libctx, json, err)
               : LCT_FAIL(err, LCT_ERR_WRONG_KEY,
                          "%s: the evidence is of another key: of lct:%s generation %u", key->label,
                          offer->id, offer->generation);
    if (code == LCT_OK)
        lct_hex_encode(hex, digest, sizeof digest);
    json_decref(json);
    lct_evidence_free(evidence);
    return code;
}

static enum lct_code state_anew(struct work *work, unsigned pending, const char *reason,
                                struct lct_err *err)
{
    struct lct_tool *tool = work->tool;
    char digest[65];
    char *statement = NULL;
    enum lct_code code = open_before(work, err);

    if (code == LCT_OK)
        code = lct_signing_open_generation(&work->after, tool, work->request->id, pending, err);
    if (code == LCT_OK)
        code = digest_evidence(digest, work, err);
    if (code != LCT_OK)
        return code;
    struct lct_rotation rotation = rotation_of(work, reason);
    rotation.evidence = digest;
    code = lct_rotate_restate(&statement, &tool->store, &rotation, work->after.key, err);
    if (code == LCT_OK)
        code = lct_tool_print(err, "%s\n", statement);
    free(statement);
    return code;
}

/* Of the pending generation; 0: there is none. */
static enum lct_code find_numbers(unsigned *pending, unsigned *active, const struct work *work,
                                  struct lct_err *err)
{
    struct lct_record *record = NULL;
    enum lct_code code =
        lct_store_get_record(&work->tool->store, work->request->id, &record, NULL, err);

    if (code == LCT_OK) {
        const struct lct_generation *generation = lct_record_pending(record);
        *pending = generation != NULL ? generation->number : 0;
        *active = record->active;
    }
    free(record);
    return code;
}

enum lct_code lct_rotate_state(struct lct_tool *tool, const struct lct_rotate_request *request,
                               struct lct_err *err)
{
    struct work work = {.tool = tool, .request = request};
    struct lct_succession succession;
    unsigned pending = 0, active = 0;
    char *statement = NULL;
    enum lct_code code = find_numbers(&pending, &active, &work, err);

    if (code == LCT_OK && request->evidence != NULL && pending == 0)
        code = LCT_FAIL(err, LCT_ERR_NOT_FOUND,
                        "lct:%s: it has no pending generation, of which evidence could be told",
                        request->id);
    if (code == LCT_OK)
        code = lct_rotate_statement(&statement, &succession, &tool->store, tool->crypto,
                                    request->id, pending != 0 ? pending : active, err);
    if (code == LCT_ERR_NOT_FOUND && active != 0 && pending == 0 && request->evidence == NULL)
        code = LCT_FAIL(err, LCT_ERR_NOT_FOUND,
                        "lct:%s: there is no statement that its generation %u follows another; lct "
                        "rotate %s makes the next key",
                        request->id, active, request->id);
    if (code == LCT_OK)
        code = request->evidence != NULL ? state_anew(&work, pending, succession.reason, err)
                                         : lct_tool_print(err, "%s\n", statement);
    close_work(&work);
    free(statement);
    return code;
}
