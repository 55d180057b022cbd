/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TCG_EVENTLOG_H
#define LCT_TCG_EVENTLOG_H

#include "base/error.h"
#include "tcg/algorithm.h"
#include "tcg/pcr.h"

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What the firmware and the boot loaders say they have measured: the crypto-agile event log of the
 * TCG PC Client Platform Firmware Profile (PFP), 10, as Linux shows it in
 * /sys/kernel/security/tpm0/binary_bios_measurements. Bytes in, no file and no TPM. A log is only
 * a claim, which the values of PCRs bear out or not. Nothing is allocated; everything borrows from
 * the log's bytes.
 */
enum {
    LCT_EVENTLOG_MAX_LEN = 4 << 20, /* bytes; those of PCs are below 256 KiB */
    LCT_EVENTLOG_MAX_EVENTS = 16384,
    LCT_EVENTLOG_MAX_BANKS = 8 /* hashes of a log, those that we do not know included */
};

/* Event types that have a meaning here (PFP, 10.4.1). */
enum {
    LCT_EV_NO_ACTION = 0x03, /* of a PCR's history, but not extended */
    LCT_EV_EVENT_TAG = 0x06,
    LCT_EV_IPL = 0x0d
};
static const uint32_t lct_ev_variable_driver_config = 0x80000001;
static const uint32_t lct_ev_variable_boot = 0x80000002;
static const uint32_t lct_ev_variable_boot2 = 0x8000000c;

/* A log that is being read, front to back. */
struct lct_eventlog {
    const uint8_t *bytes; /* that are left */
    size_t bytes_len;
    size_t num_events; /* read, the header included */
    size_t num_banks;
    struct {
        uint16_t id; /* TPM2_ALG_*, perhaps of none that we know */
        uint16_t size;
    } banks[LCT_EVENTLOG_MAX_BANKS];
};

/* TCG_PCR_EVENT2 (PFP, 10.2.2). */
struct lct_event {
    size_t number; /* in the log; the header is 0 */
    uint32_t pcr;  /* below LCT_NUM_PCRS, or anything for LCT_EV_NO_ACTION */
    uint32_t type;
    const uint8_t *digests[LCT_EVENTLOG_MAX_BANKS]; /* as the log's banks; NULL: has none */
    const uint8_t *bytes;
    size_t bytes_len;
};

/*
 * Reads the header, the Spec ID event (PFP, 10.4.5.1). LCT_ERR_BAD_RECORD: malformed, or too long;
 * LCT_ERR_UNSUPPORTED: of the older form, which has SHA-1 alone.
 */
enum lct_code lct_eventlog_begin(struct lct_eventlog *log, const uint8_t *bytes, size_t bytes_len,
                                 struct lct_err *err);

/* The row of a hash (TPM2_ALG_*) in the log's banks; num_banks: it has none. */
size_t lct_eventlog_bank(const struct lct_eventlog *log, uint16_t id);

bool lct_eventlog_at_end(const struct lct_eventlog *log);

/* The next event; not at the end. LCT_ERR_BAD_RECORD: malformed, of a bank that the header does not
 * have or twice of one, or one event too many. */
enum lct_code lct_eventlog_next(struct lct_event *event, struct lct_eventlog *log,
                                struct lct_err *err);

/* What an event of a UEFI variable says: UEFI_VARIABLE_DATA (PFP, 10.4.2.6), behind its GUID. */
struct lct_event_variable {
    const uint8_t *name, *content;
    size_t name_len; /* characters, of two bytes */
    size_t content_len;
};

/* False: it is none, all of it. */
bool lct_event_variable(struct lct_event_variable *variable, const struct lct_event *event);

/*
 * Which digests are extended in place of those of the log: called with each event that is extended
 * into a PCR of `pcrs`, its digests in the order of `pcrs`' banks, to be changed in place. A bank
 * that has not selected the event's PCR is to be left alone. Not LCT_OK ends the replay.
 */
struct lct_eventlog_editor {
    enum lct_code (*edit)(void *arg, const struct lct_event *event, const struct lct_pcrs *pcrs,
                          uint8_t digests[LCT_MAX_BANKS][LCT_MAX_HASH], struct lct_err *err);
    void *arg;
};

/*
 * What the PCRs of values->pcrs hold after the events of a log: values->values are overwritten. A
 * PCR begins as TPM2_Startup(CLEAR) leaves it (PC Client Platform TPM Profile, 4.6.2), PCR 0 with
 * the locality of a StartupLocality event if there is one (PFP, 10.4.5.3). `editor` may be NULL.
 * LCT_ERR_BAD_RECORD: malformed; LCT_ERR_UNSUPPORTED: the log has no digests of such a bank, or is
 * of the older form; LCT_ERR_INTERNAL.
 */
enum lct_code lct_eventlog_replay(struct lct_pcr_values *values, OSSL_LIB_CTX *libctx,
                                  const uint8_t *log, size_t log_len,
                                  const struct lct_eventlog_editor *editor, struct lct_err *err);

#endif
