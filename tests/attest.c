/* SPDX-License-Identifier: Apache-2.0 */
/* Our decoders of what a TPM attests beside libtss2-mu's: `attest FILE...`, each a TPMS_ATTEST or a
 * TPMT_SIGNATURE, told apart by how they begin. */
#include "beside.h"

#include "tcg/attest.h"

#include <string.h>
#include <tss2/tss2_mu.h>

static bool same_values(const struct lct_attest *ours, const TPMS_ATTEST *theirs)
{
    if (ours->type != theirs->type || ours->extra_len != theirs->extraData.size ||
        memcmp(ours->extra, theirs->extraData.buffer, ours->extra_len) != 0 ||
        ours->signer.len != theirs->qualifiedSigner.size ||
        ours->clock != theirs->clockInfo.clock ||
        ours->reset_count != theirs->clockInfo.resetCount ||
        ours->restart_count != theirs->clockInfo.restartCount ||
        ours->safe != (theirs->clockInfo.safe == 1) ||
        ours->firmware_version != theirs->firmwareVersion)
        return false;
    if (ours->type == TPM2_ST_ATTEST_QUOTE)
        return ours->digest_len == theirs->attested.quote.pcrDigest.size &&
               memcmp(ours->digest, theirs->attested.quote.pcrDigest.buffer, ours->digest_len) == 0;
    if (ours->type == TPM2_ST_ATTEST_CREATION)
        return ours->name.len == theirs->attested.creation.objectName.size;
    return ours->name.len == theirs->attested.certify.name.size &&
           memcmp(ours->name.data, theirs->attested.certify.name.name, ours->name.len) == 0 &&
           ours->qualified_name.len == theirs->attested.certify.qualifiedName.size;
}

static enum lct_code decode_attest(const uint8_t *bytes, size_t len, struct lct_err *err)
{
    struct lct_attest ours;
    TPMS_ATTEST theirs = {0};
    uint8_t again[MAX_FILE];
    size_t offset = 0, written = 0;
    enum lct_code code = lct_attest_decode(&ours, bytes, len, err);

    if (code != LCT_OK)
        return code;
    if (Tss2_MU_TPMS_ATTEST_Unmarshal(bytes, len, &offset, &theirs) != TSS2_RC_SUCCESS ||
        offset != len)
        fail("ours takes what mu does not", bytes, len);
    bool good = Tss2_MU_TPMS_ATTEST_Marshal(&theirs, again, sizeof again, &written) == 0;
    expect_same(good, again, written, bytes, len);
    if (!same_values(&ours, &theirs))
        fail("other values", bytes, len);
    return LCT_OK;
}

static enum lct_code decode_signature(const uint8_t *bytes, size_t len, struct lct_err *err)
{
    struct lct_signature ours;
    struct lct_scheme scheme;
    TPMT_SIGNATURE theirs = {0};
    uint8_t again[MAX_FILE];
    size_t offset = 0, written = 0;
    enum lct_code code = lct_attest_signature(&ours, &scheme, bytes, len, err);

    if (code != LCT_OK)
        return code;
    if (Tss2_MU_TPMT_SIGNATURE_Unmarshal(bytes, len, &offset, &theirs) != TSS2_RC_SUCCESS ||
        offset != len)
        fail("ours takes what mu does not", bytes, len);
    bool good = Tss2_MU_TPMT_SIGNATURE_Marshal(&theirs, again, sizeof again, &written) == 0;
    expect_same(good, again, written, bytes, len);
    if (theirs.sigAlg != scheme.id || theirs.signature.any.hashAlg != scheme.hash->id)
        fail("another scheme", bytes, len);
    return LCT_OK;
}

static const struct structure *find(const uint8_t *bytes, size_t len)
{
    static const struct structure attest = {decode_attest, LCT_ERR_BAD_EVIDENCE, false};
    static const struct structure signature = {decode_signature, LCT_ERR_BAD_EVIDENCE, false};

    return len > 0 && bytes[0] == 0xff ? &attest : &signature;
}

int main(int argc, char **argv)
{
    return beside(argc, argv, find);
}
