/* SPDX-License-Identifier: Apache-2.0 */
#include "export/envelope.h"

#include "base/encode.h"
#include "export/webauthn.h"
#include "proof/certificate.h"
#include "proof/json.h"
#include "proof/vendor.h"
#include "proof/web4.h"

#include <inttypes.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *const purposes[] = {"enrollment", "session_start", "re_attestation",
                                       "witness",    "migration",     "device_binding"};

/* What an envelope is made of. */
struct parts {
    const struct lct_certified *certified;
    const struct lct_offer *offer;
    struct lct_attest quote;
    const struct lct_offered_ek *ek; /* NULL: there is none */
    char *pem, *object;              /* text; of free() */
};

bool lct_envelope_is_purpose(const char *purpose)
{
    for (size_t i = 0; i < sizeof purposes / sizeof purposes[0]; i++)
        if (strcmp(purposes[i], purpose) == 0)
            return true;
    return false;
}

/* Base64 with padding (RFC 4648, 4); the caller frees it. */
static char *base64(const uint8_t *bytes, size_t len)
{
    char *text = malloc(4 * ((len + 2) / 3) + 1);

    if (text != NULL)
        (void)EVP_EncodeBlock((unsigned char *)text, bytes, (int)len);
    return text;
}

static enum lct_code take_quote(struct parts *parts, struct lct_err *err)
{
    const struct lct_evidence *evidence = parts->certified->evidence;
    struct lct_signature signature;
    struct lct_scheme scheme;

    if (evidence->quote.attest_len == 0)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                        "the evidence has no quote, which is what an envelope is about: ask for "
                        "one with lct attest challenge --pcrs");
    enum lct_code code =
        lct_attest_decode(&parts->quote, evidence->quote.attest, evidence->quote.attest_len, err);
    if (code == LCT_OK)
        code = lct_attest_signature(&signature, &scheme, evidence->quote.signature,
                                    evidence->quote.signature_len, err);
    if (code != LCT_OK)
        return lct_err_prefix(err, "the quote");
    if (parts->quote.type != TPM2_ST_ATTEST_QUOTE ||
        !lct_pcrs_equal(&parts->quote.pcrs, &evidence->values.pcrs))
        return LCT_FAIL(err, LCT_ERR_BAD_EVIDENCE,
                        "the quote is not one of the PCRs whose values are with it");
    if (parts->quote.pcrs.num_banks != 1)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                        "the quote is of several banks, and an envelope has room for one: ask for "
                        "it with lct attest challenge --pcrs");
    return LCT_OK;
}

/* The one that the challenge is for; where it is for none, the first that has a certificate. */
static const struct lct_offered_ek *find_ek(const struct lct_challenge *challenge)
{
    const struct lct_offer *offer = challenge->offer;

    for (size_t i = 0; i < offer->num_eks; i++)
        if (challenge->has_credential
                ? lct_name_equal(&offer->eks[i].public_area.name, &challenge->ek)
                : offer->eks[i].certificate.len > 0)
            return &offer->eks[i];
    return NULL;
}

static char *pem_of(EVP_PKEY *key)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *text = NULL, *copy = NULL;

    if (bio != NULL && PEM_write_bio_PUBKEY(bio, key) == 1) {
        long len = BIO_get_mem_data(bio, &text);
        copy = strndup(text, (size_t)len);
    }
    BIO_free(bio);
    return copy;
}

static cbor_item_t *quote_item(const struct lct_evidence_attested *quote)
{
    struct lct_cbor_member members[] = {
        {"sig", lct_cbor_bytes(quote->signature, quote->signature_len)},
        {"quoteInfo", lct_cbor_bytes(quote->attest, quote->attest_len)},
    };

    return lct_cbor_map(members, sizeof members / sizeof members[0]);
}

/* An EK's certificate and its issuers', whose order is not known. */
static cbor_item_t *ek_chain(const struct lct_offer *offer, const struct lct_der *certificate)
{
    cbor_item_t *items[1 + LCT_MAX_CERT_CHAIN];

    items[0] = lct_cbor_bytes(certificate->bytes, certificate->len);
    for (size_t i = 0; i < offer->issuers.num; i++)
        items[1 + i] = lct_cbor_bytes(offer->issuers.certs[i].bytes, offer->issuers.certs[i].len);
    return lct_cbor_array(items, 1 + offer->issuers.num);
}

static enum lct_code take_object(struct parts *parts, struct lct_err *err)
{
    const struct lct_offer *offer = parts->offer;
    struct lct_cbor_member members[LCT_WEBAUTHN_MEMBERS + 4];
    size_t num = 0, len = 0;
    uint8_t *bytes = NULL;
    enum lct_code code = lct_webauthn_members(members, &num, parts->certified, err);

    if (code != LCT_OK)
        return code;
    members[num++] =
        (struct lct_cbor_member){"quote", quote_item(&parts->certified->evidence->quote)};
    members[num++] =
        (struct lct_cbor_member){"akPublic", lct_cbor_bytes(offer->ak.bytes, offer->ak.len)};
    if (parts->ek != NULL)
        members[num++] = (struct lct_cbor_member){
            "ekPublic", lct_cbor_bytes(parts->ek->public_area.bytes, parts->ek->public_area.len)};
    if (parts->ek != NULL && parts->ek->certificate.len > 0)
        members[num++] =
            (struct lct_cbor_member){"ekX5c", ek_chain(offer, &parts->ek->certificate)};
    code = lct_cbor_encode(&bytes, &len, lct_cbor_map(members, num), err);
    if (code == LCT_OK && (parts->object = base64(bytes, len)) == NULL)
        code = LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    free(bytes);
    return code;
}

/* False: out of memory. What the certificate does not say is left out. */
static bool name_tpm(json_t *anchor, const struct lct_der *der, OSSL_LIB_CTX *libctx)
{
    char maker[LCT_VENDOR_TEXT], model[LCT_MODEL_TEXT] = "";
    uint32_t vendor = 0;
    bool good = true;

    (void)ERR_set_mark();
    X509 *certificate = lct_certificate_decode(libctx, der->bytes, der->len);
    if (certificate != NULL && lct_certificate_maker(&vendor, certificate) == NULL) {
        if (lct_vendor_is_registered(vendor))
            lct_vendor_text(maker, vendor);
        else
            (void)snprintf(maker, sizeof maker, "%08" PRIX32, vendor);
        lct_certificate_model(model, certificate);
        good = json_object_set_new(anchor, "manufacturer", json_string(maker)) == 0 &&
               json_object_set_new(anchor, "model", json_string(model)) == 0;
    }
    (void)ERR_pop_to_mark();
    X509_free(certificate);
    return good;
}

/* A TPM in software is no anchor in hardware. Web4's own library takes a ceiling of 0.4 for none
 * given, and makes it 1.0, where the type is any other. */
static json_t *anchor_of(const struct parts *parts, OSSL_LIB_CTX *libctx)
{
    char version[17];

    (void)snprintf(version, sizeof version, "%016" PRIx64, parts->quote.firmware_version);
    json_t *anchor =
        json_pack("{s:s, s:s}", "type", parts->offer->software_tpm ? "software" : "tpm2",
                  "firmware_version", version);
    if (anchor == NULL || parts->ek == NULL || parts->ek->certificate.len == 0 ||
        name_tpm(anchor, &parts->ek->certificate, libctx))
        return anchor;
    json_decref(anchor);
    return NULL;
}

static json_t *selection_of(const struct lct_pcr_bank *bank)
{
    json_t *array = json_array();
    bool good = array != NULL;

    for (unsigned n = 0; n < LCT_NUM_PCRS && good; n++)
        if ((bank->pcrs >> n & 1) != 0)
            good = json_array_append_new(array, json_integer((json_int_t)n)) == 0;
    if (good)
        return array;
    json_decref(array);
    return NULL;
}

static json_t *proof_of(const struct parts *parts)
{
    const struct lct_evidence_attested *quote = &parts->certified->evidence->quote;
    char *signature = base64(quote->signature, quote->signature_len);
    json_t *proof = signature != NULL
                        ? json_pack("{s:s, s:s, s:o, s:s, s:o, s:o}", "format", "tpm2_quote",
                                    "signature", signature, "challenge",
                                    lct_json_of_bytes(parts->quote.extra, parts->quote.extra_len),
                                    "attestation_object", parts->object, "pcr_digest",
                                    lct_json_of_bytes(parts->quote.digest, parts->quote.digest_len),
                                    "pcr_selection", selection_of(&parts->quote.pcrs.banks[0]))
                        : NULL;

    free(signature);
    return proof;
}

/* As the evidence has them: {"0": hex} of the one bank. */
static json_t *state_of(const struct parts *parts)
{
    const struct lct_pcr_values *values = &parts->certified->evidence->values;
    json_t *banks = lct_json_of_values(values);
    json_t *bank = json_object_get(banks, values->pcrs.banks[0].hash->name);
    json_t *state =
        bank != NULL ? json_pack("{s:b, s:O}", "available", 1, "pcr_values", bank) : NULL;

    json_decref(banks);
    return state;
}

static time_t time_of(const char *text)
{
    time_t seconds = 0;

    return lct_json_seconds(&seconds, text) ? seconds : 0;
}

/* When it was answered nobody has written down; that a verifier asked is the earliest that it can
 * be, so nothing looks newer than it is. */
static bool add_times(json_t *envelope, const struct lct_challenge *challenge)
{
    time_t created = time_of(challenge->created), expires = time_of(challenge->expires);
    json_int_t lifetime = expires > created ? (json_int_t)(expires - created) : 0;

    return json_object_set_new(envelope, "timestamp", json_integer((json_int_t)created)) == 0 &&
           json_object_set_new(envelope, "challenge_issued_at",
                               json_integer((json_int_t)created)) == 0 &&
           json_object_set_new(envelope, "challenge_ttl", json_integer(lifetime)) == 0;
}

static enum lct_code name_of(char name[LCT_MAX_OFFER_ID + LCT_WEB4_NAME], const struct parts *parts,
                             OSSL_LIB_CTX *libctx, struct lct_err *err)
{
    if (parts->offer->key.area.curve == TPM2_ECC_NIST_P256)
        return lct_web4_name(name, libctx, parts->certified->key, err);
    (void)snprintf(name, LCT_MAX_OFFER_ID + LCT_WEB4_NAME, "lct:%s", parts->offer->id);
    return LCT_OK;
}

static bool fingerprint_of(char text[17], const char *pem, OSSL_LIB_CTX *libctx)
{
    uint8_t digest[32];

    if (EVP_Q_digest(libctx, "SHA256", NULL, pem, strlen(pem), digest, NULL) != 1)
        return false;
    lct_hex_encode(text, digest, 8);
    return true;
}

static enum lct_code compose(json_t **envelope, const struct parts *parts, OSSL_LIB_CTX *libctx,
                             const char *purpose, struct lct_err *err)
{
    char name[LCT_MAX_OFFER_ID + LCT_WEB4_NAME], fingerprint[17];
    enum lct_code code = name_of(name, parts, libctx, err);

    if (code != LCT_OK)
        return code;
    if (fingerprint_of(fingerprint, parts->pem, libctx))
        *envelope =
            json_pack("{s:[s], s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:f}", "@context",
                      "https://web4.io/contexts/attestation-envelope.jsonld", "@type",
                      "AttestationEnvelope", "envelope_version", "0.1", "entity_id", name,
                      "public_key", parts->pem, "public_key_fingerprint", fingerprint, "anchor",
                      anchor_of(parts, libctx), "proof", proof_of(parts), "platform_state",
                      state_of(parts), "trust_ceiling", parts->offer->software_tpm ? 0.4 : 0.85);
    if (*envelope != NULL && add_times(*envelope, &parts->certified->evidence->challenge) &&
        (purpose == NULL || json_object_set_new(*envelope, "purpose", json_string(purpose)) == 0))
        return LCT_OK;
    json_decref(*envelope);
    *envelope = NULL;
    return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
}

enum lct_code lct_envelope_make(json_t **envelope, OSSL_LIB_CTX *libctx,
                                const struct lct_certified *certified, const char *purpose,
                                struct lct_err *err)
{
    struct parts parts = {.certified = certified,
                          .offer = certified->evidence->challenge.offer,
                          .ek = find_ek(&certified->evidence->challenge)};
    enum lct_code code = take_quote(&parts, err);

    *envelope = NULL;
    if (code == LCT_OK && (parts.pem = pem_of(certified->key)) == NULL)
        code = LCT_FAIL(err, LCT_ERR_INTERNAL, "a public key cannot be encoded");
    if (code == LCT_OK)
        code = take_object(&parts, err);
    if (code == LCT_OK)
        code = compose(envelope, &parts, libctx, purpose, err);
    free(parts.pem);
    free(parts.object);
    return code;
}
