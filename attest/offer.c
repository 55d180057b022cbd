/* SPDX-License-Identifier: Apache-2.0 */
#include "attest/attest.h"
#include "attest/describe.h"

#include "tcg/ekcert.h"

#include <openssl/evp.h>

static enum lct_code copy_der(struct lct_der *to, const uint8_t *bytes, size_t len,
                              struct lct_err *err)
{
    return lct_der_set(to, bytes, len)
               ? LCT_OK
               : LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                          "a certificate is longer than the %d bytes that an offer takes",
                          LCT_MAX_CERT);
}

static enum lct_code copy_chain(struct lct_der_chain *to, const struct lct_der_chain *from,
                                struct lct_err *err)
{
    enum lct_code code = LCT_OK;

    for (; to->num < from->num && code == LCT_OK; to->num++)
        code = copy_der(&to->certs[to->num], from->certs[to->num].bytes, from->certs[to->num].len,
                        err);
    return code;
}

/* Whether the first of a chain is of the AK. */
static enum lct_code check_ak_certificate(const struct lct_der_chain *chain,
                                          const struct lct_offer *offer, const struct lct_key *key,
                                          struct lct_err *err)
{
    struct lct_ekcert certificate = {.x509 = NULL};
    EVP_PKEY *pkey = lct_public_pkey(&offer->ak.area, key->libctx, err);
    enum lct_code code = pkey != NULL ? lct_ekcert_take(&certificate, chain->certs[0].bytes,
                                                        chain->certs[0].len, key->libctx, err)
                                      : LCT_ERR_INTERNAL;

    if (code == LCT_OK && !lct_ekcert_is_of(&certificate, pkey))
        code = LCT_FAIL(err, LCT_ERR_WRONG_KEY,
                        "%s: the certificate of the attestation key is not of this TPM's; it was "
                        "issued for another TPM, or this one was cleared since",
                        key->label);
    lct_ekcert_clear(&certificate);
    EVP_PKEY_free(pkey);
    return code;
}

static enum lct_code add_ak_chain(struct lct_offer *offer, const struct lct_der_chain *chain,
                                  const struct lct_key *key, struct lct_err *err)
{
    if (chain == NULL || chain->num == 0)
        return LCT_OK;
    enum lct_code code = check_ak_certificate(chain, offer, key, err);
    return code == LCT_OK ? copy_chain(&offer->ak_chain, chain, err) : code;
}

/* One whose key is not known shows nothing. */
static enum lct_code add_ek(struct lct_offer *offer, const struct lct_ek *ek, OSSL_LIB_CTX *libctx,
                            struct lct_err *err)
{
    if (ek->pkey == NULL || offer->num_eks == LCT_MAX_OFFER_EKS)
        return LCT_OK;
    struct lct_offered_ek *offered = &offer->eks[offer->num_eks++];
    enum lct_code code = lct_offered_public_set(&offered->public_area, libctx, ek->public_bytes,
                                                ek->public_len, err);
    if (code == LCT_OK && ek->certified)
        code = copy_der(&offered->certificate, ek->cert.der, ek->cert.der_len, err);
    return code;
}

static enum lct_code add_eks(struct lct_offer *offer, const struct lct_eks *eks,
                             const struct lct_key *key, struct lct_err *err)
{
    enum lct_code code = LCT_OK;

    for (size_t i = 0; i < eks->num && code == LCT_OK; i++)
        code = add_ek(offer, &eks->eks[i], key->libctx, err);
    for (size_t i = 0; i < eks->num_chain && i < LCT_MAX_CERT_CHAIN && code == LCT_OK; i++) {
        code = copy_der(&offer->issuers.certs[i], eks->chain[i].der, eks->chain[i].der_len, err);
        offer->issuers.num = i + 1;
    }
    if (code != LCT_OK)
        return lct_err_prefix(err, key->label);
    if (offer->num_eks > 0)
        return LCT_OK;
    code = lct_attest_ek_fault(eks, err);
    return code != LCT_OK
               ? code
               : LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                          "%s: this TPM has no endorsement key, and nothing else shows that it is "
                          "one: see lct ek",
                          key->label);
}

static enum lct_code fill(struct lct_offer *offer, const struct lct_attest_request *request,
                          const struct lct_der_chain *ak_chain, struct lct_err *err)
{
    struct lct_eks *eks = NULL;
    enum lct_code code = lct_attest_describe_key(offer, request, err);

    if (code == LCT_OK)
        code = add_ak_chain(offer, ak_chain, request->key, err);
    if (code == LCT_OK)
        code = lct_attest_read_eks(&eks, request, err);
    if (code == LCT_OK)
        code = add_eks(offer, eks, request->key, err);
    lct_attest_free_eks(eks);
    return code;
}

enum lct_code lct_attest_check(const struct lct_key *key, struct lct_err *err)
{
    if (!lct_key_is_software(key))
        return LCT_OK;
    return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                    "%s: its key is in software, which no TPM can prove; lct rotate %s --to tpm",
                    key->label, key->id);
}

enum lct_code lct_attest_offer(struct lct_offer **offer, const struct lct_attest_request *request,
                               const struct lct_der_chain *ak_chain, struct lct_err *err)
{
    struct lct_offer *made = lct_offer_new();

    *offer = NULL;
    if (made == NULL)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    enum lct_code code = fill(made, request, ak_chain, err);
    if (code == LCT_OK)
        *offer = made;
    else
        lct_offer_free(made);
    return code;
}
