/* SPDX-License-Identifier: Apache-2.0 */
#include "base/descriptor.h"
#include "tpm/stream.h"
#include "tpm/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct device {
    struct lct_wire wire;
    struct lct_descriptor descriptor;
};

/* The events of poll(2) that have come; 0 at the deadline, POLLNVAL if it fails. */
static int wait_for(const struct device *device, short events, const struct lct_deadline *deadline)
{
    struct pollfd pollfd = {.fd = device->descriptor.fd, .events = events};
    int ready;

    do
        ready = poll(&pollfd, 1, lct_deadline_left(deadline));
    while (ready < 0 && errno == EINTR);
    return ready > 0 ? pollfd.revents : ready == 0 ? 0 : POLLNVAL;
}

/* The response to an earlier command, if it comes within `timeout` ms: nobody waits for it. */
static void throw_away(const struct device *device, int timeout)
{
    struct pollfd pollfd = {.fd = device->descriptor.fd, .events = POLLIN};
    uint8_t rest[4096];

    if (poll(&pollfd, 1, timeout) > 0)
        (void)!read(device->descriptor.fd, rest, sizeof rest);
}

/*
 * One command is one write: the driver takes no part of it. EBUSY: an earlier command's response is
 * unread or still to come, which poll(2) does not always tell of.
 */
static enum lct_code device_send(struct lct_wire *wire, const uint8_t *command, size_t command_len,
                                 const struct lct_deadline *deadline, struct lct_err *err)
{
    enum { PAUSE = 10 }; /* ms */
    struct device *device = (struct device *)wire;

    for (;;) {
        if (!lct_descriptor_is_ours(&device->descriptor))
            return LCT_FAIL(err, LCT_ERR_NO_TPM, "the program closed the TPM's descriptor");
        ssize_t n = write(device->descriptor.fd, command, command_len);
        if (n == (ssize_t)command_len)
            return LCT_OK;
        if (n >= 0 || (errno != EINTR && errno != EBUSY))
            return LCT_FAIL(err, LCT_ERR_NO_TPM, "the TPM takes no command: %s",
                            n < 0 ? strerror(errno) : "short write");
        if (lct_deadline_left(deadline) == 0)
            return LCT_FAIL(err, LCT_ERR_TIMEOUT, "the TPM is still busy with an earlier command");
        if (errno == EBUSY)
            throw_away(device, PAUSE);
    }
}

static enum lct_code device_receive(struct lct_wire *wire, uint8_t *response, size_t *response_len,
                                    size_t capacity, const struct lct_deadline *deadline,
                                    struct lct_err *err)
{
    struct device *device = (struct device *)wire;
    int ready = wait_for(device, POLLIN, deadline);
    ssize_t n;

    if (ready == 0)
        return LCT_FAIL(err, LCT_ERR_TIMEOUT, "the TPM did not answer within %d s",
                        deadline->timeout / 1000);
    if ((ready & POLLIN) == 0 || !lct_descriptor_is_ours(&device->descriptor))
        return LCT_FAIL(err, LCT_ERR_NO_TPM, "the TPM's descriptor is gone");
    do
        n = read(device->descriptor.fd, response, capacity);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return LCT_FAIL(err, LCT_ERR_NO_TPM, "the TPM gives no response: %s", strerror(errno));
    *response_len = (size_t)n;
    return LCT_OK;
}

/* Ready to read: a response waits. Ready to write: none does, and most likely none will come; if
 * one does, device_send finds out. */
static enum lct_code device_settle(struct lct_wire *wire, const struct lct_deadline *deadline,
                                   struct lct_err *err)
{
    struct device *device = (struct device *)wire;

    if (!lct_descriptor_is_ours(&device->descriptor))
        return LCT_FAIL(err, LCT_ERR_NO_TPM, "the program closed the TPM's descriptor");
    int ready = wait_for(device, POLLIN | POLLOUT, deadline);
    if (ready == 0)
        return LCT_FAIL(err, LCT_ERR_TIMEOUT, "the TPM is still busy with an earlier command");
    if ((ready & (POLLIN | POLLOUT)) == 0)
        return LCT_FAIL(err, LCT_ERR_NO_TPM, "the TPM's device fails");
    throw_away(device, 0);
    return LCT_OK;
}

static void device_close(struct lct_wire *wire)
{
    struct device *device = (struct device *)wire;

    lct_descriptor_close(&device->descriptor);
    free(device);
}

static void device_let_go(struct lct_wire *wire)
{
    lct_descriptor_close(&((struct device *)wire)->descriptor);
}

/* A device has one inode for all who open it: what a number was given to since looks like ours. */
static void device_disown(struct lct_wire *wire, bool surely)
{
    struct lct_descriptor *descriptor = &((struct device *)wire)->descriptor;

    if (surely || !lct_descriptor_is_ours(descriptor))
        *descriptor = (struct lct_descriptor){0};
}

/* Closing a child's copy of the descriptor says nothing to the driver: the parent's is open. */
static bool device_abandon(struct lct_wire *wire)
{
    device_close(wire);
    return true;
}

static const char *open_advice(int error)
{
    switch (error) {
    case EACCES:
    case EPERM:
        return "; add this user to the device's group, as in: usermod -aG tss USER";
    case EBUSY:
        return "; another program has it open, a resource manager perhaps";
    default:
        return "";
    }
}

enum lct_code lct_device_open(struct lct_wire **wire, const char *path, struct lct_err *err)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct lct_descriptor descriptor = {0};
    struct stat st = {0};

    if (fd < 0 || !lct_descriptor_take(&descriptor, fd))
        return LCT_FAIL(err, LCT_ERR_NO_TPM, "%s: %s%s", path, strerror(errno), open_advice(errno));
    struct device *device = calloc(1, sizeof *device);
    if (device == NULL || fstat(descriptor.fd, &st) != 0) {
        free(device);
        lct_descriptor_close(&descriptor);
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    }
    if (!S_ISCHR(st.st_mode) && st.st_size > 0) { /* a command would be written over it */
        free(device);
        lct_descriptor_close(&descriptor);
        return LCT_FAIL(err, LCT_ERR_NO_TPM, "%s is a file, not the device of a TPM", path);
    }
    bool manager = strncmp(name, "tpmrm", 5) == 0; /* each open descriptor has handles of its own */
    *device = (struct device){
        .wire = {.send = device_send,
                 .receive = device_receive,
                 .settle = device_settle,
                 .close = device_close,
                 .abandon = device_abandon,
                 .let_go = manager ? NULL : device_let_go,
                 .disown = device_disown,
                 .private_handles = manager,
                 .inheritable = manager},
        .descriptor = descriptor,
    };
    *wire = &device->wire;
    return LCT_OK;
}
