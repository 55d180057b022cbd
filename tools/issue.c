/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/json.h"
#include "tools/issuer.h"
#include "tools/judging.h"
#include "tools/tool.h"
#include "tools/verify.h"

#include "proof/issue.h"

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

enum { DAYS = 30, VERDICT_DAYS = 1 };

/* What the command line says. */
struct asked {
    struct lct_judging judging;
    const char *key, *certificate, *days, *evidence;
    bool verdict;
};

/* What is issued with. */
struct issuing {
    struct lct_issuer issuer;
    struct lct_ak certificate; /* the issuer's; pkey NULL: none */
    unsigned days;
};

static enum lct_code check(const struct asked *asked, struct lct_err *err)
{
    const char *const files[] = {asked->evidence, asked->key, asked->certificate,
                                 asked->judging.key, asked->judging.expected};
    unsigned num_standard = 0;

    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        num_standard += files[i] != NULL && strcmp(files[i], "-") == 0 ? 1 : 0;
    if (num_standard > 1)
        return LCT_FAIL(err, LCT_ERR_USAGE, "only one file can be standard input");
    if (asked->judging.trust == NULL || asked->judging.state == NULL || asked->key == NULL)
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "--trust, --state and --issuer-key are needed: whose TPMs are believed, "
                        "the state of your challenge, and what signs");
    if (asked->verdict == (asked->certificate != NULL))
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "one of --issuer-cert and --verdict says what is issued: a certificate of "
                        "the AK, or a signed verdict on the key");
    return LCT_OK;
}

static enum lct_code take_days(unsigned *days, const struct asked *asked, struct lct_err *err)
{
    char *end = NULL;

    *days = asked->verdict ? VERDICT_DAYS : DAYS;
    if (asked->days == NULL)
        return LCT_OK;
    unsigned long number = strtoul(asked->days, &end, 10);
    if (asked->days[0] < '0' || asked->days[0] > '9' || *end != '\0' || number == 0 ||
        number > LCT_MAX_ISSUE_DAYS)
        return LCT_FAIL(err, LCT_ERR_USAGE, "--days takes 1 to %d days", LCT_MAX_ISSUE_DAYS);
    *days = (unsigned)number;
    return LCT_OK;
}

/* All that may be wrong, or be asked for, before the state is touched. */
static enum lct_code prepare(struct issuing *issuing, struct lct_tool *tool, OSSL_LIB_CTX *libctx,
                             const struct asked *asked, struct lct_err *err)
{
    enum lct_code code = take_days(&issuing->days, asked, err);

    if (code == LCT_OK && asked->certificate != NULL)
        code = lct_judging_key(&issuing->certificate, libctx, asked->certificate, err);
    if (code == LCT_OK && asked->certificate != NULL && issuing->certificate.certificate == NULL)
        code =
            LCT_FAIL(err, LCT_ERR_USAGE, "%s is no certificate", lct_tool_file(asked->certificate));
    return code == LCT_OK ? lct_issuer_open(&issuing->issuer, tool, libctx, asked->key, err) : code;
}

static char *to_pem(const uint8_t *der, size_t der_len)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *data = NULL, *text = NULL;

    if (bio != NULL && PEM_write_bio(bio, "CERTIFICATE", "", der, (long)der_len) > 0) {
        long len = BIO_get_mem_data(bio, &data);
        text = len > 0 ? strndup(data, (size_t)len) : NULL;
    }
    BIO_free(bio);
    return text;
}

static enum lct_code issue_certificate(char **text, const struct lct_case *judged,
                                       const struct lct_issue *issue, struct lct_err *err)
{
    uint8_t *der = NULL;
    size_t der_len = 0;
    enum lct_code code =
        lct_issue_certificate(&der, &der_len, judged->libctx, judged->evidence, issue, err);

    if (code != LCT_OK)
        return code;
    *text = to_pem(der, der_len);
    OPENSSL_free(der);
    return *text != NULL ? LCT_OK : LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
}

/* What is issued, in *text, where what has to hold does. */
static enum lct_code issue(char **text, const struct lct_case *judged,
                           const struct issuing *issuing, struct lct_err *err)
{
    const struct lct_issue by = {
        .signer = &issuing->issuer.signer,
        .certificate = issuing->certificate.certificate,
        .trust = judged->trust,
        .now = judged->now,
        .days = issuing->days,
    };

    return by.certificate != NULL ? issue_certificate(text, judged, &by, err)
                                  : lct_issue_verdict(text, judged->libctx, judged->evidence,
                                                      &judged->verdict, &by, err);
}

static enum lct_code judge(struct lct_case *judged, const struct asked *asked, struct lct_err *err)
{
    json_t *document = NULL;
    enum lct_code code = lct_tool_document(&document, asked->evidence, LCT_MAX_EVIDENCE, err);

    if (code == LCT_OK)
        code = lct_case_judge(judged, lct_tool_file(asked->evidence), document,
                              asked->judging.state, err);
    json_decref(document);
    return code;
}

/* Nobody sees what is issued before the state is used up; and where it cannot be issued, though the
 * evidence holds, the state is as good as before. */
static enum lct_code judge_and_issue(struct lct_case *judged, const struct issuing *issuing,
                                     const struct asked *asked, struct lct_err *err)
{
    struct lct_err refused = {.code = LCT_OK};
    char *text = NULL;
    enum lct_code code = judge(judged, asked, err);

    if (code != LCT_OK)
        return code;
    enum lct_code verdict = lct_case_conclude(judged, &refused);
    if (verdict == LCT_OK)
        code = issue(&text, judged, issuing, err);
    if (code == LCT_OK)
        code = lct_case_use_up(judged, err);
    if (code == LCT_OK && verdict == LCT_OK)
        code = lct_tool_print(err, "%s%s", text, issuing->certificate.pkey != NULL ? "" : "\n");
    free(text);
    if (code != LCT_OK)
        return code;
    *err = refused;
    return verdict;
}

static enum lct_code run(struct lct_tool *tool, OSSL_LIB_CTX *libctx, const struct asked *asked,
                         struct lct_err *err)
{
    struct issuing issuing = {.days = 0};
    struct lct_case judged = {.trust = NULL};
    enum lct_code code = prepare(&issuing, tool, libctx, asked, err);

    if (code == LCT_OK)
        code = lct_case_open(&judged, libctx, &asked->judging, err);
    if (code == LCT_OK)
        code = judge_and_issue(&judged, &issuing, asked, err);
    lct_case_close(&judged);
    lct_issuer_close(&issuing.issuer);
    lct_ak_clear(&issuing.certificate);
    return code;
}

enum lct_code lct_attest_issue_run(struct lct_tool *tool, int argc, char **argv,
                                   struct lct_err *err)
{
    struct asked asked = {0};
    const struct lct_option options[] = {
        {"trust", &asked.judging.trust, NULL},      {"state", &asked.judging.state, NULL},
        {"key", &asked.judging.key, NULL},          {"expect-pcrs", &asked.judging.expected, NULL},
        {"require", &asked.judging.required, NULL}, {"issuer-key", &asked.key, NULL},
        {"issuer-cert", &asked.certificate, NULL},  {"days", &asked.days, NULL},
        {"verdict", NULL, &asked.verdict}};
    char **operands;
    int num_operands;
    enum lct_code code =
        lct_options_parse(tool, argc, argv, options, sizeof options / sizeof options[0], 1, 1,
                          &operands, &num_operands, err);

    if (code == LCT_OK) {
        asked.evidence = operands[0];
        code = check(&asked, err);
    }
    if (code != LCT_OK)
        return code;
    struct lct_crypto *crypto = lct_crypto_new();
    OSSL_LIB_CTX *libctx = crypto != NULL ? lct_crypto_get(crypto, err) : NULL;
    code = libctx != NULL ? run(tool, libctx, &asked, err)
                          : LCT_FAIL(err, LCT_ERR_INTERNAL, "libcrypto cannot be used");
    lct_crypto_free(crypto);
    return code;
}
