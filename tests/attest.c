/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Our decoders of what a TPM attests beside libtss2-mu's: `attest FILE...`, each a TPMS_ATTEST or a
 * TPMT_SIGNATURE, told apart by how they begin. Ours must take each; of every mutation, whatever
 * ours takes mu takes too, and puts together again to the same bytes.
 */
#include "tcg/attest.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tss2/tss2_mu.h>

enum { MAX_FILE = 2048 };

static size_t num_taken, num_tried;

static void fail(const char *what, const uint8_t *bytes, size_t len)
{
    printf("%s:", what);
    for (size_t i = 0; i < len; i++)
        printf(" %02x", bytes[i]);
    puts("");
    exit(1);
}

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

static void check_attest(const struct lct_attest *ours, const uint8_t *bytes, size_t len)
{
    TPMS_ATTEST theirs = {0};
    uint8_t again[MAX_FILE];
    size_t offset = 0, written = 0;

    if (Tss2_MU_TPMS_ATTEST_Unmarshal(bytes, len, &offset, &theirs) != TSS2_RC_SUCCESS ||
        offset != len)
        fail("ours takes what mu does not", bytes, len);
    if (Tss2_MU_TPMS_ATTEST_Marshal(&theirs, again, sizeof again, &written) != TSS2_RC_SUCCESS ||
        written != len || memcmp(again, bytes, len) != 0)
        fail("mu makes other bytes of it", bytes, len);
    if (!same_values(ours, &theirs))
        fail("other values", bytes, len);
}

static void check_signature(const struct lct_scheme *scheme, const uint8_t *bytes, size_t len)
{
    TPMT_SIGNATURE theirs = {0};
    uint8_t again[MAX_FILE];
    size_t offset = 0, written = 0;

    if (Tss2_MU_TPMT_SIGNATURE_Unmarshal(bytes, len, &offset, &theirs) != TSS2_RC_SUCCESS ||
        offset != len)
        fail("ours takes a signature that mu does not", bytes, len);
    if (Tss2_MU_TPMT_SIGNATURE_Marshal(&theirs, again, sizeof again, &written) != TSS2_RC_SUCCESS ||
        written != len || memcmp(again, bytes, len) != 0)
        fail("mu makes other bytes of the signature", bytes, len);
    if (theirs.sigAlg != scheme->id || theirs.signature.any.hashAlg != scheme->hash->id)
        fail("another scheme", bytes, len);
}

/* Whether ours takes the bytes; if it does, mu must agree. */
static bool compare(bool is_attest, const uint8_t *bytes, size_t len)
{
    struct lct_attest attest;
    struct lct_signature signature;
    struct lct_scheme scheme;
    struct lct_err err = {0};
    uint8_t *exact = malloc(len > 0 ? len : 1); /* so that a sanitizer sees a byte too many */

    if (exact == NULL)
        abort();
    memcpy(exact, bytes, len);
    enum lct_code code = is_attest ? lct_attest_decode(&attest, exact, len, &err)
                                   : lct_attest_signature(&signature, &scheme, exact, len, &err);
    free(exact);
    num_tried++;
    if (code != LCT_OK) {
        if (code != LCT_ERR_BAD_EVIDENCE && code != LCT_ERR_UNSUPPORTED)
            fail("refused with another code", bytes, len);
        return false;
    }
    num_taken++;
    if (is_attest)
        check_attest(&attest, bytes, len);
    else
        check_signature(&scheme, bytes, len);
    return true;
}

static void mutate(bool is_attest, const uint8_t *bytes, size_t len)
{
    uint8_t changed[MAX_FILE + 1];

    for (size_t i = 0; i < len; i++) {
        for (unsigned value = 0; value < 256; value++) {
            memcpy(changed, bytes, len);
            changed[i] = (uint8_t)value;
            (void)compare(is_attest, changed, len);
        }
    }
    memcpy(changed, bytes, len);
    for (size_t cut = 0; cut < len; cut++)
        if (compare(is_attest, changed, cut))
            fail("ours takes a part", bytes, cut);
    changed[len] = 0;
    if (compare(is_attest, changed, len + 1))
        fail("ours takes a byte too many", changed, len + 1);
}

int main(int argc, char **argv)
{
    setenv("TSS2_LOG", "all+none", 1);
    for (int i = 1; i < argc; i++) {
        uint8_t bytes[MAX_FILE];
        FILE *file = fopen(argv[i], "rb");
        if (file == NULL) {
            printf("cannot open %s\n", argv[i]);
            return 1;
        }
        size_t len = fread(bytes, 1, sizeof bytes, file);
        fclose(file);
        bool is_attest = len > 0 && bytes[0] == 0xff;
        if (!compare(is_attest, bytes, len))
            fail("ours refuses what a TPM made", bytes, len);
        mutate(is_attest, bytes, len);
    }
    printf("ok: %zu of %zu taken\n", num_taken, num_tried);
    return argc > 1 ? 0 : 2;
}
