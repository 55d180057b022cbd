/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/csr_attestation.h"
#include "tools/evidence.h"
#include "tools/signing.h"
#include "tools/tool.h"

#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

enum { MAX_COMMON_NAME = 64 }; /* characters: RFC 5280, ub-common-name */

/* One "TYPE=VALUE" of a subject, up to `end`; a backslash takes the next character as it is. */
static bool add_entry(X509_NAME *name, const char *start, const char *end)
{
    char type[64], value[512];
    size_t len = 0;
    const char *equals = memchr(start, '=', (size_t)(end - start));

    if (equals == NULL || (size_t)(equals - start) >= sizeof type)
        return false;
    (void)snprintf(type, sizeof type, "%.*s", (int)(equals - start), start);
    const char *at = equals + 1;
    for (; at < end && len < sizeof value - 1; at++) {
        if (*at == '\\' && at + 1 < end)
            at++;
        value[len++] = *at;
    }
    return len > 0 && at == end &&
           X509_NAME_add_entry_by_txt(name, type, MBSTRING_UTF8, (const unsigned char *)value,
                                      (int)len, -1, 0) == 1;
}

/* The next '/' that no backslash stands before, or the end. */
static const char *entry_end(const char *at)
{
    while (*at != '\0' && *at != '/')
        at += at[0] == '\\' && at[1] != '\0' ? 2 : 1;
    return at;
}

/* "/C=DE/CN=name", as openssl req takes it. */
static enum lct_code parse_subject(X509_NAME *name, const char *subject, struct lct_err *err)
{
    const char *at = subject;
    bool good = *at == '/';

    (void)ERR_set_mark();
    while (good && *at == '/') {
        const char *end = entry_end(at + 1);
        good = add_entry(name, at + 1, end);
        at = end;
    }
    (void)ERR_pop_to_mark();
    if (good)
        return LCT_OK;
    return LCT_FAIL(err, LCT_ERR_USAGE, "\"%s\" is not a subject like /C=DE/O=Example/CN=name",
                    subject);
}

static enum lct_code sign_request(X509_REQ *request, const struct lct_signing *signing,
                                  struct lct_err *err)
{
    struct lct_signer signer = lct_signing_signer(signing);
    unsigned char *tbs = NULL;
    int tbs_len = i2d_re_X509_REQ_tbs(request, &tbs);
    X509_ALGOR *algorithm = X509_ALGOR_new();
    ASN1_BIT_STRING *bits = ASN1_BIT_STRING_new();
    enum lct_code code = LCT_OK;

    if (tbs_len <= 0 || algorithm == NULL || bits == NULL)
        code = LCT_FAIL(err, LCT_ERR_INTERNAL, "the request cannot be encoded");
    if (code == LCT_OK)
        code = lct_signer_algorithm(algorithm, &signer, err);
    if (code == LCT_OK)
        code = lct_signer_bits(bits, &signer, tbs, (size_t)tbs_len, err);
    if (code == LCT_OK && !X509_REQ_set1_signature_algo(request, algorithm))
        code = LCT_FAIL(err, LCT_ERR_INTERNAL, "the request cannot be encoded");
    if (code == LCT_OK) {
        X509_REQ_set0_signature(request, bits);
        bits = NULL;
    }
    ASN1_BIT_STRING_free(bits);
    X509_ALGOR_free(algorithm);
    OPENSSL_free(tbs);
    return code;
}

static enum lct_code print_request(const X509_REQ *request, struct lct_err *err)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *text = NULL;
    enum lct_code code;

    if (bio != NULL && PEM_write_bio_X509_REQ(bio, request) == 1) {
        long len = BIO_get_mem_data(bio, &text);
        code = lct_tool_print(err, "%.*s", (int)len, text);
    } else {
        code = LCT_FAIL(err, LCT_ERR_INTERNAL, "the request cannot be encoded");
    }
    BIO_free(bio);
    return code;
}

/* Shows where the key lives, by evidence that has to be of this very key. */
static enum lct_code attest(X509_REQ *request, const struct lct_signing *signing,
                            const struct lct_evidence *evidence, struct lct_err *err)
{
    struct lct_certified certified = {.evidence = NULL};
    OSSL_LIB_CTX *libctx = signing->key->libctx;
    enum lct_code code = lct_certified_take(&certified, libctx, evidence, err);

    if (code == LCT_OK && EVP_PKEY_eq(certified.key, signing->key->pkey) != 1)
        code = LCT_FAIL(err, LCT_ERR_WRONG_KEY,
                        "the evidence is of another key: of lct:%s generation %u",
                        evidence->challenge.offer->id, evidence->challenge.offer->generation);
    if (code == LCT_OK)
        code = lct_csr_attestation_add(request, libctx, &certified, err);
    lct_certified_clear(&certified);
    return code == LCT_OK ? LCT_OK : lct_err_prefix(err, signing->key->label);
}

/* `evidence`, perhaps NULL, becomes an attribute of it. */
static enum lct_code write_csr(const struct lct_signing *signing, const char *subject,
                               const struct lct_evidence *evidence, struct lct_err *err)
{
    char common_name[sizeof "/CN=" + LCT_MAX_ID];
    X509_REQ *request = X509_REQ_new_ex(signing->key->libctx, NULL);
    X509_NAME *name = X509_NAME_new();
    enum lct_code code;

    (void)snprintf(common_name, sizeof common_name, "/CN=%s", signing->key->id);
    if (request == NULL || name == NULL)
        code = LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    else if (subject == NULL && strlen(common_name) > strlen("/CN=") + MAX_COMMON_NAME)
        code = LCT_FAIL(err, LCT_ERR_USAGE,
                        "%s: the id is too long for a common name; choose one: --subject /CN=NAME",
                        signing->key->label);
    else
        code = parse_subject(name, subject != NULL ? subject : common_name, err);
    if (code == LCT_OK && (X509_REQ_set_version(request, X509_REQ_VERSION_1) != 1 ||
                           X509_REQ_set_subject_name(request, name) != 1 ||
                           X509_REQ_set_pubkey(request, signing->key->pkey) != 1))
        code = LCT_FAIL(err, LCT_ERR_INTERNAL, "the request cannot be encoded");
    if (code == LCT_OK && evidence != NULL)
        code = attest(request, signing, evidence, err);
    if (code == LCT_OK)
        code = sign_request(request, signing, err);
    if (code == LCT_OK)
        code = print_request(request, err);
    X509_NAME_free(name);
    X509_REQ_free(request);
    return code;
}

enum lct_code lct_csr_run(struct lct_tool *tool, int argc, char **argv, struct lct_err *err)
{
    const char *subject = NULL, *file = NULL, *id = NULL, *generation = NULL;
    const struct lct_option options[] = {
        {"subject", &subject, NULL}, {"evidence", &file, NULL}, {"generation", &generation, NULL}};
    unsigned number = 0;
    struct lct_signing signing = {0};
    struct lct_evidence *evidence = NULL;
    enum lct_code code = lct_tool_begin(tool, argc, argv, options, 3, &id, err);

    if (code == LCT_OK)
        code = lct_tool_generation(&number, generation, err);
    if (code == LCT_OK && file != NULL)
        code = lct_tool_evidence(&evidence, tool, file, err);
    if (code == LCT_OK)
        code = lct_signing_open_generation(&signing, tool, id, number, err);
    if (code == LCT_OK)
        code = write_csr(&signing, subject, evidence, err);
    lct_signing_close(&signing);
    lct_evidence_free(evidence);
    return code;
}
