/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/explain.h"

#include "proof/certificate.h"
#include "proof/json.h"
#include "proof/seal.h"
#include "proof/spki.h"
#include "proof/vendor.h"
#include "tools/certificate.h"
#include "tools/json.h"
#include "tools/seal_text.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

enum { SHA256_TEXT = 65 };

static json_t *error(const char *sentence)
{
    return json_pack("{s:o}", "error", lct_tool_json_text(sentence));
}

static json_t *of_name(const struct lct_name *name)
{
    return lct_json_of_bytes(name->data, name->len);
}

/* The kinds that we make by the names that we have for them. */
static json_t *algorithm(const struct lct_public *area)
{
    const struct lct_algorithm *row = lct_public_algorithm(area);
    const struct lct_curve *curve = lct_curve_by_id(area->curve);

    if (row != NULL)
        return json_string(row->name);
    if (area->type == TPM2_ALG_RSA)
        return json_sprintf("rsa-%u", (unsigned)area->bits);
    if (area->type == TPM2_ALG_ECC && curve != NULL)
        return json_sprintf("ec-%s", curve->group);
    return json_string("another kind");
}

static json_t *pem_of(const EVP_PKEY *pkey, OSSL_LIB_CTX *libctx)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *data = NULL;
    long len = 0;

    if (bio != NULL && PEM_write_bio_PUBKEY_ex(bio, pkey, libctx, NULL) == 1)
        len = BIO_get_mem_data(bio, &data);
    json_t *json = len > 0 ? json_stringn(data, (size_t)len) : NULL;
    BIO_free(bio);
    return json;
}

/* The key as OpenSSL has it, or why there is none. */
static int add_key(json_t *json, const struct lct_public *area, OSSL_LIB_CTX *libctx)
{
    struct lct_err err = {.code = LCT_OK};
    char sha256[SHA256_TEXT];
    EVP_PKEY *pkey = lct_public_pkey(area, libctx, &err);

    if (pkey == NULL)
        return json_object_set_new(json, "error", lct_tool_json_text(err.text));
    int failed = lct_spki_fingerprint(sha256, pkey, libctx, NULL) != LCT_OK ||
                 json_object_set_new(json, "sha256", json_string(sha256)) != 0 ||
                 json_object_set_new(json, "public_key", pem_of(pkey, libctx)) != 0;
    EVP_PKEY_free(pkey);
    return failed;
}

json_t *lct_explain_public(struct lct_crypto *crypto, const struct lct_offered_public *offered)
{
    const struct lct_public *area = &offered->area;
    OSSL_LIB_CTX *libctx = lct_crypto_get(crypto, NULL);
    char attributes[LCT_ATTRIBUTES_TEXT];

    if (offered->len == 0)
        return json_null();
    lct_public_attributes(attributes, area->attributes);
    json_t *json = json_pack("{s:o, s:o, s:s, s:b}", "algorithm", algorithm(area), "name",
                             of_name(&offered->name), "attributes", attributes, "hardware_bound",
                             (int)lct_public_is_bound(area));
    if (json != NULL && libctx != NULL && add_key(json, area, libctx) == 0)
        return json;
    json_decref(json);
    return NULL;
}

/* Of a name in a certificate, as text; NULL: it has none, or it is none. */
static json_t *value_of(const X509_NAME *name, const char *oid)
{
    ASN1_OBJECT *type = OBJ_txt2obj(oid, 1);
    int at = type != NULL ? X509_NAME_get_index_by_OBJ(name, type, -1) : -1;
    unsigned char *utf8 = NULL;
    int len = at >= 0 ? ASN1_STRING_to_UTF8(&utf8,
                                            X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)))
                      : -1;
    json_t *json = len >= 0 ? json_stringn((const char *)utf8, (size_t)len) : NULL;

    OPENSSL_free(utf8);
    ASN1_OBJECT_free(type);
    return json;
}

/* TCG EK Credential Profile 2.5, 3.1.2. */
static void add_tpm(json_t *json, const X509 *x509)
{
    static const struct {
        const char *member, *oid;
    } values[] = {
        {"maker", "2.23.133.2.1"}, {"model", "2.23.133.2.2"}, {"version", "2.23.133.2.3"}};
    GENERAL_NAMES *names = X509_get_ext_d2i(x509, NID_subject_alt_name, NULL, NULL);

    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        for (size_t n = 0; n < sizeof values / sizeof values[0] && name->type == GEN_DIRNAME; n++) {
            json_t *value = value_of(name->d.directoryName, values[n].oid);
            if (value != NULL)
                (void)json_object_set_new(json, values[n].member, value);
        }
    }
    GENERAL_NAMES_free(names);
}

/* By name, where it is well-formed. */
static void name_maker(json_t *json, const X509 *x509)
{
    char text[LCT_VENDOR_TEXT];
    uint32_t vendor;

    if (lct_certificate_maker(&vendor, x509) != NULL)
        return;
    lct_vendor_text(text, vendor);
    (void)json_object_set_new(json, "maker", json_string(text));
}

static json_t *explain_certificate(struct lct_crypto *crypto, const struct lct_der *der)
{
    OSSL_LIB_CTX *libctx = lct_crypto_get(crypto, NULL);
    struct lct_certificate certificate;
    struct lct_err err = {.code = LCT_OK};

    if (der->len == 0)
        return json_null();
    (void)ERR_set_mark();
    X509 *x509 = libctx != NULL ? lct_certificate_decode(libctx, der->bytes, der->len) : NULL;
    json_t *json = NULL;
    if (x509 == NULL) {
        json = error("it is no certificate");
    } else if (lct_certificate_describe(&certificate, x509, crypto, &err) != LCT_OK) {
        json = error(err.text);
    } else {
        json = lct_certificate_json(&certificate, 1, NULL);
        (void)json_object_del(json, "chain");
        add_tpm(json, x509);
        name_maker(json, x509);
    }
    X509_free(x509);
    (void)ERR_pop_to_mark();
    return json;
}

static json_t *of_chain(struct lct_crypto *crypto, const struct lct_der_chain *chain)
{
    json_t *json = json_array();

    for (size_t i = 0; i < chain->num; i++)
        (void)json_array_append_new(json, explain_certificate(crypto, &chain->certs[i]));
    return json;
}

static json_t *of_ak(struct lct_crypto *crypto, const struct lct_offer *offer)
{
    json_t *json = lct_explain_public(crypto, &offer->ak);

    (void)json_object_set_new(json, "certificates", of_chain(crypto, &offer->ak_chain));
    return json;
}

static json_t *of_eks(struct lct_crypto *crypto, const struct lct_offer *offer)
{
    json_t *eks = json_array();

    for (size_t i = 0; i < offer->num_eks; i++) {
        json_t *json = lct_explain_public(crypto, &offer->eks[i].public_area);
        (void)json_object_set_new(json, "certificate",
                                  explain_certificate(crypto, &offer->eks[i].certificate));
        (void)json_array_append_new(eks, json);
    }
    return eks;
}

/* As the offer has it, and in words, with the fingerprint of who may approve other states. */
static json_t *of_seal(struct lct_crypto *crypto, const struct lct_seal *seal)
{
    OSSL_LIB_CTX *libctx = lct_crypto_get(crypto, NULL);
    json_t *json = lct_seal_json(seal);
    char words[LCT_SEAL_WORDS], fingerprint[SHA256_TEXT];

    if (!json_is_object(json))
        return json;
    lct_seal_authority(fingerprint, seal, libctx);
    (void)json_object_set_new(json, "text", json_string(lct_seal_words(words, seal, NULL, libctx)));
    if (seal->authority_len > 0)
        (void)json_object_set_new(json, "fingerprint", json_string(fingerprint));
    return json;
}

json_t *lct_explain_offer(struct lct_crypto *crypto, const struct lct_offer *offer)
{
    return json_pack("{s:s, s:i, s:s, s:b, s:o, s:b, s:o, s:o, s:o, s:o, s:o}", "id", offer->id,
                     "generation", (int)offer->generation, "tpm", offer->tpm, "software_tpm",
                     (int)offer->software_tpm, "key", lct_explain_public(crypto, &offer->key),
                     "passphrase", (int)offer->passphrase, "seal", of_seal(crypto, &offer->seal),
                     "parent", lct_explain_public(crypto, &offer->parent), "ak",
                     of_ak(crypto, offer), "eks", of_eks(crypto, offer), "issuers",
                     of_chain(crypto, &offer->issuers));
}

json_t *lct_explain_challenge(const struct lct_challenge *challenge)
{
    bool quote = challenge->pcrs.num_banks > 0;

    return json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:b}", "number", challenge->number,
                     "mode", challenge->direct ? "direct" : "ak", "created", challenge->created,
                     "expires", challenge->expires, "nonce",
                     lct_json_of_bytes(challenge->nonce, sizeof challenge->nonce), "pcrs",
                     quote ? lct_json_of_pcrs(&challenge->pcrs) : json_null(), "ek",
                     challenge->has_credential ? of_name(&challenge->ek) : json_null(),
                     "credential", (int)challenge->has_credential);
}
