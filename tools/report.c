/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/report.h"

#include "base/encode.h"
#include "tools/terminal.h"
#include "tools/tool.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>

enum { CLAIM_NAMES = 256 };

static enum lct_code fail_name(const char *name, size_t len, struct lct_err *err)
{
    char names[CLAIM_NAMES] = "";
    size_t used = 0;

    for (size_t i = 0; i < LCT_NUM_CLAIMS && used < sizeof names; i++)
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", i > 0 ? ", " : "",
                                 lct_claim_name((enum lct_claim)i));
    return LCT_FAIL(err, LCT_ERR_USAGE, "there is no claim \"%.*s\"; they are %s",
                    (int)(len < 40 ? len : 40), name, names);
}

static bool add_claim(unsigned *claims, const char *name, size_t len)
{
    for (size_t i = 0; i < LCT_NUM_CLAIMS; i++) {
        const char *known = lct_claim_name((enum lct_claim)i);
        if (strlen(known) == len && memcmp(known, name, len) == 0) {
            *claims |= 1u << i;
            return true;
        }
    }
    return false;
}

enum lct_code lct_report_claims(unsigned *claims, const char *text, struct lct_err *err)
{
    *claims = 0;
    while (text != NULL) {
        size_t len = strcspn(text, ",");
        if (!add_claim(claims, text, len))
            return fail_name(text, len, err);
        text = text[len] == ',' ? text + len + 1 : NULL;
    }
    return LCT_OK;
}

enum lct_code lct_report_print(const struct lct_verdict *verdict, struct lct_err *err)
{
    enum lct_code code = LCT_OK;
    char word[LCT_TERMINAL_WORD];

    for (size_t i = 0; i < LCT_NUM_CLAIMS && code == LCT_OK; i++) {
        const struct lct_finding *finding = &verdict->findings[i];
        code = lct_tool_print(err, "%s  %-15s  ",
                              lct_terminal_word(word, lct_outcome_name(finding->outcome), 11),
                              lct_claim_name((enum lct_claim)i));
        if (code == LCT_OK)
            code = lct_terminal_print(err, 30, finding->reason);
    }
    return code;
}

static json_t *hex(const uint8_t *bytes, size_t bytes_len)
{
    char text[2 * LCT_MAX_EXTRA_DATA + 1];

    lct_hex_encode(text, bytes, bytes_len);
    return json_string(text);
}

json_t *lct_report_attested(const struct lct_attest *attest)
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

char *lct_report_pem(EVP_PKEY *pkey, OSSL_LIB_CTX *libctx)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *data = NULL, *text = NULL;

    if (bio != NULL && PEM_write_bio_PUBKEY_ex(bio, pkey, libctx, NULL) == 1) {
        long len = BIO_get_mem_data(bio, &data);
        text = len > 0 ? strndup(data, (size_t)len) : NULL;
    }
    BIO_free(bio);
    return text;
}

static enum lct_code conclude_failed(const struct lct_verdict *verdict, struct lct_err *err)
{
    for (size_t i = 0; i < LCT_NUM_CLAIMS; i++)
        if (verdict->findings[i].outcome == LCT_FAILED)
            return LCT_FAIL(err, LCT_ERR_REFUSED, "%s: %s", lct_claim_name((enum lct_claim)i),
                            verdict->findings[i].reason);
    return LCT_OK;
}

static enum lct_code conclude_required(const struct lct_verdict *verdict, unsigned required,
                                       struct lct_err *err)
{
    for (size_t i = 0; i < LCT_NUM_CLAIMS; i++)
        if ((required & 1u << i) != 0 && verdict->findings[i].outcome != LCT_PASSED)
            return LCT_FAIL(err, LCT_ERR_REFUSED, "%s is not claimed: %s",
                            lct_claim_name((enum lct_claim)i), verdict->findings[i].reason);
    return lct_verdict_holds(verdict) ? LCT_OK
                                      : LCT_FAIL(err, LCT_ERR_REFUSED, "nothing is claimed");
}

enum lct_code lct_report_conclude(const struct lct_verdict *verdict, unsigned required,
                                  struct lct_err *err)
{
    enum lct_code code = conclude_failed(verdict, err);

    return code == LCT_OK ? conclude_required(verdict, required, err) : code;
}

enum lct_code lct_report_conclude_bound(const struct lct_verdict *verdict, unsigned required,
                                        struct lct_err *err)
{
    enum lct_code code = conclude_failed(verdict, err);

    if (code == LCT_OK && verdict->findings[LCT_CLAIM_AK_BOUND].outcome != LCT_PASSED &&
        verdict->findings[LCT_CLAIM_KEY_RESIDENT].outcome != LCT_PASSED)
        return LCT_FAIL(err, LCT_ERR_UNBOUND,
                        "nothing binds it to a TPM: what an unknown key signed and the certificate "
                        "of an endorsement key, which anybody can copy, show nothing by "
                        "themselves; judge it with the --state of its challenge, or --trust the "
                        "issuer of its AK's certificate");
    return code == LCT_OK ? conclude_required(verdict, required, err) : code;
}
