/* SPDX-License-Identifier: Apache-2.0 */
#include "tpm/endpoint.h"
#include "tpm/option.h"
#include "tpm/stream.h"
#include "tpm/wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* swtpm serves one client at a time: who stays connected keeps all others waiting. So a connection
 * is made for each command. */
struct swtpm {
    struct lct_wire wire;
    struct lct_endpoint endpoint;
    struct lct_stream stream; /* from a command to its response */
};

static enum lct_code swtpm_send(struct lct_wire *wire, const uint8_t *command, size_t command_len,
                                const struct lct_deadline *deadline, struct lct_err *err)
{
    struct swtpm *swtpm = (struct swtpm *)wire;

    lct_stream_close(&swtpm->stream); /* an earlier command's, whose response nobody has read */
    int error = lct_stream_connect(&swtpm->stream, (struct sockaddr *)&swtpm->endpoint.address,
                                   swtpm->endpoint.address_len, deadline);
    if (error == ETIMEDOUT)
        return LCT_FAIL(err, LCT_ERR_TIMEOUT, "the TPM at %s took no connection within %d s",
                        swtpm->endpoint.label, deadline->timeout / 1000);
    if (error != 0)
        return LCT_FAIL(err, LCT_ERR_NO_TPM, "no TPM at %s: %s", swtpm->endpoint.label,
                        strerror(error));
    enum lct_code code = lct_stream_send(&swtpm->stream, command, command_len, deadline, err);
    if (code != LCT_OK)
        lct_stream_close(&swtpm->stream);
    return code;
}

static enum lct_code swtpm_receive(struct lct_wire *wire, uint8_t *response, size_t *response_len,
                                   size_t capacity, const struct lct_deadline *deadline,
                                   struct lct_err *err)
{
    struct swtpm *swtpm = (struct swtpm *)wire;
    enum lct_code code =
        lct_stream_receive(&swtpm->stream, response, response_len, capacity, deadline, err);

    lct_stream_close(&swtpm->stream);
    return code;
}

/* The response will have nobody to come to, and the next command waits until swtpm is done. */
static enum lct_code swtpm_settle(struct lct_wire *wire, const struct lct_deadline *deadline,
                                  struct lct_err *err)
{
    (void)deadline;
    (void)err;
    lct_stream_close(&((struct swtpm *)wire)->stream);
    return LCT_OK;
}

static void swtpm_close(struct lct_wire *wire)
{
    struct swtpm *swtpm = (struct swtpm *)wire;

    lct_stream_close(&swtpm->stream);
    free(swtpm);
}

static void swtpm_let_go(struct lct_wire *wire)
{
    lct_stream_abandon(&((struct swtpm *)wire)->stream);
}

static bool swtpm_abandon(struct lct_wire *wire)
{
    struct swtpm *swtpm = (struct swtpm *)wire;

    lct_stream_abandon(&swtpm->stream);
    free(swtpm);
    return true;
}

enum lct_code lct_swtpm_open(struct lct_wire **wire, const char *conf,
                             const struct lct_deadline *deadline, struct lct_err *err)
{
    static const char *const keys[] = {"path", "host", "port", NULL};
    enum lct_code code = lct_option_check(conf, "swtpm", keys, err);

    if (code != LCT_OK)
        return code;
    struct swtpm *swtpm = calloc(1, sizeof *swtpm);
    if (swtpm == NULL)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    swtpm->wire = (struct lct_wire){
        .software = true,
        .send = swtpm_send,
        .receive = swtpm_receive,
        .settle = swtpm_settle,
        .close = swtpm_close,
        .abandon = swtpm_abandon,
        .let_go = swtpm_let_go,
    };
    swtpm->stream.peer = "swtpm";
    code = lct_endpoint_find(&swtpm->endpoint, conf, deadline, err);
    if (code != LCT_OK) {
        free(swtpm);
        return code;
    }
    *wire = &swtpm->wire;
    return LCT_OK;
}
