/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/predict.h"

#include "base/encode.h"
#include "tcg/cmdline.h"
#include "tcg/eventlog.h"
#include "tcg/forecast.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_VARIABLE = 1 << 20, ATTRIBUTES = 4 /* bytes, of a file in efivarfs */ };

/* Changes as lct_forecast takes them, and what they borrow from. */
struct changes {
    const struct lct_prediction *prediction;
    const struct lct_pcr_values *values;
    size_t num, num_held;
    struct lct_forecast_change all[LCT_MAX_VALUES];
    uint8_t *held[2 * LCT_MAX_VALUES];
};

static uint8_t *hold(struct changes *changes, uint8_t *bytes)
{
    if (bytes != NULL)
        changes->held[changes->num_held++] = bytes;
    return bytes;
}

/*
 * EFI_VARIABLE_AUTHENTICATION_2 (UEFI 2.10, 8.2.2): a time, and a WIN_CERTIFICATE of revision 2.0
 * and type WIN_CERT_TYPE_EFI_GUID. That is what is sent to the firmware, and not what it keeps.
 */
static bool is_signed_update(const uint8_t *bytes, size_t bytes_len)
{
    static const uint8_t certificate[] = {0x00, 0x02, 0xf1, 0x0e};
    enum { AT = 16 + 4 };

    return bytes_len >= AT + sizeof certificate &&
           memcmp(bytes + AT, certificate, sizeof certificate) == 0;
}

static enum lct_code take_variable(struct changes *changes, struct lct_forecast_change *change,
                                   const char *file, struct lct_err *err)
{
    static const char efivars[] = "/sys/firmware/efi/efivars/";
    uint8_t *bytes = NULL;
    size_t bytes_len = 0;
    enum lct_code code = lct_tool_read(&bytes, &bytes_len, file, MAX_VARIABLE, err);
    size_t skip = strncmp(file, efivars, sizeof efivars - 1) == 0 ? ATTRIBUTES : 0;

    if (code != LCT_OK)
        return code;
    (void)hold(changes, bytes);
    if (is_signed_update(bytes, bytes_len))
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "%s is a signed update of %s; the prediction takes what the variable will "
                        "hold after it",
                        file, change->name);
    skip = skip < bytes_len ? skip : bytes_len;
    change->after = bytes + skip;
    change->after_len = bytes_len - skip;
    return LCT_OK;
}

/* The new one is of the same BOOT_IMAGE, unless it says so itself: GRUB puts it in front. */
static uint8_t *with_image(struct lct_forecast_change *change, const char *text)
{
    static const char image[] = "BOOT_IMAGE=";
    const char *before = (const char *)change->before;
    bool adds = strncmp(before, image, sizeof image - 1) == 0 &&
                strncmp(text, image, sizeof image - 1) != 0;
    char *after = NULL;

    int len = asprintf(&after, "%.*s%s%s", adds ? (int)strcspn(before, " ") : 0, before,
                       adds ? " " : "", text);
    if (len < 0)
        return NULL;
    change->after = (const uint8_t *)after;
    change->after_len = (size_t)len;
    return (uint8_t *)after;
}

static enum lct_code take_cmdline(struct changes *changes, struct lct_forecast_change *change,
                                  const char *text, struct lct_err *err)
{
    const struct lct_prediction *prediction = changes->prediction;
    const char *file = prediction->cmdline != NULL ? prediction->cmdline : "/proc/cmdline";
    uint8_t *bytes = NULL;
    size_t bytes_len = 0;
    enum lct_code code = lct_tool_read(&bytes, &bytes_len, file, LCT_CMDLINE_MAX, err);

    if (code != LCT_OK)
        return code;
    (void)hold(changes, bytes);
    bytes_len = strcspn((const char *)bytes, "\n");
    bytes[bytes_len] = '\0';
    change->before = bytes;
    change->before_len = bytes_len;
    return hold(changes, with_image(change, text)) != NULL
               ? LCT_OK
               : LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
}

/* Hexadecimal of either case. */
static bool read_hex(uint8_t bytes[LCT_MAX_HASH], size_t *bytes_len, const char *text,
                     size_t text_len)
{
    char lower[2 * LCT_MAX_HASH + 1];

    if (text_len >= sizeof lower)
        return false;
    for (size_t i = 0; i < text_len; i++)
        lower[i] = (char)tolower((unsigned char)text[i]);
    lower[text_len] = '\0';
    return lct_hex_decode(bytes, bytes_len, LCT_MAX_HASH, lower);
}

/* OLD:NEW, of one size, which is not empty. */
static bool read_digests(uint8_t before[LCT_MAX_HASH], uint8_t after[LCT_MAX_HASH], size_t *len,
                         const char *text)
{
    size_t colon = strcspn(text, ":"), after_len = 0;

    return text[colon] == ':' && read_hex(before, len, text, colon) &&
           read_hex(after, &after_len, text + colon + 1, strlen(text + colon + 1)) &&
           after_len == *len && after_len > 0;
}

/* The bank is that whose digests are of this size. */
static enum lct_code take_digest(struct changes *changes, struct lct_forecast_change *change,
                                 const char *text, struct lct_err *err)
{
    const struct lct_pcrs *pcrs = &changes->values->pcrs;
    uint8_t *before = hold(changes, malloc(LCT_MAX_HASH));
    uint8_t *after = hold(changes, malloc(LCT_MAX_HASH));

    if (before == NULL || after == NULL ||
        !read_digests(before, after, &change->before_len, text)) /* it was checked before */
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    change->after_len = change->before_len;
    change->before = before;
    change->after = after;
    for (size_t i = 0; i < pcrs->num_banks && change->hash == NULL; i++)
        if (pcrs->banks[i].hash->size == change->before_len)
            change->hash = pcrs->banks[i].hash;
    return change->hash != NULL
               ? LCT_OK
               : LCT_FAIL(err, LCT_ERR_USAGE,
                          "no bank that matters here has digests of %zu bytes, as \"%s\" has",
                          change->before_len, text);
}

static enum lct_code check_file(const char *text, struct lct_err *err)
{
    return text[0] != '\0' ? LCT_OK
                           : LCT_FAIL(err, LCT_ERR_USAGE,
                                      "--predict takes a file with what the variable will hold, as "
                                      "in dbx=FILE, and its name is empty");
}

static enum lct_code check_digests(const char *text, struct lct_err *err)
{
    uint8_t before[LCT_MAX_HASH], after[LCT_MAX_HASH];
    size_t len = 0;

    return read_digests(before, after, &len, text)
               ? LCT_OK
               : LCT_FAIL(err, LCT_ERR_USAGE,
                          "\"%s\" is not two digests of one size in hexadecimal, OLD:NEW", text);
}

static enum lct_code check_nothing(const char *text, struct lct_err *err)
{
    (void)text;
    (void)err;
    return LCT_OK;
}

/* What can be foretold, by the word before "=": `check` is of what can be known to be wrong before
 * anything is read. */
static const struct form {
    const char *name;
    enum lct_forecast_kind kind;
    enum lct_code (*check)(const char *text, struct lct_err *err);
    enum lct_code (*take)(struct changes *changes, struct lct_forecast_change *change,
                          const char *text, struct lct_err *err);
} forms[] = {
    {"PK", LCT_FORECAST_VARIABLE, check_file, take_variable},
    {"KEK", LCT_FORECAST_VARIABLE, check_file, take_variable},
    {"db", LCT_FORECAST_VARIABLE, check_file, take_variable},
    {"dbx", LCT_FORECAST_VARIABLE, check_file, take_variable},
    {"cmdline", LCT_FORECAST_CMDLINE, check_nothing, take_cmdline},
    {"digest", LCT_FORECAST_DIGEST, check_digests, take_digest},
};

/* The form of a change, and what follows its "=". */
static enum lct_code find_form(const struct form **form, const char **text, const char *change,
                               struct lct_err *err)
{
    size_t len = strcspn(change, "=");

    for (size_t i = 0; i < sizeof forms / sizeof forms[0] && change[len] == '='; i++) {
        if (strlen(forms[i].name) == len && strncmp(forms[i].name, change, len) == 0) {
            *form = &forms[i];
            *text = change + len + 1;
            return LCT_OK;
        }
    }
    return LCT_FAIL(err, LCT_ERR_USAGE,
                    "\"%s\" is nothing that can be foretold; --predict takes dbx=FILE (db, KEK, "
                    "PK), cmdline=TEXT or digest=OLD:NEW",
                    change);
}

enum lct_code lct_prediction_check(const struct lct_prediction *prediction, struct lct_err *err)
{
    const struct form *form = NULL;
    const char *text = NULL;

    if (!prediction->asked && (prediction->eventlog != NULL || prediction->cmdline != NULL))
        return LCT_FAIL(err, LCT_ERR_USAGE, "%s is for --predict",
                        prediction->eventlog != NULL ? "--eventlog" : "--cmdline");
    for (size_t i = 0; prediction->changes[i] != NULL; i++) {
        enum lct_code code = find_form(&form, &text, prediction->changes[i], err);
        if (code == LCT_OK)
            code = form->check(text, err);
        if (code != LCT_OK)
            return code;
    }
    return LCT_OK;
}

static enum lct_code take_changes(struct changes *changes, struct lct_err *err)
{
    const struct form *form = NULL;
    const char *text = NULL;
    enum lct_code code = LCT_OK;

    for (; changes->prediction->changes[changes->num] != NULL && code == LCT_OK; changes->num++) {
        struct lct_forecast_change *change = &changes->all[changes->num];
        code = find_form(&form, &text, changes->prediction->changes[changes->num], err);
        if (code != LCT_OK)
            break;
        change->kind = form->kind;
        change->name = form->name;
        code = form->take(changes, change, text, err);
    }
    return code;
}

static enum lct_code read_log(uint8_t **log, size_t *log_len,
                              const struct lct_prediction *prediction, struct lct_err *err)
{
    struct lct_err why = {.code = LCT_OK};
    const char *file = prediction->eventlog != NULL ? prediction->eventlog : lct_kernel_eventlog;
    enum lct_code code = lct_tool_read(log, log_len, file, LCT_EVENTLOG_MAX_LEN, &why);

    return code == LCT_OK ? code
                          : LCT_FAIL(err, code,
                                     "no event log of the boot to predict from: %s; another is "
                                     "given with --eventlog, or approve after the reboot, or with "
                                     "--pcrs FILE of a machine that has booted it",
                                     why.text);
}

enum lct_code lct_prediction_apply(struct lct_pcr_values *values, struct lct_tool *tool,
                                   const struct lct_prediction *prediction, struct lct_err *err)
{
    struct changes changes = {.prediction = prediction, .values = values};
    uint8_t *log = NULL;
    size_t log_len = 0;

    if (!prediction->asked)
        return LCT_OK;
    OSSL_LIB_CTX *libctx = lct_crypto_get(tool->crypto, err);
    enum lct_code code =
        libctx != NULL ? read_log(&log, &log_len, prediction, err) : LCT_ERR_INTERNAL;
    if (code == LCT_OK)
        code = take_changes(&changes, err);
    if (code == LCT_OK)
        code = lct_forecast(values, libctx, log, log_len, changes.all, changes.num, err);
    for (size_t i = 0; i < changes.num_held; i++)
        free(changes.held[i]);
    free(log);
    return code;
}
