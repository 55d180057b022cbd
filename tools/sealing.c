/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/sealing.h"

#include "tools/authority.h"
#include "tools/unlock.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

enum lct_code lct_sealing_parse(struct lct_seal *seal, const struct lct_tool *tool,
                                const struct lct_sealing_request *request, struct lct_err *err)
{
    const char *spec = request->spec != NULL       ? request->spec
                       : tool->config.seal != NULL ? tool->config.seal
                                                   : lct_seal_default;
    enum lct_code code = lct_seal_parse(seal, spec, err);

    if (code != LCT_OK)
        return request->spec == NULL ? lct_err_prefix(err, "seal") : code;
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

/* Makes an authority if the user at the terminal wants one. False: there is none. */
static bool offer_authority(struct lct_tool *tool, enum lct_code *code, struct lct_err *err)
{
    char answer[8], file[PATH_MAX];

    if (!lct_can_ask() ||
        lct_ask_answer(answer, sizeof answer,
                       "There is no recovery authority here, who approves the state of the boot "
                       "after an update.\nMake one now? [y/N] ") <= 0 ||
        (strcmp(answer, "y") != 0 && strcmp(answer, "yes") != 0) ||
        lct_ask_answer(file, sizeof file,
                       "File for its private half, best on a stick that is kept elsewhere: ") <= 0)
        return false;
    const struct lct_authority_request request = {.out = file};
    const char *passphrase_file = tool->passphrase_file; /* which is the identity's */
    tool->passphrase_file = NULL;
    *code = lct_tool_make_authority(tool, &request, err);
    tool->passphrase_file = passphrase_file;
    return true;
}

/* With the owner's authorization, if an NV counter takes it and there is somebody to ask. */
static enum lct_code prepare(struct lct_seal *seal, bool *blank, struct lct_tool *tool,
                             const struct lct_sealing_request *request, struct lct_err *err)
{
    const struct lct_seal_request prepared = to_request(request);
    const struct lct_seal parsed = *seal;
    enum lct_code code =
        lct_seal_prepare(seal, blank, &tool->store, tool->tpm, tool->crypto, &prepared, err);

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

enum lct_code lct_sealing_complete(struct lct_seal *seal, struct lct_tool *tool,
                                   const struct lct_sealing_request *request, struct lct_err *err)
{
    const struct lct_seal parsed = *seal;
    char pcrs[LCT_PCRS_TEXT];
    bool blank = false;

    if (seal->kind == LCT_SEAL_NONE)
        return LCT_OK;
    enum lct_code code = prepare(seal, &blank, tool, request, err);
    if (code == LCT_ERR_NO_AUTHORITY && offer_authority(tool, &code, err) && code == LCT_OK) {
        *seal = parsed;
        code = prepare(seal, &blank, tool, request, err);
    }
    if (code != LCT_OK || !blank)
        return code;
    lct_pcrs_text(pcrs, &seal->pcrs.pcrs);
    (void)fprintf(stderr,
                  "lct: %s: warning: all of %s are zero: nothing is measured on this machine, and "
                  "one boot is like any other\n",
                  request->label, pcrs);
    return LCT_OK;
}

void lct_sealing_abandon(const struct lct_seal *seal, struct lct_tool *tool,
                         const struct lct_sealing_request *request)
{
    const struct lct_seal_request prepared = to_request(request);

    if (seal->kind != LCT_SEAL_NONE)
        lct_seal_abandon(seal, tool->tpm, tool->crypto, &prepared);
}
