/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/verify.h"

#include "base/encode.h"
#include "proof/attestation.h"
#include "proof/json.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_FILE = 65536 };

const char lct_verify_arguments[] =
    "--raw-certify FILE|--raw-quote FILE --signature FILE --ak FILE [OPTION...]";
const char lct_verify_summary[] = "judge what a TPM attests; needs no TPM";
const char lct_verify_details[] =
    "Of each claim: pass, fail or not_claimed, and why. Exit status 0 only if all that is claimed\n"
    "passes. That the AK is one of a TPM is what you say with --ak: nothing else shows it.\n"
    "  --raw-certify FILE  what TPM2_Certify attests, as tpm2_certify -o writes it\n"
    "  --raw-quote FILE    what TPM2_Quote attests, as tpm2_quote -m writes it\n"
    "  --signature FILE    the signature over it, as -s writes it, in the format tss or plain\n"
    "  --ak FILE           the attestation key: TPM2B_PUBLIC, a certificate, or PEM\n"
    "  --key FILE          the key that is certified: TPM2B_PUBLIC\n"
    "  --pcrs FILE         the PCR values expected, as lct pcrs writes them\n"
    "  --nonce HEX         what the attestation has to be made for\n"
    "  --hash NAME         the hash that has to be signed; sha1 is taken only so\n"
    "  --time TIME         judge certificates as of 2026-11-29T12:00:00Z\n"
    "  --json              for programs\n"
    "At most one FILE may be -: standard input.\n";

/* What the command line says. */
struct asked {
    const char *certify, *quote, *signature, *ak, *key, *pcrs, *nonce, *hash, *time;
    bool json;
};

/* What was read: all that an attestation borrows. */
struct inputs {
    uint8_t *attest, *signature, *key;
    struct lct_ak ak;
    struct lct_pcr_values values;
    uint8_t nonce[LCT_MAX_EXTRA_DATA];
};

static void release(struct inputs *inputs)
{
    free(inputs->attest);
    free(inputs->signature);
    free(inputs->key);
    lct_ak_clear(&inputs->ak);
}

/* How many files are standard input, which can be read once. */
static unsigned num_standard(const struct asked *asked)
{
    const char *const files[] = {asked->certify, asked->quote, asked->signature,
                                 asked->ak,      asked->key,   asked->pcrs};
    unsigned num = 0;

    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        if (files[i] != NULL && strcmp(files[i], "-") == 0)
            num++;
    return num;
}

static enum lct_code check(const struct asked *asked, struct lct_err *err)
{
    if (num_standard(asked) > 1)
        return LCT_FAIL(err, LCT_ERR_USAGE, "only one file can be standard input");
    if ((asked->certify == NULL) == (asked->quote == NULL))
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "one of --raw-certify and --raw-quote says what is judged");
    if (asked->signature == NULL || asked->ak == NULL)
        return LCT_FAIL(err, LCT_ERR_USAGE, "--signature and --ak are needed");
    if (asked->key != NULL && asked->quote != NULL)
        return LCT_FAIL(err, LCT_ERR_USAGE, "--key is for --raw-certify: a quote is of no key");
    if (asked->pcrs != NULL && asked->certify != NULL)
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "--pcrs is for --raw-quote: a certification is of no PCRs");
    return LCT_OK;
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

static enum lct_code take_time(struct lct_attestation *attestation, const char *text,
                               struct lct_err *err)
{
    struct tm utc = {0};

    attestation->now = time(NULL);
    if (text == NULL)
        return LCT_OK;
    const char *end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &utc);
    if (end == NULL || *end != '\0')
        return LCT_FAIL(err, LCT_ERR_USAGE, "--time takes a time as in 2026-11-29T12:00:00Z");
    attestation->now = timegm(&utc);
    return LCT_OK;
}

static enum lct_code take_ak(struct inputs *inputs, OSSL_LIB_CTX *libctx, const char *file,
                             struct lct_err *err)
{
    uint8_t *bytes = NULL;
    size_t bytes_len = 0;
    enum lct_code code = lct_tool_read(&bytes, &bytes_len, file, MAX_FILE, err);

    if (code == LCT_OK) {
        code = lct_ak_decode(&inputs->ak, libctx, bytes, bytes_len, err);
        if (code != LCT_OK)
            (void)lct_err_prefix(err, lct_tool_file(file));
    }
    free(bytes);
    return code;
}

static enum lct_code take_values(struct lct_attestation *attestation, struct inputs *inputs,
                                 const char *file, struct lct_err *err)
{
    uint8_t *text = NULL;
    size_t text_len = 0;

    if (file == NULL)
        return LCT_OK;
    enum lct_code code = lct_tool_read(&text, &text_len, file, MAX_FILE, err);
    if (code == LCT_OK) {
        code = lct_json_pcrs_file(&inputs->values, text, text_len, err);
        if (code != LCT_OK)
            (void)lct_err_prefix(err, lct_tool_file(file));
    }
    free(text);
    attestation->values = &inputs->values;
    return code;
}

/* Everything that `attestation` borrows. */
static enum lct_code take_inputs(struct lct_attestation *attestation, struct inputs *inputs,
                                 OSSL_LIB_CTX *libctx, const struct asked *asked,
                                 struct lct_err *err)
{
    const char *attest = asked->certify != NULL ? asked->certify : asked->quote;
    enum lct_code code = take_nonce(attestation, inputs, asked->nonce, err);

    attestation->type = asked->certify != NULL ? TPM2_ST_ATTEST_CERTIFY : TPM2_ST_ATTEST_QUOTE;
    attestation->ak = &inputs->ak;
    if (code == LCT_OK)
        code = take_hash(attestation, asked->hash, err);
    if (code == LCT_OK)
        code = take_time(attestation, asked->time, err);
    if (code == LCT_OK)
        code = take_ak(inputs, libctx, asked->ak, err);
    if (code == LCT_OK)
        code = lct_tool_read(&inputs->attest, &attestation->attest_len, attest, MAX_FILE, err);
    if (code == LCT_OK)
        code = lct_tool_read(&inputs->signature, &attestation->signature_len, asked->signature,
                             MAX_FILE, err);
    if (code == LCT_OK && asked->key != NULL)
        code = lct_tool_read(&inputs->key, &attestation->key_len, asked->key, MAX_FILE, err);
    attestation->attest = inputs->attest;
    attestation->signature = inputs->signature;
    attestation->key = inputs->key;
    return code == LCT_OK ? take_values(attestation, inputs, asked->pcrs, err) : code;
}

static json_t *hex(const uint8_t *bytes, size_t bytes_len)
{
    char text[2 * LCT_MAX_EXTRA_DATA + 1];

    lct_hex_encode(text, bytes, bytes_len);
    return json_string(text);
}

/* What was attested, as it stands there: believed or not. */
static json_t *attested_json(const struct lct_attest *attest)
{
    bool quote = attest->type == TPM2_ST_ATTEST_QUOTE;
    char pcrs[LCT_PCRS_TEXT];
    json_t *json =
        json_pack("{s:o, s:o, s:I, s:I, s:I, s:b, s:o}", "signer",
                  hex(attest->signer.data, attest->signer.len), "nonce",
                  hex(attest->extra, attest->extra_len), "clock", (json_int_t)attest->clock,
                  "reset_count", (json_int_t)attest->reset_count, "restart_count",
                  (json_int_t)attest->restart_count, "safe", (int)attest->safe, "firmware_version",
                  json_sprintf("%016jx", (uintmax_t)attest->firmware_version));

    lct_pcrs_text(pcrs, &attest->pcrs);
    int failed =
        json_object_set_new(json, quote ? "pcrs" : "name",
                            quote ? json_string(pcrs) : hex(attest->name.data, attest->name.len));
    failed |=
        json_object_set_new(json, quote ? "pcr_digest" : "qualified_name",
                            quote ? hex(attest->digest, attest->digest_len)
                                  : hex(attest->qualified_name.data, attest->qualified_name.len));
    if (failed == 0)
        return json;
    json_decref(json);
    return NULL;
}

static enum lct_code print_json(const struct lct_verdict *verdict, const struct lct_attest *attest,
                                struct lct_err *err)
{
    json_t *json =
        json_pack("{s:i, s:b, s:o, s:o}", "version", 1, "holds", (int)lct_verdict_holds(verdict),
                  "claims", lct_verdict_json(verdict), "attested", attested_json(attest));
    char *text = json != NULL ? json_dumps(json, JSON_INDENT(2)) : NULL;
    enum lct_code code = text != NULL ? lct_tool_print(err, "%s\n", text)
                                      : LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");

    free(text);
    json_decref(json);
    return code;
}

static enum lct_code print_text(const struct lct_verdict *verdict, struct lct_err *err)
{
    enum lct_code code = LCT_OK;

    for (size_t i = 0; i < LCT_NUM_CLAIMS && code == LCT_OK; i++)
        code = lct_tool_print(err, "%-11s  %-15s  %s\n",
                              lct_outcome_name(verdict->findings[i].outcome),
                              lct_claim_name((enum lct_claim)i), verdict->findings[i].reason);
    return code;
}

/* The first claim that failed, as the command's error. */
static enum lct_code conclude(const struct lct_verdict *verdict, struct lct_err *err)
{
    for (size_t i = 0; i < LCT_NUM_CLAIMS; i++)
        if (verdict->findings[i].outcome == LCT_FAILED)
            return LCT_FAIL(err, LCT_ERR_REFUSED, "%s: %s", lct_claim_name((enum lct_claim)i),
                            verdict->findings[i].reason);
    return lct_verdict_holds(verdict) ? LCT_OK
                                      : LCT_FAIL(err, LCT_ERR_REFUSED, "nothing is claimed");
}

static enum lct_code verify(const struct asked *asked, OSSL_LIB_CTX *libctx, struct lct_err *err)
{
    struct lct_attestation attestation = {0};
    struct inputs inputs = {0};
    struct lct_verdict verdict;
    struct lct_attest attest;
    enum lct_code code = take_inputs(&attestation, &inputs, libctx, asked, err);

    if (code == LCT_OK)
        code = lct_attestation_judge(&verdict, &attest, libctx, &attestation, err);
    if (code == LCT_OK)
        code = asked->json ? print_json(&verdict, &attest, err) : print_text(&verdict, err);
    if (code == LCT_OK)
        code = conclude(&verdict, err);
    release(&inputs);
    return code;
}

enum lct_code lct_verify_run(struct lct_tool *tool, int argc, char **argv, struct lct_err *err)
{
    struct asked asked = {0};
    const struct lct_option options[] = {{"raw-certify", &asked.certify, NULL},
                                         {"raw-quote", &asked.quote, NULL},
                                         {"signature", &asked.signature, NULL},
                                         {"ak", &asked.ak, NULL},
                                         {"key", &asked.key, NULL},
                                         {"pcrs", &asked.pcrs, NULL},
                                         {"nonce", &asked.nonce, NULL},
                                         {"hash", &asked.hash, NULL},
                                         {"time", &asked.time, NULL},
                                         {"json", NULL, &asked.json}};
    char **operands;
    int num_operands;
    enum lct_code code =
        lct_options_parse(tool, argc, argv, options, sizeof options / sizeof options[0], 0, 0,
                          &operands, &num_operands, err);

    if (code == LCT_OK)
        code = check(&asked, err);
    if (code != LCT_OK)
        return code;
    struct lct_crypto *crypto = lct_crypto_new();
    OSSL_LIB_CTX *libctx = crypto != NULL ? lct_crypto_get(crypto, err) : NULL;
    code = libctx != NULL ? verify(&asked, libctx, err)
                          : LCT_FAIL(err, LCT_ERR_INTERNAL, "libcrypto cannot be used");
    lct_crypto_free(crypto);
    return code;
}
