/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/certified.h"

#include "proof/certificate.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

static enum lct_code take_certify(struct lct_certified *certified, struct lct_err *err)
{
    const struct lct_evidence_attested *certify = &certified->evidence->certify;
    struct lct_signature signature;

    if (certify->attest_len == 0)
        return LCT_FAIL(
            err, LCT_ERR_UNSUPPORTED,
            "the evidence has no certification by an attestation key, which nobody else "
            "could be shown: its challenge is of the direct mode; ask again with lct "
            "attest challenge --mode ak");
    enum lct_code code =
        lct_attest_decode(&certified->attest, certify->attest, certify->attest_len, err);
    if (code == LCT_OK)
        code = lct_attest_signature(&signature, &certified->scheme, certify->signature,
                                    certify->signature_len, err);
    if (code != LCT_OK)
        return lct_err_prefix(err, "the certification");
    if (certified->attest.type != TPM2_ST_ATTEST_CERTIFY ||
        !lct_name_equal(&certified->attest.name, &certified->evidence->challenge.offer->key.name))
        return LCT_FAIL(err, LCT_ERR_BAD_EVIDENCE,
                        "the certification is not one of the key that was offered");
    return LCT_OK;
}

/* NULL: *err says why. */
static EVP_PKEY *pkey_of(const struct lct_offered_public *offered, const char *what,
                         OSSL_LIB_CTX *libctx, struct lct_err *err)
{
    struct lct_err why = {.code = LCT_OK};
    EVP_PKEY *pkey = lct_public_pkey(&offered->area, libctx, &why);

    if (pkey == NULL)
        (void)LCT_FAIL(err, why.code == LCT_ERR_BAD_RECORD ? LCT_ERR_BAD_EVIDENCE : why.code,
                       "the %s in the evidence: %s", what, why.text);
    return pkey;
}

/* Whether the first certificate of its chain is of this key. */
static enum lct_code check_certificate(const EVP_PKEY *ak, const struct lct_der *der,
                                       OSSL_LIB_CTX *libctx, struct lct_err *err)
{
    enum lct_code code = LCT_OK;

    (void)ERR_set_mark();
    X509 *certificate = lct_certificate_decode(libctx, der->bytes, der->len);
    if (certificate == NULL)
        code =
            LCT_FAIL(err, LCT_ERR_BAD_EVIDENCE, "the certificate of the attestation key is none");
    else if (EVP_PKEY_eq(X509_get0_pubkey(certificate), ak) != 1)
        code = LCT_FAIL(err, LCT_ERR_WRONG_KEY,
                        "the certificate in the evidence is not of its attestation key");
    (void)ERR_pop_to_mark();
    X509_free(certificate);
    return code;
}

static enum lct_code check_ak(const struct lct_offer *offer, OSSL_LIB_CTX *libctx,
                              struct lct_err *err)
{
    struct lct_err why = {.code = LCT_OK};

    if (offer->ak_chain.num == 0)
        return LCT_OK;
    EVP_PKEY *ak = pkey_of(&offer->ak, "attestation key", libctx, &why);
    enum lct_code code = ak != NULL ? check_certificate(ak, &offer->ak_chain.certs[0], libctx, err)
                                    : LCT_FAIL(err, why.code, "%s", why.text);
    EVP_PKEY_free(ak);
    return code;
}

enum lct_code lct_certified_take(struct lct_certified *certified, OSSL_LIB_CTX *libctx,
                                 const struct lct_evidence *evidence, struct lct_err *err)
{
    const struct lct_offered_public *key = &evidence->challenge.offer->key;
    struct lct_err why = {.code = LCT_OK};

    *certified = (struct lct_certified){
        .evidence = evidence, .public_area = key->bytes + 2, .public_len = key->len - 2};
    enum lct_code code = take_certify(certified, err);
    if (code == LCT_OK)
        code = check_ak(evidence->challenge.offer, libctx, err);
    if (code != LCT_OK)
        return code;
    certified->key = pkey_of(key, "key", libctx, &why);
    return certified->key != NULL ? LCT_OK : LCT_FAIL(err, why.code, "%s", why.text);
}

void lct_certified_clear(struct lct_certified *certified)
{
    EVP_PKEY_free(certified->key);
    *certified = (struct lct_certified){.evidence = NULL};
}
