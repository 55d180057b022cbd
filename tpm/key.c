/* SPDX-License-Identifier: Apache-2.0 */
#include "tpm/result.h"
#include "tpm/tpm.h"
#include "tpm/use.h"

#include <openssl/rsa.h>
#include <string.h>
#include <tss2/tss2_mu.h>

static void take_rsa(struct lct_signature *signature, const TPM2B_PUBLIC_KEY_RSA *block)
{
    signature->len = block->size <= sizeof signature->data ? block->size : 0;
    memcpy(signature->data, block->buffer, signature->len);
}

/*
 * A TPM salts RSA-PSS as it likes: as long as the digest, or as long as it gets. What a key file
 * alone says of its TPM is nothing, so the former is assumed; a record says which.
 */
static enum lct_code explain_salt(const struct lct_signature *signature,
                                  const struct lct_tpm_key *key, const struct lct_scheme *scheme,
                                  const uint8_t *digest, size_t digest_len, struct lct_err *err)
{
    const struct lct_scheme any = {scheme->id, scheme->hash, RSA_PSS_SALTLEN_AUTO};

    if (scheme->id != TPM2_ALG_RSAPSS ||
        lct_signature_verify(signature, key->pkey, key->libctx, &any, digest, digest_len, NULL) !=
            LCT_OK)
        return LCT_ERR_WRONG_KEY;
    return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                    "its TPM makes RSA-PSS signatures with another salt than %s; lct import finds "
                    "out which: make an identity of the key, and use that",
                    key->parent_name->len != 0 ? "its record says" : "as long as the digest");
}

/* What the TPM returned in OpenSSL's encoding, and verified. */
static enum lct_code take_signature(struct lct_signature *signature, const TPMT_SIGNATURE *from,
                                    const struct lct_tpm_key *key, const struct lct_scheme *scheme,
                                    const uint8_t *digest, size_t digest_len, struct lct_err *err)
{
    enum lct_code code = LCT_OK;

    if (from->sigAlg != scheme->id)
        return LCT_FAIL(err, LCT_ERR_WRONG_KEY, "%s: the TPM signed in another scheme", key->label);
    if (scheme->id == TPM2_ALG_ECDSA) {
        const TPMS_SIGNATURE_ECDSA *ecdsa = &from->signature.ecdsa;
        code = lct_signature_from_ecdsa(signature, ecdsa->signatureR.buffer, ecdsa->signatureR.size,
                                        ecdsa->signatureS.buffer, ecdsa->signatureS.size, err);
    } else {
        take_rsa(signature, &from->signature.rsassa.sig);
    }
    if (code == LCT_OK)
        code = lct_signature_verify(signature, key->pkey, key->libctx, scheme, digest, digest_len,
                                    err);
    if (code == LCT_ERR_WRONG_KEY)
        code = explain_salt(signature, key, scheme, digest, digest_len, err);
    return code == LCT_OK ? LCT_OK : lct_err_prefix(err, key->label);
}

/* A use that signs: the first member is what lct_use_run knows of it. */
struct signing {
    struct lct_use use;
    struct lct_signature *signature;
    const struct lct_scheme *scheme;
    const uint8_t *digest;
    size_t digest_len;
    TPMT_SIGNATURE answer;
    bool taken; /* the answer was, and is the key's */
};

static enum lct_code take_answer(struct signing *signing, struct lct_err *err)
{
    return take_signature(signing->signature, &signing->answer, signing->use.key, signing->scheme,
                          signing->digest, signing->digest_len, err);
}

/* TPM2_Sign with the key that is ready. */
static enum lct_code sign_once(struct lct_tpm *tpm, struct lct_use *use, TSS2_RC *rc,
                               struct lct_err *err)
{
    struct signing *signing = (struct signing *)use;
    const struct lct_tpm_key *key = use->key;
    TPM2B_DIGEST tpm_digest = {.size = (UINT16)signing->digest_len};
    const TPMT_SIG_SCHEME tpm_scheme = {.scheme = signing->scheme->id,
                                        .details.any.hashAlg = signing->scheme->hash->id};
    /* TPM 2.0 Part 3, 20.2: an unrestricted key needs no ticket; the null one is of the null
     * hierarchy. */
    const TPMT_TK_HASHCHECK ticket = {.tag = TPM2_ST_HASHCHECK, .hierarchy = TPM2_RH_NULL};

    const bool may_go = tpm->used && !tpm->channel->wire->private_handles;

    memcpy(tpm_digest.buffer, signing->digest, signing->digest_len);
    *rc = Tss2_Sys_Sign_Prepare(tpm->sys, lct_use_handle(tpm, key), &tpm_digest, &tpm_scheme,
                                &ticket);
    enum lct_code code = lct_use_execute(tpm, use, TPM2_CC_Sign, rc, err);
    if (code != LCT_OK)
        return code;
    *rc = Tss2_Sys_Sign_Complete(tpm->sys, &signing->answer);
    code = lct_tpm_result(tpm, key->label, TPM2_CC_Sign, *rc, err);
    if (code != LCT_OK || !may_go)
        return code;
    code = take_answer(signing, err);
    signing->taken = code == LCT_OK;
    if (code != LCT_OK)
        tpm->used = false;
    return code;
}

/*
 * The connection is given back before the signature is verified: others sign meanwhile. But for a
 * key that this turn has loaded where others may flush it and take its place: the turn may end by
 * flushing it, and that is left alone which is not the key.
 */
enum lct_code lct_tpm_sign(struct lct_tpm *tpm, struct lct_signature *signature,
                           const struct lct_tpm_key *key, const struct lct_scheme *scheme,
                           const uint8_t *digest, size_t digest_len, struct lct_err *err)
{
    struct signing signing = {.use = {.key = key, .once = sign_once},
                              .signature = signature,
                              .scheme = scheme,
                              .digest = digest,
                              .digest_len = digest_len};
    struct lct_allowance own = {0}, *allowance = key->allowance != NULL ? key->allowance : &own;

    if (digest_len != scheme->hash->size || digest_len > sizeof((TPM2B_DIGEST *)0)->buffer)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "%s: a digest of %s has %zu bytes, not %zu",
                        key->label, scheme->hash->name, scheme->hash->size, digest_len);
    enum lct_code code = lct_use_check(key, "signing with it", err);
    if (code == LCT_OK)
        code = lct_tpm_run_within(tpm, allowance, key->label, lct_use_run, &signing.use, err);
    if (code != LCT_OK || signing.taken)
        return code;
    code = take_answer(&signing, err);
    if (code != LCT_ERR_WRONG_KEY)
        return code;
    signing.use.again = false;
    signing.use.doubted = true;
    code = lct_tpm_run_within(tpm, allowance, key->label, lct_use_run, &signing.use, err);
    return code != LCT_OK || signing.taken ? code : take_answer(&signing, err);
}

/* A use that unseals. */
struct unsealing {
    struct lct_use use;
    uint8_t *data;
    size_t *data_len;
};

/* TPM2_Unseal (Part 3, 12.7). What SAPI gets to see of it is encrypted still. */
static enum lct_code unseal_once(struct lct_tpm *tpm, struct lct_use *use, TSS2_RC *rc,
                                 struct lct_err *err)
{
    const struct unsealing *unsealing = (const struct unsealing *)use;
    const struct lct_terms terms = lct_use_terms(use);
    const char *label = use->key->label;
    TPM2B_SENSITIVE_DATA out = {0};

    *rc = Tss2_Sys_Unseal_Prepare(tpm->sys, lct_use_handle(tpm, use->key));
    enum lct_code code = lct_use_execute(tpm, use, TPM2_CC_Unseal, rc, err);
    if (code != LCT_OK)
        return code;
    *rc = Tss2_Sys_Unseal_Complete(tpm->sys, &out);
    code = lct_tpm_result(tpm, label, TPM2_CC_Unseal, *rc, err);
    if (code == LCT_OK && out.size > LCT_MAX_SEALED)
        code = LCT_FAIL(err, LCT_ERR_TPM, "%s: the TPM's response is malformed", label);
    if (code == LCT_OK)
        code = lct_tpm_decrypt(tpm, &terms, out.buffer, out.size, err);
    if (code == LCT_OK) {
        memcpy(unsealing->data, out.buffer, out.size);
        *unsealing->data_len = out.size;
    }
    explicit_bzero(&out, sizeof out);
    return code;
}

enum lct_code lct_tpm_unseal(struct lct_tpm *tpm, uint8_t data[LCT_MAX_SEALED], size_t *data_len,
                             const struct lct_tpm_key *key, struct lct_err *err)
{
    struct unsealing unsealing = {
        {.key = key, .once = unseal_once, .secret = true}, data, data_len};
    enum lct_code code = lct_use_check(key, "unsealing it", err);

    return code == LCT_OK ? lct_tpm_run_within(tpm, key->allowance, key->label, lct_use_run,
                                               &unsealing.use, err)
                          : code;
}

static enum lct_code read_ready(struct lct_tpm *tpm, struct lct_public *reported,
                                struct lct_name *name, const struct lct_tpm_key *key,
                                struct lct_err *err)
{
    TPM2B_PUBLIC public_area = {0};
    TPM2B_NAME tpm_name = {0}, qualified = {0};
    TSS2L_SYS_AUTH_RESPONSE auths = {0};
    uint8_t bytes[sizeof public_area];
    size_t len = 0;

    TSS2_RC rc = Tss2_Sys_ReadPublic(tpm->sys, lct_use_handle(tpm, key), NULL, &public_area,
                                     &tpm_name, &qualified, &auths);
    enum lct_code code = lct_tpm_result(tpm, key->label, TPM2_CC_ReadPublic, rc, err);
    if (code != LCT_OK)
        return code;
    if (Tss2_MU_TPM2B_PUBLIC_Marshal(&public_area, bytes, sizeof bytes, &len) != TSS2_RC_SUCCESS)
        return LCT_FAIL(err, LCT_ERR_WRONG_KEY, "%s: the TPM reports a malformed public area",
                        key->label);
    code = lct_public_decode(reported, bytes, len, err);
    if (code == LCT_OK)
        code = lct_public_name(name, key->libctx, bytes, len, err);
    return code == LCT_OK ? LCT_OK : lct_err_prefix(err, key->label);
}

struct inspection {
    struct lct_use use;
    struct lct_public *reported;
    struct lct_name *name;
};

static enum lct_code inspect(struct lct_tpm *tpm, void *arg, struct lct_err *err)
{
    struct inspection *inspection = arg;
    enum lct_code code = lct_use_load(tpm, &inspection->use, err);

    inspection->use.again = true;
    if (code == LCT_OK)
        code = read_ready(tpm, inspection->reported, inspection->name, inspection->use.key, err);
    if (!tpm->channel->wire->private_handles)
        lct_tpm_flush_resident(tpm);
    return code;
}

enum lct_code lct_tpm_inspect(struct lct_tpm *tpm, struct lct_public *reported,
                              struct lct_name *name, const struct lct_tpm_key *key,
                              struct lct_err *err)
{
    struct lct_tpm_key as_loaded = *key;
    struct inspection inspection = {{.key = &as_loaded}, reported, name};

    as_loaded.persistent = 0;
    return lct_tpm_run(tpm, key->label, inspect, &inspection, err);
}
