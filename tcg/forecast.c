/* SPDX-License-Identifier: Apache-2.0 */
#include "tcg/forecast.h"

#include "base/encode.h"
#include "tcg/cmdline.h"
#include "tcg/eventlog.h"

#include <openssl/evp.h>
#include <stdbool.h>
#include <string.h>

/* A forecast under way. */
struct forecast {
    OSSL_LIB_CTX *libctx;
    const struct lct_forecast_change *changes;
    size_t num_changes;
    bool found[LCT_FORECAST_MAX_CHANGES];
};

/* An event to change: its digests, in the banks of pcrs that have selected its PCR. */
struct subject {
    OSSL_LIB_CTX *libctx;
    const struct lct_event *event;
    const struct lct_pcrs *pcrs;
    uint8_t (*digests)[LCT_MAX_HASH];
};

static bool is_selected(const struct subject *subject, size_t bank)
{
    return (subject->pcrs->banks[bank].pcrs >> subject->event->pcr & 1) != 0;
}

/* A bit for each bank that has selected the event's PCR. */
static unsigned selected(const struct subject *subject)
{
    unsigned banks = 0;

    for (size_t i = 0; i < subject->pcrs->num_banks; i++)
        if (is_selected(subject, i))
            banks |= 1u << i;
    return banks;
}

static bool is_named(const struct lct_event_variable *variable, const char *name)
{
    if (strlen(name) != variable->name_len)
        return false;
    for (size_t i = 0; i < variable->name_len; i++)
        if (variable->name[2 * i] != (uint8_t)name[i] || variable->name[2 * i + 1] != 0)
            return false;
    return true;
}

struct bytes {
    const uint8_t *bytes;
    size_t len;
};

static bool hash_parts(uint8_t digest[LCT_MAX_HASH], OSSL_LIB_CTX *libctx,
                       const struct lct_hash *hash, const struct bytes *parts, size_t num_parts)
{
    EVP_MD *md = EVP_MD_fetch(libctx, hash->openssl, NULL);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = md != NULL && ctx != NULL && EVP_DigestInit_ex(ctx, md, NULL) == 1;

    for (size_t i = 0; i < num_parts && ok; i++)
        ok = EVP_DigestUpdate(ctx, parts[i].bytes, parts[i].len) == 1;
    ok = ok && EVP_DigestFinal_ex(ctx, digest, NULL) == 1;
    EVP_MD_CTX_free(ctx);
    EVP_MD_free(md);
    return ok;
}

/* UEFI_VARIABLE_DATA: GUID and length of the name, length of the content, both. */
enum { CONTENT_LEN_AT = 24 };
enum { HEAD, LENGTH, NAME, CONTENT, NUM_PARTS };

/*
 * PFP, 10.4.1: the digest is of the structure, or for the variables of the boot order perhaps of
 * their content alone: that form in which it is now, in this bank.
 */
static enum lct_code change_variable(uint8_t *digest, const struct subject *subject, size_t bank,
                                     const struct bytes before[NUM_PARTS],
                                     const struct bytes after[NUM_PARTS], struct lct_err *err)
{
    static const size_t starts[] = {HEAD, CONTENT};
    const struct lct_hash *hash = subject->pcrs->banks[bank].hash;
    uint8_t now[LCT_MAX_HASH];

    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++) {
        size_t start = starts[i], num = NUM_PARTS - start;
        if (!hash_parts(now, subject->libctx, hash, before + start, num))
            return LCT_FAIL(err, LCT_ERR_INTERNAL, "%s is not to be had from libcrypto",
                            hash->openssl);
        if (memcmp(now, digest, hash->size) != 0)
            continue;
        if (!hash_parts(digest, subject->libctx, hash, after + start, num))
            return LCT_FAIL(err, LCT_ERR_INTERNAL, "%s is not to be had from libcrypto",
                            hash->openssl);
        return LCT_OK;
    }
    return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                    "event %zu of the event log has a %s digest that is not of the variable in it: "
                    "leave out PCR %u",
                    subject->event->number, hash->name, (unsigned)subject->event->pcr);
}

static bool is_variable_event(uint32_t type)
{
    return type == lct_ev_variable_driver_config || type == lct_ev_variable_boot ||
           type == lct_ev_variable_boot2;
}

static enum lct_code apply_variable(unsigned *banks, const struct lct_forecast_change *change,
                                    const struct subject *subject, struct lct_err *err)
{
    struct lct_event_variable variable;
    uint8_t len[8];

    if (!is_variable_event(subject->event->type))
        return LCT_OK;
    if (!lct_event_variable(&variable, subject->event))
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                        "event %zu of the event log does not say which variable it is of: leave "
                        "out PCR %u",
                        subject->event->number, (unsigned)subject->event->pcr);
    if (!is_named(&variable, change->name))
        return LCT_OK;
    for (size_t i = 0; i < sizeof len; i++)
        len[i] = (uint8_t)((uint64_t)change->after_len >> (8 * i));
    struct bytes before[NUM_PARTS] = {{subject->event->bytes, CONTENT_LEN_AT},
                                      {subject->event->bytes + CONTENT_LEN_AT, sizeof len},
                                      {variable.name, 2 * variable.name_len},
                                      {variable.content, variable.content_len}};
    struct bytes after[NUM_PARTS] = {
        before[HEAD], {len, sizeof len}, before[NAME], {change->after, change->after_len}};
    for (size_t i = 0; i < subject->pcrs->num_banks; i++) {
        if (!is_selected(subject, i))
            continue;
        enum lct_code code = change_variable(subject->digests[i], subject, i, before, after, err);
        if (code != LCT_OK)
            return code;
        *banks |= 1u << i;
    }
    return LCT_OK;
}

static struct lct_cmdline cmdline_of(const struct lct_forecast_change *change)
{
    return (struct lct_cmdline){(const char *)change->before, (const char *)change->after,
                                change->before_len, change->after_len};
}

static enum lct_code apply_cmdline(unsigned *banks, const struct lct_forecast_change *change,
                                   const struct subject *subject, struct lct_err *err)
{
    const struct lct_cmdline cmdline = cmdline_of(change);
    bool found = false;
    enum lct_code code = lct_cmdline_apply(&found, &cmdline, subject->libctx, subject->event,
                                           subject->pcrs, subject->digests, err);

    *banks = code == LCT_OK && found ? selected(subject) : 0;
    return code;
}

static enum lct_code apply_digest(unsigned *banks, const struct lct_forecast_change *change,
                                  const struct subject *subject, struct lct_err *err)
{
    (void)err;
    for (size_t i = 0; i < subject->pcrs->num_banks; i++) {
        if (!is_selected(subject, i) || subject->pcrs->banks[i].hash != change->hash ||
            memcmp(subject->digests[i], change->before, change->before_len) != 0)
            continue;
        memcpy(subject->digests[i], change->after, change->after_len);
        *banks |= 1u << i;
    }
    return LCT_OK;
}

static enum lct_code check_variable(const struct lct_forecast_change *change, struct lct_err *err)
{
    if (change->name == NULL || change->name[0] == '\0')
        return LCT_FAIL(err, LCT_ERR_USAGE, "which UEFI variable changes is not said");
    return LCT_OK;
}

static enum lct_code check_cmdline(const struct lct_forecast_change *change, struct lct_err *err)
{
    const struct lct_cmdline cmdline = cmdline_of(change);

    return lct_cmdline_check(&cmdline, err);
}

static enum lct_code check_digest(const struct lct_forecast_change *change, struct lct_err *err)
{
    const struct lct_hash *hash = change->hash;

    if (hash == NULL || change->before_len != hash->size || change->after_len != hash->size ||
        memcmp(change->before, change->after, hash->size) == 0)
        return LCT_FAIL(err, LCT_ERR_USAGE, "a digest is replaced by another one of its bank");
    return LCT_OK;
}

/* By enum lct_forecast_kind. */
static const struct {
    enum lct_code (*check)(const struct lct_forecast_change *change, struct lct_err *err);
    /* Sets the bits of the banks in which it has changed the digests. */
    enum lct_code (*apply)(unsigned *banks, const struct lct_forecast_change *change,
                           const struct subject *subject, struct lct_err *err);
} kinds[] = {
    [LCT_FORECAST_VARIABLE] = {check_variable, apply_variable},
    [LCT_FORECAST_CMDLINE] = {check_cmdline, apply_cmdline},
    [LCT_FORECAST_DIGEST] = {check_digest, apply_digest},
};
enum { num_kinds = sizeof kinds / sizeof kinds[0] };

/* Every change is applied to the event as it is in the log: none to what another has made of it. */
static enum lct_code edit(void *arg, const struct lct_event *event, const struct lct_pcrs *pcrs,
                          uint8_t digests[LCT_MAX_BANKS][LCT_MAX_HASH], struct lct_err *err)
{
    struct forecast *forecast = arg;
    uint8_t changed[LCT_MAX_BANKS][LCT_MAX_HASH];
    struct subject subject = {forecast->libctx, event, pcrs, changed};
    uint8_t logged[LCT_MAX_BANKS][LCT_MAX_HASH];
    unsigned all = 0;

    memcpy(logged, digests, sizeof logged);
    for (size_t i = 0; i < forecast->num_changes; i++) {
        const struct lct_forecast_change *change = &forecast->changes[i];
        unsigned banks = 0;
        memcpy(changed, logged, sizeof changed);
        enum lct_code code = kinds[change->kind].apply(&banks, change, &subject, err);
        if (code != LCT_OK)
            return code;
        if ((banks & all) != 0)
            return LCT_FAIL(err, LCT_ERR_USAGE,
                            "two changes are of event %zu of the event log, in PCR %u: give one",
                            event->number, (unsigned)event->pcr);
        for (size_t bank = 0; bank < pcrs->num_banks; bank++)
            if ((banks >> bank & 1) != 0)
                memcpy(digests[bank], changed[bank], LCT_MAX_HASH);
        all |= banks;
        forecast->found[i] = forecast->found[i] || banks != 0;
    }
    for (size_t bank = 0; bank < pcrs->num_banks && all != 0; bank++)
        if (is_selected(&subject, bank) && (all >> bank & 1) == 0)
            return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                            "the new %s digest of event %zu of the event log, in PCR %u, is not "
                            "known: give a digest for each bank",
                            pcrs->banks[bank].hash->name, event->number, (unsigned)event->pcr);
    return LCT_OK;
}

static enum lct_code check_changes(const struct lct_forecast_change *changes, size_t num_changes,
                                   struct lct_err *err)
{
    if (num_changes > LCT_FORECAST_MAX_CHANGES)
        return LCT_FAIL(err, LCT_ERR_USAGE, "more than %d changes at once are not foretold",
                        LCT_FORECAST_MAX_CHANGES);
    for (size_t i = 0; i < num_changes; i++) {
        if ((unsigned)changes[i].kind >= num_kinds)
            return LCT_FAIL(err, LCT_ERR_USAGE, "a change of no kind that there is");
        enum lct_code code = kinds[changes[i].kind].check(&changes[i], err);
        if (code != LCT_OK)
            return code;
    }
    return LCT_OK;
}

/* Whether the log leads to what the PCRs hold: else it is of another boot, or not all of it. */
static enum lct_code check_premise(const struct lct_pcr_values *replayed,
                                   const struct lct_pcr_values *values, struct lct_err *err)
{
    for (size_t i = 0; i < values->pcrs.num_banks; i++) {
        const struct lct_pcr_bank *bank = &values->pcrs.banks[i];
        for (unsigned pcr = 0; pcr < LCT_NUM_PCRS; pcr++)
            if ((bank->pcrs >> pcr & 1) != 0 &&
                memcmp(replayed->values[i][pcr], values->values[i][pcr], bank->hash->size) != 0)
                return LCT_FAIL(err, LCT_ERR_CHECK,
                                "the event log does not explain PCR %u (%s): something that is not "
                                "in the log has been measured into it; leave it out",
                                pcr, bank->hash->name);
    }
    return LCT_OK;
}

/* What was looked for, for the message. */
static enum lct_code fail_not_found(const struct lct_forecast_change *change, struct lct_err *err)
{
    char hex[2 * LCT_MAX_HASH + 1];

    switch (change->kind) {
    case LCT_FORECAST_VARIABLE:
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                        "no event of the chosen PCRs measures the UEFI variable %.64s",
                        change->name);
    case LCT_FORECAST_DIGEST:
        lct_hex_encode(hex, change->before, change->before_len);
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                        "no event of the chosen PCRs has the %s digest %s", change->hash->name,
                        hex);
    case LCT_FORECAST_CMDLINE:
    default:
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                        "no event of the chosen PCRs measures the command line \"%.*s\"",
                        change->before_len < 256 ? (int)change->before_len : 256,
                        (const char *)change->before);
    }
}

enum lct_code lct_forecast(struct lct_pcr_values *values, OSSL_LIB_CTX *libctx, const uint8_t *log,
                           size_t log_len, const struct lct_forecast_change *changes,
                           size_t num_changes, struct lct_err *err)
{
    struct forecast forecast = {libctx, changes, num_changes, {false}};
    const struct lct_eventlog_editor editor = {edit, &forecast};
    struct lct_pcr_values replayed = {.pcrs = values->pcrs};
    enum lct_code code = check_changes(changes, num_changes, err);

    if (code == LCT_OK)
        code = lct_eventlog_replay(&replayed, libctx, log, log_len, NULL, err);
    if (code == LCT_OK)
        code = check_premise(&replayed, values, err);
    if (code == LCT_OK)
        code = lct_eventlog_replay(&replayed, libctx, log, log_len, &editor, err);
    for (size_t i = 0; i < num_changes && code == LCT_OK; i++)
        if (!forecast.found[i])
            code = fail_not_found(&changes[i], err);
    if (code == LCT_OK)
        *values = replayed;
    return code;
}
