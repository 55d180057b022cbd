/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/attestation.h"
#include "proof/bootlog.h"
#include "proof/evidence.h"
#include "proof/json.h"
#include "proof/sealed.h"
#include "proof/transcript.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <string.h>

/* What one judgement works with. */
struct appraisal {
    struct lct_verdict *verdict;
    OSSL_LIB_CTX *libctx;
    const struct lct_evidence *evidence;
    const struct lct_evidence_request *request;
    const struct lct_challenge *challenge;
    const struct lct_offer *offer;
    struct lct_transcript transcript;
    bool is_asked; /* the challenge is the one of the state */
    EVP_PKEY *key; /* the offer's */
    struct lct_ak ak;
    /* Of the certification and the quote, each by itself; not of one that there is not. */
    struct lct_attest certify, quote;
    struct lct_verdict certified, quoted;
};

/* What is known of hardware, and by an attestation alone: all of it hangs on the AK. */
static const enum lct_claim of_hardware[] = {
    LCT_CLAIM_KEY_RESIDENT, LCT_CLAIM_NON_EXTRACTABLE, LCT_CLAIM_KEY_FIT,
    LCT_CLAIM_SEALED,       LCT_CLAIM_BOOT_STATE,
};

enum { NUM_OF_HARDWARE = sizeof of_hardware / sizeof of_hardware[0] };

static void set(struct appraisal *appraisal, enum lct_claim claim, enum lct_outcome outcome,
                const char *reason)
{
    lct_verdict_set(appraisal->verdict, claim, outcome, "%s", reason);
}

static enum lct_outcome outcome(const struct appraisal *appraisal, enum lct_claim claim)
{
    return appraisal->verdict->findings[claim].outcome;
}

static bool passed(const struct appraisal *appraisal, enum lct_claim claim)
{
    return outcome(appraisal, claim) == LCT_PASSED;
}

static void withhold(struct appraisal *appraisal, const char *reason)
{
    for (size_t i = 0; i < NUM_OF_HARDWARE; i++)
        set(appraisal, of_hardware[i], LCT_NOT_CLAIMED, reason);
}

static bool has_quote(const struct appraisal *appraisal)
{
    return appraisal->evidence->quote.attest_len > 0;
}

/* A public area as OpenSSL has it, of a kind that we take. */
static enum lct_code read_public(EVP_PKEY **pkey, const struct appraisal *appraisal,
                                 const struct lct_public *area, const char *whose,
                                 struct lct_err *err)
{
    struct lct_err why = {.code = LCT_OK};
    enum lct_code code = LCT_OK;

    *pkey = lct_public_pkey(area, appraisal->libctx, &why);
    if (*pkey == NULL)
        code = why.code == LCT_ERR_BAD_RECORD ? LCT_ERR_BAD_EVIDENCE : why.code;
    else
        code = lct_ak_check_kind(*pkey, &why);
    return code == LCT_OK ? LCT_OK : LCT_FAIL(err, code, "%s: %s", whose, why.text);
}

/* As it was offered, which is what the credential was made for: lct_ak_decode, which takes a file
 * in any form, would find a key in PEM that is written in the public area. */
static enum lct_code read_ak(struct appraisal *appraisal, struct lct_err *err)
{
    const struct lct_offered_public *offered = &appraisal->offer->ak;
    struct lct_ak *ak = &appraisal->ak;

    ak->has_public = true;
    ak->public_area = offered->area;
    ak->name = offered->name;
    return read_public(&ak->pkey, appraisal, &offered->area, "the AK", err);
}

static enum lct_code attested(struct appraisal *appraisal, enum lct_slot slot, struct lct_err *err)
{
    bool certify = slot == LCT_SLOT_CERTIFY;
    const struct lct_evidence_attested *from =
        certify ? &appraisal->evidence->certify : &appraisal->evidence->quote;
    uint8_t extra[32];
    const struct lct_attestation attestation = {
        .type = certify ? TPM2_ST_ATTEST_CERTIFY : TPM2_ST_ATTEST_QUOTE,
        .attest = from->attest,
        .attest_len = from->attest_len,
        .signature = from->signature,
        .signature_len = from->signature_len,
        .ak = &appraisal->ak,
        .nonce = extra,
        .nonce_len = sizeof extra,
        .key = certify ? appraisal->offer->key.bytes : NULL,
        .key_len = certify ? appraisal->offer->key.len : 0,
        .values = certify ? NULL : &appraisal->evidence->values,
        .now = appraisal->request->now,
    };
    enum lct_code code =
        lct_transcript_extra(extra, appraisal->libctx, &appraisal->transcript, slot, err);

    if (code == LCT_OK)
        code = lct_attestation_judge(certify ? &appraisal->certified : &appraisal->quoted,
                                     certify ? &appraisal->certify : &appraisal->quote,
                                     appraisal->libctx, &attestation, err);
    if (code != LCT_OK)
        return lct_err_prefix(err, certify ? "the certification" : "the quote");
    return LCT_OK;
}

/* Everything that can be malformed is read before anything is judged. */
static enum lct_code read_parts(struct appraisal *appraisal, struct lct_err *err)
{
    enum lct_code code =
        lct_transcript_make(&appraisal->transcript, appraisal->libctx, appraisal->challenge, err);

    if (code == LCT_OK)
        code = read_public(&appraisal->key, appraisal, &appraisal->offer->key.area, "the key", err);
    if (code != LCT_OK || appraisal->challenge->direct)
        return code;
    code = read_ak(appraisal, err);
    if (code == LCT_OK)
        code = attested(appraisal, LCT_SLOT_CERTIFY, err);
    return code == LCT_OK && has_quote(appraisal) ? attested(appraisal, LCT_SLOT_QUOTE, err) : code;
}

/* What both attestations say of one claim: the first that failed, else the first. */
static void take_both(struct appraisal *appraisal, enum lct_claim claim)
{
    const struct lct_finding *finding = &appraisal->certified.findings[claim];
    const struct lct_finding *quoted = &appraisal->quoted.findings[claim];

    if (has_quote(appraisal) && finding->outcome == LCT_PASSED && quoted->outcome != LCT_PASSED)
        finding = quoted;
    appraisal->verdict->findings[claim] = *finding;
}

/* The qualified Name of `name` below a parent (NULL: none) that is below a hierarchy (TPM 2.0 Part
 * 1, 16). False: it cannot be computed. */
static bool qualify(struct lct_name *qualified, const struct appraisal *appraisal,
                    uint32_t hierarchy, const struct lct_name *parent, const struct lct_name *name)
{
    struct lct_name above = lct_name_of_handle(hierarchy);

    if (parent != NULL) {
        const struct lct_name of_hierarchy = above;
        if (!lct_name_qualify(&above, appraisal->libctx, &of_hierarchy, parent))
            return false;
    }
    return lct_name_qualify(qualified, appraisal->libctx, &above, name);
}

static bool is_below(const struct appraisal *appraisal, const struct lct_name *qualified,
                     uint32_t hierarchy, const struct lct_name *parent, const struct lct_name *name)
{
    struct lct_name expected;

    return qualify(&expected, appraisal, hierarchy, parent, name) &&
           lct_name_equal(&expected, qualified);
}

/* Only below the endorsement hierarchy are resetCount, restartCount and firmwareVersion the true
 * ones (Part 1, 36.7): a primary key, or a child of one of the EKs. */
static bool is_in_endorsement(const struct appraisal *appraisal)
{
    const struct lct_name *qualified = &appraisal->certify.signer;
    const struct lct_offer *offer = appraisal->offer;
    bool is = is_below(appraisal, qualified, TPM2_RH_ENDORSEMENT, NULL, &offer->ak.name);

    for (size_t i = 0; i < offer->num_eks && !is; i++)
        is = is_below(appraisal, qualified, TPM2_RH_ENDORSEMENT, &offer->eks[i].public_area.name,
                      &offer->ak.name);
    return is;
}

static void judge_ak(struct appraisal *appraisal)
{
    if (appraisal->challenge->direct) {
        static const char reason[] = "the direct mode does without an AK";
        set(appraisal, LCT_CLAIM_SIGNED, LCT_NOT_CLAIMED, reason);
        set(appraisal, LCT_CLAIM_AK_FIT, LCT_NOT_CLAIMED, reason);
        return;
    }
    take_both(appraisal, LCT_CLAIM_SIGNED);
    take_both(appraisal, LCT_CLAIM_AK_FIT);
    if (!passed(appraisal, LCT_CLAIM_SIGNED) || !passed(appraisal, LCT_CLAIM_AK_FIT))
        return;
    if (!is_in_endorsement(appraisal))
        set(appraisal, LCT_CLAIM_AK_FIT, LCT_FAILED,
            "the AK is not of the endorsement hierarchy, by its qualified Name");
    else if (has_quote(appraisal) &&
             !lct_name_equal(&appraisal->certify.signer, &appraisal->quote.signer))
        set(appraisal, LCT_CLAIM_AK_FIT, LCT_FAILED,
            "certification and quote name two signers (qualifiedSigner)");
}

static void judge_ek(struct appraisal *appraisal)
{
    const struct lct_offered_ek *ek = lct_evidence_ek(appraisal->evidence);

    if (appraisal->request->state == NULL || appraisal->request->trust == NULL) {
        set(appraisal, LCT_CLAIM_EK_GENUINE, LCT_NOT_CLAIMED,
            "anybody can show an EK and its certificate: without an activation of the verifier's "
            "own they say nothing");
        return;
    }
    if (ek == NULL) {
        set(appraisal, LCT_CLAIM_EK_GENUINE, LCT_NOT_CLAIMED,
            "no EK was asked: the AK's certificate is by a trusted issuer");
        return;
    }
    const struct lct_ek_given given = {&ek->public_area.area, &ek->certificate,
                                       &appraisal->offer->issuers};
    lct_trust_judge_ek(&appraisal->verdict->findings[LCT_CLAIM_EK_GENUINE],
                       appraisal->request->trust, &given, appraisal->request->now);
}

/* Whether the state is of this very challenge, unused and in time; else *why. */
static enum lct_code is_current(bool *current, const char **why, struct appraisal *appraisal,
                                struct lct_err *err)
{
    const struct lct_challenge_state *state = appraisal->request->state;
    struct lct_transcript asked;
    char now[21];
    enum lct_code code = lct_transcript_make(&asked, appraisal->libctx, &state->challenge, err);

    if (code != LCT_OK)
        return code;
    appraisal->is_asked =
        CRYPTO_memcmp(asked.digest, appraisal->transcript.digest, sizeof asked.digest) == 0;
    if (!appraisal->is_asked)
        *why = "it answers another challenge than this one";
    else if (state->used)
        *why = "this challenge was answered before, and is good for once";
    else if (!lct_json_of_time(now, appraisal->request->now) ||
             strcmp(now, state->challenge.expires) > 0)
        *why = "the challenge is expired";
    *current = *why == NULL;
    return LCT_OK;
}

/* In the direct mode the secret alone was made for the challenge: repeating that is for anybody. */
static enum lct_code judge_fresh(struct appraisal *appraisal, bool activated, struct lct_err *err)
{
    const char *why = NULL;
    bool current = true;
    enum lct_code code = LCT_OK;

    if (appraisal->request->state != NULL)
        code = is_current(&current, &why, appraisal, err);
    if (code != LCT_OK)
        return code;
    if (!appraisal->challenge->direct)
        take_both(appraisal, LCT_CLAIM_FRESH);
    if (!current)
        set(appraisal, LCT_CLAIM_FRESH, LCT_FAILED, why);
    else if (outcome(appraisal, LCT_CLAIM_FRESH) == LCT_FAILED)
        set(appraisal, LCT_CLAIM_FRESH, LCT_FAILED, "it was made for another challenge");
    else if (appraisal->request->state == NULL)
        lct_verdict_set(appraisal->verdict, LCT_CLAIM_FRESH, LCT_NOT_CLAIMED,
                        "nobody here has asked for it; it says that it answers a challenge of %s",
                        appraisal->challenge->created);
    else if (appraisal->challenge->direct && !activated)
        set(appraisal, LCT_CLAIM_FRESH, LCT_NOT_CLAIMED,
            "nothing in it was made for this challenge");
    else if (appraisal->challenge->direct || passed(appraisal, LCT_CLAIM_FRESH))
        set(appraisal, LCT_CLAIM_FRESH, LCT_PASSED, "it was made for this challenge");
    return LCT_OK;
}

/* Whether the secret of the credential was learned: by who has both the EK and the object that the
 * credential names (Part 1, 24). */
static enum lct_code is_activated(bool *activated, const struct appraisal *appraisal,
                                  struct lct_err *err)
{
    const struct lct_challenge_state *state = appraisal->request->state;
    const struct lct_evidence *evidence = appraisal->evidence;
    uint8_t mac[sizeof evidence->activation];

    *activated = false;
    if (state == NULL || state->secret.len == 0 || !evidence->has_activation)
        return LCT_OK;
    enum lct_code code = lct_transcript_activation(mac, appraisal->libctx, &appraisal->transcript,
                                                   &state->secret, err);
    *activated = code == LCT_OK && CRYPTO_memcmp(mac, evidence->activation, sizeof mac) == 0;
    OPENSSL_cleanse(mac, sizeof mac);
    return code;
}

/* By the certificate of the AK, which somebody trusted has issued. */
static void judge_ak_certificate(struct appraisal *appraisal)
{
    const struct lct_offer *offer = appraisal->offer;
    const struct lct_ak_given given = {appraisal->ak.pkey, &offer->ak_chain.certs[0],
                                       &offer->ak_chain};
    struct lct_finding *finding = &appraisal->verdict->findings[LCT_CLAIM_AK_BOUND];

    if (offer->ak_chain.num == 0 || appraisal->request->trust == NULL)
        set(appraisal, LCT_CLAIM_AK_BOUND, LCT_NOT_CLAIMED,
            "nothing here binds the AK to a TPM: a quote, and an EK certificate beside it, show "
            "nothing of hardware");
    else
        lct_trust_judge_ak(finding, appraisal->request->trust, &given, appraisal->request->now);
}

static void judge_binding(struct appraisal *appraisal, bool activated)
{
    bool asked = appraisal->request->state != NULL && appraisal->challenge->has_credential;

    if (appraisal->challenge->direct)
        set(appraisal, LCT_CLAIM_AK_BOUND, LCT_NOT_CLAIMED, "the direct mode does without an AK");
    else if (!asked)
        judge_ak_certificate(appraisal);
    else if (!appraisal->is_asked)
        /* Who learned the secret may have written another AK into the challenge. */
        set(appraisal, LCT_CLAIM_AK_BOUND, LCT_NOT_CLAIMED,
            "it answers another challenge, whose AK nobody here has asked for");
    else if (!activated)
        set(appraisal, LCT_CLAIM_AK_BOUND, LCT_FAILED,
            "the secret that only the EK's TPM could learn, with this AK in it, is not shown");
    else if (!passed(appraisal, LCT_CLAIM_EK_GENUINE))
        set(appraisal, LCT_CLAIM_AK_BOUND, LCT_NOT_CLAIMED,
            "it is bound to an EK that is not trusted");
    else
        set(appraisal, LCT_CLAIM_AK_BOUND, LCT_PASSED, "the AK is in the TPM of the EK");
}

/* Where the key is among its TPM's keys, for its reason. */
static void judge_place(struct appraisal *appraisal)
{
    static const uint32_t lasting[] = {TPM2_RH_OWNER, TPM2_RH_ENDORSEMENT, TPM2_RH_PLATFORM};
    const struct lct_offer *offer = appraisal->offer;
    const struct lct_name *parent = offer->parent.len > 0 ? &offer->parent.name : NULL;
    const struct lct_name *qualified = &appraisal->certify.qualified_name;
    struct lct_name refused;

    for (size_t i = 0; i < sizeof lasting / sizeof lasting[0]; i++)
        if (is_below(appraisal, qualified, lasting[i], parent, &offer->key.name))
            return;
    if (!qualify(&refused, appraisal, TPM2_RH_NULL, parent, &offer->key.name))
        set(appraisal, LCT_CLAIM_KEY_RESIDENT, LCT_FAILED,
            "the key has a qualified Name that libcrypto cannot compute");
    else if (lct_name_equal(&refused, qualified))
        set(appraisal, LCT_CLAIM_KEY_RESIDENT, LCT_FAILED,
            "the key is below the null hierarchy, whose keys a reset ends");
    else
        set(appraisal, LCT_CLAIM_KEY_RESIDENT, LCT_PASSED,
            "the key with this public area is in the AK's TPM; in which hierarchy is not shown");
}

/* Activated by its own Name: then it is there, unless another public area has that Name, too. */
static void judge_activated(struct appraisal *appraisal)
{
    if (!lct_hash_is_trusted(lct_hash_by_id(appraisal->offer->key.area.name_alg)))
        set(appraisal, LCT_CLAIM_KEY_RESIDENT, LCT_FAILED,
            "the key's Name is of a hash that is not taken");
    else
        set(appraisal, LCT_CLAIM_KEY_RESIDENT, LCT_PASSED,
            "the EK's TPM has the key with this public area in it");
}

/* Certified or, in the direct mode, activated by its own Name. */
static enum lct_code judge_key(struct appraisal *appraisal, struct lct_err *err)
{
    struct lct_verdict *verdict = appraisal->verdict;
    EVP_PKEY *wanted = appraisal->request->key;

    if (appraisal->challenge->direct)
        judge_activated(appraisal);
    else
        verdict->findings[LCT_CLAIM_KEY_RESIDENT] =
            appraisal->certified.findings[LCT_CLAIM_KEY_RESIDENT];
    if (passed(appraisal, LCT_CLAIM_KEY_RESIDENT) && !appraisal->challenge->direct)
        judge_place(appraisal);
    if (!passed(appraisal, LCT_CLAIM_KEY_RESIDENT))
        return LCT_OK;
    if (wanted != NULL && EVP_PKEY_eq(wanted, appraisal->key) != 1)
        set(appraisal, LCT_CLAIM_KEY_RESIDENT, LCT_FAILED,
            "it is of another key than the one asked for");
    lct_attestation_judge_attributes(verdict, &appraisal->offer->key.area);
    return lct_sealed_judge(&verdict->findings[LCT_CLAIM_SEALED], appraisal->libctx,
                            appraisal->offer, appraisal->request->trust,
                            appraisal->request->expected, err);
}

/* Both were made in one boot, in this order (Part 1, 36). */
static const char *boot_fault(const struct appraisal *appraisal)
{
    const struct lct_attest *certify = &appraisal->certify, *quote = &appraisal->quote;

    if (certify->reset_count != quote->reset_count ||
        certify->restart_count != quote->restart_count)
        return "certification and quote are of two boots (resetCount, restartCount)";
    if (certify->firmware_version != quote->firmware_version)
        return "certification and quote are by two firmwares (firmwareVersion)";
    if (quote->clock < certify->clock)
        return "the TPM's clock went back between certification and quote";
    return NULL;
}

/* Against the values that are expected: each of them has to be quoted, and be it. */
static void compare_values(struct appraisal *appraisal)
{
    const struct lct_pcr_values *expected = appraisal->request->expected;
    struct lct_pcr_values picked;
    char text[LCT_PCRS_TEXT];
    unsigned pcr = 0;

    lct_pcrs_text(text, &expected->pcrs);
    if (!lct_pcr_values_pick(&picked, &expected->pcrs, &appraisal->evidence->values)) {
        lct_verdict_set(appraisal->verdict, LCT_CLAIM_BOOT_STATE, LCT_FAILED,
                        "values of %.80s are expected, and not all of them are quoted", text);
        return;
    }
    for (size_t i = 0; i < picked.pcrs.num_banks; i++)
        for (pcr = 0; pcr < LCT_NUM_PCRS; pcr++)
            if (memcmp(picked.values[i][pcr], expected->values[i][pcr],
                       picked.pcrs.banks[i].hash->size) != 0) {
                lct_verdict_set(appraisal->verdict, LCT_CLAIM_BOOT_STATE, LCT_FAILED,
                                "PCR %u (%s) is not the expected value", pcr,
                                picked.pcrs.banks[i].hash->name);
                return;
            }
    lct_verdict_set(appraisal->verdict, LCT_CLAIM_BOOT_STATE, LCT_PASSED,
                    "the PCRs %.80s hold the expected values%s", text,
                    lct_pcr_values_are_blank(&picked)
                        ? ", which are blank: nothing measures the boot there"
                        : "");
}

static void judge_boot(struct appraisal *appraisal)
{
    const struct lct_evidence *evidence = appraisal->evidence;
    struct lct_finding *finding = &appraisal->verdict->findings[LCT_CLAIM_BOOT_STATE];
    struct lct_finding log = {.outcome = LCT_NOT_CLAIMED};

    if (!has_quote(appraisal)) {
        set(appraisal, LCT_CLAIM_BOOT_STATE, LCT_NOT_CLAIMED, "no quote was asked for");
        return;
    }
    *finding = appraisal->quoted.findings[LCT_CLAIM_BOOT_STATE];
    if (finding->outcome != LCT_PASSED) {
        set(appraisal, LCT_CLAIM_BOOT_STATE, LCT_FAILED,
            "the values that are shown are not those that were quoted");
        return;
    }
    if (boot_fault(appraisal) != NULL) {
        set(appraisal, LCT_CLAIM_BOOT_STATE, LCT_FAILED, boot_fault(appraisal));
        return;
    }
    if (evidence->eventlog != NULL)
        lct_bootlog_judge(&log, NULL, appraisal->libctx, &evidence->values, evidence->eventlog,
                          evidence->eventlog_len);
    if (log.outcome == LCT_FAILED)
        *finding = log;
    else if (appraisal->request->expected != NULL)
        compare_values(appraisal);
    else
        lct_verdict_set(appraisal->verdict, LCT_CLAIM_BOOT_STATE, LCT_NOT_CLAIMED,
                        "the values shown are the quoted ones, and no others are expected%s%.160s",
                        log.outcome == LCT_PASSED ? "; " : "",
                        log.outcome == LCT_PASSED ? log.reason : "");
}

/* A signature of the key itself, over the transcript. */
static enum lct_code is_signed(bool *is, const struct appraisal *appraisal, struct lct_err *err)
{
    const struct lct_evidence *evidence = appraisal->evidence;
    const struct lct_scheme *scheme = &evidence->scheme;
    uint8_t message[LCT_TRANSCRIPT_MESSAGE], digest[LCT_MAX_HASH];
    size_t len = lct_transcript_message(message, &appraisal->transcript, LCT_SLOT_POSSESSION);
    bool ecdsa = scheme->id == TPM2_ALG_ECDSA;

    *is = lct_hash_is_trusted(scheme->hash) && ecdsa == (EVP_PKEY_is_a(appraisal->key, "EC") == 1);
    if (!*is)
        return LCT_OK;
    if (!EVP_Q_digest(appraisal->libctx, scheme->hash->openssl, NULL, message, len, digest, NULL))
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "libcrypto cannot hash with %s",
                        scheme->hash->openssl);
    enum lct_code code =
        lct_signature_verify(&evidence->possession, appraisal->key, appraisal->libctx, scheme,
                             digest, scheme->hash->size, err);
    *is = code == LCT_OK;
    return code == LCT_ERR_WRONG_KEY ? LCT_OK : code;
}

static enum lct_code judge_possession(struct appraisal *appraisal, struct lct_err *err)
{
    bool is;
    enum lct_code code = is_signed(&is, appraisal, err);

    if (code != LCT_OK)
        return code;
    if (!is)
        set(appraisal, LCT_CLAIM_KEY_USABLE_NOW, LCT_FAILED,
            "the key has not signed that it answers this challenge");
    else if (passed(appraisal, LCT_CLAIM_FRESH))
        set(appraisal, LCT_CLAIM_KEY_USABLE_NOW, LCT_PASSED,
            "the key has signed that it answers this challenge");
    else
        set(appraisal, LCT_CLAIM_KEY_USABLE_NOW, LCT_NOT_CLAIMED,
            "the key has signed, nobody knows when");
    return LCT_OK;
}

/* Whether a TPM that is trusted vouches for the key: by its AK, or in the direct mode by itself. */
static bool is_bound(const struct appraisal *appraisal, bool activated)
{
    if (outcome(appraisal, LCT_CLAIM_FRESH) == LCT_FAILED)
        return false;
    if (appraisal->challenge->direct)
        return activated && passed(appraisal, LCT_CLAIM_EK_GENUINE);
    return passed(appraisal, LCT_CLAIM_SIGNED) && passed(appraisal, LCT_CLAIM_AK_FIT) &&
           passed(appraisal, LCT_CLAIM_AK_BOUND);
}

static enum lct_code judge(struct appraisal *appraisal, struct lct_err *err)
{
    bool activated = false;
    enum lct_code code = read_parts(appraisal, err);

    if (code != LCT_OK)
        return code;
    judge_ak(appraisal);
    judge_ek(appraisal);
    code = is_activated(&activated, appraisal, err);
    if (code == LCT_OK)
        code = judge_fresh(appraisal, activated, err);
    if (code == LCT_OK)
        judge_binding(appraisal, activated);
    if (code == LCT_OK)
        code = judge_possession(appraisal, err);
    if (code != LCT_OK)
        return code;
    if (!is_bound(appraisal, activated)) {
        withhold(appraisal, "no TPM that is trusted vouches for it");
        if (appraisal->challenge->direct && appraisal->request->state != NULL && !activated)
            set(appraisal, LCT_CLAIM_KEY_RESIDENT, LCT_FAILED,
                "the secret that only the EK's TPM could learn, with this key in it, is not shown");
        return LCT_OK;
    }
    judge_boot(appraisal);
    return judge_key(appraisal, err);
}

enum lct_code lct_evidence_judge(struct lct_verdict *verdict, OSSL_LIB_CTX *libctx,
                                 const struct lct_evidence *evidence,
                                 const struct lct_evidence_request *request, struct lct_err *err)
{
    struct appraisal appraisal = {.verdict = verdict,
                                  .libctx = libctx,
                                  .evidence = evidence,
                                  .request = request,
                                  .challenge = &evidence->challenge,
                                  .offer = evidence->challenge.offer};

    memset(verdict, 0, sizeof *verdict);
    (void)ERR_set_mark();
    enum lct_code code = judge(&appraisal, err);
    EVP_PKEY_free(appraisal.key);
    lct_ak_clear(&appraisal.ak);
    (void)ERR_pop_to_mark();
    return code;
}

unsigned lct_evidence_claims(const struct lct_evidence *evidence,
                             const struct lct_evidence_request *request)
{
    unsigned claims =
        1u << LCT_CLAIM_KEY_RESIDENT | 1u << LCT_CLAIM_NON_EXTRACTABLE | 1u << LCT_CLAIM_KEY_FIT;

    if (!evidence->challenge.direct)
        claims |= 1u << LCT_CLAIM_SIGNED | 1u << LCT_CLAIM_AK_FIT | 1u << LCT_CLAIM_AK_BOUND;
    if (request->state != NULL)
        claims |= 1u << LCT_CLAIM_FRESH | 1u << LCT_CLAIM_KEY_USABLE_NOW;
    if (request->state != NULL && evidence->challenge.has_credential)
        claims |= 1u << LCT_CLAIM_EK_GENUINE;
    if (request->expected != NULL)
        claims |= 1u << LCT_CLAIM_BOOT_STATE;
    return claims;
}
