/* SPDX-License-Identifier: Apache-2.0 */
#include "tcg/eventlog.h"

#include "tcg/marshal.h"

#include <openssl/evp.h>
#include <string.h>

static uint32_t read_number(struct lct_reader *reader, size_t size)
{
    return (uint32_t)lct_read_little(reader, size);
}

/* An event's own bytes, behind their length. */
static struct lct_reader read_sized(struct lct_reader *reader)
{
    size_t len = read_number(reader, 4);
    const uint8_t *start = lct_reader_take(reader, len);

    return start != NULL ? (struct lct_reader){start, len, false}
                         : (struct lct_reader){.failed = true};
}

size_t lct_eventlog_bank(const struct lct_eventlog *log, uint16_t id)
{
    size_t i = 0;

    while (i < log->num_banks && log->banks[i].id != id)
        i++;
    return i;
}

/* TCG_EfiSpecIDEventAlgorithmSize: each hash once, and as large as it is. */
static bool read_bank(struct lct_eventlog *log, struct lct_reader *reader)
{
    uint16_t id = (uint16_t)read_number(reader, 2), size = (uint16_t)read_number(reader, 2);
    const struct lct_hash *hash = lct_hash_by_id(id);

    if (reader->failed || size == 0 || size > LCT_MAX_HASH || (hash != NULL && hash->size != size))
        return false;
    if (lct_eventlog_bank(log, id) != log->num_banks)
        return false;
    log->banks[log->num_banks].id = id;
    log->banks[log->num_banks++].size = size;
    return true;
}

/* TCG_EfiSpecIDEvent, PFP, 10.4.5.1, behind its signature. */
static bool read_banks(struct lct_eventlog *log, struct lct_reader *reader)
{
    (void)lct_reader_take(reader, 4); /* platformClass */
    (void)lct_reader_take(reader,
                          4); /* specVersionMinor, specVersionMajor, specErrata, uintnSize */
    size_t num = read_number(reader, 4);
    if (num == 0 || num > LCT_EVENTLOG_MAX_BANKS)
        return false;
    while (log->num_banks < num)
        if (!read_bank(log, reader))
            return false;
    (void)lct_reader_take(reader, read_number(reader, 1)); /* vendorInfo */
    return !reader->failed && reader->left == 0;
}

enum lct_code lct_eventlog_begin(struct lct_eventlog *log, const uint8_t *bytes, size_t bytes_len,
                                 struct lct_err *err)
{
    static const uint8_t signature[16] = "Spec ID Event03";
    static const uint8_t zero[20];
    struct lct_reader reader = {bytes, bytes_len, false};

    *log = (struct lct_eventlog){0};
    if (bytes_len > LCT_EVENTLOG_MAX_LEN)
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD, "the event log is longer than any is");
    /* PFP, 10.2.1: the header alone is a TCG_PCR_EVENT, whose one digest is of SHA-1. */
    uint32_t pcr = read_number(&reader, 4), type = read_number(&reader, 4);
    const uint8_t *digest = lct_reader_take(&reader, sizeof zero);
    struct lct_reader event = read_sized(&reader);
    const uint8_t *start = lct_reader_take(&event, sizeof signature);
    if (reader.failed)
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD, "the event log ends in its first event");
    if (type != LCT_EV_NO_ACTION || start == NULL ||
        memcmp(start, signature, sizeof signature) != 0)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                        "the event log is of the old form, which has SHA-1 digests alone: switch "
                        "the firmware to TPM 2.0 with SHA-256");
    if (pcr != 0 || memcmp(digest, zero, sizeof zero) != 0 || !read_banks(log, &event))
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD,
                        "the event log does not begin with a Spec ID event as it must");
    log->bytes = reader.bytes;
    log->bytes_len = reader.left;
    log->num_events = 1;
    return LCT_OK;
}

bool lct_eventlog_at_end(const struct lct_eventlog *log)
{
    return log->bytes_len == 0;
}

/* TPML_DIGEST_VALUES (PFP, 10.2.2): no more digests than there are banks, none of another bank. */
static void read_digests(struct lct_event *event, const struct lct_eventlog *log,
                         struct lct_reader *reader)
{
    size_t num = read_number(reader, 4);

    if (num > log->num_banks)
        reader->failed = true;
    for (size_t i = 0; i < num && !reader->failed; i++) {
        size_t bank = lct_eventlog_bank(log, (uint16_t)read_number(reader, 2));
        if (bank == log->num_banks || event->digests[bank] != NULL)
            reader->failed = true;
        else
            event->digests[bank] = lct_reader_take(reader, log->banks[bank].size);
    }
}

enum lct_code lct_eventlog_next(struct lct_event *event, struct lct_eventlog *log,
                                struct lct_err *err)
{
    struct lct_reader reader = {log->bytes, log->bytes_len, false};

    *event = (struct lct_event){.number = log->num_events};
    if (log->num_events == LCT_EVENTLOG_MAX_EVENTS)
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD, "the event log has more events than any has");
    event->pcr = read_number(&reader, 4);
    event->type = read_number(&reader, 4);
    read_digests(event, log, &reader);
    struct lct_reader data = read_sized(&reader);
    if (reader.failed || (event->pcr >= LCT_NUM_PCRS && event->type != LCT_EV_NO_ACTION))
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD, "event %zu of the event log is malformed",
                        event->number);
    event->bytes = data.bytes;
    event->bytes_len = data.left;
    log->bytes = reader.bytes;
    log->bytes_len = reader.left;
    log->num_events++;
    return LCT_OK;
}

bool lct_event_variable(struct lct_event_variable *variable, const struct lct_event *event)
{
    struct lct_reader reader = {event->bytes, event->bytes_len, false};

    (void)lct_reader_take(&reader, 16); /* VariableName, a GUID */
    uint64_t name_len = lct_read_little(&reader, 8);
    uint64_t content_len = lct_read_little(&reader, 8);
    if (reader.failed || name_len > reader.left / 2 || content_len != reader.left - 2 * name_len)
        return false;
    variable->name_len = (size_t)name_len;
    variable->content_len = (size_t)content_len;
    variable->name = lct_reader_take(&reader, 2 * variable->name_len);
    variable->content = reader.bytes;
    return true;
}

static bool is_selected(const struct lct_pcr_bank *bank, uint32_t pcr)
{
    return pcr < LCT_NUM_PCRS && (bank->pcrs >> pcr & 1) != 0;
}

/* PC Client Platform TPM Profile, 4.6.2: all ones are those of a dynamic launch, which resets them
 * to zero. */
static void begin_values(struct lct_pcr_values *values)
{
    memset(values->values, 0, sizeof values->values);
    for (size_t i = 0; i < values->pcrs.num_banks; i++)
        for (uint32_t pcr = 17; pcr <= 22; pcr++)
            if (is_selected(&values->pcrs.banks[i], pcr))
                memset(values->values[i][pcr], 0xff, values->pcrs.banks[i].hash->size);
}

static enum lct_code check_banks(const struct lct_pcrs *pcrs, const struct lct_eventlog *log,
                                 struct lct_err *err)
{
    for (size_t i = 0; i < pcrs->num_banks; i++)
        if (lct_eventlog_bank(log, pcrs->banks[i].hash->id) == log->num_banks)
            return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                            "the event log has no %s digests: choose another bank",
                            pcrs->banks[i].hash->name);
    return LCT_OK;
}

/* A replay under way. */
struct replay {
    struct lct_pcr_values *values;
    OSSL_LIB_CTX *libctx;
    const struct lct_eventlog_editor *editor;
    bool pcr_0_is_begun; /* by its locality, or an event */
};

/* PFP, 10.4.5.3: TPM2_Startup came from this locality, or (4) after an H-CRTM sequence; PCR 0 then
 * begins with it as its last byte. */
static enum lct_code note_locality(struct replay *replay, const struct lct_event *event,
                                   struct lct_err *err)
{
    static const uint8_t signature[16] = "StartupLocality";
    struct lct_pcr_values *values = replay->values;

    if (event->bytes_len < sizeof signature ||
        memcmp(event->bytes, signature, sizeof signature) != 0)
        return LCT_OK;
    uint8_t locality = event->bytes_len == 17 ? event->bytes[16] : 0xff;
    if (replay->pcr_0_is_begun || event->pcr != 0 ||
        (locality != 0 && locality != 3 && locality != 4))
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD,
                        "event %zu of the event log is no StartupLocality that can be",
                        event->number);
    replay->pcr_0_is_begun = true;
    for (size_t i = 0; i < values->pcrs.num_banks; i++)
        if (is_selected(&values->pcrs.banks[i], 0))
            values->values[i][0][values->pcrs.banks[i].hash->size - 1] = locality;
    return LCT_OK;
}

/* The digests of an event in the order of the selection's banks; *num: of how many. */
static enum lct_code pick_digests(uint8_t digests[LCT_MAX_BANKS][LCT_MAX_HASH], size_t *num,
                                  const struct lct_pcrs *pcrs, const struct lct_eventlog *log,
                                  const struct lct_event *event, struct lct_err *err)
{
    *num = 0;
    for (size_t i = 0; i < pcrs->num_banks; i++) {
        const struct lct_hash *hash = pcrs->banks[i].hash;
        const uint8_t *digest = event->digests[lct_eventlog_bank(log, hash->id)];
        if (!is_selected(&pcrs->banks[i], event->pcr))
            continue;
        if (digest == NULL)
            return LCT_FAIL(err, LCT_ERR_BAD_RECORD, "event %zu of the event log has no %s digest",
                            event->number, hash->name);
        memcpy(digests[i], digest, hash->size);
        (*num)++;
    }
    return LCT_OK;
}

/* TPM2_PCR_Extend, Part 1, 17.4: the hash of the value before and the digest. */
static bool extend(uint8_t *value, const struct lct_hash *hash, const uint8_t *digest,
                   OSSL_LIB_CTX *libctx)
{
    uint8_t both[2 * LCT_MAX_HASH];

    memcpy(both, value, hash->size);
    memcpy(both + hash->size, digest, hash->size);
    return EVP_Q_digest(libctx, hash->openssl, NULL, both, 2 * hash->size, value, NULL) == 1;
}

static enum lct_code replay_event(struct replay *replay, const struct lct_eventlog *log,
                                  const struct lct_event *event, struct lct_err *err)
{
    const struct lct_pcrs *pcrs = &replay->values->pcrs;
    uint8_t digests[LCT_MAX_BANKS][LCT_MAX_HASH] = {{0}};
    size_t num;

    if (event->type == LCT_EV_NO_ACTION)
        return note_locality(replay, event, err);
    if (event->pcr == 0)
        replay->pcr_0_is_begun = true;
    enum lct_code code = pick_digests(digests, &num, pcrs, log, event, err);
    if (code == LCT_OK && num > 0 && replay->editor != NULL)
        code = replay->editor->edit(replay->editor->arg, event, pcrs, digests, err);
    if (code != LCT_OK)
        return code;
    for (size_t i = 0; i < pcrs->num_banks; i++) {
        const struct lct_hash *hash = pcrs->banks[i].hash;
        if (is_selected(&pcrs->banks[i], event->pcr) &&
            !extend(replay->values->values[i][event->pcr], hash, digests[i], replay->libctx))
            return LCT_FAIL(err, LCT_ERR_INTERNAL, "%s is not to be had from libcrypto",
                            hash->openssl);
    }
    return LCT_OK;
}

enum lct_code lct_eventlog_replay(struct lct_pcr_values *values, OSSL_LIB_CTX *libctx,
                                  const uint8_t *log, size_t log_len,
                                  const struct lct_eventlog_editor *editor, struct lct_err *err)
{
    struct replay replay = {.values = values, .libctx = libctx, .editor = editor};
    struct lct_eventlog reading;
    struct lct_event event;
    enum lct_code code = lct_eventlog_begin(&reading, log, log_len, err);

    begin_values(values);
    if (code == LCT_OK)
        code = check_banks(&values->pcrs, &reading, err);
    while (code == LCT_OK && !lct_eventlog_at_end(&reading)) {
        code = lct_eventlog_next(&event, &reading, err);
        if (code == LCT_OK)
            code = replay_event(&replay, &reading, &event, err);
    }
    return code;
}
