/* SPDX-License-Identifier: Apache-2.0 */
#include "tpm/trace.h"

#include <stdio.h>
#include <tss2/tss2_rc.h>

enum { HEADER = 10 /* TPM 2.0 Part 1, 18.1 */, HANDLES = 64 /* bytes of their text */ };

static uint32_t get_u32(const uint8_t *b)
{
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

/* " 80000001 40000007": those of the command, which come first in it. */
static void put_handles(char text[HANDLES], const struct lct_channel *channel,
                        const struct lct_command *command)
{
    size_t len = 0;

    text[0] = '\0';
    for (size_t i = 0; command != NULL && i < command->num_handles &&
                       HEADER + 4 * (i + 1) <= channel->command_len;
         i++)
        len += (size_t)snprintf(text + len, HANDLES - len, " %08x",
                                get_u32(channel->command + HEADER + 4 * i));
}

void lct_trace_command(const struct lct_channel *channel, bool good, int resent, int64_t started)
{
    const struct lct_command *command = lct_command_by_code(get_u32(channel->command + 6));
    const char *name = command != NULL ? command->name : "a command";
    double ms = lct_log_since(started);
    char handles[HANDLES], again[32] = "";
    uint32_t rc = good ? get_u32(channel->response + 6) : 0;

    put_handles(handles, channel, command);
    if (resent > 0)
        (void)snprintf(again, sizeof again, ", sent again: %d", resent);
    if (!good)
        lct_log_line(channel->log, "%s%s: failed: %s, %.3f ms%s", name, handles,
                     channel->failure.text, ms, again);
    else if (rc != TPM2_RC_SUCCESS)
        lct_log_line(channel->log, "%s%s: 0x%03x %s, %.3f ms%s", name, handles, rc,
                     Tss2_RC_Decode(rc), ms, again);
    else if (command != NULL && command->gives_handle)
        lct_log_line(channel->log, "%s%s: success, gives %08x, %.3f ms%s", name, handles,
                     get_u32(channel->response + HEADER), ms, again);
    else
        lct_log_line(channel->log, "%s%s: success, %.3f ms%s", name, handles, ms, again);
}

void lct_trace_wait(struct lct_lines *log, const char *whom, int64_t started)
{
    double ms = log != NULL ? lct_log_since(started) : 0;

    if (ms >= 1)
        lct_log_line(log, "waited for the TPM, which %s had: %.3f ms", whom, ms);
}
