/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/sealing.h"

#include "store/counters.h"
#include "tools/authority.h"
#include "tools/ask.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum lct_code lct_sealing_default(struct lct_seal *seal, const struct lct_tool *tool,
                                  struct lct_err *err)
{
    const char *spec = tool->config.seal;
    struct lct_err why = {.code = LCT_OK};

    if (spec == NULL)
        return lct_seal_parse(seal, lct_seal_default, err);
    if (lct_seal_parse(seal, spec, &why) == LCT_OK)
        return LCT_OK;
    return LCT_FAIL(err, LCT_ERR_CONFIG, "seal is \"%.100s\" in the configuration: %s", spec,
                    why.text);
}

enum lct_code lct_sealing_default_pcrs(struct lct_seal *seal, const struct lct_tool *tool,
                                       struct lct_err *err)
{
    enum lct_code code = lct_sealing_default(seal, tool, err);

    return code == LCT_OK && seal->pcrs.pcrs.num_banks == 0
               ? lct_seal_parse(seal, lct_seal_default, err)
               : code;
}

enum lct_code lct_sealing_parse(struct lct_seal *seal, const struct lct_tool *tool,
                                const struct lct_sealing_request *request, struct lct_err *err)
{
    const char *spec = request->spec != NULL       ? request->spec
                       : tool->config.seal != NULL ? tool->config.seal
                                                   : lct_seal_default;
    enum lct_code code = request->spec != NULL ? lct_seal_parse(seal, spec, err)
                                               : lct_sealing_default(seal, tool, err);

    if (code != LCT_OK)
        return code;
    if (request->revocable && seal->kind != LCT_SEAL_AUTHORITY)
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "--revocable is for --seal authority: the state of the sealing itself can "
                        "never be revoked");
    if (request->bind && seal->kind != LCT_SEAL_AUTHORITY && seal->kind != LCT_SEAL_EITHER)
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "--bind is for what an authority approves, and \"%s\" has none", spec);
    return LCT_OK;
}

static struct lct_seal_request to_request(const struct lct_sealing_request *request)
{
    return (struct lct_seal_request){
        .label = request->label,
        .id = request->bind || request->revocable ? request->id : NULL,
        .revocable = request->revocable,
        .owner_auth = request->owner_auth,
    };
}

/* Until the file that is typed can be made, three times at most. False: none was typed, and *code
 * is left alone. */
static bool make_authority(struct lct_tool *tool, enum lct_code *code, struct lct_err *err)
{
    enum { TRIES = 3 };
    bool typed = false;

    for (int i = 0; i < TRIES && (!typed || *code == LCT_ERR_IO); i++) {
        char file[PATH_MAX];
        const struct lct_authority_request request = {.out = file};
        int len = lct_ask_answer(file, sizeof file,
                                 "File for its private half, best on a stick that is kept "
                                 "elsewhere: ");
        if (len < 0)
            break;
        if (len == 0)
            continue;
        typed = true;
        *code = lct_tool_make_authority(tool, &request, err);
        if (*code == LCT_ERR_IO && i + 1 < TRIES)
            (void)fprintf(stderr, "lct: %s\n", err->text);
    }
    return typed;
}

/* Makes an authority if the user at the terminal wants one. False: there is none. */
static bool offer_authority(struct lct_tool *tool, enum lct_code *code, struct lct_err *err)
{
    const char *passphrase_file = tool->passphrase_file; /* which is the identity's */
    char answer[8];

    if (!lct_can_ask() ||
        lct_ask_answer(answer, sizeof answer,
                       "There is no recovery authority here, who approves the state of the boot "
                       "after an update.\nMake one now? [y/N] ") <= 0 ||
        (strcmp(answer, "y") != 0 && strcmp(answer, "yes") != 0))
        return false;
    tool->passphrase_file = NULL;
    bool typed = make_authority(tool, code, err);
    tool->passphrase_file = passphrase_file;
    return typed;
}

/* With the owner's authorization, if an NV counter takes it and there is somebody to ask. What is
 * locked for a counter stays so until the command ends: then the record is in place, or nobody's.
 */
static enum lct_code prepare(struct lct_seal *seal, struct lct_pcrs *blank, struct lct_tool *tool,
                             const struct lct_sealing_request *request, struct lct_err *err)
{
    const struct lct_seal_request prepared = to_request(request);
    const struct lct_seal parsed = *seal;
    enum lct_code code = LCT_OK;

    if (request->revocable && tool->making.ino == 0)
        code = lct_counters_lock(&tool->making, &tool->store, false, err);
    if (code != LCT_OK)
        return code;
    code = lct_seal_prepare(seal, blank, &tool->store, tool->tpm, tool->crypto, &prepared, err);
    if (code != LCT_ERR_AUTH || !request->revocable || request->owner_auth->len > 0 ||
        !lct_can_ask())
        return code;
    *seal = parsed;
    code = lct_ask_secret(request->owner_auth, "authorization of the TPM's owner",
                          "owner_auth_file in openssl.cnf", false, err);
    return code == LCT_OK ? lct_seal_prepare(seal, blank, &tool->store, tool->tpm, tool->crypto,
                                             &prepared, err)
                          : code;
}

static void warn_of_blank(const char *label, const struct lct_pcrs *blank,
                          const struct lct_pcrs *sealed)
{
    char none[LCT_PCRS_TEXT], all[LCT_PCRS_TEXT];

    lct_pcrs_text(none, blank);
    lct_pcrs_text(all, sealed);
    if (lct_pcrs_equal(blank, sealed))
        lct_tool_warn(label,
                      "all of %s are zero: nothing is measured on this machine, and one boot is "
                      "like any other",
                      all);
    else if (blank->num_banks > 0)
        lct_tool_warn(label,
                      "nothing is measured into %s here: of %s the others alone tell one boot from "
                      "another",
                      none, all);
}

enum lct_code lct_sealing_complete(struct lct_seal *seal, struct lct_tool *tool,
                                   const struct lct_sealing_request *request, struct lct_err *err)
{
    const struct lct_seal parsed = *seal;
    struct lct_pcrs blank = {0};

    if (seal->kind == LCT_SEAL_NONE)
        return LCT_OK;
    enum lct_code code = prepare(seal, &blank, tool, request, err);
    if (code == LCT_ERR_NO_AUTHORITY && offer_authority(tool, &code, err) && code == LCT_OK) {
        *seal = parsed;
        code = prepare(seal, &blank, tool, request, err);
    }
    if (code == LCT_OK)
        warn_of_blank(request->label, &blank, &seal->pcrs.pcrs);
    return code;
}

/* Whether the identity has a key of this counter: what failed may have been no more than writing
 * its record to disk for sure. One that cannot be read now may have; lct gc finds a counter. One
 * that was lost may have had the same handle. */
static bool is_in_use(const struct lct_tool *tool, const char *id,
                      const struct lct_counter *counter)
{
    struct lct_record *record = NULL;
    bool used = false;

    if (counter->handle == 0)
        return false;
    enum lct_code code = lct_store_get_record(&tool->store, id, &record, NULL, NULL);
    if (code != LCT_OK)
        return code != LCT_ERR_NOT_FOUND;
    for (size_t i = 0; i < record->num_generations; i++)
        used |= record->generations[i].seal.counter.handle == counter->handle &&
                lct_name_equal(&record->generations[i].seal.counter.name, &counter->name);
    free(record);
    return used;
}

void lct_sealing_abandon(const struct lct_seal *seal, struct lct_tool *tool,
                         const struct lct_sealing_request *request)
{
    const struct lct_seal_request prepared = to_request(request);

    if (seal->kind != LCT_SEAL_NONE && !is_in_use(tool, request->id, &seal->counter))
        lct_seal_abandon(seal, tool->tpm, tool->crypto, &prepared);
}
