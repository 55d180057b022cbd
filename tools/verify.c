/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/verify.h"

#include "export/token.h"
#include "proof/document.h"
#include "proof/evidence.h"
#include "tools/json.h"
#include "tools/verify_kinds.h"

#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

const char lct_verify_arguments[] =
    "[--trust TRUST] [--state STATE|--offline] [OPTION...] FILE | "
    "--raw-certify FILE|--raw-quote FILE --signature FILE --ak FILE [OPTION...]";
const char lct_verify_summary[] = "judge what a TPM attests, or an identity states; needs no TPM";
const char lct_verify_details[] =
    "Of each claim: pass, fail or not_claimed, and why. Exit status 0 only if what has to pass\n"
    "does, and nothing fails. FILE is evidence, as lct attest respond makes it, or a verdict that\n"
    "somebody signed, as lct attest issue does.\n"
    "  --trust TRUST        whom to believe: a directory of root certificates, or a trust file\n"
    "  --state STATE        of the challenge that is answered; it is used up\n"
    "  --offline            the challenge was somebody else's; without a certificate of the AK by\n"
    "                       a trusted issuer nothing is bound to a TPM\n"
    "  --key FILE           the key that it has to be of: PEM, a certificate, TPM2B_PUBLIC\n"
    "  --expect-pcrs FILE   the values that the PCRs have to hold, as lct pcrs writes them\n"
    "  --require CLAIM,...  claims that have to pass, too: sealed, boot_state\n"
    "  --time TIME          judge as of 2026-11-29T12:00:00Z\n"
    "  --json               for programs\n"
    "Or FILE is a statement: of lct rotate and its witnesses, lct retire, lct revoke, lct sign\n"
    "--type. --time and --json as above.\n"
    "  --old-key FILE       of a succession: the key that you knew before, as for --key\n"
    "  --key FILE           of another statement: the key that it has to be by\n"
    "  --trust TRUST        a trust file with \"witnesses\"\n"
    "  --threshold K        so many of them have to count; default: 1, without any of them 0;\n"
    "                       one more, and two at least, where the old key has not signed\n"
    "  --require-verdicts   a witness without a verdict of its own on the new key does not count\n"
    "  --counter N          of the last statement that you saw of this identity\n"
    "  --extract KIND       print what lct sign --type KIND has signed, and nothing unless it "
    "holds\n"
    "Or FILE is a Web4 document, as lct document writes it: with --key, --time and --json.\n"
    "Or what other software took from a TPM. That the AK is one of a TPM is what you say with\n"
    "--ak then, or the issuer of its certificate.\n"
    "  --raw-certify FILE   what TPM2_Certify attests, as tpm2_certify -o writes it\n"
    "  --raw-quote FILE     what TPM2_Quote attests, as tpm2_quote -m writes it\n"
    "  --signature FILE     the signature over it, as -s writes it, in the format tss or plain\n"
    "  --ak FILE            the attestation key: TPM2B_PUBLIC, a certificate, or PEM\n"
    "  --issuers FILE       with --trust: the certificates between the AK's and the issuer's, PEM\n"
    "  --key FILE           the key that is certified: TPM2B_PUBLIC\n"
    "  --pcrs FILE          the PCR values expected, as lct pcrs or tpm2_quote -o writes them\n"
    "  --nonce HEX          what the attestation has to be made for\n"
    "  --hash NAME          the hash that has to be signed; sha1 is taken only so\n"
    "At most one FILE may be -: standard input.\n";

/* How many files are standard input, which can be read once. */
static unsigned num_standard(const struct lct_verify_asked *asked, const char *operand)
{
    const struct lct_judging *judging = &asked->judging;
    const char *const files[] = {
        asked->certify, asked->quote, asked->signature,  asked->ak,      asked->issuers,
        asked->pcrs,    judging->key, judging->expected, asked->old_key, operand,
    };
    unsigned num = 0;

    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        if (files[i] != NULL && strcmp(files[i], "-") == 0)
            num++;
    return num;
}

static enum lct_code check_no_statement(const struct lct_verify_asked *asked, const char *file,
                                        struct lct_err *err)
{
    if (asked->threshold == NULL && !asked->require_verdicts && asked->old_key == NULL &&
        asked->counter == NULL && asked->extract == NULL)
        return LCT_OK;
    return LCT_FAIL(err, LCT_ERR_USAGE,
                    "--threshold, --require-verdicts, --old-key, --counter and --extract are for "
                    "statements, and %s is none",
                    file);
}

static enum lct_code check(const struct lct_verify_asked *asked, const char *operand,
                           struct lct_err *err)
{
    bool raw = asked->certify != NULL || asked->quote != NULL;

    if (num_standard(asked, operand) > 1)
        return LCT_FAIL(err, LCT_ERR_USAGE, "only one file can be standard input");
    if (raw == (operand != NULL))
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "one of FILE, --raw-certify and --raw-quote says what is judged");
    if (!raw && (asked->signature != NULL || asked->ak != NULL || asked->issuers != NULL ||
                 asked->pcrs != NULL || asked->nonce != NULL || asked->hash != NULL))
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "--signature, --ak, --issuers, --pcrs, --nonce and --hash are for "
                        "--raw-certify and --raw-quote: evidence has all of it in it");
    if (raw) {
        enum lct_code code = check_no_statement(asked, "what a TPM made", err);
        if (code != LCT_OK)
            return code;
    }
    if (asked->judging.state != NULL && asked->offline)
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "--state is of a challenge of your own, --offline without one: choose");
    if (asked->judging.state != NULL && asked->judging.trust == NULL)
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "--state needs --trust: whose TPMs are believed; the state is not used");
    return LCT_OK;
}

/* Three parts in base64url: a JWS. What is around it, a line break at its end, is left out. */
static bool is_jws(const uint8_t *text, size_t *len)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.";
    size_t end = *len, dots = 0;

    while (end > 0 && (text[end - 1] == '\n' || text[end - 1] == '\r'))
        end--;
    for (size_t i = 0; i < end; i++) {
        if (text[i] == '\0' || strchr(letters, text[i]) == NULL)
            return false;
        dots += text[i] == '.' ? 1 : 0;
    }
    *len = dots == 2 ? end : *len;
    return dots == 2;
}

/* What the file is that proves nothing, and what it is good for. */
static enum lct_code fail_kind(const char *type, struct lct_err *err)
{
    static const struct {
        const char *type, *words;
    } kinds[] = {
        {"lct-attestation-offer",
         "it is an offer, which proves nothing yet; lct attest challenge asks for a proof"},
        {"lct-attestation-challenge",
         "it is a challenge, which proves nothing; lct attest respond answers it, on the machine "
         "with the key"},
        {"lct-attestation-state",
         "it is the state of a challenge, for --state; the evidence is what lct attest respond "
         "made"},
    };

    for (size_t i = 0; type != NULL && i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(kinds[i].type, type) == 0)
            return LCT_FAIL(err, LCT_ERR_BAD_EVIDENCE, "%s", kinds[i].words);
    return LCT_FAIL(err, LCT_ERR_BAD_EVIDENCE,
                    "it is no evidence, as lct attest respond makes it, no signed verdict, no "
                    "statement and no Web4 document");
}

static enum lct_code fail_text(const uint8_t *text, size_t text_len, struct lct_err *err)
{
    static const uint8_t magic[] = {0xff, 'T', 'C', 'G'}; /* TPM 2.0 Part 2, 6.2 */

    if (text_len > sizeof magic && memcmp(text, magic, sizeof magic) == 0)
        return LCT_FAIL(err, LCT_ERR_BAD_EVIDENCE,
                        "it is a bare TPMS_ATTEST, for --raw-certify or --raw-quote");
    return fail_kind(NULL, err);
}

static bool is_statement(const json_t *document)
{
    return json_object_get(document, "payload") != NULL &&
           json_object_get(document, "signatures") != NULL;
}

/* A JWS of one signature: a Web4 document or a verdict. */
static enum lct_code verify_jws(const struct lct_verify_asked *asked, OSSL_LIB_CTX *libctx,
                                const char *file, const char *jws, size_t jws_len,
                                struct lct_err *err)
{
    enum lct_code code = check_no_statement(asked, file, err);

    if (code != LCT_OK)
        return code;
    return lct_token_is_jws(jws, jws_len)
               ? lct_verify_document(asked, libctx, file, NULL, jws, jws_len, err)
               : lct_verify_issued(asked, libctx, file, jws, jws_len, err);
}

/* Evidence, a Web4 document, or what proves nothing. */
static enum lct_code verify_document(const struct lct_verify_asked *asked, OSSL_LIB_CTX *libctx,
                                     const char *file, const json_t *document, const char *type,
                                     struct lct_err *err)
{
    enum lct_code code = check_no_statement(asked, file, err);

    if (code != LCT_OK)
        return code;
    if (type == NULL && lct_token_is(document))
        return lct_verify_document(asked, libctx, file, document, NULL, 0, err);
    if (type != NULL && strcmp(type, "lct-attestation-evidence") == 0)
        return lct_verify_evidence(asked, libctx, file, document, err);
    (void)fail_kind(type, err);
    return lct_err_prefix(err, file);
}

static enum lct_code verify_text(const struct lct_verify_asked *asked, OSSL_LIB_CTX *libctx,
                                 const char *file, const uint8_t *text, size_t text_len,
                                 struct lct_err *err)
{
    json_t *document = NULL;
    const char *type = NULL;
    size_t len = text_len;

    if (is_jws(text, &len))
        return verify_jws(asked, libctx, file, (const char *)text, len, err);
    if (lct_document_read(&document, &type, text, text_len, err) != LCT_OK) {
        if (text_len > 0 && text[0] != '{')
            (void)fail_text(text, text_len, err);
        return lct_err_prefix(err, file);
    }
    enum lct_code code = is_statement(document)
                             ? lct_verify_statement(asked, libctx, file, text, text_len, err)
                             : verify_document(asked, libctx, file, document, type, err);
    json_decref(document);
    return code;
}

static enum lct_code verify_file(const struct lct_verify_asked *asked, OSSL_LIB_CTX *libctx,
                                 const char *file, struct lct_err *err)
{
    uint8_t *text = NULL;
    size_t text_len = 0;
    enum lct_code code = lct_tool_read_sent(&text, &text_len, file, LCT_MAX_EVIDENCE, err);

    if (code == LCT_OK)
        code = verify_text(asked, libctx, lct_tool_file(file), text, text_len, err);
    free(text);
    return code;
}

static enum lct_code run(const struct lct_verify_asked *asked, const char *file,
                         struct lct_err *err)
{
    struct lct_crypto *crypto = lct_crypto_new();
    OSSL_LIB_CTX *libctx = crypto != NULL ? lct_crypto_get(crypto, err) : NULL;
    enum lct_code code = LCT_OK;

    if (libctx == NULL)
        code = LCT_FAIL(err, LCT_ERR_INTERNAL, "libcrypto cannot be used");
    else
        code = file != NULL ? verify_file(asked, libctx, file, err)
                            : lct_verify_raw(asked, libctx, err);
    lct_crypto_free(crypto);
    return code;
}

enum lct_code lct_verify_run(struct lct_tool *tool, int argc, char **argv, struct lct_err *err)
{
    struct lct_verify_asked asked = {0};
    const struct lct_option options[] = {{"raw-certify", &asked.certify, NULL},
                                         {"raw-quote", &asked.quote, NULL},
                                         {"signature", &asked.signature, NULL},
                                         {"ak", &asked.ak, NULL},
                                         {"issuers", &asked.issuers, NULL},
                                         {"pcrs", &asked.pcrs, NULL},
                                         {"nonce", &asked.nonce, NULL},
                                         {"hash", &asked.hash, NULL},
                                         {"trust", &asked.judging.trust, NULL},
                                         {"state", &asked.judging.state, NULL},
                                         {"offline", NULL, &asked.offline},
                                         {"key", &asked.judging.key, NULL},
                                         {"expect-pcrs", &asked.judging.expected, NULL},
                                         {"require", &asked.judging.required, NULL},
                                         {"time", &asked.judging.time, NULL},
                                         {"threshold", &asked.threshold, NULL},
                                         {"require-verdicts", NULL, &asked.require_verdicts},
                                         {"old-key", &asked.old_key, NULL},
                                         {"counter", &asked.counter, NULL},
                                         {"extract", &asked.extract, NULL},
                                         {"json", NULL, &asked.json}};
    char **operands;
    int num_operands;
    enum lct_code code =
        lct_options_parse(tool, argc, argv, options, sizeof options / sizeof options[0], 0, 1,
                          &operands, &num_operands, err);
    const char *file = code == LCT_OK && num_operands == 1 ? operands[0] : NULL;

    if (code == LCT_OK)
        code = check(&asked, file, err);
    return code == LCT_OK ? run(&asked, file, err) : code;
}
