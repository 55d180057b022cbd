/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/challenge.h"

#include "base/encode.h"
#include "base/unconst.h"
#include "proof/document.h"
#include "proof/json.h"

#include <openssl/evp.h>
#include <openssl/rand.h>
#include <string.h>

enum { VERSION = 1, SECRET = 32 /* bytes */, NUMBER = 16 /* bytes */ };

static const char type[] = "lct-attestation-challenge", state_type[] = "lct-attestation-state";

void lct_challenge_clear(struct lct_challenge *challenge)
{
    lct_offer_free(challenge->offer);
    *challenge = (struct lct_challenge){0};
}

static json_t *of_credential(const struct lct_challenge *challenge)
{
    const struct lct_credential *credential = &challenge->credential;

    if (!challenge->has_credential)
        return json_null();
    return json_pack("{s:o, s:o}", "id_object",
                     lct_document_of_bytes(credential->id, credential->id_len), "secret",
                     lct_document_of_bytes(credential->seed.data, credential->seed.len));
}

json_t *lct_challenge_json(const struct lct_challenge *challenge)
{
    return json_pack(
        "{s:s, s:i, s:s, s:s, s:o, s:s, s:s, s:o, s:o, s:o, s:o}", "type", type, "version", VERSION,
        "challenge", challenge->number, "mode", challenge->direct ? "direct" : "ak", "nonce",
        lct_json_of_bytes(challenge->nonce, sizeof challenge->nonce), "created", challenge->created,
        "expires", challenge->expires, "ek",
        challenge->has_credential ? lct_json_of_bytes(challenge->ek.data, challenge->ek.len)
                                  : json_null(),
        "credential", of_credential(challenge), "pcrs",
        challenge->pcrs.num_banks > 0 ? lct_json_of_pcrs(&challenge->pcrs) : json_null(), "offer",
        lct_offer_json(challenge->offer));
}

static bool take_number(char number[33], const char *text)
{
    uint8_t bytes[NUMBER];

    return lct_json_bytes(bytes, sizeof bytes, text) && lct_json_text(number, 33, text);
}

static bool take_mode(bool *direct, const char *text)
{
    *direct = strcmp(text, "direct") == 0;
    return *direct || strcmp(text, "ak") == 0;
}

/* Both the EK and its credential, or neither. */
static bool take_credential(struct lct_challenge *challenge, const json_t *ek,
                            const json_t *credential)
{
    struct lct_credential *to = &challenge->credential;
    json_t *id, *seed;

    challenge->has_credential = !json_is_null(credential);
    if (!challenge->has_credential)
        return json_is_null(ek);
    return json_is_string(ek) && lct_json_name(&challenge->ek, json_string_value(ek)) &&
           json_unpack_ex(lct_unconst(credential), NULL, JSON_STRICT, "{s:o, s:o}", "id_object",
                          &id, "secret", &seed) == 0 &&
           lct_document_bytes(to->id, &to->id_len, sizeof to->id, id) && to->id_len > 0 &&
           lct_document_bytes(to->seed.data, &to->seed.len, sizeof to->seed.data, seed) &&
           to->seed.len > 0;
}

static bool take_pcrs(struct lct_pcrs *pcrs, const json_t *json)
{
    return json_is_null(json) ||
           (json_is_string(json) && lct_json_pcrs(pcrs, json_string_value(json)));
}

static enum lct_code take(struct lct_challenge *challenge, OSSL_LIB_CTX *libctx, const json_t *json,
                          struct lct_err *err)
{
    const char *named, *number, *mode, *nonce, *created, *expires;
    json_t *ek, *credential, *pcrs, *offer;
    int version;
    enum lct_code code = lct_document_check(json, type, err);

    if (code != LCT_OK)
        return code;
    if (json_unpack_ex(lct_unconst(json), NULL, JSON_STRICT,
                       "{s:s, s:i, s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o}", "type", &named,
                       "version", &version, "challenge", &number, "mode", &mode, "nonce", &nonce,
                       "created", &created, "expires", &expires, "ek", &ek, "credential",
                       &credential, "pcrs", &pcrs, "offer", &offer) != 0 ||
        !take_number(challenge->number, number) || !take_mode(&challenge->direct, mode) ||
        !lct_json_bytes(challenge->nonce, sizeof challenge->nonce, nonce) ||
        !lct_json_time(challenge->created, created) ||
        !lct_json_time(challenge->expires, expires) ||
        !take_credential(challenge, ek, credential) || !take_pcrs(&challenge->pcrs, pcrs) ||
        (challenge->direct && (!challenge->has_credential || challenge->pcrs.num_banks > 0)))
        return LCT_FAIL(err, LCT_ERR_BAD_EVIDENCE, "the challenge is malformed");
    return lct_offer_read(&challenge->offer, libctx, offer, err);
}

enum lct_code lct_challenge_read(struct lct_challenge *challenge, OSSL_LIB_CTX *libctx,
                                 const json_t *json, struct lct_err *err)
{
    *challenge = (struct lct_challenge){0};
    enum lct_code code = take(challenge, libctx, json, err);
    if (code != LCT_OK)
        lct_challenge_clear(challenge);
    return code;
}

void lct_challenge_state_clear(struct lct_challenge_state *state)
{
    lct_secret_wipe(&state->secret);
    lct_challenge_clear(&state->challenge);
    state->used = false;
}

json_t *lct_challenge_state_json(const struct lct_challenge_state *state)
{
    return json_pack("{s:s, s:i, s:o, s:b, s:o}", "type", state_type, "version", VERSION, "secret",
                     state->secret.len > 0
                         ? lct_json_of_bytes(state->secret.data, state->secret.len)
                         : json_null(),
                     "used", (int)state->used, "challenge", lct_challenge_json(&state->challenge));
}

void lct_challenge_state_forget(json_t *json)
{
    const json_t *secret = json_object_get(json, "secret");

    if (json_is_string(secret))
        explicit_bzero(lct_unconst(json_string_value(secret)), json_string_length(secret));
}

enum lct_code lct_challenge_state_read(struct lct_challenge_state *state, OSSL_LIB_CTX *libctx,
                                       const json_t *json, struct lct_err *err)
{
    const char *named, *secret = NULL;
    json_t *secret_json, *challenge;
    int version, used;
    enum lct_code code = lct_document_check(json, state_type, err);

    *state = (struct lct_challenge_state){0};
    if (code != LCT_OK)
        return code;
    if (json_unpack_ex(lct_unconst(json), NULL, JSON_STRICT, "{s:s, s:i, s:o, s:b, s:o}", "type",
                       &named, "version", &version, "secret", &secret_json, "used", &used,
                       "challenge", &challenge) != 0 ||
        !lct_json_maybe(&secret, secret_json) ||
        (secret != NULL && !lct_json_bytes(state->secret.data, SECRET, secret)))
        return LCT_FAIL(err, LCT_ERR_BAD_EVIDENCE, "the state of the challenge is malformed");
    state->secret.len = secret != NULL ? SECRET : 0;
    state->used = used != 0;
    code = lct_challenge_read(&state->challenge, libctx, challenge, err);
    if (code == LCT_OK && !state->used &&
        (state->secret.len > 0) != state->challenge.has_credential)
        code = LCT_FAIL(err, LCT_ERR_BAD_EVIDENCE, "the state of the challenge is malformed");
    if (code != LCT_OK)
        lct_challenge_state_clear(state);
    return code;
}

static bool trusts_ek(struct lct_finding *finding, const struct lct_offer *offer,
                      const struct lct_offered_ek *ek, const struct lct_challenge_request *request)
{
    const struct lct_ek_given given = {&ek->public_area.area, &ek->certificate, &offer->issuers};

    lct_trust_judge_ek(finding, request->trust, &given, request->now);
    return finding->outcome == LCT_PASSED;
}

/* Its certificate is the first of the chain. */
static bool trusts_ak(OSSL_LIB_CTX *libctx, const struct lct_offer *offer,
                      const struct lct_challenge_request *request)
{
    struct lct_finding finding = {.outcome = LCT_NOT_CLAIMED};
    EVP_PKEY *pkey = lct_public_pkey(&offer->ak.area, libctx, NULL);
    const struct lct_ak_given given = {pkey, &offer->ak_chain.certs[0], &offer->ak_chain};

    if (offer->ak_chain.num > 0 && pkey != NULL)
        lct_trust_judge_ak(&finding, request->trust, &given, request->now);
    EVP_PKEY_free(pkey);
    return finding.outcome == LCT_PASSED;
}

static enum lct_code make_credential(struct lct_challenge_state *state, OSSL_LIB_CTX *libctx,
                                     const struct lct_offered_ek *ek, struct lct_err *err)
{
    struct lct_challenge *challenge = &state->challenge;
    const struct lct_offer *offer = challenge->offer;

    if (RAND_priv_bytes_ex(libctx, state->secret.data, SECRET, 0) != 1)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "libcrypto has no random numbers");
    state->secret.len = SECRET;
    challenge->has_credential = true;
    challenge->ek = ek->public_area.name;
    return lct_credential_make(&challenge->credential, libctx, &ek->public_area.area,
                               challenge->direct ? &offer->key.name : &offer->ak.name,
                               &state->secret, err);
}

/* By which EK or certificate the offer is bound to a TPM. */
static enum lct_code bind(struct lct_challenge_state *state, OSSL_LIB_CTX *libctx,
                          const struct lct_challenge_request *request, struct lct_err *err)
{
    const struct lct_offer *offer = state->challenge.offer;
    struct lct_finding why = {.outcome = LCT_NOT_CLAIMED}, finding;
    bool certified = false; /* `why` is of an EK with a certificate, of which it says more */

    for (size_t i = 0; i < offer->num_eks; i++) {
        if (trusts_ek(&finding, offer, &offer->eks[i], request))
            return make_credential(state, libctx, &offer->eks[i], err);
        bool has = offer->eks[i].certificate.len > 0;
        if (why.outcome == LCT_NOT_CLAIMED || (has && !certified)) {
            why = finding;
            certified = has;
        }
    }
    if (!request->direct && trusts_ak(libctx, offer, request))
        return LCT_OK;
    return LCT_FAIL(err, LCT_ERR_REFUSED, "lct:%s: no EK in the offer is trusted: %s", offer->id,
                    why.outcome != LCT_NOT_CLAIMED ? why.reason : "there is none");
}

enum lct_code lct_challenge_make(struct lct_challenge_state *state, OSSL_LIB_CTX *libctx,
                                 struct lct_offer *offer,
                                 const struct lct_challenge_request *request, struct lct_err *err)
{
    struct lct_challenge *challenge = &state->challenge;
    uint8_t number[NUMBER];

    *state =
        (struct lct_challenge_state){.challenge.offer = offer, .challenge.direct = request->direct};
    if (request->direct && request->pcrs != NULL)
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "a quote is by an AK, which the direct mode does without");
    if (request->pcrs != NULL)
        challenge->pcrs = *request->pcrs;
    if (RAND_bytes_ex(libctx, number, sizeof number, 0) != 1 ||
        RAND_bytes_ex(libctx, challenge->nonce, sizeof challenge->nonce, 0) != 1 ||
        !lct_json_of_time(challenge->created, request->now) ||
        !lct_json_of_time(challenge->expires, request->now + (time_t)request->lifetime))
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "a challenge cannot be made");
    lct_hex_encode(challenge->number, number, sizeof number);
    return bind(state, libctx, request, err);
}
