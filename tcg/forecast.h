/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TCG_FORECAST_H
#define LCT_TCG_FORECAST_H

#include "base/error.h"
#include "tcg/algorithm.h"
#include "tcg/pcr.h"

#include <openssl/types.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What PCRs will hold after an update: this boot's event log (tcg/eventlog.h) replayed with
 * changes. Plain computation, no TPM. A digest is only replaced by one that is known: the old one
 * must be the hash of what the event says, in a form that we know how to make anew. An update that
 * makes the firmware measure other events, or more of them, is not foretold: another entry of db
 * that verifies the boot loader (EV_EFI_VARIABLE_AUTHORITY), say.
 */
enum lct_forecast_kind {
    /*
     * Another content of the UEFI variable `name`: "dbx". `after` is its content, without the four
     * bytes of attributes that efivarfs puts in front; empty if it will not be there. `before` is
     * not used. Any PCR (PFP, 10.4.1: EV_EFI_VARIABLE_DRIVER_CONFIG, _BOOT, _BOOT2).
     */
    LCT_FORECAST_VARIABLE,
    /* Another kernel command line: see tcg/cmdline.h. */
    LCT_FORECAST_CMDLINE,
    /* Wherever `before` is extended in `hash`'s bank `after` will be: a boot loader's Authenticode
     * hash, a firmware's. With more banks than one, one such change for each of them. */
    LCT_FORECAST_DIGEST
};

struct lct_forecast_change {
    enum lct_forecast_kind kind;
    const char *name;            /* LCT_FORECAST_VARIABLE: ASCII */
    const struct lct_hash *hash; /* LCT_FORECAST_DIGEST */
    const uint8_t *before, *after;
    size_t before_len, after_len;
};

enum { LCT_FORECAST_MAX_CHANGES = 32 };

/*
 * `values` comes with what the PCRs hold now, read from the TPM, and leaves with what they will
 * hold; as it was on failure. Fails with
 * - LCT_ERR_CHECK: the log as it is does not lead to the values now, the sentence says of which
 * PCR: nothing can be told from it;
 * - LCT_ERR_UNSUPPORTED: a change is found in no event of the selected PCRs; an event has to do
 * with a change but its next digest cannot be computed; the log has no such bank or is of the older
 *   form;
 * - LCT_ERR_BAD_RECORD: the log is malformed;
 * - LCT_ERR_USAGE: a change is not of its form (digests of the bank's size, command lines as
 *   tcg/cmdline.h says), there are too many, or two of them change the same digest;
 * - LCT_ERR_INTERNAL.
 */
enum lct_code lct_forecast(struct lct_pcr_values *values, OSSL_LIB_CTX *libctx, const uint8_t *log,
                           size_t log_len, const struct lct_forecast_change *changes,
                           size_t num_changes, struct lct_err *err);

#endif
