/* SPDX-License-Identifier: Apache-2.0 */
#include "tpm/shape.h"

#include "tcg/public.h"

/* What parameters are made of, with the sections of TPM 2.0 Part 2. */
enum part {
    END,
    NUMBER,     /* UINT32 */
    SIZED,      /* TPM2B, 10.4 */
    PUBLIC,     /* TPM2B_PUBLIC, 12.2.5, of an object of ours */
    AREA,       /* and of any */
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
    {TPM2_CC_ReadPublic, {AREA, SIZED, SIZED}},
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

/* A selector that TSS knows, and how long what it selects is. */
struct selected {
    uint16_t selector;
    uint8_t len;
};

enum { MAX_SELECTED = 12 };

/* What TSS takes in each union. Part 2, 11.1.3 and 11.1.4; 11.1.21; 11.2.3.3; 11.2.3.5: most are a
 * hash, and TPM2_ALG_NULL, which is everywhere, nothing. */
static const struct selected symmetric[MAX_SELECTED] = {
    {TPM2_ALG_AES, 4}, {TPM2_ALG_SM4, 4},       {TPM2_ALG_CAMELLIA, 4},
    {TPM2_ALG_XOR, 2}, {TPM2_ALG_SYMCIPHER, 4},
};
static const struct selected keyed_hash[MAX_SELECTED] = {
    {TPM2_ALG_HMAC, 2},
    {TPM2_ALG_XOR, 4},
};
static const struct selected asymmetric[MAX_SELECTED] = {
    {TPM2_ALG_RSASSA, 2}, {TPM2_ALG_RSAPSS, 2},    {TPM2_ALG_OAEP, 2},  {TPM2_ALG_RSAES, 0},
    {TPM2_ALG_ECDSA, 2},  {TPM2_ALG_ECDH, 2},      {TPM2_ALG_ECDAA, 4}, {TPM2_ALG_SM2, 2},
    {TPM2_ALG_ECMQV, 2},  {TPM2_ALG_ECSCHNORR, 2},
};
static const struct selected derivation[MAX_SELECTED] = {
    {TPM2_ALG_MGF1, 2},
    {TPM2_ALG_KDF1_SP800_56A, 2},
    {TPM2_ALG_KDF1_SP800_108, 2},
};

/* What a public area is to TSS, which does not end where the area says it does: of one that is cut
 * off it takes what comes behind for selectors. */
enum area { KNOWN, UNKNOWN, CUT_OFF };

static enum area take_selected(struct rest *rest, const struct selected known[MAX_SELECTED])
{
    uint32_t selector;

    if (!take_number(rest, &selector, 2))
        return CUT_OFF;
    if (selector == TPM2_ALG_NULL)
        return KNOWN;
    for (size_t i = 0; i < MAX_SELECTED && known[i].selector != 0; i++)
        if (known[i].selector == selector)
            return take(rest, known[i].len) != NULL ? KNOWN : CUT_OFF;
    return UNKNOWN;
}

/* TPMS_RSA_PARMS and TPMS_ECC_PARMS, 12.2.3.5 and 12.2.3.6, begin alike. */
static enum area take_asymmetric(struct rest *rest)
{
    enum area area = take_selected(rest, symmetric);

    return area == KNOWN ? take_selected(rest, asymmetric) : area;
}

static enum area take_curve(struct rest *rest)
{
    enum { CURVE = 2 };

    return take(rest, CURVE) != NULL ? take_selected(rest, derivation) : CUT_OFF;
}

/* TPMT_PUBLIC, 12.2.4, up to what follows the last selector. */
static enum area take_area(struct rest *rest)
{
    enum { HASH_AND_ATTRIBUTES = 2 + 4 };
    struct rest policy;
    enum area area;
    uint32_t type;

    if (!take_number(rest, &type, 2) || take(rest, HASH_AND_ATTRIBUTES) == NULL ||
        !take_sized(rest, &policy))
        return CUT_OFF;
    switch (type) {
    case TPM2_ALG_RSA:
        return take_asymmetric(rest);
    case TPM2_ALG_ECC:
        area = take_asymmetric(rest);
        return area == KNOWN ? take_curve(rest) : area;
    case TPM2_ALG_KEYEDHASH:
        return take_selected(rest, keyed_hash);
    case TPM2_ALG_SYMCIPHER:
        return take_selected(rest, symmetric);
    case TPM2_ALG_NULL:
        return KNOWN;
    default:
        return UNKNOWN;
    }
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
    case AREA:
        return take_sized(rest, &content) && take_area(&content) != CUT_OFF;
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

bool lct_shape_is_known(TPM2_CC command, const uint8_t *params, size_t len)
{
    struct rest rest = {params, len}, area;

    return command != TPM2_CC_ReadPublic || !take_sized(&rest, &area) ||
           take_area(&area) != UNKNOWN;
}
