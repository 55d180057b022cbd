/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Our decoder of public areas beside libtss2-mu's: `mu FILE...`, each a TPM2B_PUBLIC. Ours must
 * take each; of every mutation, whatever ours takes mu takes too, and puts together again from the
 * same values to the same bytes.
 */
#include "tcg/public.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tss2/tss2_mu.h>

enum { MAX_FILE = 2048 };

static size_t num_taken, num_tried;

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

static void fail(const char *what, const uint8_t *bytes, size_t len)
{
    printf("%s:", what);
    for (size_t i = 0; i < len; i++)
        printf(" %02x", bytes[i]);
    puts("");
    exit(1);
}

/* Whether ours takes the bytes; if it does, mu must agree. */
static bool compare(const uint8_t *bytes, size_t len)
{
    struct lct_public ours;
    struct lct_err err = {0};
    TPM2B_PUBLIC theirs;
    size_t offset = 0, written = 0;
    uint8_t again[MAX_FILE];
    uint8_t *exact = malloc(len > 0 ? len : 1); /* so that a sanitizer sees a byte too many */

    if (exact == NULL)
        abort();
    memcpy(exact, bytes, len);
    bool taken = lct_public_decode(&ours, exact, len, &err) == LCT_OK;
    free(exact);
    num_tried++;
    if (!taken) {
        if (err.code != LCT_ERR_BAD_RECORD && err.code != LCT_ERR_UNSUPPORTED)
            fail("refused with another code", bytes, len);
        return false;
    }
    num_taken++;
    memset(&theirs, 0, sizeof theirs);
    if (Tss2_MU_TPM2B_PUBLIC_Unmarshal(bytes, len, &offset, &theirs) != TSS2_RC_SUCCESS ||
        offset != len)
        fail("ours takes what mu does not", bytes, len);
    if (Tss2_MU_TPM2B_PUBLIC_Marshal(&theirs, again, sizeof again, &written) != TSS2_RC_SUCCESS ||
        written != len || memcmp(again, bytes, len) != 0)
        fail("mu makes other bytes of it", bytes, len);
    if (!same_values(&ours, &theirs.publicArea))
        fail("other values", bytes, len);
    return true;
}

static void mutate(const uint8_t *bytes, size_t len)
{
    static const uint8_t flips[] = {0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xff};
    uint8_t changed[MAX_FILE + 1];

    for (size_t i = 0; i < len; i++) {
        for (size_t flip = 0; flip < sizeof flips; flip++) {
            memcpy(changed, bytes, len);
            changed[i] ^= flips[flip];
            (void)compare(changed, len);
        }
    }
    for (size_t cut = 0; cut < len; cut++) {
        memcpy(changed, bytes, len);
        if (compare(changed, cut))
            fail("ours takes a part", bytes, cut);
        if (cut < 2)
            continue;
        changed[0] = (uint8_t)((cut - 2) >> 8); /* and with a size to match */
        changed[1] = (uint8_t)(cut - 2);
        (void)compare(changed, cut);
    }
    memcpy(changed, bytes, len);
    changed[len] = 0;
    if (compare(changed, len + 1))
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
        if (!compare(bytes, len))
            fail("ours refuses a public area of a TPM", bytes, len);
        mutate(bytes, len);
    }
    printf("ok: %zu of %zu taken\n", num_taken, num_tried);
    return argc > 1 ? 0 : 2;
}
