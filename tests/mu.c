/* SPDX-License-Identifier: Apache-2.0 */
/* Our decoder of public areas beside libtss2-mu's: `mu FILE...`, each a TPM2B_PUBLIC. */
#include "beside.h"

#include "tcg/public.h"

#include <string.h>
#include <tss2/tss2_mu.h>

static bool same_values(const struct lct_public *ours, const TPMT_PUBLIC *theirs)
{
    if (ours->type != theirs->type || ours->name_alg != theirs->nameAlg ||
        ours->attributes != theirs->objectAttributes ||
        ours->policy_len != theirs->authPolicy.size ||
        memcmp(ours->policy, theirs->authPolicy.buffer, ours->policy_len) != 0)
        return false;
    if (theirs->type == TPM2_ALG_RSA)
        return ours->bits == theirs->parameters.rsaDetail.keyBits &&
               ours->exponent == theirs->parameters.rsaDetail.exponent &&
               ours->scheme == theirs->parameters.rsaDetail.scheme.scheme &&
               ours->symmetric == theirs->parameters.rsaDetail.symmetric.algorithm &&
               ours->modulus_len == theirs->unique.rsa.size &&
               memcmp(ours->modulus, theirs->unique.rsa.buffer, ours->modulus_len) == 0;
    return ours->curve == theirs->parameters.eccDetail.curveID &&
           ours->scheme == theirs->parameters.eccDetail.scheme.scheme &&
           ours->symmetric == theirs->parameters.eccDetail.symmetric.algorithm &&
           ours->x_len == theirs->unique.ecc.x.size && ours->y_len == theirs->unique.ecc.y.size &&
           memcmp(ours->x, theirs->unique.ecc.x.buffer, ours->x_len) == 0 &&
           memcmp(ours->y, theirs->unique.ecc.y.buffer, ours->y_len) == 0;
}

static enum lct_code decode_public(const uint8_t *bytes, size_t len, struct lct_err *err)
{
    struct lct_public ours;
    TPM2B_PUBLIC theirs = {0};
    uint8_t again[MAX_FILE];
    size_t offset = 0, written = 0;
    enum lct_code code = lct_public_decode(&ours, bytes, len, err);

    if (code != LCT_OK)
        return code;
    if (Tss2_MU_TPM2B_PUBLIC_Unmarshal(bytes, len, &offset, &theirs) != TSS2_RC_SUCCESS ||
        offset != len)
        fail("ours takes what mu does not", bytes, len);
    bool good = Tss2_MU_TPM2B_PUBLIC_Marshal(&theirs, again, sizeof again, &written) == 0;
    expect_same(good, again, written, bytes, len);
    if (!same_values(&ours, &theirs.publicArea))
        fail("other values", bytes, len);
    return LCT_OK;
}

static const struct structure *find(const uint8_t *bytes, size_t len)
{
    static const struct structure public_area = {decode_public, LCT_ERR_BAD_RECORD, true};

    (void)bytes;
    (void)len;
    return &public_area;
}

int main(int argc, char **argv)
{
    return beside(argc, argv, find);
}
