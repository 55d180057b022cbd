/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/approver.h"

#include "store/approval.h"
#include "store/authority.h"
#include "tools/authority.h"
#include "tools/authority_key.h"
#include "tools/seal_text.h"
#include "tools/unlock.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum lct_code lct_approver_open(struct lct_approver *approver, struct lct_tool *tool,
                                const char *file, struct lct_err *err)
{
    approver->tool = tool;
    approver->file = file;
    approver->whose = "as they are now";
    approver->libctx = lct_crypto_get(tool->crypto, err);
    enum lct_code code = approver->libctx != NULL
                             ? lct_authority_key_read(&approver->pkey, tool, file, err)
                             : LCT_ERR_INTERNAL;
    if (code == LCT_OK) {
        code =
            lct_authority_public(approver->public_area, &approver->public_len, approver->pkey, err);
        if (code != LCT_OK)
            (void)lct_err_prefix(err, file);
    }
    return code == LCT_OK ? lct_authority_fingerprint(approver->fingerprint, approver->pkey,
                                                      approver->libctx, err)
                          : code;
}

void lct_approver_close(struct lct_approver *approver)
{
    EVP_PKEY_free(approver->pkey);
    free(approver->latest_dir);
    *approver = (struct lct_approver){0};
}

bool lct_approver_is_of(const struct lct_approver *approver, const struct lct_seal *seal)
{
    return (seal->kind == LCT_SEAL_AUTHORITY || seal->kind == LCT_SEAL_EITHER) &&
           seal->authority_len == approver->public_len &&
           memcmp(seal->authority, approver->public_area, approver->public_len) == 0;
}

/* Whether this was signed last: the same state under the same policyRef, for the same store. */
static bool is_latest(const struct lct_approver *approver, const struct lct_approval *approval,
                      const char *dir)
{
    const struct lct_approval *latest = &approver->latest;

    return approver->latest_dir != NULL && strcmp(approver->latest_dir, dir) == 0 &&
           memcmp(latest->policy, approval->policy, sizeof latest->policy) == 0 &&
           latest->ref_len == approval->ref_len &&
           memcmp(latest->ref, approval->ref, latest->ref_len) == 0;
}

static enum lct_code write_out(const struct lct_approver *approver,
                               const struct lct_approval *approval, struct lct_err *err)
{
    char *text = lct_approval_write(approval, approver->fingerprint), *line = NULL;
    enum lct_code code = text != NULL && asprintf(&line, "%s\n", text) >= 0
                             ? lct_tool_write(approver->out, line, err)
                             : LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");

    free(text);
    free(line);
    return code;
}

/* One approval may serve many identities: it is signed and written once. */
static enum lct_code sign(struct lct_approver *approver, struct lct_approval *approval,
                          const struct lct_pcr_values *values, const char *dir, struct lct_err *err)
{
    const time_t now = time(NULL);
    struct tm tm = {0};
    enum lct_code code =
        lct_seal_state(approval->policy, approver->libctx, values, &approval->counter, err);

    if (code != LCT_OK || is_latest(approver, approval, dir))
        return code;
    if (approver->out != NULL && approver->latest_dir != NULL)
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "--out takes one approval, and these identities need several; name one");
    if (gmtime_r(&now, &tm) == NULL ||
        strftime(approval->created, sizeof approval->created, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "the clock shows no time");
    code = lct_approval_sign(approval, approver->libctx, values, approver->pkey, err);
    if (code == LCT_OK)
        code = approver->out != NULL ? write_out(approver, approval, err)
                                     : lct_approval_put(dir, approval, approver->fingerprint, err);
    if (code != LCT_OK)
        return code;
    free(approver->latest_dir);
    approver->latest = *approval;
    approver->latest_dir = strdup(dir);
    return approver->latest_dir != NULL ? LCT_OK : LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
}

enum lct_code lct_approver_sign(struct lct_approver *approver, const struct lct_approval *under,
                                const struct lct_pcr_values *values, const char *dir,
                                const char *whom, struct lct_err *err)
{
    struct lct_approval approval = *under;
    char pcrs[LCT_PCRS_TEXT];

    approval.pcrs = values->pcrs;
    enum lct_code code = lct_pcrs_check_seal(&approval.pcrs, err);
    if (code == LCT_OK)
        code = sign(approver, &approval, values, dir, err);
    if (code != LCT_OK)
        return code;
    lct_pcrs_text(pcrs, &approval.pcrs);
    if (lct_pcr_values_are_blank(values))
        (void)fprintf(stderr,
                      "lct: %s: warning: all of %s are zero in what was approved: a boot that "
                      "nothing is measured of\n",
                      whom, pcrs);
    if (approver->out != NULL && strcmp(approver->out, "-") == 0)
        return LCT_OK; /* which is the approval's alone */
    return lct_tool_print(err, "approved for %s: %s %s, by %.*s\n", whom, pcrs, approver->whose,
                          LCT_FINGERPRINT_SHORT, approver->fingerprint);
}

/* What its counter has counted to by now; with `revoke`, what it will have. */
static enum lct_code read_counter(const struct lct_approver *approver, struct lct_counter *counter,
                                  const char *label, struct lct_err *err)
{
    const struct lct_tpm_counter_request request = {label, NULL, approver->libctx};

    if (counter->handle == 0)
        return LCT_OK;
    enum lct_code code = lct_tpm_counter_read(approver->tool->tpm, counter, &request, err);
    if (code == LCT_OK && approver->revoke)
        counter->value++;
    return code;
}

enum lct_code lct_approver_read(const struct lct_approver *approver, struct lct_pcr_values *values,
                                const char *label, struct lct_err *err)
{
    enum lct_code code = lct_tpm_read_pcrs(approver->tool->tpm, values, label, err);

    if (code != LCT_OK || approver->prediction == NULL)
        return code;
    code = lct_prediction_apply(values, approver->tool, approver->prediction, err);
    return code == LCT_OK ? code : lct_err_prefix(err, label);
}

/* The state to be approved for what has this seal. */
static enum lct_code find_values(const struct lct_approver *approver, struct lct_pcr_values *state,
                                 const struct lct_seal *seal, const struct lct_pcr_values *values,
                                 const char *label, struct lct_err *err)
{
    char pcrs[LCT_PCRS_TEXT], given[LCT_PCRS_TEXT];

    if (values == NULL)
        return lct_approver_read(approver, state, label, err);
    if (seal->kind == LCT_SEAL_AUTHORITY) {
        *state = *values;
        return LCT_OK;
    }
    if (lct_pcr_values_pick(state, &seal->pcrs.pcrs, values))
        return LCT_OK;
    lct_pcrs_text(pcrs, &seal->pcrs.pcrs);
    lct_pcrs_text(given, &values->pcrs);
    return LCT_FAIL(err, LCT_ERR_USAGE,
                    "%s: it is sealed to %s, and the values given are of %s; lct pcrs %s prints "
                    "what it takes",
                    label, pcrs, given, label);
}

static enum lct_code check_authority(const struct lct_approver *approver,
                                     const struct lct_seal *seal, const char *label,
                                     struct lct_err *err)
{
    char fingerprint[65], text[LCT_SEAL_TEXT];

    lct_seal_text(text, seal);
    if (seal->kind == LCT_SEAL_NONE || seal->kind == LCT_SEAL_AUTH)
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "%s: it is not sealed, and signs whatever was booted; there is nothing to "
                        "approve",
                        label);
    if (seal->kind == LCT_SEAL_STRICT)
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "%s: it is sealed to %s, which nobody can approve another state for", label,
                        text);
    if (lct_approver_is_of(approver, seal))
        return LCT_OK;
    lct_seal_authority(fingerprint, seal, approver->libctx);
    return LCT_FAIL(err, LCT_ERR_WRONG_KEY, "%s: its authority is %.*s, and %s is the key of %.*s",
                    label, LCT_FINGERPRINT_SHORT, fingerprint, approver->file,
                    LCT_FINGERPRINT_SHORT, approver->fingerprint);
}

/* Of one generation, whose counter, if it has one, is counted up only once the new approval is
 * there: no failure leaves the identity without one. */
static enum lct_code approve_generation(struct lct_approver *approver,
                                        const struct lct_generation *generation, const char *dir,
                                        const char *label, const struct lct_pcr_values *values,
                                        struct lct_err *err)
{
    const struct lct_seal *seal = &generation->seal;
    struct lct_approval under = {.counter = seal->counter, .ref_len = seal->ref_len};
    struct lct_pcr_values state = {.pcrs = seal->pcrs.pcrs};

    memcpy(under.ref, seal->ref, seal->ref_len);
    enum lct_code code = check_authority(approver, seal, label, err);
    if (code == LCT_OK && approver->revoke && seal->counter.handle == 0)
        code = LCT_FAIL(err, LCT_ERR_USAGE,
                        "%s: its approvals cannot be revoked; a key whose can is made with lct "
                        "create --seal authority --revocable",
                        label);
    if (code == LCT_OK)
        code = find_values(approver, &state, seal, values, label, err);
    if (code == LCT_OK)
        code = read_counter(approver, &under.counter, label, err);
    return code == LCT_OK ? lct_approver_sign(approver, &under, &state, dir, label, err) : code;
}

enum lct_code lct_approver_approve(struct lct_approver *approver, const char *id,
                                   const struct lct_pcr_values *values, struct lct_err *err)
{
    struct lct_record *record = NULL;
    const char *dir = NULL;
    char label[sizeof "lct:" + LCT_MAX_ID];
    enum lct_code code = lct_store_get_record(&approver->tool->store, id, &record, &dir, err);

    (void)snprintf(label, sizeof label, "lct:%s", id);
    if (code == LCT_OK)
        code =
            approve_generation(approver, lct_record_generation(record, 0), dir, label, values, err);
    free(record);
    return code;
}
