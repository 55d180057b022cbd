/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TCG_CMDLINE_H
#define LCT_TCG_CMDLINE_H

#include "base/error.h"
#include "tcg/eventlog.h"

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The kernel's command line in an event log, and another one in its place: plain computation.
 * Those who measure it are known:
 *
 * - GRUB, into PCR 8 as EV_IPL: "kernel_cmdline: TEXT" and "grub_cmd: TEXT" (which, of a menu's
 *   entry, is all its commands), NUL; the digest is of TEXT alone;
 * - Linux' EFI stub, into PCR 9 as EV_EVENT_TAG that says "LOADED_IMAGE::LoadOptions" and no more;
 *   the digest is of the command line in UTF-16;
 * - systemd-boot and systemd-stub, into PCR 12 as EV_IPL: the command line in UTF-16, NUL; the
 *   digest is of all of it; and a unified kernel's own one into PCR 11, as its section ".cmdline".
 */
enum { LCT_CMDLINE_MAX = 4096 };

/*
 * Two command lines as in /proc/cmdline, without the end of the line. What matters of the file
 * "BOOT_IMAGE=", which must be that of both, is measured in other ways.
 */
struct lct_cmdline {
    const char *before, *after;
    size_t before_len, after_len;
};

/* LCT_ERR_USAGE: empty, too long, not in ASCII, with blanks around it, the same twice, or of
 * another BOOT_IMAGE. */
enum lct_code lct_cmdline_check(const struct lct_cmdline *change, struct lct_err *err);

/*
 * Whether an event measures the command line `before` (checked); if so its digests become those of
 * `after`, in the banks of `pcrs` that have selected its PCR. LCT_ERR_UNSUPPORTED: it has to do
 * with it, but its digests are not the hash of that text in a form that we know, or it does not say
 * how it will look: it has GRUB's variables in it, options after it, or other blanks where the
 * change is. LCT_ERR_INTERNAL.
 */
enum lct_code lct_cmdline_apply(bool *found, const struct lct_cmdline *change, OSSL_LIB_CTX *libctx,
                                const struct lct_event *event, const struct lct_pcrs *pcrs,
                                uint8_t digests[LCT_MAX_BANKS][LCT_MAX_HASH], struct lct_err *err);

#endif
