/* SPDX-License-Identifier: Apache-2.0 */
#include "tpm/channel.h"

#include "tpm/result.h"
#include "tpm/shape.h"
#include "tpm/trace.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
    NO_SESSIONS = 0x01, /* TPM2_ST_NO_SESSIONS and TPM2_ST_SESSIONS: their second bytes */
    SESSIONS = 0x02,
    HEADER = 10,     /* tag, size, code: TPM 2.0 Part 1, 18.1 */
    FIRST_WAIT = 2,  /* ms before a command is sent again; doubled each time */
    MAX_RESENDS = 10 /* about 2 s in all */
};

/* Handles: TPM 2.0 Part 3; of TPM2_FlushContext its parameter. Least lengths: header, handle,
 * parameter size, fixed parts of the parameters, and a password session's 5 bytes. */
static const struct lct_command commands[] = {
    {TPM2_CC_ActivateCredential, false, false, 2, HEADER + 4 + 2 + 5, "TPM2_ActivateCredential"},
    {TPM2_CC_Certify, false, false, 2, HEADER + 4 + 2 + 8 + 5, "TPM2_Certify"},
    {TPM2_CC_Create, true, false, 1, HEADER + 4 + 2 + 2 + 2 + 2 + 8 + 5, "TPM2_Create"},
    {TPM2_CC_CreatePrimary, true, true, 1, HEADER + 4 + 4 + 2 + 2 + 2 + 8 + 2 + 5,
     "TPM2_CreatePrimary"},
    {TPM2_CC_EvictControl, false, false, 2, HEADER + 4 + 5, "TPM2_EvictControl"},
    {TPM2_CC_FlushContext, false, false, 1, HEADER, "TPM2_FlushContext"},
    {TPM2_CC_GetCapability, false, false, 0, HEADER + 1 + 4 + 4, "TPM2_GetCapability"},
    {TPM2_CC_GetRandom, false, false, 0, HEADER + 4 + 2 + 5, "TPM2_GetRandom"},
    {TPM2_CC_Import, false, false, 1, HEADER + 4 + 2 + 5, "TPM2_Import"},
    {TPM2_CC_Load, false, true, 1, HEADER + 4 + 4 + 2 + 5, "TPM2_Load"},
    {TPM2_CC_LoadExternal, false, true, 0, HEADER + 4 + 2, "TPM2_LoadExternal"},
    {TPM2_CC_NV_DefineSpace, false, false, 1, HEADER + 4 + 5, "TPM2_NV_DefineSpace"},
    {TPM2_CC_NV_Increment, false, false, 2, HEADER + 4 + 5, "TPM2_NV_Increment"},
    {TPM2_CC_NV_Read, false, false, 2, HEADER + 4 + 2 + 5, "TPM2_NV_Read"},
    {TPM2_CC_NV_ReadPublic, false, false, 1, HEADER + 2 + 2, "TPM2_NV_ReadPublic"},
    {TPM2_CC_NV_UndefineSpace, false, false, 2, HEADER + 4 + 5, "TPM2_NV_UndefineSpace"},
    {TPM2_CC_PCR_Read, false, false, 0, HEADER + 4 + 4 + 4, "TPM2_PCR_Read"},
    {TPM2_CC_PolicyAuthValue, false, false, 1, HEADER, "TPM2_PolicyAuthValue"},
    {TPM2_CC_PolicyAuthorize, false, false, 1, HEADER, "TPM2_PolicyAuthorize"},
    {TPM2_CC_PolicyNV, false, false, 3, HEADER + 4 + 5, "TPM2_PolicyNV"},
    {TPM2_CC_PolicyOR, false, false, 1, HEADER, "TPM2_PolicyOR"},
    {TPM2_CC_PolicyPCR, false, false, 1, HEADER, "TPM2_PolicyPCR"},
    {TPM2_CC_PolicyRestart, false, false, 1, HEADER, "TPM2_PolicyRestart"},
    {TPM2_CC_PolicySecret, false, false, 2, HEADER + 4 + 2 + 8 + 5, "TPM2_PolicySecret"},
    {TPM2_CC_Quote, false, false, 1, HEADER + 4 + 2 + 8 + 5, "TPM2_Quote"},
    {TPM2_CC_ReadPublic, false, false, 1, HEADER + 2 + 2 + 2, "TPM2_ReadPublic"},
    {TPM2_CC_Sign, false, false, 1, HEADER + 4 + 8 + 5, "TPM2_Sign"},
    {TPM2_CC_StartAuthSession, false, true, 2, HEADER + 4 + 2, "TPM2_StartAuthSession"},
    {TPM2_CC_Unseal, false, false, 1, HEADER + 4 + 2 + 5, "TPM2_Unseal"},
    {TPM2_CC_VerifySignature, false, false, 1, HEADER + 8, "TPM2_VerifySignature"},
};

const struct lct_command *lct_command_by_code(TPM2_CC code)
{
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (commands[i].code == code)
            return &commands[i];
    return NULL;
}

static uint32_t get_u32(const uint8_t *b)
{
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

/* With a session a response says how long its parameters are; what authorizes it comes behind them:
 * TPM 2.0 Part 1, 18.9. */
static bool has_whole_parameters(const uint8_t *response, size_t len,
                                 const struct lct_command *command)
{
    enum { MIN_AUTHORIZATION = 5 };
    size_t at = HEADER + (command->gives_handle ? 4 : 0);

    if (response[1] == NO_SESSIONS)
        return lct_shape_is_whole(command->code, response + at, len - at);
    return len - at >= 4 + MIN_AUTHORIZATION &&
           get_u32(response + at) <= len - at - 4 - MIN_AUTHORIZATION &&
           lct_shape_is_whole(command->code, response + at + 4, get_u32(response + at));
}

/* What TPM2_GetCapability lists (TPM 2.0 Part 2, 10.10.1), for how many of it TSS has room, and a
 * bound to each entry's bytes. */
static const struct {
    TPM2_CAP capability;
    uint32_t room;
    size_t min_entry, max_entry;
} lists[] = {
    {TPM2_CAP_ALGS, TPM2_MAX_CAP_ALGS, 6, 6},
    {TPM2_CAP_HANDLES, TPM2_MAX_CAP_HANDLES, 4, 4},
    {TPM2_CAP_PCRS, TPM2_NUM_PCR_BANKS, 3, 3 + TPM2_PCR_SELECT_MAX},
    {TPM2_CAP_TPM_PROPERTIES, TPM2_MAX_TPM_PROPERTIES, 8, 8},
};

/* TPMS_PCR_SELECTION, `count` times (TPM 2.0 Part 2, 10.5.2): each as long as it says, and none
 * longer than TSS has room for. */
static bool has_whole_selections(const uint8_t *bytes, size_t len, uint32_t count)
{
    enum { FIXED = 3 }; /* hash, sizeofSelect */

    for (; count > 0; count--) {
        if (len < FIXED || bytes[2] > TPM2_PCR_SELECT_MAX || len - FIXED < bytes[2])
            return false;
        len -= FIXED + (size_t)bytes[2];
        bytes += FIXED + bytes[2];
    }
    return true;
}

/* A list is as long as it says: TSS prints where there is more of it than it has room for, or
 * something that it does not know. In failure mode a TPM gives properties instead. */
static bool has_whole_list(const struct lct_channel *channel)
{
    const uint8_t *list = channel->response + HEADER + 1;
    size_t rest = channel->response_len - HEADER - 1 - 4 - 4;
    uint32_t capability = get_u32(list), count = get_u32(list + 4);

    if (capability != get_u32(channel->command + HEADER) && capability != TPM2_CAP_TPM_PROPERTIES)
        return false;
    if (capability == TPM2_CAP_PCRS && !has_whole_selections(list + 8, rest, count))
        return false;
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        if (lists[i].capability == capability)
            return count <= lists[i].room && rest >= count * lists[i].min_entry &&
                   rest <= count * lists[i].max_entry;
    return true;
}

static bool well_formed(const struct lct_channel *channel)
{
    const uint8_t *response = channel->response;
    size_t len = channel->response_len;

    if (len < HEADER || len > sizeof channel->response || get_u32(response + 2) != len ||
        response[0] != 0x80 || (response[1] != NO_SESSIONS && response[1] != SESSIONS))
        return false;
    if (get_u32(response + 6) != TPM2_RC_SUCCESS)
        return len == HEADER;
    const struct lct_command *command = lct_command_by_code(get_u32(channel->command + 6));
    if (command == NULL || len < command->min_response || response[1] != channel->command[1])
        return false;
    if (command->code == TPM2_CC_GetCapability && !has_whole_list(channel))
        return false;
    return has_whole_parameters(response, len, command);
}

static bool says_later(const struct lct_channel *channel)
{
    TPM2_RC rc = lct_result_base(get_u32(channel->response + 6));

    return rc == TPM2_RC_RETRY || rc == TPM2_RC_YIELDED || rc == TPM2_RC_TESTING ||
           rc == TPM2_RC_NV_RATE || rc == TPM2_RC_OBJECT_MEMORY || rc == TPM2_RC_SESSION_MEMORY ||
           rc == TPM2_RC_SESSION_HANDLES;
}

/* Whether the work has had its time, as its failure then. */
static bool is_over(struct lct_channel *channel)
{
    const struct lct_deadline *deadline = &channel->allowance->deadline;

    if (lct_deadline_left(deadline) != 0)
        return false;
    (void)LCT_FAIL(&channel->failure, LCT_ERR_TIMEOUT, "the TPM did not answer within %d s",
                   deadline->timeout / 1000);
    return true;
}

/* What TSS cannot read becomes a refusal: the connection is good, and so is what is behind other
 * handles. Part 2, 6.6.3. */
static void refuse_unknown(struct lct_channel *channel)
{
    static const uint8_t refusal[HEADER] = {0x80,   NO_SESSIONS, 0, 0, 0,
                                            HEADER, 0,           0, 0, TPM2_RC_TYPE & 0xff};
    const TPM2_CC command = get_u32(channel->command + 6);
    size_t at = HEADER + (channel->response[1] == SESSIONS ? 4 : 0);

    if (get_u32(channel->response + 6) != TPM2_RC_SUCCESS ||
        lct_shape_is_known(command, channel->response + at, channel->response_len - at))
        return;
    memcpy(channel->response, refusal, HEADER);
    channel->response_len = HEADER;
}

/* One whole exchange of the command in the channel. False, with the failure, if the connection
 * broke or talks rubbish. */
static bool try_once(struct lct_channel *channel)
{
    struct lct_wire *wire = channel->wire;
    const struct lct_command *command = lct_command_by_code(get_u32(channel->command + 6));
    bool makes_key = command != NULL && command->makes_key;
    const struct lct_deadline deadline =
        makes_key ? lct_allowance_for_key(channel->allowance) : channel->allowance->deadline;
    const int64_t since = makes_key ? lct_now_ms() : 0;

    if (is_over(channel))
        return false;
    bool good = wire->send(wire, channel->command, channel->command_len, &deadline,
                           &channel->failure) == LCT_OK &&
                wire->receive(wire, channel->response, &channel->response_len,
                              sizeof channel->response, &deadline, &channel->failure) == LCT_OK;
    if (makes_key)
        lct_allowance_made_key(channel->allowance, since);
    if (!good)
        return false;
    channel->failure.code = LCT_OK;
    if (well_formed(channel)) {
        refuse_unknown(channel);
        return true;
    }
    (void)LCT_FAIL(&channel->failure, LCT_ERR_NO_TPM, "the TPM's response is malformed");
    return false;
}

/* The response, whole and well-formed, into the channel; asked for again while the TPM says
 * "later". */
static TSS2_RC fetch(struct lct_channel *channel)
{
    long pause = FIRST_WAIT;

    for (int sent = 0;; sent++, pause *= 2) {
        int64_t started = lct_log_clock(channel->log);
        bool good = try_once(channel);
        if (channel->log != NULL)
            lct_trace_command(channel, good, sent, started);
        if (!good) {
            channel->response_len = 0;
            return TSS2_TCTI_RC_IO_ERROR;
        }
        if (!says_later(channel) || sent == MAX_RESENDS ||
            lct_deadline_left(&channel->allowance->deadline) <= pause)
            return TSS2_RC_SUCCESS;
        lct_wait_ms((int)pause);
    }
}

/* Nothing is sent yet: a command and its response are one exchange, which may have to be made
 * again. */
static TSS2_RC channel_transmit(TSS2_TCTI_CONTEXT *tcti, size_t size, const uint8_t *command)
{
    struct lct_channel *channel = (struct lct_channel *)tcti;

    if (size < HEADER || size > sizeof channel->command)
        return TSS2_TCTI_RC_BAD_VALUE;
    memcpy(channel->command, command, size);
    channel->command_len = size;
    channel->response_len = 0;
    return TSS2_RC_SUCCESS;
}

/* SAPI asks for the size first, with no buffer, and waits for ever: `timeout` says nothing. */
static TSS2_RC channel_receive(TSS2_TCTI_CONTEXT *tcti, size_t *size, uint8_t *response,
                               int32_t timeout)
{
    struct lct_channel *channel = (struct lct_channel *)tcti;
    TSS2_RC rc = channel->response_len == 0 ? fetch(channel) : TSS2_RC_SUCCESS;

    (void)timeout;
    if (rc != TSS2_RC_SUCCESS)
        return rc;
    if (response != NULL && *size < channel->response_len)
        return TSS2_TCTI_RC_INSUFFICIENT_BUFFER;
    if (response != NULL) {
        memset(response, 0, *size);
        memcpy(response, channel->response, channel->response_len);
    }
    *size = channel->response_len;
    return TSS2_RC_SUCCESS;
}

struct lct_channel *lct_channel_new(struct lct_wire *wire)
{
    struct lct_channel *channel = calloc(1, sizeof *channel);

    if (channel == NULL)
        return NULL;
    channel->tcti = (TSS2_TCTI_CONTEXT_COMMON_V1){
        .magic = 0x6c637400, /* "lct" */
        .version = 1,
        .transmit = channel_transmit,
        .receive = channel_receive,
    };
    channel->wire = wire;
    return channel;
}

void lct_channel_reset(struct lct_channel *channel)
{
    channel->failure.code = LCT_OK;
    channel->command_len = 0;
    channel->response_len = 0;
}

void lct_channel_free(struct lct_channel *channel)
{
    if (channel == NULL)
        return;
    channel->wire->close(channel->wire);
    free(channel);
}

struct lct_wire *lct_channel_abandon(struct lct_channel *channel)
{
    struct lct_wire *wire = channel->wire;

    free(channel);
    return wire->abandon(wire) ? NULL : wire;
}
