/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TPM_CHANNEL_H
#define LCT_TPM_CHANNEL_H

#include "base/error.h"
#include "base/lines.h"
#include "tpm/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <tss2/tss2_sys.h>

enum { LCT_MAX_MESSAGE = 4096 }; /* bytes of a command or response: TPM2_MAX_COMMAND_SIZE */

/*
 * Between SAPI and the wire: the TCTI context that SAPI sees. Every command and response of ours
 * passes here, so what SAPI does not do is done here: a response is whole, well-formed and no
 * shorter than its command's (SAPI would go on parsing what an earlier one left in its buffer); and
 * a TPM that says "later", or whose slots other programs have filled, is asked again for a while.
 * All waits are the allowance's, and when that is over nothing more is sent.
 */
struct lct_channel {
    TSS2_TCTI_CONTEXT_COMMON_V1 tcti; /* first: SAPI's view */
    struct lct_wire *wire;            /* owned */
    struct lct_allowance *allowance;  /* of the piece of work that uses it */
    struct lct_err failure;           /* what the wire said when it last failed */
    struct lct_lines *log;            /* borrowed; NULL: no trace is kept */
    size_t command_len;
    uint8_t command[LCT_MAX_MESSAGE];
    size_t response_len; /* 0: not received yet */
    uint8_t response[LCT_MAX_MESSAGE];
};

/* Takes the wire over. NULL, with errno, if out of memory. Nothing is sent before it has an
 * allowance. */
struct lct_channel *lct_channel_new(struct lct_wire *wire);
void lct_channel_free(struct lct_channel *channel);

/* Forgets a command that was on its way: another thread's, when this process was forked. */
void lct_channel_reset(struct lct_channel *channel);

/* In a child of fork: frees it without a word to the TPM. What could not be freed so is returned,
 * else NULL. */
struct lct_wire *lct_channel_abandon(struct lct_channel *channel);

/* A command we send. */
struct lct_command {
    TPM2_CC code;
    bool makes_key;       /* it may take minutes */
    bool gives_handle;    /* before its response's parameters */
    unsigned num_handles; /* of objects, sessions and NV indices that it is about */
    size_t min_response;  /* bytes of a successful response at least */
    const char *name;     /* for messages */
};
const struct lct_command *lct_command_by_code(TPM2_CC code);

#endif
