/* SPDX-License-Identifier: Apache-2.0 */
#include "store/step.h"

#include "tcg/marshal.h"

#include <string.h>

/* A selection in another form than ours would have another policy. */
static bool take_pcrs(struct lct_pcrs *pcrs, uint8_t digest[LCT_POLICY_DIGEST],
                      const struct lct_step *step)
{
    uint8_t again[LCT_PCRS_BYTES];
    size_t used = 0;

    if (step->command != TPM2_CC_PolicyPCR ||
        lct_pcrs_unmarshal(pcrs, &used, step->body, step->len, NULL) != LCT_OK ||
        step->len - used != LCT_POLICY_DIGEST || pcrs->num_banks == 0 ||
        lct_pcrs_marshal(again, pcrs) != used || memcmp(again, step->body, used) != 0)
        return false;
    memcpy(digest, step->body + used, LCT_POLICY_DIGEST);
    return true;
}

/* Of PolicyAuthorize. */
struct signer {
    const uint8_t *authority; /* its TPM2B_PUBLIC, in the step */
    size_t authority_len, ref_len;
    uint8_t ref[LCT_MAX_POLICY_REF];
};

/* *reader is left at the signature. */
static bool take_signer(struct signer *signer, struct lct_reader *reader,
                        const struct lct_step *step)
{
    struct lct_public public_area;
    size_t public_len = step->len >= 2 ? 2 + ((size_t)step->body[0] << 8 | step->body[1]) : 0;

    *reader = (struct lct_reader){step->body, step->len, false};
    signer->authority = lct_reader_take(reader, public_len);
    signer->authority_len = public_len;
    if (step->command != TPM2_CC_PolicyAuthorize || signer->authority == NULL ||
        public_len > LCT_MAX_AUTHORITY ||
        lct_public_decode(&public_area, signer->authority, public_len, NULL) != LCT_OK)
        return false;
    signer->ref_len = lct_read_sized(reader, signer->ref, sizeof signer->ref);
    return !reader->failed;
}

static bool is_auth_value(const struct lct_step *step)
{
    return step->command == TPM2_CC_PolicyAuthValue && step->len == 0;
}

static bool read_seal(struct lct_seal *seal, const struct lct_step *step)
{
    struct signer signer;
    struct lct_reader reader;

    if (take_pcrs(&seal->pcrs.pcrs, seal->pcr_digest, step)) {
        seal->kind = LCT_SEAL_STRICT;
        return true;
    }
    if (!take_signer(&signer, &reader, step) ||
        (reader.left > 0 && (lct_read_u16(&reader) != TPM2_ALG_NULL || reader.left > 0)))
        return false;
    memcpy(seal->authority, signer.authority, signer.authority_len);
    seal->authority_len = signer.authority_len;
    memcpy(seal->ref, signer.ref, signer.ref_len);
    seal->ref_len = signer.ref_len;
    seal->kind = LCT_SEAL_AUTHORITY;
    return true;
}

bool lct_steps_to_seal(struct lct_seal *seal, bool *auth_value, const struct lct_steps *steps)
{
    size_t num = steps->num;

    memset(seal, 0, sizeof *seal);
    *auth_value = num > 0 && is_auth_value(&steps->steps[num - 1]);
    if (num == 1 && *auth_value) {
        seal->kind = LCT_SEAL_AUTH;
        return true;
    }
    if (num == (*auth_value ? 2 : 1) && read_seal(seal, &steps->steps[0]))
        return true;
    memset(seal, 0, sizeof *seal);
    *auth_value = false;
    return false;
}

static struct lct_writer add(struct lct_steps *steps, uint32_t command)
{
    struct lct_step *step = &steps->steps[steps->num++];

    step->command = command;
    return (struct lct_writer){step->body, 0, sizeof step->body, false};
}

/* False: it did not fit. */
static bool end(struct lct_steps *steps, const struct lct_writer *writer)
{
    steps->steps[steps->num - 1].len = writer->len;
    return !writer->failed;
}

static bool add_pcrs(struct lct_steps *steps, const struct lct_pcrs *pcrs,
                     const uint8_t digest[LCT_POLICY_DIGEST])
{
    struct lct_writer writer = add(steps, TPM2_CC_PolicyPCR);
    uint8_t selection[LCT_PCRS_BYTES];
    size_t len = lct_pcrs_marshal(selection, pcrs);

    lct_write_bytes(&writer, selection, len);
    lct_write_bytes(&writer, digest, LCT_POLICY_DIGEST);
    return end(steps, &writer);
}

/* TPMT_SIGNATURE, TPM 2.0 Part 2, 11.3.4: of P-256 both numbers, padded as TPMs do. */
static void write_signature(struct lct_writer *writer, const struct lct_signature *signature,
                            bool rsa)
{
    enum { SIZE = 32 };
    uint8_t raw[2 * SIZE];

    lct_write_u16(writer, rsa ? TPM2_ALG_RSASSA : TPM2_ALG_ECDSA);
    lct_write_u16(writer, TPM2_ALG_SHA256);
    if (rsa) {
        lct_write_sized(writer, signature->data, signature->len);
        return;
    }
    if (lct_signature_to_p1363(raw, SIZE, signature, NULL) != LCT_OK)
        writer->failed = true;
    else {
        lct_write_sized(writer, raw, SIZE);
        lct_write_sized(writer, raw + SIZE, SIZE);
    }
}

static bool read_signature(struct lct_signature *signature, struct lct_reader *reader)
{
    uint8_t r[LCT_MAX_COORDINATE], s[LCT_MAX_COORDINATE];
    uint16_t algorithm = lct_read_u16(reader), hash = lct_read_u16(reader);

    if (hash != TPM2_ALG_SHA256)
        return false;
    if (algorithm == TPM2_ALG_RSASSA) {
        signature->len = lct_read_sized(reader, signature->data, sizeof signature->data);
        return !reader->failed && reader->left == 0 && signature->len > 0;
    }
    size_t r_len = lct_read_sized(reader, r, sizeof r);
    size_t s_len = lct_read_sized(reader, s, sizeof s);
    return algorithm == TPM2_ALG_ECDSA && !reader->failed && reader->left == 0 &&
           lct_signature_from_ecdsa(signature, r, r_len, s, s_len, NULL) == LCT_OK;
}

/* PolicyAuthorize, with the signature of an approval or an empty one. */
static bool add_authority(struct lct_steps *steps, const struct lct_seal *seal,
                          const struct lct_signature *signature)
{
    struct lct_writer writer = add(steps, TPM2_CC_PolicyAuthorize);
    struct lct_public public_area;

    lct_write_bytes(&writer, seal->authority, seal->authority_len);
    lct_write_sized(&writer, seal->ref, seal->ref_len);
    if (signature == NULL)
        lct_write_u16(&writer, TPM2_ALG_NULL);
    else if (lct_public_decode(&public_area, seal->authority, seal->authority_len, NULL) == LCT_OK)
        write_signature(&writer, signature, public_area.type == TPM2_ALG_RSA);
    else
        writer.failed = true;
    return end(steps, &writer);
}

bool lct_steps_of_seal(struct lct_steps *steps, const struct lct_seal *seal, bool auth_value)
{
    bool good = true;

    steps->num = 0;
    switch (seal->kind) {
    case LCT_SEAL_NONE:
    case LCT_SEAL_EITHER:
        return false;
    case LCT_SEAL_AUTH:
        auth_value = true;
        break;
    case LCT_SEAL_STRICT:
        good = add_pcrs(steps, &seal->pcrs.pcrs, seal->pcr_digest);
        break;
    case LCT_SEAL_AUTHORITY:
        good = add_authority(steps, seal, NULL);
        break;
    }
    if (good && auth_value) {
        const struct lct_writer writer = add(steps, TPM2_CC_PolicyAuthValue);
        good = end(steps, &writer);
    }
    return good;
}

bool lct_steps_to_approval(struct lct_approval *approval, OSSL_LIB_CTX *libctx,
                           const struct lct_seal *seal, const struct lct_steps *steps)
{
    struct signer signer;
    struct lct_reader reader;

    memset(approval, 0, sizeof *approval);
    if (seal->kind != LCT_SEAL_AUTHORITY || steps->num != 2 ||
        !take_pcrs(&approval->pcrs, approval->pcr_digest, &steps->steps[0]) ||
        !take_signer(&signer, &reader, &steps->steps[1]) ||
        signer.authority_len != seal->authority_len ||
        memcmp(signer.authority, seal->authority, seal->authority_len) != 0 ||
        signer.ref_len != seal->ref_len || memcmp(signer.ref, seal->ref, seal->ref_len) != 0 ||
        !read_signature(&approval->signature, &reader))
        return false;
    approval->has_pcr_digest = true;
    approval->ref_len = seal->ref_len;
    memcpy(approval->ref, seal->ref, seal->ref_len);
    return lct_policy_pcr(approval->policy, libctx, &approval->pcrs, approval->pcr_digest, NULL) ==
           LCT_OK;
}

bool lct_steps_of_approval(struct lct_steps *steps, const struct lct_approval *approval,
                           const struct lct_seal *seal)
{
    steps->num = 0;
    return seal->kind == LCT_SEAL_AUTHORITY && seal->counter.handle == 0 &&
           approval->has_pcr_digest && lct_approval_fits(approval, seal) &&
           add_pcrs(steps, &approval->pcrs, approval->pcr_digest) &&
           add_authority(steps, seal, &approval->signature);
}
