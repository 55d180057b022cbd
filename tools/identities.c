/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/issuer.h"
#include "tools/signing.h"

#include <stdlib.h>

static enum lct_code open_identity(void **held, struct lct_signer *signer, struct lct_tool *tool,
                                   const char *uri, struct lct_err *err)
{
    struct lct_signing *signing = calloc(1, sizeof *signing);
    const char *id;

    *held = signing;
    if (signing == NULL)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    enum lct_code code = lct_tool_id(tool, &id, uri, err);
    if (code == LCT_OK)
        code = lct_tool_open(tool, err);
    if (code == LCT_OK)
        code = lct_signing_open(signing, tool, id, err);
    if (code == LCT_OK)
        *signer = lct_signing_signer(signing);
    return code;
}

static void close_identity(void *held)
{
    if (held != NULL)
        lct_signing_close(held);
    free(held);
}

const struct lct_identities lct_identities = {open_identity, close_identity};
