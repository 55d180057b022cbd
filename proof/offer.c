/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/offer.h"

#include "base/unconst.h"
#include "proof/document.h"
#include "proof/json.h"
#include "proof/seal.h"

#include <stdlib.h>
#include <string.h>

enum { VERSION = 1, MAX_GENERATION = 999999 };

static const char type[] = "lct-attestation-offer";

enum lct_code lct_offered_public_set(struct lct_offered_public *offered, OSSL_LIB_CTX *libctx,
                                     const uint8_t *bytes, size_t len, struct lct_err *err)
{
    struct lct_err why = {.code = LCT_OK};

    offered->len = 0;
    if (len > sizeof offered->bytes ||
        lct_public_decode(&offered->area, bytes, len, &why) != LCT_OK)
        return LCT_FAIL(err, LCT_ERR_BAD_EVIDENCE, "a public area in it is none: %s",
                        why.code != LCT_OK ? why.text : "it is too long");
    enum lct_code code = lct_public_name(&offered->name, libctx, bytes, len, err);
    if (code != LCT_OK)
        return code;
    memmove(offered->bytes, bytes, len);
    offered->len = len;
    return LCT_OK;
}

bool lct_offer_take_id(char id[LCT_MAX_OFFER_ID + 1], const char *text)
{
    return text[0] != '\0' && strchr(text, ' ') == NULL &&
           lct_json_text(id, LCT_MAX_OFFER_ID + 1, text);
}

struct lct_offer *lct_offer_new(void)
{
    return calloc(1, sizeof(struct lct_offer));
}

void lct_offer_free(struct lct_offer *offer)
{
    if (offer == NULL)
        return;
    for (size_t i = 0; i < offer->num_eks; i++)
        lct_der_clear(&offer->eks[i].certificate);
    lct_der_chain_clear(&offer->ak_chain);
    lct_der_chain_clear(&offer->issuers);
    free(offer);
}

static json_t *of_public(const struct lct_offered_public *offered)
{
    return offered->len > 0 ? lct_document_of_bytes(offered->bytes, offered->len) : json_null();
}

static json_t *of_der(const struct lct_der *der)
{
    return der->len > 0 ? lct_document_of_bytes(der->bytes, der->len) : json_null();
}

static json_t *of_chain(const struct lct_der_chain *chain)
{
    json_t *json = json_array();
    bool good = json != NULL;

    for (size_t i = 0; i < chain->num && good; i++)
        good = json_array_append_new(json, of_der(&chain->certs[i])) == 0;
    if (good)
        return json;
    json_decref(json);
    return NULL;
}

static json_t *of_eks(const struct lct_offer *offer)
{
    json_t *json = json_array();
    bool good = json != NULL;

    for (size_t i = 0; i < offer->num_eks && good; i++)
        good = json_array_append_new(
                   json, json_pack("{s:o, s:o}", "public", of_public(&offer->eks[i].public_area),
                                   "certificate", of_der(&offer->eks[i].certificate))) == 0;
    if (good)
        return json;
    json_decref(json);
    return NULL;
}

json_t *lct_offer_json(const struct lct_offer *offer)
{
    return json_pack(
        "{s:s, s:i, s:s, s:i, s:s, s:b, s:{s:o, s:o, s:b, s:o}, s:{s:o, s:o}, s:o, s:o}", "type",
        type, "version", VERSION, "id", offer->id, "generation", (int)offer->generation, "tpm",
        offer->tpm, "software_tpm", (int)offer->software_tpm, "key", "public",
        of_public(&offer->key), "parent", of_public(&offer->parent), "passphrase",
        (int)offer->passphrase, "seal", lct_seal_json(&offer->seal), "ak", "public",
        of_public(&offer->ak), "certificates", of_chain(&offer->ak_chain), "eks", of_eks(offer),
        "issuers", of_chain(&offer->issuers));
}

static enum lct_code fail_form(const char *what, struct lct_err *err)
{
    return LCT_FAIL(err, LCT_ERR_BAD_EVIDENCE, "the offer is malformed: %s", what);
}

static enum lct_code take_public(struct lct_offered_public *offered, OSSL_LIB_CTX *libctx,
                                 const json_t *json, struct lct_err *err)
{
    uint8_t bytes[LCT_MAX_OFFER_PUBLIC];
    size_t len;

    if (!lct_document_bytes(bytes, &len, sizeof bytes, json))
        return fail_form("a public area", err);
    return lct_offered_public_set(offered, libctx, bytes, len, err);
}

static bool take_der(struct lct_der *der, const json_t *json)
{
    der->bytes = lct_document_take_bytes(&der->len, LCT_MAX_CERT, json);
    return der->bytes != NULL;
}

static bool take_chain(struct lct_der_chain *chain, const json_t *json)
{
    size_t num = json_array_size(json);

    if (!json_is_array(json) || num > LCT_MAX_CERT_CHAIN)
        return false;
    for (; chain->num < num; chain->num++)
        if (!take_der(&chain->certs[chain->num], json_array_get(json, chain->num)))
            return false;
    return true;
}

static enum lct_code take_ek(struct lct_offered_ek *ek, OSSL_LIB_CTX *libctx, const json_t *json,
                             struct lct_err *err)
{
    json_t *area, *certificate;

    if (json_unpack_ex(lct_unconst(json), NULL, JSON_STRICT, "{s:o, s:o}", "public", &area,
                       "certificate", &certificate) != 0 ||
        (!json_is_null(certificate) && !take_der(&ek->certificate, certificate)))
        return fail_form("an EK", err);
    return take_public(&ek->public_area, libctx, area, err);
}

/* Then a credential for one would be judged by the certificate of the other. */
static bool is_repeated(const struct lct_offer *offer, const struct lct_offered_ek *ek)
{
    for (size_t i = 0; i < offer->num_eks; i++)
        if (lct_name_equal(&offer->eks[i].public_area.name, &ek->public_area.name))
            return true;
    return false;
}

static enum lct_code take_eks(struct lct_offer *offer, OSSL_LIB_CTX *libctx, const json_t *json,
                              struct lct_err *err)
{
    size_t num = json_array_size(json);
    enum lct_code code = LCT_OK;

    if (!json_is_array(json) || num > LCT_MAX_OFFER_EKS)
        return fail_form("its EKs", err);
    while (offer->num_eks < num && code == LCT_OK) {
        struct lct_offered_ek *ek = &offer->eks[offer->num_eks];
        code = take_ek(ek, libctx, json_array_get(json, offer->num_eks), err);
        if (code == LCT_OK && is_repeated(offer, ek))
            code = fail_form("two EKs of one Name", err);
        offer->num_eks++;
    }
    return code;
}

static enum lct_code take_key(struct lct_offer *offer, OSSL_LIB_CTX *libctx, const json_t *json,
                              struct lct_err *err)
{
    json_t *area, *parent, *seal;
    int passphrase;

    if (json_unpack_ex(lct_unconst(json), NULL, JSON_STRICT, "{s:o, s:o, s:b, s:o}", "public",
                       &area, "parent", &parent, "passphrase", &passphrase, "seal", &seal) != 0)
        return fail_form("its key", err);
    if (!json_is_null(seal) && !lct_seal_from_json(&offer->seal, seal))
        return fail_form("its seal", err);
    offer->passphrase = passphrase != 0;
    enum lct_code code = take_public(&offer->key, libctx, area, err);
    return code == LCT_OK && !json_is_null(parent)
               ? take_public(&offer->parent, libctx, parent, err)
               : code;
}

static enum lct_code take_ak(struct lct_offer *offer, OSSL_LIB_CTX *libctx, const json_t *json,
                             struct lct_err *err)
{
    json_t *area, *certificates;

    if (json_unpack_ex(lct_unconst(json), NULL, JSON_STRICT, "{s:o, s:o}", "public", &area,
                       "certificates", &certificates) != 0 ||
        !take_chain(&offer->ak_chain, certificates))
        return fail_form("its AK", err);
    return take_public(&offer->ak, libctx, area, err);
}

static enum lct_code take(struct lct_offer *offer, OSSL_LIB_CTX *libctx, const json_t *json,
                          struct lct_err *err)
{
    json_t *key, *ak, *eks, *issuers;
    const char *named, *id, *tpm;
    int version, software;
    json_int_t generation;
    enum lct_code code = lct_document_check(json, type, err);

    if (code != LCT_OK)
        return code;
    if (json_unpack_ex(lct_unconst(json), NULL, JSON_STRICT,
                       "{s:s, s:i, s:s, s:I, s:s, s:b, s:o, s:o, s:o, s:o}", "type", &named,
                       "version", &version, "id", &id, "generation", &generation, "tpm", &tpm,
                       "software_tpm", &software, "key", &key, "ak", &ak, "eks", &eks, "issuers",
                       &issuers) != 0 ||
        generation < 1 || generation > MAX_GENERATION || !lct_offer_take_id(offer->id, id) ||
        !lct_json_text(offer->tpm, sizeof offer->tpm, tpm) || !take_chain(&offer->issuers, issuers))
        return fail_form("a member is missing, wrong or not known", err);
    offer->generation = (unsigned)generation;
    offer->software_tpm = software != 0;
    code = take_key(offer, libctx, key, err);
    if (code == LCT_OK)
        code = take_ak(offer, libctx, ak, err);
    return code == LCT_OK ? take_eks(offer, libctx, eks, err) : code;
}

enum lct_code lct_offer_read(struct lct_offer **offer, OSSL_LIB_CTX *libctx, const json_t *json,
                             struct lct_err *err)
{
    *offer = lct_offer_new();
    if (*offer == NULL)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    enum lct_code code = take(*offer, libctx, json, err);
    if (code == LCT_OK)
        return LCT_OK;
    lct_offer_free(*offer);
    *offer = NULL;
    return code;
}
