/* SPDX-License-Identifier: Apache-2.0 */
#include "tpm/abrmd.h"

#include "tpm/bus.h"
#include "tpm/option.h"
#include "tpm/stream.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUS_TIMEOUT = 5000 }; /* ms */

static const char peer[] = "tpm2-abrmd";

struct abrmd {
    struct lct_wire wire;
    struct lct_stream stream;
    bool pending; /* a command is sent whose response nobody has read */
};

static bool is_there(const char *root, const char *path)
{
    char *file = NULL;

    if (asprintf(&file, "%s%s", root, path) < 0)
        return false;
    bool there = access(file, F_OK) == 0;
    free(file);
    return there;
}

bool lct_abrmd_is_installed(const char *root)
{
    return is_there(root, "/usr/share/dbus-1/system-services/com.intel.tss2.Tabrmd.service");
}

static enum lct_code read_conf(enum lct_bus_type *type, char *name, size_t name_size,
                               const char *conf, struct lct_err *err)
{
    static const char *const keys[] = {"bus_type", "bus_name", NULL};
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.:";
    char type_name[16];
    enum lct_code code = lct_option_check(conf, "tabrmd", keys, err);

    if (code == LCT_OK)
        code = lct_option_get(type_name, sizeof type_name, conf, "bus_type", "system", err);
    if (code == LCT_OK)
        code = lct_option_get(name, name_size, conf, "bus_name", "com.intel.tss2.Tabrmd", err);
    if (code != LCT_OK)
        return code;
    if (strcmp(type_name, "system") != 0 && strcmp(type_name, "session") != 0)
        return LCT_FAIL(err, LCT_ERR_CONFIG,
                        "tcti tabrmd: bus_type is system or session, not \"%s\"", type_name);
    if (name[0] == '\0' || name[strspn(name, letters)] != '\0')
        return LCT_FAIL(err, LCT_ERR_CONFIG, "tcti tabrmd: \"%s\" is no name on a bus", name);
    *type = strcmp(type_name, "session") == 0 ? LCT_BUS_SESSION : LCT_BUS_SYSTEM;
    return LCT_OK;
}

/* Its words for --max-connections, 27 if it is not told otherwise; the error's name is that of
 * others, too. */
static bool is_full(const char *detail)
{
    static const char words[] = "MAX_COMMANDS exceeded";

    return strncmp(detail, words, sizeof words - 1) == 0;
}

/* The sentence for a person. */
static void explain(struct lct_abrmd_answer *answer, enum lct_bus_outcome outcome,
                    const char *label, const char *detail, int timeout)
{
    const size_t size = sizeof answer->text;

    switch (outcome) {
    case LCT_BUS_ABSENT:
        (void)snprintf(answer->text, size, "no tpm2-abrmd: there is no D-Bus at %.200s", label);
        break;
    case LCT_BUS_DENIED:
        (void)snprintf(answer->text, size, "tpm2-abrmd may not be asked by this user: %.220s",
                       detail);
        break;
    case LCT_BUS_NO_NAME:
        (void)snprintf(answer->text, size, "tpm2-abrmd is not on the D-Bus");
        break;
    case LCT_BUS_SILENT:
        (void)snprintf(answer->text, size, "tpm2-abrmd did not answer on the D-Bus within %d s",
                       timeout / 1000);
        break;
    default:
        if (is_full(detail))
            (void)snprintf(answer->text, size,
                           "tpm2-abrmd has as many clients as it takes: give it a larger "
                           "--max-connections, or use /dev/tpmrm0");
        else
            (void)snprintf(answer->text, size, "tpm2-abrmd gives no connection: %.220s", detail);
        break;
    }
}

/* What helps on the system's bus, where services are systemd's. */
static const char *command_for(enum lct_bus_outcome outcome, const char *detail, const char *root)
{
    switch (outcome) {
    case LCT_BUS_ABSENT:
    case LCT_BUS_NO_NAME:
        if (!lct_abrmd_is_installed(root))
            return "apt install tpm2-abrmd";
        return outcome == LCT_BUS_ABSENT ? "systemctl start dbus tpm2-abrmd"
                                         : "systemctl start tpm2-abrmd";
    case LCT_BUS_DENIED: /* its package's policy lets root and the group tss in */
        return "usermod -aG tss USER";
    default:
        return is_full(detail) ? "systemctl edit tpm2-abrmd" : "systemctl status tpm2-abrmd";
    }
}

/* One that is just starting has its name on the bus before it can be called. */
static enum lct_bus_outcome call_it(int *fd, const struct lct_endpoint *bus,
                                    const struct lct_bus_call *call,
                                    const struct lct_deadline *deadline, char *text, size_t size)
{
    enum { STARTING = 1000, PAUSE = 10 }; /* ms */
    const struct lct_deadline soon = lct_deadline_sooner(deadline, STARTING);
    enum lct_bus_outcome outcome = lct_bus_call(fd, bus, call, deadline, text, size);

    while (outcome == LCT_BUS_NOTHING && lct_deadline_left(&soon) > PAUSE) {
        lct_wait_ms(PAUSE);
        outcome = lct_bus_call(fd, bus, call, deadline, text, size);
    }
    return outcome;
}

/* Asks for a connection: `stream` is open if it answers. Where the bus starts a service that has no
 * device, systemd waits for one, and the bus for systemd. */
static enum lct_code ask(struct lct_abrmd_answer *answer, struct lct_stream *stream,
                         const char *root, const char *conf, bool searched,
                         const struct lct_deadline *deadline, struct lct_err *err)
{
    struct lct_endpoint bus;
    enum lct_bus_type type = LCT_BUS_SYSTEM;
    char name[256], detail[256] = "";
    int fd = -1;
    enum lct_code code = read_conf(&type, name, sizeof name, conf, err);

    if (code != LCT_OK)
        return code;
    const struct lct_bus_call call = {.name = name,
                                      .path = "/com/intel/tss2/Tabrmd/Tcti",
                                      .interface = "com.intel.tss2.TctiTabrmd",
                                      .member = "CreateConnection",
                                      .start = !searched || is_there(root, "/dev/tpm0")};
    enum lct_bus_outcome outcome = LCT_BUS_ABSENT;
    if (lct_bus_find(&bus, type, root))
        outcome = call_it(&fd, &bus, &call, deadline, detail, sizeof detail);
    if (outcome == LCT_BUS_ANSWERED && !lct_stream_adopt(stream, fd)) {
        outcome = LCT_BUS_FAILED;
        (void)snprintf(detail, sizeof detail, "what it answers is none");
    }
    bool absent = outcome == LCT_BUS_ABSENT || outcome == LCT_BUS_NO_NAME;
    *answer = (struct lct_abrmd_answer){
        .answers = outcome == LCT_BUS_ANSWERED,
        .missing = absent && !lct_abrmd_is_installed(root),
        .silent = outcome == LCT_BUS_SILENT,
    };
    if (answer->answers)
        return LCT_OK;
    explain(answer, outcome, bus.label, detail, deadline->timeout);
    if (type == LCT_BUS_SYSTEM && !(searched && answer->missing))
        answer->command = command_for(outcome, detail, root);
    return LCT_OK;
}

enum lct_code lct_abrmd_ask(struct lct_abrmd_answer *answer, const char *root, const char *conf,
                            bool searched, struct lct_err *err)
{
    struct lct_stream stream = {.peer = peer};
    const struct lct_deadline deadline = lct_deadline_in(BUS_TIMEOUT);
    enum lct_code code = ask(answer, &stream, root, conf, searched, &deadline, err);

    lct_stream_close(&stream);
    return code;
}

/* Nothing may be there to read before a command: it would be taken for its response. What can be,
 * is the end of the connection. */
static enum lct_code check_is_quiet(const struct abrmd *abrmd, struct lct_err *err)
{
    uint8_t byte;

    if (abrmd->pending)
        return LCT_FAIL(err, LCT_ERR_NO_TPM, "an earlier command's response was not read");
    if (!lct_descriptor_is_ours(&abrmd->stream.descriptor))
        return LCT_FAIL(err, LCT_ERR_NO_TPM, "the connection to tpm2-abrmd is closed");
    ssize_t n = recv(abrmd->stream.descriptor.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return LCT_OK;
    return LCT_FAIL(err, LCT_ERR_NO_TPM,
                    n > 0 ? "tpm2-abrmd sends what was not asked for"
                          : "tpm2-abrmd closed the connection");
}

static enum lct_code abrmd_send(struct lct_wire *wire, const uint8_t *command, size_t command_len,
                                const struct lct_deadline *deadline, struct lct_err *err)
{
    struct abrmd *abrmd = (struct abrmd *)wire;
    enum lct_code code = check_is_quiet(abrmd, err);

    if (code == LCT_OK)
        code = lct_stream_send(&abrmd->stream, command, command_len, deadline, err);
    if (code != LCT_OK)
        lct_stream_close(&abrmd->stream);
    abrmd->pending = code == LCT_OK;
    return code;
}

/* A response that is late or broken off leaves nothing to go on with. */
static enum lct_code abrmd_receive(struct lct_wire *wire, uint8_t *response, size_t *response_len,
                                   size_t capacity, const struct lct_deadline *deadline,
                                   struct lct_err *err)
{
    struct abrmd *abrmd = (struct abrmd *)wire;
    enum lct_code code =
        lct_stream_receive(&abrmd->stream, response, response_len, capacity, deadline, err);

    abrmd->pending = false;
    if (code != LCT_OK)
        lct_stream_close(&abrmd->stream);
    return code;
}

static void abrmd_close(struct lct_wire *wire)
{
    struct abrmd *abrmd = (struct abrmd *)wire;

    lct_stream_close(&abrmd->stream);
    free(abrmd);
}

static void abrmd_let_go(struct lct_wire *wire)
{
    lct_stream_abandon(&((struct abrmd *)wire)->stream);
}

static bool abrmd_abandon(struct lct_wire *wire)
{
    struct abrmd *abrmd = (struct abrmd *)wire;

    lct_stream_abandon(&abrmd->stream);
    free(abrmd);
    return true;
}

enum lct_code lct_abrmd_open(struct lct_wire **wire, const char *conf, bool searched,
                             const struct lct_deadline *deadline, struct lct_err *err)
{
    struct lct_stream stream = {.peer = peer};
    struct lct_abrmd_answer answer = {.answers = false};
    const struct lct_deadline soon = lct_deadline_sooner(deadline, BUS_TIMEOUT);
    enum lct_code code = ask(&answer, &stream, "", conf, searched, &soon, err);

    if (code != LCT_OK)
        return code;
    if (!answer.answers)
        return LCT_FAIL(err, answer.silent ? LCT_ERR_TIMEOUT : LCT_ERR_NO_TPM, "%s%s%s",
                        answer.text, answer.command != NULL ? "; " : "",
                        answer.command != NULL ? answer.command : "");
    struct abrmd *abrmd = calloc(1, sizeof *abrmd);
    if (abrmd == NULL) {
        lct_stream_close(&stream);
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    }
    *abrmd = (struct abrmd){
        .wire = {.private_handles = true,
                 .keeps_sessions = true,
                 .send = abrmd_send,
                 .receive = abrmd_receive,
                 .close = abrmd_close,
                 .abandon = abrmd_abandon,
                 .let_go = abrmd_let_go},
        .stream = stream,
    };
    *wire = &abrmd->wire;
    return LCT_OK;
}
