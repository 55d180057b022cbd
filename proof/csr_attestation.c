/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/csr_attestation.h"

#include "proof/certificate.h"

#include <openssl/asn1t.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/x509.h>

typedef struct {
    ASN1_OCTET_STRING *attest;
    ASN1_OCTET_STRING *signature;
    ASN1_OCTET_STRING *public_area;
} TPM_CERTIFY;

typedef struct {
    ASN1_OBJECT *type;
    TPM_CERTIFY *statement;
} ATTESTATION_STATEMENT;

typedef struct {
    STACK_OF(ATTESTATION_STATEMENT) * attestations;
    STACK_OF(X509) * certs; /* LimitedCertChoices: a Certificate has no tag */
} ATTESTATION_BUNDLE;

DEFINE_STACK_OF(ATTESTATION_STATEMENT)

/* clang-format off */
ASN1_SEQUENCE(TPM_CERTIFY) = {
    ASN1_SIMPLE(TPM_CERTIFY, attest, ASN1_OCTET_STRING),
    ASN1_SIMPLE(TPM_CERTIFY, signature, ASN1_OCTET_STRING),
    ASN1_OPT(TPM_CERTIFY, public_area, ASN1_OCTET_STRING)
} static_ASN1_SEQUENCE_END(TPM_CERTIFY)

ASN1_SEQUENCE(ATTESTATION_STATEMENT) = {
    ASN1_SIMPLE(ATTESTATION_STATEMENT, type, ASN1_OBJECT),
    ASN1_SIMPLE(ATTESTATION_STATEMENT, statement, TPM_CERTIFY)
} static_ASN1_SEQUENCE_END(ATTESTATION_STATEMENT)

ASN1_SEQUENCE(ATTESTATION_BUNDLE) = {
    ASN1_SEQUENCE_OF(ATTESTATION_BUNDLE, attestations, ATTESTATION_STATEMENT),
    ASN1_SEQUENCE_OF_OPT(ATTESTATION_BUNDLE, certs, X509)
} static_ASN1_SEQUENCE_END(ATTESTATION_BUNDLE)
    /* clang-format on */

    static bool set(ASN1_OCTET_STRING * string, const uint8_t *bytes, size_t len)
{
    return ASN1_OCTET_STRING_set(string, bytes, (int)len) == 1;
}

static bool fill_statement(ATTESTATION_STATEMENT *to, const struct lct_certified *certified)
{
    const struct lct_evidence_attested *certify = &certified->evidence->certify;
    TPM_CERTIFY *body = to->statement;

    ASN1_OBJECT_free(to->type);
    to->type = OBJ_txt2obj("2.23.133.20.1", 1);
    body->public_area = ASN1_OCTET_STRING_new();
    return to->type != NULL && body->public_area != NULL &&
           set(body->attest, certify->attest, certify->attest_len) &&
           set(body->signature, certify->signature, certify->signature_len) &&
           set(body->public_area, certified->public_area, certified->public_len);
}

static bool add_statement(ATTESTATION_BUNDLE *bundle, const struct lct_certified *certified)
{
    ATTESTATION_STATEMENT *one =
        (ATTESTATION_STATEMENT *)ASN1_item_new(ASN1_ITEM_rptr(ATTESTATION_STATEMENT));

    if (one != NULL && fill_statement(one, certified) &&
        sk_ATTESTATION_STATEMENT_push(bundle->attestations, one) > 0)
        return true;
    ASN1_item_free((ASN1_VALUE *)one, ASN1_ITEM_rptr(ATTESTATION_STATEMENT));
    return false;
}

static enum lct_code add_certs(ATTESTATION_BUNDLE *bundle, OSSL_LIB_CTX *libctx,
                               const struct lct_der_chain *chain, struct lct_err *err)
{
    if (chain->num == 0)
        return LCT_OK;
    bundle->certs = sk_X509_new_null();
    for (size_t i = 0; i < chain->num; i++) {
        X509 *cert = lct_certificate_decode(libctx, chain->certs[i].bytes, chain->certs[i].len);
        if (cert == NULL)
            return LCT_FAIL(err, LCT_ERR_BAD_EVIDENCE,
                            "certificate %zu of the attestation key's chain is none", i + 1);
        if (bundle->certs == NULL || sk_X509_push(bundle->certs, cert) <= 0) {
            X509_free(cert);
            return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
        }
    }
    return LCT_OK;
}

/* The attribute's one value is the bundle, as a SEQUENCE that is encoded already. */
static enum lct_code add_attribute(X509_REQ *request, const ATTESTATION_BUNDLE *bundle,
                                   struct lct_err *err)
{
    unsigned char *der = NULL;
    ASN1_OBJECT *type = OBJ_txt2obj("1.2.840.113549.1.9.16.2.59", 1);
    int len = ASN1_item_i2d((const ASN1_VALUE *)bundle, &der, ASN1_ITEM_rptr(ATTESTATION_BUNDLE));
    bool good = type != NULL && len > 0 &&
                X509_REQ_add1_attr_by_OBJ(request, type, V_ASN1_SEQUENCE, der, len) == 1;

    ASN1_OBJECT_free(type);
    OPENSSL_free(der);
    return good ? LCT_OK : LCT_FAIL(err, LCT_ERR_INTERNAL, "the attestation cannot be encoded");
}

enum lct_code lct_csr_attestation_add(X509_REQ *request, OSSL_LIB_CTX *libctx,
                                      const struct lct_certified *certified, struct lct_err *err)
{
    ATTESTATION_BUNDLE *bundle =
        (ATTESTATION_BUNDLE *)ASN1_item_new(ASN1_ITEM_rptr(ATTESTATION_BUNDLE));
    enum lct_code code = LCT_OK;

    (void)ERR_set_mark();
    if (bundle == NULL || !add_statement(bundle, certified))
        code = LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    else
        code = add_certs(bundle, libctx, &certified->evidence->challenge.offer->ak_chain, err);
    if (code == LCT_OK)
        code = add_attribute(request, bundle, err);
    (void)ERR_pop_to_mark();
    ASN1_item_free((ASN1_VALUE *)bundle, ASN1_ITEM_rptr(ATTESTATION_BUNDLE));
    return code;
}
