/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/sealed.h"

#include "base/attribute.h"
#include "proof/spki.h"

#include <openssl/evp.h>
#include <stdarg.h>
#include <string.h>

enum { SHORT_FINGERPRINT = 16 };

/* What one judgement works with. */
struct judge {
    struct lct_finding *finding;
    OSSL_LIB_CTX *libctx;
    const struct lct_offer *offer;
    const struct lct_trust *trust;
    const struct lct_pcr_values *expected;
};

static void LCT_PRINTF(3, 4)
    conclude(struct judge *judge, enum lct_outcome outcome, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    lct_finding_set_args(judge->finding, outcome, format, args);
    va_end(args);
}

/* Whether there is a policy that has to be satisfied and that is disclosed. */
static bool is_disclosed(struct judge *judge)
{
    const struct lct_public *key = &judge->offer->key.area;
    bool claimed = judge->offer->seal.kind != LCT_SEAL_NONE;
    bool open = (key->attributes & TPMA_OBJECT_USERWITHAUTH) != 0 || key->policy_len == 0;

    if (claimed && open)
        conclude(judge, LCT_FAILED,
                 "it is said to be sealed, but signs without its policy (userWithAuth)");
    else if (open)
        conclude(judge, LCT_NOT_CLAIMED, "the key is not sealed: it signs whatever booted");
    else if (!claimed)
        conclude(judge, LCT_NOT_CLAIMED, "the key has a policy that is not disclosed");
    else
        return true;
    return false;
}

/* Whether what is disclosed is the key's policy. */
static enum lct_code is_the_policy(bool *is, struct judge *judge, struct lct_err *err)
{
    const struct lct_public *key = &judge->offer->key.area;
    uint8_t policy[LCT_POLICY_DIGEST];
    struct lct_err why = {.code = LCT_OK};
    enum lct_code code =
        lct_seal_policy(policy, judge->libctx, &judge->offer->seal, judge->offer->passphrase, &why);

    if (code == LCT_ERR_INTERNAL)
        return LCT_FAIL(err, code, "%s", why.text);
    *is = code == LCT_OK && key->name_alg == TPM2_ALG_SHA256 && key->policy_len == sizeof policy &&
          memcmp(key->policy, policy, sizeof policy) == 0;
    if (!*is)
        conclude(judge, LCT_FAILED, "the seal that is disclosed is not the key's policy");
    return LCT_OK;
}

/* Whether `pcrs` has every PCR of `wanted`. */
static bool covers(const struct lct_pcrs *pcrs, const struct lct_pcrs *wanted)
{
    for (size_t i = 0; i < wanted->num_banks; i++) {
        int at = lct_pcrs_find(pcrs, wanted->banks[i].hash->id);
        if (at < 0 || (wanted->banks[i].pcrs & ~pcrs->banks[at].pcrs) != 0)
            return false;
    }
    return true;
}

/* Whether the values are the expected ones, where both have one; *pcr is the first that is not. */
static bool agree(const struct lct_pcr_values *values, const struct lct_pcr_values *expected,
                  unsigned *pcr)
{
    for (size_t i = 0; i < values->pcrs.num_banks; i++) {
        const struct lct_pcr_bank *bank = &values->pcrs.banks[i];
        int at = lct_pcrs_find(&expected->pcrs, bank->hash->id);
        for (*pcr = 0; at >= 0 && *pcr < LCT_NUM_PCRS; (*pcr)++)
            if ((bank->pcrs & expected->pcrs.banks[at].pcrs & 1u << *pcr) != 0 &&
                memcmp(values->values[i][*pcr], expected->values[at][*pcr], bank->hash->size) != 0)
                return false;
    }
    return true;
}

/* Their numbers, whatever the bank: bit n, PCR n. */
static uint32_t numbers(const struct lct_pcrs *pcrs)
{
    uint32_t bits = 0;

    for (size_t i = 0; i < pcrs->num_banks; i++)
        bits |= pcrs->banks[i].pcrs;
    return bits;
}

/* Whether the seal has, in some bank, an expected value of each PCR that makes a state an accepted
 * one: of those that the trust file asks for, else of all that are expected. */
static bool is_compared(struct judge *judge, const char *text)
{
    const struct lct_pcrs *sealed = &judge->offer->seal.pcrs.pcrs;
    const struct lct_pcrs *expected = &judge->expected->pcrs, *asked = lct_trust_pcrs(judge->trust);
    bool asks = asked->num_banks > 0;
    uint32_t missing = numbers(asks ? asked : expected);
    unsigned pcr = 0;

    for (size_t i = 0; i < sealed->num_banks; i++) {
        int at = lct_pcrs_find(expected, sealed->banks[i].hash->id);
        if (at >= 0)
            missing &= ~(sealed->banks[i].pcrs & expected->banks[at].pcrs);
    }
    if (missing == 0)
        return true;
    while ((missing & 1u << pcr) == 0)
        pcr++;
    if (asks)
        conclude(judge, LCT_NOT_CLAIMED,
                 "it is sealed to %.80s, and of PCR %u, which the trust file asks for, no value is "
                 "expected",
                 text, pcr);
    else
        conclude(judge, LCT_NOT_CLAIMED,
                 "it is sealed to %.80s, and not to PCR %u, of which a value is expected", text,
                 pcr);
    return false;
}

/* Whether each of the values, which are shown, tells something of a boot. */
static bool are_measured(struct judge *judge)
{
    struct lct_pcrs blank;
    char text[LCT_PCRS_TEXT];

    lct_pcr_values_blank(&blank, &judge->offer->seal.pcrs);
    lct_pcrs_text(text, &blank);
    if (blank.num_banks > 0)
        conclude(judge, LCT_NOT_CLAIMED,
                 "it is sealed to PCRs that are blank, %.80s: nothing measures the boot there",
                 text);
    return blank.num_banks == 0;
}

/* The values that are shown are those of the policy. */
static enum lct_code are_the_values(bool *are, const struct judge *judge, struct lct_err *err)
{
    const struct lct_seal *seal = &judge->offer->seal;
    uint8_t digest[LCT_POLICY_DIGEST];

    *are = true;
    if (!seal->has_values)
        return LCT_OK;
    enum lct_code code = lct_pcr_digest(digest, judge->libctx, &seal->pcrs, err);
    *are = code == LCT_OK && memcmp(digest, seal->pcr_digest, sizeof digest) == 0;
    return code;
}

static bool judge_selection(struct judge *judge, const char *text)
{
    const struct lct_pcrs *pcrs = &judge->offer->seal.pcrs.pcrs;
    struct lct_err why = {.code = LCT_OK};

    if (pcrs->num_banks == 0 || lct_pcrs_check_seal(pcrs, &why) != LCT_OK)
        conclude(judge, LCT_FAILED, "what it is sealed to is no state: %.160s",
                 why.code != LCT_OK ? why.text : "there is no PCR in it");
    else if (lct_pcrs_find(pcrs, TPM2_ALG_SHA1) >= 0)
        conclude(judge, LCT_FAILED, "it is sealed to PCRs of SHA-1, which can be forged: %.80s",
                 text);
    else if (!covers(pcrs, lct_trust_pcrs(judge->trust)))
        conclude(judge, LCT_FAILED, "it is sealed to %.80s, which is less than the trust file asks",
                 text);
    else
        return true;
    return false;
}

/* The branch of PolicyPCR. */
static enum lct_code judge_state(bool *good, struct judge *judge, const char *text,
                                 struct lct_err *err)
{
    const struct lct_seal *seal = &judge->offer->seal;
    bool compare = seal->has_values && judge->expected != NULL;
    unsigned pcr = 0;

    *good = judge_selection(judge, text);
    if (!*good)
        return LCT_OK;
    enum lct_code code = are_the_values(good, judge, err);
    if (code != LCT_OK)
        return code;
    if (!*good)
        conclude(judge, LCT_FAILED, "the values that are shown are not those it is sealed to");
    else if (compare && !agree(&seal->pcrs, judge->expected, &pcr))
        conclude(judge, LCT_NOT_CLAIMED,
                 "the state of its sealing opens it, and PCR %u was not the expected value then",
                 pcr);
    else if (!seal->has_values)
        conclude(judge, LCT_NOT_CLAIMED,
                 "it is sealed to values of %.80s that are not shown: they may be blank", text);
    else {
        *good = are_measured(judge) && (!compare || is_compared(judge, text));
        return LCT_OK;
    }
    *good = false;
    return LCT_OK;
}

/* The branch of PolicyAuthorize. */
static enum lct_code judge_authority(bool *good, struct judge *judge, char fingerprint[65],
                                     struct lct_err *err)
{
    const struct lct_seal *seal = &judge->offer->seal;
    struct lct_public area;
    EVP_PKEY *pkey = NULL;
    enum lct_code code = lct_public_decode(&area, seal->authority, seal->authority_len, err);

    if (code == LCT_OK && !lct_hash_is_trusted(lct_hash_by_id(area.name_alg))) {
        conclude(judge, LCT_FAILED, "its authority has a Name of a hash that is not taken");
        *good = false;
        return LCT_OK;
    }
    if (code == LCT_OK) {
        pkey = lct_public_pkey(&area, judge->libctx, err);
        code =
            pkey != NULL && lct_spki_fingerprint(fingerprint, pkey, judge->libctx, NULL) == LCT_OK
                ? LCT_OK
                : LCT_ERR_BAD_RECORD;
    }
    EVP_PKEY_free(pkey);
    *good = code == LCT_OK && lct_trust_accepts_authority(judge->trust, fingerprint);
    if (code == LCT_ERR_INTERNAL)
        return code;
    if (code != LCT_OK)
        conclude(judge, LCT_FAILED, "the authority that approves other states has no key");
    else if (!*good)
        conclude(judge, lct_trust_has_policies(judge->trust) ? LCT_FAILED : LCT_NOT_CLAIMED,
                 "any state that the authority %s approves opens it, and that is none of the trust "
                 "file's",
                 fingerprint);
    return LCT_OK;
}

/* Whether the counter that is disclosed is in the policyRef, and so in the policy. */
static bool is_revocable(const struct judge *judge)
{
    const struct lct_seal *seal = &judge->offer->seal;
    struct lct_seal own = {.counter = seal->counter};

    return seal->counter.handle != 0 &&
           lct_seal_bind(&own, judge->libctx, judge->offer->id, NULL) == LCT_OK &&
           own.ref_len == seal->ref_len && memcmp(own.ref, seal->ref, own.ref_len) == 0;
}

static void say(struct judge *judge, const char *text, const char *fingerprint)
{
    const struct lct_seal *seal = &judge->offer->seal;
    const char *passphrase = judge->offer->passphrase ? ", with a passphrase" : "";
    const char *revocable = is_revocable(judge) ? " and has not revoked" : "";

    if (seal->kind == LCT_SEAL_STRICT)
        conclude(judge, LCT_PASSED, "sealed to the values of %.80s at its sealing%s", text,
                 passphrase);
    else if (seal->kind == LCT_SEAL_AUTHORITY)
        conclude(judge, LCT_PASSED, "sealed to states that the authority %.*s... approves%s%s",
                 SHORT_FINGERPRINT, fingerprint, revocable, passphrase);
    else
        conclude(judge, LCT_PASSED,
                 "sealed to the values of %.80s at its sealing, or a state that the authority "
                 "%.*s... approves%s",
                 text, SHORT_FINGERPRINT, fingerprint, passphrase);
}

enum lct_code lct_sealed_judge(struct lct_finding *finding, OSSL_LIB_CTX *libctx,
                               const struct lct_offer *offer, const struct lct_trust *trust,
                               const struct lct_pcr_values *expected, struct lct_err *err)
{
    struct judge judge = {finding, libctx, offer, trust, expected};
    enum lct_seal_kind kind = offer->seal.kind;
    char text[LCT_PCRS_TEXT], fingerprint[65] = "";
    bool good = is_disclosed(&judge);
    enum lct_code code = good ? is_the_policy(&good, &judge, err) : LCT_OK;

    if (code != LCT_OK || !good)
        return code;
    if (kind == LCT_SEAL_AUTH) {
        conclude(&judge, LCT_NOT_CLAIMED, "the key takes a passphrase, and is sealed to no state");
        return LCT_OK;
    }
    lct_pcrs_text(text, &offer->seal.pcrs.pcrs);
    if (kind != LCT_SEAL_AUTHORITY)
        code = judge_state(&good, &judge, text, err);
    if (code == LCT_OK && good && kind != LCT_SEAL_STRICT)
        code = judge_authority(&good, &judge, fingerprint, err);
    if (code == LCT_OK && good)
        say(&judge, text, fingerprint);
    return code;
}
