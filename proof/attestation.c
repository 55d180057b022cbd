/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/attestation.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <string.h>

/* What one judgement works with. */
struct judge {
    struct lct_verdict *verdict;
    const struct lct_attestation *given;
    OSSL_LIB_CTX *libctx;
    const struct lct_attest *attest;
    struct lct_scheme scheme;
    struct lct_signature signature;
};

static void pass(struct judge *judge, enum lct_claim claim, const char *reason)
{
    lct_verdict_set(judge->verdict, claim, LCT_PASSED, "%s", reason);
}

static void fail(struct judge *judge, enum lct_claim claim, const char *reason)
{
    lct_verdict_set(judge->verdict, claim, LCT_FAILED, "%s", reason);
}

static void leave(struct judge *judge, enum lct_claim claim, const char *reason)
{
    lct_verdict_set(judge->verdict, claim, LCT_NOT_CLAIMED, "%s", reason);
}

static bool failed(const struct judge *judge, enum lct_claim claim)
{
    return judge->verdict->findings[claim].outcome == LCT_FAILED;
}

/* SHA-1 is taken where it is asked for by name, alone. */
static bool is_allowed(const struct judge *judge, const struct lct_hash *hash)
{
    return lct_hash_is_trusted(hash) || (hash != NULL && hash == judge->given->hash);
}

/*
 * A signature in OpenSSL's encoding has no header: DER begins as no TPMT_SIGNATURE does, and an RSA
 * block is as long as the modulus, which a TPMT_SIGNATURE is six bytes longer than.
 */
static bool is_plain(const struct lct_attestation *given)
{
    if (EVP_PKEY_is_a(given->ak->pkey, "EC"))
        return given->signature_len > 0 && given->signature[0] == 0x30;
    return given->signature_len == (size_t)EVP_PKEY_get_size(given->ak->pkey);
}

/* How a signature without header was made: as the AK's public area says, else as is usual. */
static struct lct_scheme plain_scheme(const struct lct_attestation *given)
{
    const struct lct_ak *ak = given->ak;
    const struct lct_hash *usual =
        given->hash != NULL ? given->hash : lct_hash_by_id(TPM2_ALG_SHA256);
    struct lct_scheme scheme = {EVP_PKEY_is_a(ak->pkey, "EC") ? TPM2_ALG_ECDSA : TPM2_ALG_RSASSA,
                                usual, RSA_PSS_SALTLEN_AUTO};

    if (ak->has_public && ak->public_area.scheme != TPM2_ALG_NULL) {
        scheme.id = ak->public_area.scheme;
        scheme.hash = lct_hash_by_id(ak->public_area.scheme_hash);
    }
    return scheme;
}

static enum lct_code read_signature(struct judge *judge, struct lct_err *err)
{
    const struct lct_attestation *given = judge->given;

    if (!is_plain(given))
        return lct_attest_signature(&judge->signature, &judge->scheme, given->signature,
                                    given->signature_len, err);
    judge->scheme = plain_scheme(given);
    if (given->signature_len > sizeof judge->signature.data)
        return LCT_FAIL(err, LCT_ERR_BAD_EVIDENCE, "the signature is too long");
    memcpy(judge->signature.data, given->signature, given->signature_len);
    judge->signature.len = given->signature_len;
    return LCT_OK;
}

/* Whether the signature's header says what the AK's public area does, and what we take. */
static bool scheme_fits(struct judge *judge)
{
    const struct lct_attestation *given = judge->given;
    const struct lct_public *area = &given->ak->public_area;
    const struct lct_scheme *scheme = &judge->scheme;
    bool ecdsa = scheme->id == TPM2_ALG_ECDSA;

    if ((!ecdsa && scheme->id != TPM2_ALG_RSASSA && scheme->id != TPM2_ALG_RSAPSS) ||
        ecdsa != (EVP_PKEY_is_a(given->ak->pkey, "EC") == 1))
        fail(judge, LCT_CLAIM_SIGNED, "the signature is of another kind than the AK makes");
    else if (given->ak->has_public && area->scheme != TPM2_ALG_NULL &&
             (area->scheme != scheme->id || scheme->hash == NULL ||
              area->scheme_hash != scheme->hash->id))
        fail(judge, LCT_CLAIM_SIGNED,
             "the signature is of another scheme or hash than the AK's public area says");
    else if (!is_allowed(judge, scheme->hash))
        lct_verdict_set(judge->verdict, LCT_CLAIM_SIGNED, LCT_FAILED,
                        "the signature is over %s, which is not taken unless it is asked for",
                        scheme->hash != NULL ? scheme->hash->name : "a hash we do not know");
    else if (given->hash != NULL && scheme->hash != given->hash)
        lct_verdict_set(judge->verdict, LCT_CLAIM_SIGNED, LCT_FAILED,
                        "the signature is over %s, not %s", scheme->hash->name, given->hash->name);
    else
        return true;
    return false;
}

static enum lct_code judge_signature(struct judge *judge, struct lct_err *err)
{
    uint8_t digest[LCT_MAX_HASH];
    const struct lct_attestation *given = judge->given;
    const struct lct_hash *hash = judge->scheme.hash;

    if (judge->attest->type != given->type) {
        fail(judge, LCT_CLAIM_SIGNED, "it is another kind of attestation than the one expected");
        return LCT_OK;
    }
    if (!scheme_fits(judge))
        return LCT_OK;
    if (!EVP_Q_digest(judge->libctx, hash->openssl, NULL, given->attest, given->attest_len, digest,
                      NULL))
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "libcrypto cannot hash with %s", hash->openssl);
    enum lct_code code = lct_signature_verify(&judge->signature, given->ak->pkey, judge->libctx,
                                              &judge->scheme, digest, hash->size, err);
    if (code == LCT_OK)
        pass(judge, LCT_CLAIM_SIGNED, "the AK signed it");
    else if (code == LCT_ERR_WRONG_KEY)
        fail(judge, LCT_CLAIM_SIGNED, "the signature is not one of this AK over this structure");
    return code == LCT_ERR_WRONG_KEY ? LCT_OK : code;
}

/*
 * What is wrong with the qualified Name of an object (Part 1, 16): it has not the hash of the Name,
 * or is that of a primary object of the null hierarchy, which the next reset makes another one
 * (12.3). NULL: nothing.
 */
static const char *place_fault(const struct judge *judge, const struct lct_name *qualified,
                               const struct lct_name *name)
{
    const struct lct_name hierarchy = lct_name_of_handle(TPM2_RH_NULL);
    struct lct_name expected;

    if (qualified->len != name->len || memcmp(qualified->data, name->data, 2) != 0)
        return "has not the qualified Name that is attested";
    if (!lct_name_qualify(&expected, judge->libctx, &hierarchy, name))
        return "has a qualified Name that libcrypto cannot compute";
    return lct_name_equal(&expected, qualified)
               ? "is of the null hierarchy, whose keys a reset ends"
               : NULL;
}

static void judge_ak_public(struct judge *judge, const struct lct_ak *ak)
{
    const char *fault = lct_ak_public_fault(&ak->public_area);

    if (fault == NULL && !is_allowed(judge, lct_hash_by_id(ak->public_area.name_alg)))
        fault = "has a Name of a hash that is not taken";
    if (fault == NULL)
        fault = place_fault(judge, &judge->attest->signer, &ak->name);
    if (fault != NULL)
        lct_verdict_set(judge->verdict, LCT_CLAIM_AK_FIT, LCT_FAILED, "the AK %s", fault);
    else
        pass(judge, LCT_CLAIM_AK_FIT,
             "the AK's public area is restricted to what its TPM makes, and bound to that TPM");
}

static void judge_ak(struct judge *judge)
{
    const struct lct_ak *ak = judge->given->ak;
    const char *fault = ak->certificate != NULL
                            ? lct_ak_certificate_fault(ak->certificate, judge->given->now)
                            : NULL;

    if (ak->has_public)
        judge_ak_public(judge, ak);
    else if (fault != NULL)
        lct_verdict_set(judge->verdict, LCT_CLAIM_AK_FIT, LCT_FAILED, "the AK's certificate %s",
                        fault);
    else if (ak->certificate != NULL)
        leave(judge, LCT_CLAIM_AK_FIT,
              "the certificate is one of an attestation key; its issuer has not been checked");
    else
        leave(judge, LCT_CLAIM_AK_FIT,
              "the AK is a bare public key; if it is not restricted, it signs forgeries");
    leave(judge, LCT_CLAIM_AK_BOUND,
          "nothing here shows that the AK is in a TPM: whoever gave the AK vouches for it");
    leave(judge, LCT_CLAIM_EK_GENUINE, "there is no EK in an attestation by itself");
}

static void judge_nonce(struct judge *judge)
{
    const struct lct_attestation *given = judge->given;

    if (given->nonce == NULL)
        leave(judge, LCT_CLAIM_FRESH, "no nonce is expected; it may be of any time");
    else if (given->nonce_len != judge->attest->extra_len ||
             CRYPTO_memcmp(given->nonce, judge->attest->extra, given->nonce_len) != 0)
        fail(judge, LCT_CLAIM_FRESH, "it was made for another nonce");
    else
        pass(judge, LCT_CLAIM_FRESH, "it was made for this nonce");
}

void lct_attestation_judge_attributes(struct lct_verdict *verdict, const struct lct_public *key)
{
    static const uint32_t others = TPMA_OBJECT_DECRYPT | TPMA_OBJECT_RESTRICTED;
    bool signs = key->type == TPM2_ALG_ECC || key->type == TPM2_ALG_RSA;

    if (!lct_public_is_bound(key) || (key->attributes & TPMA_OBJECT_ENCRYPTEDDUPLICATION) != 0)
        lct_verdict_set(verdict, LCT_CLAIM_NON_EXTRACTABLE, LCT_FAILED,
                        "the key was not made in its TPM, or may leave it (fixedTPM, fixedParent, "
                        "sensitiveDataOrigin, encryptedDuplication)");
    else
        lct_verdict_set(verdict, LCT_CLAIM_NON_EXTRACTABLE, LCT_PASSED,
                        "the key was made in its TPM and cannot leave it");
    if (!signs || (key->attributes & TPMA_OBJECT_SIGN_ENCRYPT) == 0)
        lct_verdict_set(verdict, LCT_CLAIM_KEY_FIT, LCT_FAILED, "the key is not for signing");
    else if ((key->attributes & others) != 0)
        lct_verdict_set(verdict, LCT_CLAIM_KEY_FIT, LCT_FAILED,
                        "the key is restricted or decrypts: it is not for signatures alone");
    else
        lct_verdict_set(verdict, LCT_CLAIM_KEY_FIT, LCT_PASSED,
                        "the key is for signatures and nothing else");
    lct_verdict_set(verdict, LCT_CLAIM_SEALED, LCT_NOT_CLAIMED, "%s",
                    (key->attributes & TPMA_OBJECT_USERWITHAUTH) != 0 || key->policy_len == 0
                        ? "the key signs without a policy, whatever booted"
                        : "the key has a policy that is not disclosed here");
}

/* The certified key's kind, where it is one. */
static enum lct_code check_key(const struct judge *judge, const struct lct_public *key,
                               struct lct_err *err)
{
    struct lct_err why = {.code = LCT_OK};

    if (key->type == TPM2_ALG_KEYEDHASH)
        return LCT_OK;
    EVP_PKEY *pkey = lct_public_pkey(key, judge->libctx, &why);
    enum lct_code code = pkey != NULL ? lct_ak_check_kind(pkey, &why) : why.code;
    EVP_PKEY_free(pkey);
    if (code == LCT_OK)
        return LCT_OK;
    return LCT_FAIL(err, code == LCT_ERR_BAD_RECORD ? LCT_ERR_BAD_EVIDENCE : code,
                    "the certified key: %s", why.text);
}

static void judge_name(struct judge *judge, const struct lct_public *key,
                       const struct lct_name *name)
{
    const struct lct_attest *attest = judge->attest;
    const char *fault = NULL;

    if (!is_allowed(judge, lct_hash_by_id(key->name_alg)))
        fault = "has a Name of a hash that is not taken";
    else if (!lct_name_equal(name, &attest->name))
        fault = "is another key than the one that is certified";
    else
        fault = place_fault(judge, &attest->qualified_name, name);
    if (fault != NULL)
        lct_verdict_set(judge->verdict, LCT_CLAIM_KEY_RESIDENT, LCT_FAILED, "the key %s", fault);
    else
        pass(judge, LCT_CLAIM_KEY_RESIDENT, "the key with this public area is in the AK's TPM");
}

static enum lct_code read_key(struct lct_public *key, struct lct_name *name,
                              const struct judge *judge, struct lct_err *err)
{
    enum lct_code code =
        lct_public_import(key, name, judge->libctx, judge->given->key, judge->given->key_len, err);

    if (code == LCT_ERR_BAD_RECORD)
        return LCT_FAIL(err, LCT_ERR_BAD_EVIDENCE, "the certified key is no TPM2B_PUBLIC");
    return code == LCT_OK ? check_key(judge, key, err) : code;
}

static void judge_key(struct judge *judge, const struct lct_public *key,
                      const struct lct_name *name)
{
    static const enum lct_claim claims[] = {LCT_CLAIM_KEY_RESIDENT, LCT_CLAIM_NON_EXTRACTABLE,
                                            LCT_CLAIM_KEY_FIT, LCT_CLAIM_SEALED};

    for (size_t i = 0; i < sizeof claims / sizeof claims[0]; i++)
        leave(judge, claims[i],
              judge->given->type == TPM2_ST_ATTEST_QUOTE
                  ? "a quote says nothing of a key"
                  : "the public area of the certified key is not given");
    if (judge->given->key == NULL)
        return;
    judge_name(judge, key, name);
    if (!failed(judge, LCT_CLAIM_KEY_RESIDENT))
        lct_attestation_judge_attributes(judge->verdict, key);
    else
        for (size_t i = 1; i < sizeof claims / sizeof claims[0]; i++)
            leave(judge, claims[i], "nothing vouches for this public area");
}

/* Whether the expected values are of the PCRs that were quoted, and of no other: a value that the
 * quote does not cover would be believed for nothing. */
static bool same_selection(const struct lct_pcrs *quoted, const struct lct_pcrs *expected)
{
    if (quoted->num_banks != expected->num_banks)
        return false;
    for (size_t i = 0; i < quoted->num_banks; i++) {
        int at = lct_pcrs_find(expected, quoted->banks[i].hash->id);
        if (at < 0 || expected->banks[at].pcrs != quoted->banks[i].pcrs)
            return false;
    }
    return true;
}

/* TPM 2.0 Part 1, 17.5: the values in the order of the selection, by the hash of the signature. */
static bool quoted_digest(uint8_t digest[LCT_MAX_HASH], const struct judge *judge)
{
    const struct lct_pcr_values *values = judge->given->values;
    const struct lct_pcrs *quoted = &judge->attest->pcrs;
    EVP_MD *md = EVP_MD_fetch(judge->libctx, judge->scheme.hash->openssl, NULL);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool good = md != NULL && ctx != NULL && EVP_DigestInit_ex2(ctx, md, NULL) == 1;

    for (size_t i = 0; i < quoted->num_banks; i++) {
        const struct lct_hash *bank = quoted->banks[i].hash;
        int at = lct_pcrs_find(&values->pcrs, bank->id);
        for (unsigned n = 0; n < LCT_NUM_PCRS && good; n++)
            if ((quoted->banks[i].pcrs & 1u << n) != 0)
                good = at >= 0 && EVP_DigestUpdate(ctx, values->values[at][n], bank->size) == 1;
    }
    good = good && EVP_DigestFinal_ex(ctx, digest, NULL) == 1;
    EVP_MD_CTX_free(ctx);
    EVP_MD_free(md);
    return good;
}

static void judge_values(struct judge *judge, const char *quoted)
{
    const struct lct_attest *attest = judge->attest;
    const struct lct_pcr_values *values = judge->given->values;
    uint8_t digest[LCT_MAX_HASH];
    char expected[LCT_PCRS_TEXT];

    lct_pcrs_text(expected, &values->pcrs);
    if (!same_selection(&attest->pcrs, &values->pcrs))
        lct_verdict_set(judge->verdict, LCT_CLAIM_BOOT_STATE, LCT_FAILED,
                        "the quote is of the PCRs %.80s, the expected values are of %.80s", quoted,
                        expected);
    else if (!quoted_digest(digest, judge) || attest->digest_len != judge->scheme.hash->size ||
             memcmp(digest, attest->digest, attest->digest_len) != 0)
        lct_verdict_set(judge->verdict, LCT_CLAIM_BOOT_STATE, LCT_FAILED,
                        "the PCRs %.80s do not hold the expected values", quoted);
    else
        lct_verdict_set(judge->verdict, LCT_CLAIM_BOOT_STATE, LCT_PASSED,
                        "the PCRs %.80s hold the expected values%s", quoted,
                        lct_pcr_values_are_blank(values)
                            ? ", which are blank: nothing measures the boot there"
                            : "");
}

static void judge_boot(struct judge *judge)
{
    char quoted[LCT_PCRS_TEXT];

    lct_pcrs_text(quoted, &judge->attest->pcrs);
    if (judge->given->type != TPM2_ST_ATTEST_QUOTE)
        leave(judge, LCT_CLAIM_BOOT_STATE, "a certification says nothing of PCRs");
    else if (judge->attest->pcrs.num_banks == 0)
        fail(judge, LCT_CLAIM_BOOT_STATE, "the quote is of no PCR at all");
    else if (judge->given->values != NULL)
        judge_values(judge, quoted);
    else
        lct_verdict_set(judge->verdict, LCT_CLAIM_BOOT_STATE, LCT_NOT_CLAIMED,
                        "no values are expected; the quote is of the PCRs %.80s", quoted);
}

/* What was not signed, or by a key that signs anything, claims nothing. */
static void withhold(struct judge *judge)
{
    static const enum lct_claim claims[] = {
        LCT_CLAIM_FRESH,   LCT_CLAIM_KEY_RESIDENT, LCT_CLAIM_NON_EXTRACTABLE,
        LCT_CLAIM_KEY_FIT, LCT_CLAIM_SEALED,       LCT_CLAIM_BOOT_STATE,
    };

    for (size_t i = 0; i < sizeof claims / sizeof claims[0]; i++)
        leave(judge, claims[i], "nothing vouches for what it says");
}

enum lct_code lct_attestation_judge(struct lct_verdict *verdict, struct lct_attest *attest,
                                    OSSL_LIB_CTX *libctx, const struct lct_attestation *attestation,
                                    struct lct_err *err)
{
    struct judge judge = {verdict, attestation, libctx, attest, {0}, {0}};
    struct lct_public key = {0};
    struct lct_name name = {0};

    memset(verdict, 0, sizeof *verdict);
    enum lct_code code =
        lct_attest_decode(attest, attestation->attest, attestation->attest_len, err);
    if (code == LCT_OK)
        code = read_signature(&judge, err);
    if (code == LCT_OK && attestation->key != NULL)
        code = read_key(&key, &name, &judge, err);
    if (code == LCT_OK)
        code = judge_signature(&judge, err);
    if (code != LCT_OK)
        return code;
    judge_ak(&judge);
    leave(&judge, LCT_CLAIM_KEY_USABLE_NOW, "nothing here was signed by the key itself");
    if (failed(&judge, LCT_CLAIM_SIGNED) || failed(&judge, LCT_CLAIM_AK_FIT)) {
        withhold(&judge);
        return LCT_OK;
    }
    judge_nonce(&judge);
    judge_key(&judge, &key, &name);
    judge_boot(&judge);
    return LCT_OK;
}
