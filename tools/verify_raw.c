/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/json.h"
#include "tools/report.h"
#include "tools/tool.h"
#include "tools/verify_kinds.h"

#include "base/encode.h"
#include "proof/attestation.h"
#include "proof/json.h"
#include "proof/pcrfile.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_FILE = 65536, MAX_ISSUERS = 4 * MAX_FILE };

/* What was read: all that an attestation borrows. */
struct inputs {
    uint8_t *attest, *signature, *key;
    struct lct_ak ak;
    struct lct_pcr_values values;
    uint8_t nonce[LCT_MAX_EXTRA_DATA];
    struct lct_trust *trust;
    struct lct_der_chain issuers;
    unsigned required;
};

static void release(struct inputs *inputs)
{
    free(inputs->attest);
    free(inputs->signature);
    free(inputs->key);
    lct_ak_clear(&inputs->ak);
    lct_trust_free(inputs->trust);
    lct_der_chain_clear(&inputs->issuers);
}

static enum lct_code take_nonce(struct lct_attestation *attestation, struct inputs *inputs,
                                const char *text, struct lct_err *err)
{
    if (text == NULL)
        return LCT_OK;
    if (!lct_hex_decode(inputs->nonce, &attestation->nonce_len, sizeof inputs->nonce, text) ||
        attestation->nonce_len == 0)
        return LCT_FAIL(err, LCT_ERR_USAGE, "--nonce takes 1 to %d bytes in lower-case hexadecimal",
                        LCT_MAX_EXTRA_DATA);
    attestation->nonce = inputs->nonce;
    return LCT_OK;
}

static enum lct_code take_hash(struct lct_attestation *attestation, const char *name,
                               struct lct_err *err)
{
    attestation->hash = name != NULL ? lct_hash_by_name(name) : NULL;
    if (name != NULL && attestation->hash == NULL)
        return LCT_FAIL(err, LCT_ERR_USAGE, "there is no hash \"%s\"; sha256 is the usual one",
                        name);
    return LCT_OK;
}

/* As lct pcrs writes them, in JSON, or as tpm2-tools does. */
static enum lct_code read_values(struct lct_pcr_values *values, const uint8_t *bytes,
                                 size_t bytes_len, struct lct_err *err)
{
    const char *text = (const char *)bytes; /* a NUL follows it */

    return text[strspn(text, " \t\r\n")] == '{' ? lct_json_pcrs_file(values, bytes, bytes_len, err)
                                                : lct_pcrfile_read(values, bytes, bytes_len, err);
}

static enum lct_code take_values(struct lct_attestation *attestation, struct inputs *inputs,
                                 const char *file, struct lct_err *err)
{
    uint8_t *bytes = NULL;
    size_t bytes_len = 0;

    if (file == NULL)
        return LCT_OK;
    enum lct_code code = lct_tool_read(&bytes, &bytes_len, file, MAX_FILE, err);
    if (code == LCT_OK) {
        code = read_values(&inputs->values, bytes, bytes_len, err);
        if (code != LCT_OK)
            (void)lct_err_prefix(err, lct_tool_file(file));
    }
    free(bytes);
    attestation->values = &inputs->values;
    return code;
}

static bool add_issuer(struct lct_der_chain *chain, const X509 *certificate)
{
    unsigned char *der = NULL;
    int len = i2d_X509(certificate, &der);
    bool good = len > 0 && chain->num < LCT_MAX_CERT_CHAIN &&
                lct_der_set(&chain->certs[chain->num], der, (size_t)len);

    chain->num += good ? 1 : 0;
    OPENSSL_free(der);
    return good;
}

/* Certificates in PEM, until there is no more. */
static bool read_issuers(struct lct_der_chain *chain, OSSL_LIB_CTX *libctx, const uint8_t *bytes,
                         size_t bytes_len)
{
    BIO *bio = BIO_new_mem_buf(bytes, (int)bytes_len);
    bool good = bio != NULL;

    (void)ERR_set_mark();
    while (good) {
        X509 *certificate = X509_new_ex(libctx, NULL);
        if (certificate != NULL && PEM_read_bio_X509(bio, &certificate, NULL, NULL) == NULL) {
            X509_free(certificate);
            good = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE && chain->num > 0;
            break;
        }
        good = certificate != NULL && add_issuer(chain, certificate);
        X509_free(certificate);
    }
    (void)ERR_pop_to_mark();
    BIO_free(bio);
    return good;
}

static enum lct_code take_issuers(struct inputs *inputs, OSSL_LIB_CTX *libctx, const char *file,
                                  struct lct_err *err)
{
    uint8_t *bytes = NULL;
    size_t bytes_len = 0;

    if (file == NULL)
        return LCT_OK;
    enum lct_code code = lct_tool_read(&bytes, &bytes_len, file, MAX_ISSUERS, err);
    if (code == LCT_OK && !read_issuers(&inputs->issuers, libctx, bytes, bytes_len))
        code = LCT_FAIL(err, LCT_ERR_BAD_EVIDENCE, "%s: it is not 1 to %d certificates in PEM",
                        lct_tool_file(file), LCT_MAX_CERT_CHAIN);
    free(bytes);
    return code;
}

/* Whom to believe of the AK. */
static enum lct_code take_trust(struct inputs *inputs, OSSL_LIB_CTX *libctx,
                                const struct lct_verify_asked *asked, struct lct_err *err)
{
    enum lct_code code = lct_report_claims(&inputs->required, asked->judging.required, err);

    if (code == LCT_OK && asked->judging.trust != NULL) {
        inputs->required |= 1u << LCT_CLAIM_AK_BOUND;
        code = lct_trust_read(&inputs->trust, libctx, asked->judging.trust, err);
    }
    return code == LCT_OK ? take_issuers(inputs, libctx, asked->issuers, err) : code;
}

/* What a TPM attests, and is malformed by the name of its file. */
static enum lct_code take_attest(struct lct_attestation *attestation, struct inputs *inputs,
                                 const char *file, struct lct_err *err)
{
    struct lct_attest attest;
    enum lct_code code =
        lct_tool_read(&inputs->attest, &attestation->attest_len, file, MAX_FILE, err);

    attestation->attest = inputs->attest;
    if (code != LCT_OK)
        return code;
    code = lct_attest_decode(&attest, attestation->attest, attestation->attest_len, err);
    return code == LCT_OK ? LCT_OK : lct_err_prefix(err, lct_tool_file(file));
}

/* Everything that `attestation` borrows. */
static enum lct_code take_inputs(struct lct_attestation *attestation, struct inputs *inputs,
                                 OSSL_LIB_CTX *libctx, const struct lct_verify_asked *asked,
                                 struct lct_err *err)
{
    const char *attest = asked->certify != NULL ? asked->certify : asked->quote;
    const char *key = asked->judging.key;
    enum lct_code code = take_nonce(attestation, inputs, asked->nonce, err);

    attestation->type = asked->certify != NULL ? TPM2_ST_ATTEST_CERTIFY : TPM2_ST_ATTEST_QUOTE;
    attestation->ak = &inputs->ak;
    if (code == LCT_OK)
        code = take_hash(attestation, asked->hash, err);
    if (code == LCT_OK)
        code = lct_judging_time(&attestation->now, asked->judging.time, err);
    if (code == LCT_OK)
        code = take_trust(inputs, libctx, asked, err);
    if (code == LCT_OK)
        code = lct_judging_key(&inputs->ak, libctx, asked->ak, err);
    if (code == LCT_OK)
        code = take_attest(attestation, inputs, attest, err);
    if (code == LCT_OK)
        code = lct_tool_read(&inputs->signature, &attestation->signature_len, asked->signature,
                             MAX_FILE, err);
    if (code == LCT_OK && key != NULL)
        code = lct_tool_read(&inputs->key, &attestation->key_len, key, MAX_FILE, err);
    attestation->signature = inputs->signature;
    attestation->key = inputs->key;
    return code == LCT_OK ? take_values(attestation, inputs, asked->pcrs, err) : code;
}

/* Whether somebody who is trusted vouches for the AK, where what it signed has not failed. */
static enum lct_code judge_issuer(struct lct_verdict *verdict, const struct inputs *inputs,
                                  time_t now, struct lct_err *err)
{
    struct lct_der leaf = {.len = 0};
    unsigned char *der = NULL;

    if (inputs->trust == NULL || verdict->findings[LCT_CLAIM_SIGNED].outcome != LCT_PASSED ||
        verdict->findings[LCT_CLAIM_AK_FIT].outcome == LCT_FAILED)
        return LCT_OK;
    int len = i2d_X509(inputs->ak.certificate, &der);
    bool good = len > 0 && lct_der_set(&leaf, der, (size_t)len);
    OPENSSL_free(der);
    if (!good)
        return LCT_FAIL(err, LCT_ERR_BAD_EVIDENCE, "the AK's certificate is too long");
    const struct lct_ak_given given = {inputs->ak.pkey, &leaf, &inputs->issuers};
    lct_trust_judge_ak(&verdict->findings[LCT_CLAIM_AK_BOUND], inputs->trust, &given, now);
    lct_der_clear(&leaf);
    if (verdict->findings[LCT_CLAIM_AK_BOUND].outcome == LCT_PASSED)
        lct_verdict_set(verdict, LCT_CLAIM_AK_FIT, LCT_PASSED,
                        "the certificate is one of an attestation key, by a trusted issuer");
    return LCT_OK;
}

static enum lct_code print_json(const struct lct_verdict *verdict, const struct lct_attest *attest,
                                bool holds, struct lct_err *err)
{
    return lct_tool_print_json(json_pack("{s:i, s:b, s:o, s:o}", "version", 1, "holds", (int)holds,
                                         "claims", lct_verdict_json(verdict), "attested",
                                         lct_report_attested(attest)),
                               err);
}

static enum lct_code show(const struct lct_verdict *verdict, const struct lct_attest *attest,
                          unsigned required, bool json, struct lct_err *err)
{
    bool holds = lct_report_conclude(verdict, required, NULL) == LCT_OK;
    enum lct_code code =
        json ? print_json(verdict, attest, holds, err) : lct_report_print(verdict, err);

    return code == LCT_OK ? lct_report_conclude(verdict, required, err) : code;
}

/* What is beside the files is usage that is wrong before any of them is read. */
static enum lct_code check(const struct lct_verify_asked *asked, struct lct_err *err)
{
    const struct lct_judging *judging = &asked->judging;

    if (asked->certify != NULL && asked->quote != NULL)
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "one of --raw-certify and --raw-quote says what is judged");
    if (asked->signature == NULL || asked->ak == NULL)
        return LCT_FAIL(err, LCT_ERR_USAGE, "--signature and --ak are needed");
    if (judging->key != NULL && asked->quote != NULL)
        return LCT_FAIL(err, LCT_ERR_USAGE, "--key is for --raw-certify: a quote is of no key");
    if (asked->pcrs != NULL && asked->certify != NULL)
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "--pcrs is for --raw-quote: a certification is of no PCRs");
    if (asked->issuers != NULL && judging->trust == NULL)
        return LCT_FAIL(err, LCT_ERR_USAGE, "--issuers are on the way to an issuer of --trust");
    if (judging->state != NULL || asked->offline || judging->expected != NULL)
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "--state, --offline and --expect-pcrs are for evidence, not for raw files");
    return LCT_OK;
}

enum lct_code lct_verify_raw(const struct lct_verify_asked *asked, OSSL_LIB_CTX *libctx,
                             struct lct_err *err)
{
    struct lct_attestation attestation = {0};
    struct inputs inputs = {0};
    struct lct_verdict verdict;
    struct lct_attest attest;
    enum lct_code code = check(asked, err);

    if (code == LCT_OK)
        code = take_inputs(&attestation, &inputs, libctx, asked, err);
    if (code == LCT_OK && inputs.trust != NULL && inputs.ak.certificate == NULL)
        code = LCT_FAIL(err, LCT_ERR_USAGE,
                        "--trust is about who issued the AK's certificate, and %s is a bare key",
                        lct_tool_file(asked->ak));
    if (code == LCT_OK)
        code = lct_attestation_judge(&verdict, &attest, libctx, &attestation, err);
    if (code == LCT_OK)
        code = judge_issuer(&verdict, &inputs, attestation.now, err);
    if (code == LCT_OK)
        code = show(&verdict, &attest, inputs.required, asked->json, err);
    release(&inputs);
    return code;
}
