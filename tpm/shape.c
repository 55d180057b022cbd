/* SPDX-License-Identifier: Apache-2.0 */
#include "tpm/shape.h"

#include "tcg/public.h"

/* What parameters are made of, with the sections of TPM 2.0 Part 2. */
enum part {
    END,
    NUMBER,     /* UINT32 */
    SIZED,      /* TPM2B, 10.4 */
    PUBLIC,     /* TPM2B_PUBLIC, 12.2.5, of an object of ours */
    CREATION,   /* TPM2B_CREATION_DATA, 15.2 */
    TICKET,     /* TPMT_TK, 10.7 */
    SELECTIONS, /* TPML_PCR_SELECTION, 10.9.7 */
    DIGESTS,    /* TPML_DIGEST, 10.9.4 */
    SIGNATURE,  /* TPMT_SIGNATURE, 11.3.4 */
};

enum { MAX_PARTS = 6 };

static const struct {
    TPM2_CC command;
    enum part parts[MAX_PARTS];
} shapes[] = {
    {TPM2_CC_ActivateCredential, {SIZED}},
    {TPM2_CC_Certify, {SIZED, SIGNATURE}},
    {TPM2_CC_Create, {SIZED, PUBLIC, CREATION, SIZED, TICKET}},
    {TPM2_CC_CreatePrimary, {PUBLIC, CREATION, SIZED, TICKET, SIZED}},
    {TPM2_CC_EvictControl, {END}},
    {TPM2_CC_FlushContext, {END}},
    {TPM2_CC_GetRandom, {SIZED}},
    {TPM2_CC_Import, {SIZED}},
    {TPM2_CC_Load, {SIZED}},
    {TPM2_CC_LoadExternal, {SIZED}},
    {TPM2_CC_NV_DefineSpace, {END}},
    {TPM2_CC_NV_Increment, {END}},
    {TPM2_CC_NV_Read, {SIZED}},
    {TPM2_CC_NV_ReadPublic, {SIZED, SIZED}},
    {TPM2_CC_NV_UndefineSpace, {END}},
    {TPM2_CC_PCR_Read, {NUMBER, SELECTIONS, DIGESTS}},
    {TPM2_CC_PolicyAuthValue, {END}},
    {TPM2_CC_PolicyAuthorize, {END}},
    {TPM2_CC_PolicyNV, {END}},
    {TPM2_CC_PolicyOR, {END}},
    {TPM2_CC_PolicyPCR, {END}},
    {TPM2_CC_PolicyRestart, {END}},
    {TPM2_CC_PolicySecret, {SIZED, TICKET}},
    {TPM2_CC_Quote, {SIZED, SIGNATURE}},
    {TPM2_CC_ReadPublic, {SIZED, SIZED, SIZED}},
    {TPM2_CC_Sign, {SIGNATURE}},
    {TPM2_CC_StartAuthSession, {SIZED}},
    {TPM2_CC_Unseal, {SIZED}},
    {TPM2_CC_VerifySignature, {TICKET}},
};

/* What is still to be read. */
struct rest {
    const uint8_t *bytes;
    size_t len;
};

/* So many bytes of it. NULL: there are less. */
static const uint8_t *take(struct rest *rest, size_t len)
{
    const uint8_t *bytes = rest->bytes;

    if (len > rest->len)
        return NULL;
    rest->bytes += len;
    rest->len -= len;
    return bytes;
}

static bool take_number(struct rest *rest, uint32_t *number, size_t len)
{
    const uint8_t *bytes = take(rest, len);

    *number = 0;
    for (size_t i = 0; bytes != NULL && i < len; i++)
        *number = *number << 8 | bytes[i];
    return bytes != NULL;
}

static bool take_sized(struct rest *rest, struct rest *content)
{
    uint32_t size;

    if (!take_number(rest, &size, 2))
        return false;
    content->bytes = take(rest, size);
    content->len = size;
    return content->bytes != NULL;
}

static bool take_public(struct rest *rest)
{
    const uint8_t *begin = rest->bytes;
    struct lct_public area;
    struct rest content;

    return take_sized(rest, &content) &&
           lct_public_decode(&area, begin, (size_t)(rest->bytes - begin), NULL) == LCT_OK;
}

static bool take_selections(struct rest *rest)
{
    enum { HASH = 2 };
    uint32_t count, size;

    if (!take_number(rest, &count, 4) || count > TPM2_NUM_PCR_BANKS)
        return false;
    for (; count > 0; count--)
        if (take(rest, HASH) == NULL || !take_number(rest, &size, 1) ||
            size > TPM2_PCR_SELECT_MAX || take(rest, size) == NULL)
            return false;
    return true;
}

static bool take_digests(struct rest *rest)
{
    enum { ROOM = sizeof((TPML_DIGEST *)0)->digests / sizeof((TPML_DIGEST *)0)->digests[0] };
    struct rest content;
    uint32_t count;

    if (!take_number(rest, &count, 4) || count > ROOM)
        return false;
    for (; count > 0; count--)
        if (!take_sized(rest, &content))
            return false;
    return true;
}

/* Its list comes first; what follows is of no use to us, and bounded by the size of it all. */
static bool take_creation(struct rest *rest)
{
    struct rest content;

    return take_sized(rest, &content) && take_selections(&content);
}

static bool take_ticket(struct rest *rest)
{
    enum { TAG_AND_HIERARCHY = 2 + 4 };
    struct rest content;

    return take(rest, TAG_AND_HIERARCHY) != NULL && take_sized(rest, &content);
}

static bool take_signature(struct rest *rest)
{
    enum { HASH = 2 };
    uint32_t scheme;
    struct rest r, s;

    if (!take_number(rest, &scheme, 2) || take(rest, HASH) == NULL)
        return false;
    switch (scheme) {
    case TPM2_ALG_RSASSA:
    case TPM2_ALG_RSAPSS:
        return take_sized(rest, &s);
    case TPM2_ALG_ECDSA:
    case TPM2_ALG_ECDAA:
    case TPM2_ALG_SM2:
    case TPM2_ALG_ECSCHNORR:
        return take_sized(rest, &r) && take_sized(rest, &s);
    default:
        return false;
    }
}

static bool take_part(struct rest *rest, enum part part)
{
    struct rest content;
    uint32_t number;

    switch (part) {
    case NUMBER:
        return take_number(rest, &number, sizeof number);
    case SIZED:
        return take_sized(rest, &content);
    case PUBLIC:
        return take_public(rest);
    case CREATION:
        return take_creation(rest);
    case TICKET:
        return take_ticket(rest);
    case SELECTIONS:
        return take_selections(rest);
    case DIGESTS:
        return take_digests(rest);
    case SIGNATURE:
        return take_signature(rest);
    case END:
        break;
    }
    return false;
}

bool lct_shape_is_whole(TPM2_CC command, const uint8_t *params, size_t len)
{
    struct rest rest = {params, len};

    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        if (shapes[i].command != command)
            continue;
        for (const enum part *part = shapes[i].parts; *part != END; part++)
            if (!take_part(&rest, *part))
                return false;
        return rest.len == 0;
    }
    return true;
}
