/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/json.h"
#include "tools/report.h"
#include "tools/terminal.h"
#include "tools/tool.h"
#include "tools/verify_kinds.h"

#include "base/encode.h"
#include "proof/ending.h"
#include "proof/payload.h"
#include "proof/signed_statement.h"
#include "proof/succession.h"

#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A statement as it is judged. */
struct judging {
    OSSL_LIB_CTX *libctx;
    const struct lct_verify_asked *asked;
    struct lct_jws_general jws;
    struct lct_trust *trust; /* NULL: nobody */
    struct lct_ak key;       /* pkey NULL: none was given */
    struct lct_judgement_request request;
    struct lct_judgement judgement;
};

static enum lct_code take_number(unsigned *number, const char *option, const char *text,
                                 struct lct_err *err)
{
    char *end = NULL;
    unsigned long value = strtoul(text, &end, 10);

    if (text[0] < '0' || text[0] > '9' || *end != '\0' || value > UINT_MAX - 1)
        return LCT_FAIL(err, LCT_ERR_USAGE, "--%s takes a number", option);
    *number = (unsigned)value;
    return LCT_OK;
}

static enum lct_code take_key(struct judging *judging, const char *file, struct lct_err *err)
{
    enum lct_code code = lct_judging_identity(&judging->key, judging->libctx, file, err);

    judging->request.key = judging->key.pkey;
    return code;
}

/* What is asked of every kind. */
static enum lct_code open_request(struct judging *judging, struct lct_err *err)
{
    const struct lct_verify_asked *asked = judging->asked;
    enum lct_code code = lct_judging_time(&judging->request.now, asked->judging.time, err);

    if (code == LCT_OK && asked->counter != NULL)
        code = take_number(&judging->request.counter, "counter", asked->counter, err);
    if (code == LCT_OK && asked->judging.trust != NULL)
        code = lct_trust_read(&judging->trust, judging->libctx, asked->judging.trust, err);
    judging->request.trust = judging->trust;
    return code;
}

static enum lct_code check_options(const struct lct_verify_asked *asked, struct lct_err *err)
{
    const struct lct_judging *judging = &asked->judging;

    if (judging->state != NULL || judging->expected != NULL || judging->required != NULL ||
        asked->offline)
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "this is a statement, of no challenge: --state, --offline, --expect-pcrs "
                        "and --require are for evidence");
    return LCT_OK;
}

static enum lct_code check_alone(const struct lct_verify_asked *asked, struct lct_err *err)
{
    if (asked->threshold != NULL || asked->require_verdicts || asked->old_key != NULL)
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "this statement is of one key and has no witnesses: --threshold, "
                        "--require-verdicts and --old-key are for successions, --key says which "
                        "key it has to be by");
    return LCT_OK;
}

/* Who names witnesses has one ask at least. */
static enum lct_code take_threshold(struct judging *judging, struct lct_err *err)
{
    const struct lct_verify_asked *asked = judging->asked;

    if ((asked->threshold != NULL || asked->require_verdicts) && asked->judging.trust == NULL)
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "--threshold and --require-verdicts are of witnesses; --trust says who is "
                        "one");
    if (asked->judging.key != NULL)
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "a succession is of two keys; --old-key says which one the old one has to "
                        "be");
    judging->request.require_verdicts = asked->require_verdicts;
    judging->request.threshold =
        judging->trust != NULL && lct_trust_has_witnesses(judging->trust) ? 1 : 0;
    enum lct_code code = asked->threshold != NULL ? take_number(&judging->request.threshold,
                                                                "threshold", asked->threshold, err)
                                                  : LCT_OK;
    if (code == LCT_OK && asked->require_verdicts && judging->request.threshold == 0)
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "--require-verdicts is of witnesses, and no witness is asked for: the "
                        "trust file names none (\"witnesses\"), or --threshold is 0");
    return code;
}

static json_t *maybe(const char *text)
{
    return text[0] != '\0' ? json_string(text) : json_null();
}

static json_t *subject_json(const struct lct_subject *subject, OSSL_LIB_CTX *libctx)
{
    char name[2 * sizeof subject->name.data + 1] = "", kid[65] = "";
    EVP_PKEY *pkey = lct_subject_pkey(subject, libctx);
    char *pem = pkey != NULL ? lct_report_pem(pkey, libctx) : NULL;

    lct_hex_encode(name, subject->name.data, subject->name.len);
    (void)lct_subject_kid(kid, subject, libctx, NULL);
    json_t *json = json_pack("{s:i, s:s, s:s, s:o, s:s, s:s}", "generation",
                             (int)subject->generation, "algorithm", subject->algorithm, "custody",
                             subject->software ? "software" : "tpm", "name", maybe(name), "sha256",
                             kid, "public_key", pem != NULL ? pem : "");
    EVP_PKEY_free(pkey);
    free(pem);
    return json;
}

static json_t *finding_json(const struct lct_signature_finding *finding)
{
    json_t *verdict = finding->issued[0] == '\0'
                          ? json_null()
                          : json_pack("{s:s, s:s, s:s}", "issued", finding->issued, "expires",
                                      finding->expires, "evidence", finding->evidence);

    return json_pack("{s:s, s:s, s:b, s:b, s:o, s:s, s:o}", "role", lct_role_name(finding->role),
                     "kid", finding->kid, "good", (int)finding->good, "counted",
                     (int)finding->counted, "time", maybe(finding->time), "reason", finding->reason,
                     "verdict", verdict);
}

/* What all kinds have, with what is this kind's own, which is taken over. */
static json_t *judgement_json(const struct judging *judging, const char *kind, json_t *own)
{
    const struct lct_judgement *judgement = &judging->judgement;
    json_t *signatures = json_array();
    bool good = signatures != NULL;

    for (size_t i = 0; i < judgement->num_signatures && good; i++)
        good = json_array_append_new(signatures, finding_json(&judgement->signatures[i])) == 0;
    json_t *json = json_pack("{s:i, s:b, s:s, s:o, s:o, s:{s:i, s:i}}", "version", 1, "holds",
                             (int)judgement->holds, "kind", kind, "fault", maybe(judgement->reason),
                             "signatures", signatures, "witnesses", "needed",
                             (int)judgement->needed, "counted", (int)judgement->counted);
    if (!good || json == NULL || own == NULL || json_object_update(json, own) != 0) {
        json_decref(json);
        json = NULL;
    }
    json_decref(own);
    return json;
}

static enum lct_code print_subject(const char *label, const struct lct_subject *subject,
                                   OSSL_LIB_CTX *libctx, struct lct_err *err)
{
    char kid[65];
    enum lct_code code = lct_subject_kid(kid, subject, libctx, err);

    return code == LCT_OK ? lct_tool_print(err,
                                           "%-12s generation %u, %s, custody: %s\n"
                                           "SHA-256      %s\n",
                                           label, subject->generation, subject->algorithm,
                                           subject->software ? "software" : "tpm", kid)
                          : code;
}

static const char *outcome_of(const struct lct_signature_finding *finding)
{
    if (finding->counted)
        return "counted";
    return finding->good ? "good" : finding->bad ? "bad" : "unknown";
}

static enum lct_code print_signatures(const struct judging *judging, struct lct_err *err)
{
    const struct lct_judgement *judgement = &judging->judgement;
    enum lct_code code = LCT_OK;
    char word[LCT_TERMINAL_WORD];

    for (size_t i = 0; i < judgement->num_signatures && code == LCT_OK; i++) {
        const struct lct_signature_finding *finding = &judgement->signatures[i];
        code = lct_tool_print(err, "%s  %-8s %.16s  ",
                              lct_terminal_word(word, outcome_of(finding), 11),
                              lct_role_name(finding->role), finding->kid);
        if (code == LCT_OK)
            code = lct_terminal_print(err, 40, finding->reason);
    }
    return code;
}

/* A statement by a key that nobody knew before says nothing of who it is. */
static enum lct_code print_known(const struct judging *judging, const char *option, const char *id,
                                 struct lct_err *err)
{
    if (judging->request.key != NULL)
        return LCT_OK;
    return lct_tool_print(err,
                          "note         that this key is lct:%s's is only what it says: compare it "
                          "with the one that you knew before, --%s FILE\n",
                          id, option);
}

static json_t *succession_json(const struct judging *judging,
                               const struct lct_succession *succession)
{
    return judgement_json(judging, "succession",
                          json_pack("{s:s, s:I, s:s, s:s, s:o, s:o, s:o}", "id", succession->id,
                                    "counter", (json_int_t)succession->counter, "reason",
                                    succession->reason, "created", succession->created, "old",
                                    subject_json(&succession->old_key, judging->libctx), "new",
                                    subject_json(&succession->new_key, judging->libctx), "evidence",
                                    maybe(succession->evidence)));
}

static enum lct_code print_succession(const struct judging *judging,
                                      const struct lct_succession *succession, struct lct_err *err)
{
    enum lct_code code = lct_tool_print(
        err, "succession   of lct:%s, counter %u, %s\ncreated      %s\n", succession->id,
        succession->counter, succession->reason, succession->created);

    if (code == LCT_OK)
        code = print_subject("old key", &succession->old_key, judging->libctx, err);
    if (code == LCT_OK)
        code = print_subject("new key", &succession->new_key, judging->libctx, err);
    if (code == LCT_OK && succession->evidence[0] != '\0')
        code = lct_tool_print(err, "evidence     SHA-256 %s\n", succession->evidence);
    if (code == LCT_OK)
        code = print_signatures(judging, err);
    if (code == LCT_OK)
        code = lct_tool_print(err, "witnesses    %u of the %u needed\n", judging->judgement.counted,
                              judging->judgement.needed);
    return code == LCT_OK ? print_known(judging, "old-key", succession->id, err) : code;
}

static enum lct_code verify_succession(struct judging *judging, struct lct_err *err)
{
    struct lct_succession succession;
    enum lct_code code = take_threshold(judging, err);

    if (code == LCT_OK && judging->asked->old_key != NULL)
        code = take_key(judging, judging->asked->old_key, err);
    if (code == LCT_OK)
        code = lct_succession_read(&succession, judging->libctx, &judging->jws, err);
    if (code != LCT_OK)
        return code;
    lct_succession_judge(&judging->judgement, judging->libctx, &succession, &judging->jws,
                         &judging->request);
    return judging->asked->json ? lct_tool_print_json(succession_json(judging, &succession), err)
                                : print_succession(judging, &succession, err);
}

static json_t *end_json(const struct judging *judging, const struct lct_end *end)
{
    return judgement_json(judging, "end",
                          json_pack("{s:s, s:I, s:s, s:o, s:s, s:o}", "id", end->id, "counter",
                                    (json_int_t)end->counter, "ending",
                                    end->revoked ? "revoked" : "retired", "reason",
                                    maybe(end->reason), "created", end->created, "key",
                                    subject_json(&end->key, judging->libctx)));
}

static enum lct_code print_end(const struct judging *judging, const struct lct_end *end,
                               struct lct_err *err)
{
    enum lct_code code = lct_tool_print(
        err, "end          of lct:%s, counter %u: %s%s%s\ncreated      %s\n", end->id, end->counter,
        end->revoked ? "revoked" : "retired", end->revoked ? ", " : "", end->reason, end->created);

    if (code == LCT_OK)
        code = print_subject("key", &end->key, judging->libctx, err);
    if (code == LCT_OK)
        code = print_signatures(judging, err);
    return code == LCT_OK ? print_known(judging, "key", end->id, err) : code;
}

static enum lct_code verify_end(struct judging *judging, struct lct_err *err)
{
    struct lct_end end;
    enum lct_code code = check_alone(judging->asked, err);

    if (code == LCT_OK && judging->asked->judging.key != NULL)
        code = take_key(judging, judging->asked->judging.key, err);
    if (code == LCT_OK)
        code = lct_end_read(&end, judging->libctx, &judging->jws, err);
    if (code != LCT_OK)
        return code;
    lct_end_judge(&judging->judgement, judging->libctx, &end, &judging->jws, &judging->request);
    return judging->asked->json ? lct_tool_print_json(end_json(judging, &end), err)
                                : print_end(judging, &end, err);
}

static json_t *signed_json(const struct judging *judging,
                           const struct lct_signed_statement *statement)
{
    size_t size = lct_base64url_size(statement->content_len);
    char *content = malloc(size + 1);
    json_t *json = NULL;

    if (content == NULL)
        return NULL;
    lct_base64url_encode(content, statement->content, statement->content_len);
    json = json_pack("{s:s, s:I, s:s, s:s, s:s}", "id", statement->id, "generation",
                     (json_int_t)statement->generation, "created", statement->created, "type",
                     statement->kind, "content", content);
    free(content);
    return judgement_json(judging, "statement", json);
}

static enum lct_code print_signed(const struct judging *judging,
                                  const struct lct_signed_statement *statement, struct lct_err *err)
{
    enum lct_code code = lct_tool_print(
        err, "statement    of lct:%s generation %u: \"%s\", %zu bytes\ncreated      %s\n",
        statement->id, statement->generation, statement->kind, statement->content_len,
        statement->created);

    return code == LCT_OK ? print_signatures(judging, err) : code;
}

/* The content alone, for whoever meant that kind: what is said as another kind may look the same.
 */
static enum lct_code extract_signed(const struct judging *judging,
                                    const struct lct_signed_statement *statement,
                                    struct lct_err *err)
{
    if (!judging->judgement.holds)
        return LCT_OK; /* lct_verify_statement says why not */
    if (strcmp(statement->kind, judging->asked->extract) != 0)
        return LCT_FAIL(err, LCT_ERR_REFUSED, "the statement is of the kind %s, not %.64s",
                        statement->kind, judging->asked->extract);
    if (fwrite(statement->content, 1, statement->content_len, stdout) != statement->content_len)
        return LCT_FAIL(err, LCT_ERR_IO, "standard output cannot be written");
    return LCT_OK;
}

/* Its key is not in it. */
static enum lct_code check_signed(const struct lct_verify_asked *asked, struct lct_err *err)
{
    enum lct_code code = check_alone(asked, err);

    if (code == LCT_OK && asked->counter != NULL)
        return LCT_FAIL(err, LCT_ERR_USAGE, "this statement has no counter");
    if (code == LCT_OK && asked->extract != NULL && asked->json)
        return LCT_FAIL(err, LCT_ERR_USAGE, "--extract prints the content alone, without --json");
    if (code == LCT_OK && asked->judging.key == NULL)
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "the statement does not have the key in it that signed it; --key FILE says "
                        "which key it has to be");
    return code;
}

static enum lct_code say_signed(const struct judging *judging,
                                const struct lct_signed_statement *statement, struct lct_err *err)
{
    if (judging->asked->extract != NULL)
        return extract_signed(judging, statement, err);
    return judging->asked->json ? lct_tool_print_json(signed_json(judging, statement), err)
                                : print_signed(judging, statement, err);
}

static enum lct_code verify_signed(struct judging *judging, struct lct_err *err)
{
    struct lct_signed_statement statement = {.content = NULL};
    enum lct_code code = check_signed(judging->asked, err);

    if (code == LCT_OK)
        code = take_key(judging, judging->asked->judging.key, err);
    if (code == LCT_OK)
        code = lct_signed_statement_read(&statement, &judging->jws, err);
    if (code == LCT_OK) {
        lct_signed_statement_judge(&judging->judgement, judging->libctx, &statement, &judging->jws,
                                   &judging->request);
        code = say_signed(judging, &statement, err);
    }
    lct_signed_statement_clear(&statement);
    return code;
}

static enum lct_code verify(struct judging *judging, struct lct_err *err)
{
    enum lct_payload kind = lct_payload_kind(&judging->jws);

    if (judging->asked->extract != NULL && kind != LCT_PAYLOAD_STATEMENT)
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "--extract is of what lct sign --type has signed, and this is not");
    switch (kind) {
    case LCT_PAYLOAD_SUCCESSION:
        return verify_succession(judging, err);
    case LCT_PAYLOAD_END:
        return verify_end(judging, err);
    case LCT_PAYLOAD_STATEMENT:
        return verify_signed(judging, err);
    default:
        return LCT_FAIL(err, LCT_ERR_BAD_EVIDENCE,
                        "it is signed as statements are, but says no such thing as lct rotate, "
                        "lct retire, lct revoke and lct sign --type make it");
    }
}

enum lct_code lct_verify_statement(const struct lct_verify_asked *asked, OSSL_LIB_CTX *libctx,
                                   const char *file, const uint8_t *text, size_t text_len,
                                   struct lct_err *err)
{
    struct judging *judging = calloc(1, sizeof *judging);
    enum lct_code code = check_options(asked, err);

    if (judging == NULL)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    judging->libctx = libctx;
    judging->asked = asked;
    if (code == LCT_OK)
        code = open_request(judging, err);
    if (code == LCT_OK)
        code = lct_jws_general_read(&judging->jws, text, text_len, err);
    if (code == LCT_OK)
        code = verify(judging, err);
    if (code == LCT_ERR_BAD_EVIDENCE || code == LCT_ERR_UNSUPPORTED)
        code = lct_err_prefix(err, file);
    if (code == LCT_OK && !judging->judgement.holds)
        code = LCT_FAIL(err, LCT_ERR_REFUSED, "%s: %s", file, judging->judgement.reason);
    lct_jws_general_clear(&judging->jws);
    lct_ak_clear(&judging->key);
    lct_trust_free(judging->trust);
    free(judging);
    return code;
}
