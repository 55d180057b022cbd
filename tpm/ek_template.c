/* SPDX-License-Identifier: Apache-2.0 */
#include "tpm/ek_template.h"

#include "base/encode.h"
#include "tpm/capability.h"

#include <stdlib.h>
#include <string.h>
#include <tss2/tss2_mu.h>

enum {
    OF_LOW = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_SENSITIVEDATAORIGIN |
             TPMA_OBJECT_ADMINWITHPOLICY | TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT,
    OF_HIGH = OF_LOW | TPMA_OBJECT_USERWITHAUTH
};

/* B.6.2 */
static const char policy_a[] = "837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa";

/* B.6.4 */
static const char policy_b_sha256[] =
    "ca3d0a99a2b93906f7a3342414efcfb3a385d44cd1fd459089d19b5071c0b7a0";
static const char policy_b_sha384[] =
    "b26e7d28d11a50bc53d882bcf5fd3a1a074148bb35d3b4e4cb1c0ad9bde419ca"
    "cb47ba09699646150f9fc000f3f80e12";
static const char policy_b_sha512[] =
    "b8221ca69e8550a4914de3faa6a18c072cc01208073a928d5d66d59ef79e49a4"
    "29c41a6b269571d57edb25fbdb1838425608b413cd616a5f6db5b6071af99bea";

static const struct lct_ek_policies policies[] = {
    {TPM2_ALG_SHA256, policy_a, policy_b_sha256,
     "3767e2edd43ff45a3a7e1eaefcef78643dca964632e7aad82c673a30d8633fde"},
    {TPM2_ALG_SHA384,
     "8bbf2266537c171cb56e403c4dc1d4b64f432611dc386e6f532050c3278c930e"
     "143e8bb1133824ccb431053871c6db53",
     policy_b_sha384,
     "d6032ce61f2fb3c240eb3cf6a33237ef2b6a16f4293c22b455e261cffd217ad5"
     "b4947c2d73e63005eed2dc2b3593d165"},
    {TPM2_ALG_SHA512,
     "1e3b76502c8a1425aa0b7b3fc646a1b0fae063b03b5368f9c4cddecaff0891dd"
     "682bac1a85d4d832b781ea451915de5fc5bf0dc4a1917cd42fa041e3f998e0ee",
     policy_b_sha512,
     "589ee1e146544716e8deafe6db247b01b81e9f9c7dd16b814aa159138749105f"
     "ba5388dd1dea702f35240c184933121e2c61b8f50d3ef91393a49a38c3f73fc8"},
};

/* B.3 and B.4; H-5 is on a curve that we have no row for. */
const struct lct_ek_row lct_ek_rows[LCT_MAX_EKS] = {
    {{"rsa-2048", "L-1", 0x01c00002},
     0x01c00003,
     0x01c00004,
     TPM2_ALG_RSA,
     TPM2_ALG_SHA256,
     0,
     2048,
     128,
     256,
     true,
     OF_LOW,
     policy_a},
    {{"ec-p256", "L-2", 0x01c0000a},
     0x01c0000b,
     0x01c0000c,
     TPM2_ALG_ECC,
     TPM2_ALG_SHA256,
     TPM2_ECC_NIST_P256,
     0,
     128,
     32,
     true,
     OF_LOW,
     policy_a},
    {{"rsa-2048", "H-1", 0x01c00012},
     0,
     0,
     TPM2_ALG_RSA,
     TPM2_ALG_SHA256,
     0,
     2048,
     128,
     0,
     false,
     OF_HIGH,
     policy_b_sha256},
    {{"ec-p256", "H-2", 0x01c00014},
     0,
     0,
     TPM2_ALG_ECC,
     TPM2_ALG_SHA256,
     TPM2_ECC_NIST_P256,
     0,
     128,
     0,
     false,
     OF_HIGH,
     policy_b_sha256},
    {{"ec-p384", "H-3", 0x01c00016},
     0,
     0,
     TPM2_ALG_ECC,
     TPM2_ALG_SHA384,
     TPM2_ECC_NIST_P384,
     0,
     256,
     0,
     false,
     OF_HIGH,
     policy_b_sha384},
    {{"ec-p521", "H-4", 0x01c00018},
     0,
     0,
     TPM2_ALG_ECC,
     TPM2_ALG_SHA512,
     TPM2_ECC_NIST_P521,
     0,
     256,
     0,
     false,
     OF_HIGH,
     policy_b_sha512},
    {{"rsa-3072", "H-6", 0x01c0001c},
     0,
     0,
     TPM2_ALG_RSA,
     TPM2_ALG_SHA384,
     0,
     3072,
     256,
     0,
     false,
     OF_HIGH,
     policy_b_sha384},
    {{"rsa-4096", "H-7", 0x01c0001e},
     0,
     0,
     TPM2_ALG_RSA,
     TPM2_ALG_SHA384,
     0,
     4096,
     256,
     0,
     false,
     OF_HIGH,
     policy_b_sha384},
};

const struct lct_ek_policies *lct_ek_policies_of(uint16_t hash)
{
    for (size_t i = 0; i < sizeof policies / sizeof policies[0]; i++)
        if (policies[i].hash == hash)
            return &policies[i];
    return NULL;
}

const struct lct_ek_row *lct_ek_row_of(const struct lct_ek_kind *kind)
{
    for (size_t i = 0; i < LCT_MAX_EKS; i++)
        if (&lct_ek_rows[i].kind == kind)
            return &lct_ek_rows[i];
    return NULL;
}

enum lct_code lct_ek_list_indices(struct lct_tpm *tpm, TPML_HANDLE *indices, const char *label,
                                  struct lct_err *err)
{
    static const TPM2_NV_INDEX first = 0x01c00002, last = 0x01c000ff;

    return lct_capability_handles(tpm, indices, label, first, last, err);
}

bool lct_ek_has_index(const TPML_HANDLE *indices, TPM2_NV_INDEX index)
{
    for (uint32_t i = 0; index != 0 && i < indices->count; i++)
        if (indices->handle[i] == index)
            return true;
    return false;
}

static enum lct_code take_default(TPM2B_PUBLIC *template, const struct lct_ek_row *row,
                                  struct lct_err *err)
{
    const TPMT_SYM_DEF_OBJECT symmetric = {
        .algorithm = TPM2_ALG_AES, .keyBits.aes = row->aes, .mode.aes = TPM2_ALG_CFB};
    TPMT_PUBLIC *area = &template->publicArea;
    size_t policy_len = 0;

    *template = (TPM2B_PUBLIC){.publicArea = {.type = row->type,
                                              .nameAlg = row->name_alg,
                                              .objectAttributes = row->attributes}};
    if (!lct_hex_decode(area->authPolicy.buffer, &policy_len, sizeof area->authPolicy.buffer,
                        row->policy))
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "the policy of an endorsement key is malformed");
    area->authPolicy.size = (UINT16)policy_len;
    if (row->type == TPM2_ALG_RSA) {
        area->parameters.rsaDetail = (TPMS_RSA_PARMS){
            .symmetric = symmetric, .scheme.scheme = TPM2_ALG_NULL, .keyBits = row->bits};
        area->unique.rsa.size = row->unique;
    } else {
        area->parameters.eccDetail = (TPMS_ECC_PARMS){.symmetric = symmetric,
                                                      .scheme.scheme = TPM2_ALG_NULL,
                                                      .curveID = row->curve,
                                                      .kdf.scheme = TPM2_ALG_NULL};
        area->unique.ecc.x.size = area->unique.ecc.y.size = row->unique;
    }
    return LCT_OK;
}

static enum lct_code fail_malformed(const struct lct_nv_request *request, TPM2_NV_INDEX index,
                                    const char *what, struct lct_err *err)
{
    return LCT_FAIL(err, LCT_ERR_BAD_RECORD, "%s: what is in the NV index 0x%08x is no %s of it",
                    request->label, index, what);
}

/* A TPMT_PUBLIC (2.2.1.4). Ours decodes it first: TSS prints at what it does not know. */
static enum lct_code take_template(TPM2B_PUBLIC *template, const struct lct_ek_row *row,
                                   const uint8_t *bytes, size_t len,
                                   const struct lct_nv_request *request, struct lct_err *err)
{
    uint8_t sized[LCT_MAX_BLOB];
    struct lct_public decoded;
    size_t at = 0;

    if (len > sizeof sized - 2)
        return fail_malformed(request, row->template, "template", err);
    sized[0] = (uint8_t)(len >> 8);
    sized[1] = (uint8_t)len;
    memcpy(sized + 2, bytes, len);
    *template = (TPM2B_PUBLIC){0};
    if (lct_public_decode(&decoded, sized, 2 + len, NULL) != LCT_OK || decoded.type != row->type ||
        Tss2_MU_TPM2B_PUBLIC_Unmarshal(sized, 2 + len, &at, template) != TSS2_RC_SUCCESS)
        return fail_malformed(request, row->template, "template", err);
    template->size = 0; /* as TSS wants it in a command */
    return LCT_OK;
}

/* Goes into `unique`, with zeros behind it (2.2.1.4). */
static enum lct_code take_nonce(TPM2B_PUBLIC *template, const struct lct_ek_row *row,
                                const uint8_t *bytes, size_t len,
                                const struct lct_nv_request *request, struct lct_err *err)
{
    TPMU_PUBLIC_ID *unique = &template->publicArea.unique;

    if (len > row->unique)
        return fail_malformed(request, row->nonce, "nonce", err);
    memset(unique, 0, sizeof *unique);
    if (row->type == TPM2_ALG_RSA) {
        unique->rsa.size = row->unique;
        memcpy(unique->rsa.buffer, bytes, len);
    } else {
        unique->ecc.x.size = unique->ecc.y.size = row->unique;
        memcpy(unique->ecc.x.buffer, bytes, len);
    }
    return LCT_OK;
}

/* What an index holds, where there is one, into the template. */
static enum lct_code apply(struct lct_tpm *tpm, TPM2B_PUBLIC *template,
                           const struct lct_ek_row *row, TPM2_NV_INDEX index,
                           const struct lct_nv_request *request, struct lct_err *err)
{
    uint8_t *bytes = NULL;
    size_t len = 0;
    enum lct_code code = lct_nv_read(tpm, &bytes, &len, index, request, err);

    if (code == LCT_OK)
        code = (index == row->template ? take_template : take_nonce)(template, row, bytes, len,
                                                                     request, err);
    free(bytes);
    return code;
}

enum lct_code lct_ek_template(struct lct_tpm *tpm, TPM2B_PUBLIC *template,
                              const struct lct_ek_row *row, const TPML_HANDLE *indices,
                              const struct lct_nv_request *request, struct lct_err *err)
{
    enum lct_code code = take_default(template, row, err);

    if (code == LCT_OK && lct_ek_has_index(indices, row->template))
        code = apply(tpm, template, row, row->template, request, err);
    if (code == LCT_OK && lct_ek_has_index(indices, row->nonce))
        code = apply(tpm, template, row, row->nonce, request, err);
    return code;
}
