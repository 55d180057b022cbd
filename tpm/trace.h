/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TPM_TRACE_H
#define LCT_TPM_TRACE_H

#include "base/log.h"
#include "tpm/channel.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * What the log says of the TPM. Of a command its name, the handles, the code of its response in
 * words, and how long that took: no parameter, no authorization, nothing of a response but a handle
 * that it gives.
 */

/* The exchange in the channel, which has a log: `good`, or it failed; `resent` times before. */
void lct_trace_command(const struct lct_channel *channel, bool good, int resent, int64_t started);

/* That others have had the TPM since `started`; nothing if that took less than a millisecond. */
void lct_trace_wait(struct lct_lines *log, const char *whom, int64_t started);

#endif
