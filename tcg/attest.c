/* SPDX-License-Identifier: Apache-2.0 */
#include "tcg/attest.h"

#include "tcg/marshal.h"

#include <openssl/rsa.h>
#include <string.h>

enum { SELECT_SIZE = LCT_NUM_PCRS / 8, NUM_HASHES = 16 };

/* A TPM2B_NAME of an object that has a public area: its hash is as long as it has to be. */
static void read_name(struct lct_reader *reader, struct lct_name *name)
{
    name->len = lct_read_sized(reader, name->data, sizeof name->data);
    const struct lct_hash *hash =
        lct_hash_by_id((uint16_t)((unsigned)name->data[0] << 8 | name->data[1]));
    if (hash == NULL || name->len != 2 + hash->size)
        reader->failed = true;
}

/* TPMI_YES_NO, Part 2, 9.2. */
static bool read_bool(struct lct_reader *reader)
{
    uint8_t value = lct_read_u8(reader);

    if (value > 1)
        reader->failed = true;
    return value == 1;
}

/* TPMS_PCR_SELECTION, Part 2, 10.6.2. A TPM leaves a bank in that it does not keep, without PCRs.
 */
static void read_bank(struct lct_reader *reader, struct lct_attest *attest,
                      const struct lct_hash *seen[NUM_HASHES], size_t num_seen)
{
    const struct lct_hash *hash = lct_hash_by_id(lct_read_u16(reader));
    size_t size = lct_read_u8(reader);
    const uint8_t *select = lct_reader_take(reader, size);
    struct lct_pcrs *pcrs = &attest->pcrs;
    uint32_t selected = 0;

    for (size_t i = 0; i < num_seen; i++)
        if (seen[i] == hash)
            reader->failed = true;
    if (reader->failed || hash == NULL || size != SELECT_SIZE) {
        reader->failed = true;
        return;
    }
    seen[num_seen] = hash;
    for (size_t i = 0; i < SELECT_SIZE; i++)
        selected |= (uint32_t)select[i] << (8 * i);
    if (selected == 0)
        return;
    if (pcrs->num_banks == LCT_MAX_BANKS) {
        reader->failed = true;
        return;
    }
    pcrs->banks[pcrs->num_banks++] = (struct lct_pcr_bank){hash, selected};
}

/* TPMS_QUOTE_INFO, Part 2, 10.12.4. */
static void read_quote(struct lct_reader *reader, struct lct_attest *attest)
{
    const struct lct_hash *seen[NUM_HASHES];
    uint32_t count = lct_read_u32(reader);

    if (count > NUM_HASHES)
        reader->failed = true;
    for (uint32_t i = 0; i < count && !reader->failed; i++)
        read_bank(reader, attest, seen, i);
    attest->digest_len = lct_read_sized(reader, attest->digest, sizeof attest->digest);
}

/* TPMU_ATTEST, Part 2, 10.12.11. */
static void read_attested(struct lct_reader *reader, struct lct_attest *attest)
{
    switch (attest->type) {
    case TPM2_ST_ATTEST_CERTIFY:
        read_name(reader, &attest->name);
        read_name(reader, &attest->qualified_name);
        return;
    case TPM2_ST_ATTEST_QUOTE:
        read_quote(reader, attest);
        return;
    case TPM2_ST_ATTEST_CREATION:
        read_name(reader, &attest->name);
        attest->digest_len = lct_read_sized(reader, attest->digest, sizeof attest->digest);
        return;
    default:
        reader->failed = true;
    }
}

enum lct_code lct_attest_decode(struct lct_attest *attest, const uint8_t *bytes, size_t bytes_len,
                                struct lct_err *err)
{
    struct lct_reader reader = {bytes, bytes_len, false};

    memset(attest, 0, sizeof *attest);
    if (lct_read_u32(&reader) != TPM2_GENERATED_VALUE)
        return LCT_FAIL(err, LCT_ERR_BAD_EVIDENCE,
                        "it does not begin as what a TPM attests does: no TPM made it");
    attest->type = lct_read_u16(&reader);
    read_name(&reader, &attest->signer);
    attest->extra_len = lct_read_sized(&reader, attest->extra, sizeof attest->extra);
    attest->clock = lct_read_u64(&reader);
    attest->reset_count = lct_read_u32(&reader);
    attest->restart_count = lct_read_u32(&reader);
    attest->safe = read_bool(&reader);
    attest->firmware_version = lct_read_u64(&reader);
    read_attested(&reader, attest);
    if (reader.failed || reader.left != 0)
        return LCT_FAIL(err, LCT_ERR_BAD_EVIDENCE,
                        "it is not a whole TPMS_ATTEST of TPM2_Certify, TPM2_Quote or "
                        "TPM2_CertifyCreation");
    return LCT_OK;
}

/* TPMS_SIGNATURE_ECC, Part 2, 11.3.2. */
static enum lct_code read_ecdsa(struct lct_signature *signature, struct lct_reader *reader,
                                struct lct_err *err)
{
    uint8_t r[LCT_MAX_COORDINATE], s[LCT_MAX_COORDINATE];
    size_t r_len = lct_read_sized(reader, r, sizeof r);
    size_t s_len = lct_read_sized(reader, s, sizeof s);

    if (reader->failed || r_len == 0 || s_len == 0)
        return LCT_FAIL(err, LCT_ERR_BAD_EVIDENCE, "the signature is not a TPMT_SIGNATURE");
    return lct_signature_from_ecdsa(signature, r, r_len, s, s_len, err);
}

enum lct_code lct_attest_signature(struct lct_signature *signature, struct lct_scheme *scheme,
                                   const uint8_t *bytes, size_t bytes_len, struct lct_err *err)
{
    struct lct_reader reader = {bytes, bytes_len, false};
    enum lct_code code = LCT_OK;

    *signature = (struct lct_signature){0};
    *scheme = (struct lct_scheme){.id = lct_read_u16(&reader), .salt_len = RSA_PSS_SALTLEN_AUTO};
    scheme->hash = lct_hash_by_id(lct_read_u16(&reader));
    if (scheme->id == TPM2_ALG_ECDSA)
        code = read_ecdsa(signature, &reader, err);
    else if (scheme->id == TPM2_ALG_RSASSA || scheme->id == TPM2_ALG_RSAPSS)
        signature->len = lct_read_sized(&reader, signature->data, sizeof signature->data);
    else
        reader.failed = true;
    if (code != LCT_OK)
        return code;
    if (reader.failed || reader.left != 0 || signature->len == 0)
        return LCT_FAIL(err, LCT_ERR_BAD_EVIDENCE, "the signature is not a TPMT_SIGNATURE");
    if (scheme->hash == NULL)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED, "the signature is over a hash we do not know");
    return LCT_OK;
}
