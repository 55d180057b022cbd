/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/chain.h"

#include <openssl/objects.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <stdio.h>

/* Of NIST SP 800-57's 112 bits: no SHA-1, no RSA below 2048 (SSL_CTX_set_security_level(3)). */
enum { SECURITY_LEVEL = 2 };

/*
 * X509_verify_cert takes no certificate of a key that OpenSSL has no type for. So it is given the
 * certificate's twin, which has the same key by its usual name: all of the way is as it would be
 * but for one signature, which is then verified over the certificate itself.
 */
static X509 *twin_of(X509 *certificate, EVP_PKEY *pkey)
{
    X509 *twin = X509_dup(certificate);

    if (twin != NULL && X509_set_pubkey(twin, pkey) != 1) {
        X509_free(twin);
        twin = NULL;
    }
    return twin;
}

/* Who issued a certificate that fails is not said in the context yet; in the way that was found it
 * is the next one. */
static int verify_original(int good, X509_STORE_CTX *ctx)
{
    X509 *original = X509_STORE_CTX_get_app_data(ctx);
    const X509 *issuer = sk_X509_value(X509_STORE_CTX_get0_chain(ctx), 1);

    if (good == 1)
        return 1;
    if (X509_STORE_CTX_get_error_depth(ctx) != 0 || issuer == NULL ||
        X509_STORE_CTX_get_error(ctx) != X509_V_ERR_CERT_SIGNATURE_FAILURE)
        return 0;
    EVP_PKEY *key = X509_get0_pubkey(issuer);
    if (key == NULL || X509_verify(original, key) != 1)
        return 0;
    X509_STORE_CTX_set_error(ctx, X509_V_OK);
    return 1;
}

static STACK_OF(X509) * decode_issuers(OSSL_LIB_CTX *libctx, const struct lct_der_chain *issuers)
{
    STACK_OF(X509) *stack = sk_X509_new_null();

    for (size_t i = 0; issuers != NULL && i < issuers->num && stack != NULL; i++) {
        X509 *issuer =
            lct_certificate_decode(libctx, issuers->certs[i].bytes, issuers->certs[i].len);
        if (issuer == NULL || sk_X509_push(stack, issuer) == 0) {
            X509_free(issuer);
            sk_X509_pop_free(stack, X509_free);
            stack = NULL;
        }
    }
    return stack;
}

static bool prepare(X509_STORE_CTX *ctx, X509 *certificate, X509_STORE *anchors,
                    STACK_OF(X509) * issuers, time_t now)
{
    if (X509_STORE_CTX_init(ctx, anchors, certificate, issuers) != 1)
        return false;
    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);
    X509_VERIFY_PARAM_set_time(param, now);
    X509_VERIFY_PARAM_set_auth_level(param, SECURITY_LEVEL);
    return X509_VERIFY_PARAM_set_purpose(param, X509_PURPOSE_ANY) == 1 &&
           X509_VERIFY_PARAM_set_flags(param,
                                       X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_X509_STRICT) == 1;
}

/* What is wrong with a certificate on the way, in words that follow "the certificate ". */
static const char *fault_of(int error)
{
    static const struct {
        int error;
        const char *words;
    } rows[] = {
        {X509_V_ERR_CERT_HAS_EXPIRED, "is expired"},
        {X509_V_ERR_CERT_NOT_YET_VALID, "is not valid yet"},
        {X509_V_ERR_CERT_SIGNATURE_FAILURE, "was not signed by who it says"},
        {X509_V_ERR_INVALID_CA, "is that of no certification authority"},
        {X509_V_ERR_CA_KEY_TOO_SMALL, "has too weak a key"},
        {X509_V_ERR_EE_KEY_TOO_SMALL, "has too weak a key"},
        {X509_V_ERR_CA_MD_TOO_WEAK, "is signed with too weak a hash"},
        {X509_V_ERR_UNHANDLED_CRITICAL_EXTENSION, "has a critical extension that is not known"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].error == error)
            return rows[i].words;
    return NULL;
}

static bool is_end_of_way(int error)
{
    return error == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY ||
           error == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT ||
           error == X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE ||
           error == X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT ||
           error == X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN;
}

static void explain(struct lct_chain *chain, X509_STORE_CTX *ctx)
{
    int error = X509_STORE_CTX_get_error(ctx);
    const X509 *current = X509_STORE_CTX_get_current_cert(ctx);
    const char *words = fault_of(error);
    char subject[LCT_SUBJECT_TEXT] = "", issuer[LCT_SUBJECT_TEXT] = "";

    if (current != NULL)
        lct_certificate_issuer(issuer, current);
    if (current != NULL && X509_STORE_CTX_get_error_depth(ctx) > 0)
        lct_certificate_subject(subject, current);
    if (is_end_of_way(error) && subject[0] != '\0')
        (void)snprintf(chain->fault, sizeof chain->fault,
                       "chains to none that is trusted: the way ends at %s, and %s is not there",
                       subject, issuer);
    else if (is_end_of_way(error))
        (void)snprintf(chain->fault, sizeof chain->fault,
                       "chains to none that is trusted: its issuer, %s, is not there", issuer);
    else if (subject[0] != '\0')
        (void)snprintf(chain->fault, sizeof chain->fault,
                       "does not chain to one that is trusted: that of %s on the way %s%s", subject,
                       words != NULL ? words : "is not taken: ",
                       words != NULL ? "" : X509_verify_cert_error_string(error));
    else
        (void)snprintf(chain->fault, sizeof chain->fault, "%s%s",
                       words != NULL ? words : "is not taken: ",
                       words != NULL ? "" : X509_verify_cert_error_string(error));
}

static void verify(struct lct_chain *chain, X509_STORE_CTX *ctx)
{
    chain->holds = X509_verify_cert(ctx) == 1;
    if (!chain->holds) {
        explain(chain, ctx);
        return;
    }
    const STACK_OF(X509) *way = X509_STORE_CTX_get0_chain(ctx);
    lct_certificate_subject(chain->anchor, sk_X509_value(way, sk_X509_num(way) - 1));
}

void lct_chain_find(struct lct_chain *chain, OSSL_LIB_CTX *libctx, X509 *certificate,
                    EVP_PKEY *pkey, X509_STORE *anchors, const struct lct_der_chain *issuers,
                    time_t now)
{
    STACK_OF(X509) *untrusted = decode_issuers(libctx, issuers);
    X509_STORE_CTX *ctx = X509_STORE_CTX_new_ex(libctx, NULL);
    X509 *twin = X509_get0_pubkey(certificate) == NULL ? twin_of(certificate, pkey) : NULL;

    *chain = (struct lct_chain){.holds = false};
    if (untrusted == NULL)
        (void)snprintf(chain->fault, sizeof chain->fault,
                       "comes with issuers that are no certificates");
    else if (ctx == NULL ||
             !prepare(ctx, twin != NULL ? twin : certificate, anchors, untrusted, now))
        (void)snprintf(chain->fault, sizeof chain->fault, "cannot be looked at: out of memory");
    else {
        if (twin != NULL && X509_STORE_CTX_set_app_data(ctx, certificate) == 1)
            X509_STORE_CTX_set_verify_cb(ctx, verify_original);
        verify(chain, ctx);
    }
    X509_STORE_CTX_free(ctx);
    X509_free(twin);
    sk_X509_pop_free(untrusted, X509_free);
}
