/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stand-in for the kernel's TPM devices in front of a software TPM, made to be quick:
 *
 *     tpmrm [--delay TABLE] [--count FILE] [--no-swap] SOCKET DIRECTORY
 *
 * mounts a FUSE file system at DIRECTORY, which takes root, with two files. `tpmrm0` is the
 * resource manager of Linux 6.1 (drivers/char/tpm/tpm2-space.c): each open file has a space of
 * handles, loaded before each of its commands and saved after it. `tpm0` is the TPM as it is, for
 * one program at a time. Says "ready" when they are there; ends, and leaves nothing in the TPM, on
 * SIGTERM and when its stdin closes.
 *
 * With --no-swap a space stays loaded, so one program has the TPM for itself. TABLE has a line
 * `COMMAND MILLISECONDS` for each command that shall take so long, `*` being all others. FILE gets
 * a line for each command as the TPM executes it, its name; with a + if it is a swap, with a - if
 * it clears up after a file that was closed.
 *
 * What differs from the kernel: a write returns when its command has been executed, even one that
 * shall not block, so poll(2) has nothing to wait for; and fstat(2) says a regular file of size 0.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/fuse.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <tss2/tss2_tpm2_types.h>
#include <unistd.h>

enum {
    SLOTS = 3,
    MOST_OPEN = 256,
    MOST_COMMANDS = 256,
    MAX_MESSAGE = 4096,
    HEADER = 10,
    MANAGER_NODE = 2, /* FUSE's number of the root is 1 */
    RAW_NODE = 3,
    FOREVER = 3600, /* s: nothing here is renamed */
};
static const uint32_t first_virtual = 0x80FFFFFF;

static const struct {
    TPM2_CC code;
    const char *name;
} names[] = {
    {TPM2_CC_ActivateCredential, "ActivateCredential"},
    {TPM2_CC_Certify, "Certify"},
    {TPM2_CC_ContextLoad, "ContextLoad"},
    {TPM2_CC_ContextSave, "ContextSave"},
    {TPM2_CC_Create, "Create"},
    {TPM2_CC_CreatePrimary, "CreatePrimary"},
    {TPM2_CC_ECC_Parameters, "ECC_Parameters"},
    {TPM2_CC_EvictControl, "EvictControl"},
    {TPM2_CC_FlushContext, "FlushContext"},
    {TPM2_CC_GetCapability, "GetCapability"},
    {TPM2_CC_GetRandom, "GetRandom"},
    {TPM2_CC_Hash, "Hash"},
    {TPM2_CC_HashSequenceStart, "HashSequenceStart"},
    {TPM2_CC_Import, "Import"},
    {TPM2_CC_Load, "Load"},
    {TPM2_CC_LoadExternal, "LoadExternal"},
    {TPM2_CC_NV_DefineSpace, "NV_DefineSpace"},
    {TPM2_CC_NV_Increment, "NV_Increment"},
    {TPM2_CC_NV_Read, "NV_Read"},
    {TPM2_CC_NV_ReadPublic, "NV_ReadPublic"},
    {TPM2_CC_NV_UndefineSpace, "NV_UndefineSpace"},
    {TPM2_CC_NV_Write, "NV_Write"},
    {TPM2_CC_PCR_Extend, "PCR_Extend"},
    {TPM2_CC_PCR_Read, "PCR_Read"},
    {TPM2_CC_PolicyAuthorize, "PolicyAuthorize"},
    {TPM2_CC_PolicyAuthValue, "PolicyAuthValue"},
    {TPM2_CC_PolicyGetDigest, "PolicyGetDigest"},
    {TPM2_CC_PolicyNV, "PolicyNV"},
    {TPM2_CC_PolicyOR, "PolicyOR"},
    {TPM2_CC_PolicyPCR, "PolicyPCR"},
    {TPM2_CC_PolicyRestart, "PolicyRestart"},
    {TPM2_CC_PolicySecret, "PolicySecret"},
    {TPM2_CC_Quote, "Quote"},
    {TPM2_CC_ReadPublic, "ReadPublic"},
    {TPM2_CC_RSA_Decrypt, "RSA_Decrypt"},
    {TPM2_CC_SelfTest, "SelfTest"},
    {TPM2_CC_SequenceComplete, "SequenceComplete"},
    {TPM2_CC_SequenceUpdate, "SequenceUpdate"},
    {TPM2_CC_Sign, "Sign"},
    {TPM2_CC_StartAuthSession, "StartAuthSession"},
    {TPM2_CC_Startup, "Startup"},
    {TPM2_CC_TestParms, "TestParms"},
    {TPM2_CC_Unseal, "Unseal"},
    {TPM2_CC_VerifySignature, "VerifySignature"},
};
enum { NUM_NAMES = sizeof names / sizeof names[0] };

struct message {
    size_t len;
    uint8_t data[MAX_MESSAGE];
};

/* An object or a session of a space. */
struct slot {
    bool used;
    uint32_t handle;       /* in the TPM, while it is loaded; a session's stays the same */
    struct message loader; /* the ContextLoad that brings it back */
};

/* What an open file has. */
struct space {
    bool raw;
    struct slot objects[SLOTS], sessions[SLOTS];
    struct message response;
    size_t given; /* of the response, by read(2) */
};

struct manager {
    int swtpm, fuse;
    bool swap;
    FILE *count; /* NULL: nobody counts */
    double other_ms, delays_ms[NUM_NAMES];
    size_t num_attributes;
    TPMA_CC attributes[MOST_COMMANDS];
    struct space *spaces[MOST_OPEN];
};

static void fail(const char *what)
{
    (void)fprintf(stderr, "tpmrm: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint32_t get32(const struct message *message, size_t at)
{
    uint32_t value = 0;

    if (at + sizeof value <= message->len)
        memcpy(&value, message->data + at, sizeof value);
    return be32toh(value);
}

static void put32(struct message *message, size_t at, uint32_t value)
{
    value = htobe32(value);
    memcpy(message->data + at, &value, sizeof value);
}

static uint32_t code_of(const struct message *message)
{
    return get32(message, 6);
}

static bool is_transient(uint32_t handle)
{
    return handle >> TPM2_HR_SHIFT == TPM2_HT_TRANSIENT;
}

/* A message without sessions: a command, or a response that only says `code`. */
static void make(struct message *message, uint32_t code, const void *body, size_t len)
{
    const uint16_t tag = htobe16(TPM2_ST_NO_SESSIONS);

    message->len = HEADER + len;
    memcpy(message->data, &tag, sizeof tag);
    put32(message, 2, (uint32_t)message->len);
    put32(message, 6, code);
    if (len > 0)
        memcpy(message->data + HEADER, body, len);
}

/* Which row of `names`; NUM_NAMES: none. */
static size_t row_of(uint32_t code)
{
    size_t row = 0;

    while (row < NUM_NAMES && names[row].code != code)
        row++;
    return row;
}

static void write_down(const struct manager *manager, uint32_t code, size_t row, const char *mark)
{
    if (row < NUM_NAMES)
        (void)fprintf(manager->count, "%s%s\n", mark, names[row].name);
    else
        (void)fprintf(manager->count, "%s%#x\n", mark, code);
    (void)fflush(manager->count);
}

static void sleep_until(struct timespec start, double ms)
{
    enum { NS = 1000000000 };
    const long long ns = start.tv_nsec + (long long)(ms * 1e6);
    const struct timespec end = {.tv_sec = start.tv_sec + ns / NS, .tv_nsec = ns % NS};

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL) == EINTR)
        ;
}

static bool receive(int fd, struct message *response)
{
    response->len = 0;
    while (response->len < HEADER || response->len < get32(response, 2)) {
        ssize_t n = recv(fd, response->data + response->len, MAX_MESSAGE - response->len, 0);
        if (n <= 0)
            return false;
        response->len += (size_t)n;
    }
    return true;
}

/* One command at the TPM, which takes as long as the table says. `mark` NULL: it is not written
 * down. False: the TPM is gone. */
static bool ask(struct manager *manager, struct message *response, const struct message *command,
                const char *mark)
{
    const size_t row = row_of(code_of(command));
    const double ms = row < NUM_NAMES ? manager->delays_ms[row] : manager->other_ms;
    struct timespec start;

    (void)clock_gettime(CLOCK_MONOTONIC, &start);
    if (manager->count != NULL && mark != NULL)
        write_down(manager, code_of(command), row, mark);
    if (send(manager->swtpm, command->data, command->len, MSG_NOSIGNAL) != (ssize_t)command->len ||
        !receive(manager->swtpm, response))
        return false;
    if (ms > 0)
        sleep_until(start, ms);
    return true;
}

/* A swap, or the clearing up; true if the TPM has done it. */
static bool swap_handle(struct manager *manager, struct message *response, TPM2_CC code,
                        uint32_t handle, const char *mark)
{
    struct message command;

    handle = htobe32(handle);
    make(&command, code, &handle, sizeof handle);
    return ask(manager, response, &command, mark) && code_of(response) == TPM2_RC_SUCCESS;
}

/* Drops what the TPM does not know any more: an object that the command has flushed, a session that
 * has ended with it. */
static void save(struct manager *manager, struct slot *slot)
{
    struct message response;

    slot->used =
        slot->used && swap_handle(manager, &response, TPM2_CC_ContextSave, slot->handle, "+");
    if (!slot->used)
        return;
    make(&slot->loader, TPM2_CC_ContextLoad, response.data + HEADER, response.len - HEADER);
    if (is_transient(slot->handle))
        (void)swap_handle(manager, &response, TPM2_CC_FlushContext, slot->handle, "+");
}

static void load(struct manager *manager, struct slot *slot)
{
    struct message response;

    slot->used = slot->used && ask(manager, &response, &slot->loader, "+") &&
                 code_of(&response) == TPM2_RC_SUCCESS;
    if (slot->used)
        slot->handle = get32(&response, HEADER);
}

static void each_slot(struct manager *manager, struct space *space,
                      void (*act)(struct manager *manager, struct slot *slot))
{
    for (size_t i = 0; i < SLOTS; i++)
        act(manager, &space->objects[i]);
    for (size_t i = 0; i < SLOTS; i++)
        act(manager, &space->sessions[i]);
}

static void drop(struct manager *manager, struct slot *slot)
{
    struct message response;

    if (slot->used)
        (void)swap_handle(manager, &response, TPM2_CC_FlushContext, slot->handle, "-");
    slot->used = false;
}

/* Saved objects are nowhere but in the space. */
static void end(struct manager *manager, struct space *space)
{
    for (size_t i = 0; i < SLOTS && manager->swap; i++)
        space->objects[i].used = false;
    each_slot(manager, space, drop);
}

/* The attributes of a command (Part 2, 8.9); 0: the TPM does not have it. */
static TPMA_CC attributes_of(const struct manager *manager, uint32_t code)
{
    for (size_t i = 0; i < manager->num_attributes; i++)
        if ((manager->attributes[i] & TPMA_CC_COMMANDINDEX_MASK) == code)
            return manager->attributes[i];
    return 0;
}

/* Virtual handles become the TPM's. False: one is none of this space's. */
static bool map_command(const struct manager *manager, const struct space *space,
                        struct message *command)
{
    const uint32_t code = code_of(command);
    size_t num = (attributes_of(manager, code) & TPMA_CC_CHANDLES_MASK) >> TPMA_CC_CHANDLES_SHIFT;

    if (code == TPM2_CC_ContextSave || code == TPM2_CC_FlushContext)
        num = 1; /* there it is a parameter */
    for (size_t at = HEADER; at < HEADER + 4 * num; at += 4) {
        uint32_t handle = get32(command, at), slot = first_virtual - handle;
        if (!is_transient(handle))
            continue;
        if (slot >= SLOTS || !space->objects[slot].used)
            return false;
        put32(command, at, space->objects[slot].handle);
    }
    return true;
}

/* Where nothing is swapped the TPM gives the handle anew of what ended unseen. */
static void forget(struct manager *manager, uint32_t handle)
{
    for (size_t i = 0; i < MOST_OPEN; i++)
        for (size_t j = 0; manager->spaces[i] != NULL && j < SLOTS; j++) {
            struct slot *object = &manager->spaces[i]->objects[j];
            struct slot *session = &manager->spaces[i]->sessions[j];
            object->used = object->used && object->handle != handle;
            if (!is_transient(handle)) /* the first byte is the session's kind, not which it is */
                session->used = session->used && (session->handle ^ handle) << 8 != 0;
        }
}

/* The index of the slot that keeps what the TPM has made; SLOTS if all are taken, and it is
 * flushed. */
static size_t keep(struct manager *manager, struct slot *slots, uint32_t handle)
{
    struct slot made = {.used = true, .handle = handle};
    size_t i = 0;

    if (!manager->swap)
        forget(manager, handle);
    while (i < SLOTS && slots[i].used)
        i++;
    if (i < SLOTS)
        slots[i] = made;
    else
        drop(manager, &made);
    return i;
}

/* A list of handles has, of the transient ones, the space's own alone. */
static void map_list(const struct space *space, struct message *response)
{
    enum { COUNT = 15, FIRST = 19 };
    const uint32_t num = get32(response, COUNT);
    size_t to = FIRST;

    for (size_t at = FIRST; at < FIRST + 4 * (size_t)num; at += 4) {
        uint32_t handle = get32(response, at), slot = 0;
        while (is_transient(handle) && slot < SLOTS &&
               !(space->objects[slot].used && space->objects[slot].handle == handle))
            slot++;
        if (slot == SLOTS)
            continue;
        put32(response, to, is_transient(handle) ? first_virtual - slot : handle);
        to += 4;
    }
    response->len = to;
    put32(response, 2, (uint32_t)to);
    put32(response, COUNT, (uint32_t)(to - FIRST) / 4);
}

/* Returns 0 or an errno. */
static int map_response(struct manager *manager, struct space *space, const struct message *command,
                        struct message *response)
{
    enum { CAPABILITY = 11 };
    const uint32_t code = code_of(command), handle = get32(response, HEADER);

    if (code_of(response) != TPM2_RC_SUCCESS)
        return 0;
    if (code == TPM2_CC_FlushContext && !manager->swap)
        forget(manager, get32(command, HEADER));
    if (code == TPM2_CC_GetCapability && get32(response, CAPABILITY) == TPM2_CAP_HANDLES)
        map_list(space, response);
    if ((attributes_of(manager, code) & TPMA_CC_RHANDLE) == 0)
        return 0;
    if (is_transient(handle)) {
        size_t slot = keep(manager, space->objects, handle);
        put32(response, HEADER, first_virtual - (uint32_t)slot);
        return slot < SLOTS ? 0 : ENOMEM;
    }
    if (handle >> TPM2_HR_SHIFT == TPM2_HT_HMAC_SESSION ||
        handle >> TPM2_HR_SHIFT == TPM2_HT_POLICY_SESSION)
        return keep(manager, space->sessions, handle) < SLOTS ? 0 : ENOMEM;
    return 0;
}

/* What the kernel does with a command in tpmrm0. Returns 0 or an errno. */
static int carry_out(struct manager *manager, struct space *space, struct message *command)
{
    if (space->raw)
        return ask(manager, &space->response, command, "") ? 0 : EIO;
    if (attributes_of(manager, code_of(command)) == 0) {
        make(&space->response, TPM2_RC_COMMAND_CODE | TSS2_RESMGR_RC_LAYER, NULL, 0);
        return 0;
    }
    if (manager->swap)
        each_slot(manager, space, load);
    int error = map_command(manager, space, command) ? 0 : EINVAL;
    if (error == 0 && !ask(manager, &space->response, command, ""))
        error = EIO;
    if (error == 0)
        error = map_response(manager, space, command, &space->response);
    if (error != 0)
        each_slot(manager, space, drop);
    else if (manager->swap)
        each_slot(manager, space, save);
    return error;
}

/* FUSE. A failure to answer is that of who asked, who may be gone. */
static void reply(const struct manager *manager, uint64_t unique, int error, const void *body,
                  size_t len)
{
    uint8_t whole[sizeof(struct fuse_out_header) + MAX_MESSAGE];
    const struct fuse_out_header header = {
        .len = (uint32_t)(sizeof header + len), .error = -error, .unique = unique};

    memcpy(whole, &header, sizeof header);
    if (len > 0)
        memcpy(whole + sizeof header, body, len);
    (void)!write(manager->fuse, whole, sizeof header + len);
}

static struct fuse_attr attributes(uint64_t node)
{
    return (struct fuse_attr){.ino = node,
                              .mode = node == FUSE_ROOT_ID ? S_IFDIR | 0755 : S_IFREG | 0666,
                              .nlink = 1,
                              .blksize = MAX_MESSAGE};
}

static void look_up(struct manager *manager, const struct fuse_in_header *in, const char *name)
{
    const uint64_t node = strcmp(name, "tpmrm0") == 0 ? MANAGER_NODE
                          : strcmp(name, "tpm0") == 0 ? RAW_NODE
                                                      : 0;
    const struct fuse_entry_out out = {
        .nodeid = node, .entry_valid = FOREVER, .attr_valid = FOREVER, .attr = attributes(node)};

    reply(manager, in->unique, node != 0 ? 0 : ENOENT, &out, node != 0 ? sizeof out : 0);
}

/* As in the kernel, tpm0 is for one at a time. Returns 0 or an errno. */
static int open_space(struct manager *manager, uint64_t node, uint64_t *number)
{
    size_t place = MOST_OPEN;

    for (size_t i = 0; i < MOST_OPEN; i++) {
        if (manager->spaces[i] == NULL)
            place = i;
        else if (node == RAW_NODE && manager->spaces[i]->raw)
            return EBUSY;
    }
    struct space *space = place < MOST_OPEN ? calloc(1, sizeof *space) : NULL;
    if (space == NULL)
        return ENOMEM;
    space->raw = node == RAW_NODE;
    manager->spaces[place] = space;
    *number = place;
    return 0;
}

static void close_space(struct manager *manager, uint64_t number)
{
    end(manager, manager->spaces[number]);
    free(manager->spaces[number]);
    manager->spaces[number] = NULL;
}

static int write_command(struct manager *manager, const struct fuse_write_in *in)
{
    struct space *space = manager->spaces[in->fh];
    struct message command = {.len = in->size};

    if (in->size > MAX_MESSAGE)
        return E2BIG;
    memcpy(command.data, in + 1, in->size);
    if (space->response.len > 0 && space->given == 0)
        return EBUSY;
    if (command.len < HEADER || command.len < get32(&command, 2))
        return EINVAL;
    space->response.len = space->given = 0;
    int error = carry_out(manager, space, &command);
    if (error != 0)
        space->response.len = 0;
    return error;
}

static void read_response(struct manager *manager, uint64_t unique, const struct fuse_read_in *in)
{
    struct space *space = manager->spaces[in->fh];
    const size_t left = space->response.len - space->given;
    const size_t len = in->size < left ? in->size : left;

    reply(manager, unique, 0, space->response.data + space->given, len);
    space->given += len;
}

/* A request to an open file. */
static void serve_file(struct manager *manager, const struct fuse_in_header *in, const void *body)
{
    struct fuse_open_out opened = {.open_flags =
                                       FOPEN_DIRECT_IO | FOPEN_NONSEEKABLE | FOPEN_STREAM};
    struct fuse_write_out written = {0};
    int error;

    switch (in->opcode) {
    case FUSE_OPEN:
        error = open_space(manager, in->nodeid, &opened.fh);
        reply(manager, in->unique, error, &opened, error == 0 ? sizeof opened : 0);
        return;
    case FUSE_READ:
        read_response(manager, in->unique, body);
        return;
    case FUSE_WRITE:
        error = write_command(manager, body);
        written.size = ((const struct fuse_write_in *)body)->size;
        reply(manager, in->unique, error, &written, error == 0 ? sizeof written : 0);
        return;
    default: /* FUSE_RELEASE */
        close_space(manager, ((const struct fuse_release_in *)body)->fh);
        reply(manager, in->unique, 0, NULL, 0);
    }
}

/* One request. To FUSE_POLL, too, the answer is that there is no such thing: then the kernel takes
 * the file for always ready, which it is. */
static void serve(struct manager *manager, const struct fuse_in_header *in, const void *body)
{
    const struct fuse_init_out init = {.major = FUSE_KERNEL_VERSION,
                                       .minor = FUSE_KERNEL_MINOR_VERSION,
                                       .max_background = 12,
                                       .congestion_threshold = 9,
                                       .max_write = 2 * MAX_MESSAGE,
                                       .time_gran = 1};
    const struct fuse_attr_out out = {.attr_valid = FOREVER, .attr = attributes(in->nodeid)};

    switch (in->opcode) {
    case FUSE_INIT:
        reply(manager, in->unique, 0, &init, sizeof init);
        return;
    case FUSE_LOOKUP:
        look_up(manager, in, body);
        return;
    case FUSE_GETATTR:
    case FUSE_SETATTR: /* an open(2) that truncates */
        reply(manager, in->unique, 0, &out, sizeof out);
        return;
    case FUSE_OPEN:
    case FUSE_READ:
    case FUSE_WRITE:
    case FUSE_RELEASE:
        serve_file(manager, in, body);
        return;
    case FUSE_FORGET: /* these take no answer */
    case FUSE_BATCH_FORGET:
    case FUSE_INTERRUPT:
        return;
    default:
        reply(manager, in->unique, ENOSYS, NULL, 0);
    }
}

static void serve_until_told(struct manager *manager, const sigset_t *signals)
{
    struct pollfd waiting[] = {
        {.fd = manager->fuse, .events = POLLIN},
        {.fd = STDIN_FILENO, .events = POLLIN},
        {.fd = signalfd(-1, signals, SFD_CLOEXEC), .events = POLLIN},
    };
    union {
        struct fuse_in_header header;
        uint8_t bytes[16 * MAX_MESSAGE];
    } request;

    for (;;) {
        (void)poll(waiting, sizeof waiting / sizeof waiting[0], -1);
        if (waiting[1].revents != 0 || waiting[2].revents != 0)
            return;
        ssize_t n = read(manager->fuse, &request, sizeof request);
        if (n >= (ssize_t)sizeof request.header)
            serve(manager, &request.header, &request.header + 1);
        else if (errno != EINTR && errno != EAGAIN && errno != ENOENT) /* ENOENT: taken back */
            return;
    }
}

static void connect_swtpm(struct manager *manager, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (strlen(path) >= sizeof address.sun_path)
        errno = ENAMETOOLONG;
    else
        memcpy(address.sun_path, path, strlen(path));
    manager->swtpm = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (address.sun_path[0] == '\0' ||
        connect(manager->swtpm, (const struct sockaddr *)&address, sizeof address) != 0)
        fail(path);
}

static void learn_commands(struct manager *manager)
{
    enum { COUNT = 15, FIRST = 19 };
    const uint32_t body[] = {htobe32(TPM2_CAP_COMMANDS), htobe32(TPM2_CC_FIRST),
                             htobe32(MOST_COMMANDS)};
    struct message command, response;

    make(&command, TPM2_CC_GetCapability, body, sizeof body);
    if (!ask(manager, &response, &command, NULL) || code_of(&response) != TPM2_RC_SUCCESS)
        fail("the TPM does not say which commands it has");
    while (manager->num_attributes < MOST_COMMANDS &&
           manager->num_attributes < get32(&response, COUNT)) {
        manager->attributes[manager->num_attributes] =
            get32(&response, FIRST + 4 * manager->num_attributes);
        manager->num_attributes++;
    }
}

/* A line of the table: a name and its milliseconds. */
static void take_delay(struct manager *manager, const char *name, const char *number)
{
    char *rest = NULL;
    const double ms = strtod(number, &rest);
    size_t row = 0;

    while (row < NUM_NAMES && strcmp(names[row].name, name) != 0)
        row++;
    errno = EINVAL;
    if (rest == number || ms < 0 || (row == NUM_NAMES && strcmp(name, "*") != 0))
        fail(name);
    if (row < NUM_NAMES)
        manager->delays_ms[row] = ms;
    else
        manager->other_ms = ms;
}

static void read_delays(struct manager *manager, const char *path)
{
    FILE *file = fopen(path, "re");
    char line[256];

    if (file == NULL)
        fail(path);
    for (size_t row = 0; row < NUM_NAMES; row++)
        manager->delays_ms[row] = -1;
    while (fgets(line, sizeof line, file) != NULL) {
        char *space = strchr(line, ' ');
        if (line[0] == '#' || space == NULL)
            continue;
        *space = '\0';
        take_delay(manager, line, space + 1);
    }
    for (size_t row = 0; row < NUM_NAMES; row++)
        if (manager->delays_ms[row] < 0)
            manager->delays_ms[row] = manager->other_ms;
    (void)fclose(file);
}

static void mount_at(struct manager *manager, const char *directory)
{
    char options[128];

    manager->fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    (void)snprintf(options, sizeof options,
                   "fd=%d,rootmode=40755,user_id=0,group_id=0,allow_other,default_permissions",
                   manager->fuse);
    if (manager->fuse < 0 || mount("tpmrm", directory, "fuse", MS_NOSUID | MS_NODEV, options) != 0)
        fail(directory);
}

/* Returns the index of the first word that is no option. */
static int take_options(struct manager *manager, int argc, char **argv)
{
    static const struct option known[] = {{"delay", required_argument, NULL, 'd'},
                                          {"count", required_argument, NULL, 'c'},
                                          {"no-swap", no_argument, NULL, 'n'},
                                          {0}};
    const char *count = NULL, *delays = NULL;
    int option;

    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1)
        switch (option) {
        case 'd':
            delays = optarg;
            break;
        case 'c':
            count = optarg;
            break;
        case 'n':
            manager->swap = false;
            break;
        default:
            exit(2);
        }
    if (delays != NULL)
        read_delays(manager, delays);
    if (count != NULL)
        manager->count = fopen(count, "ae");
    if (count != NULL && manager->count == NULL)
        fail(count);
    return optind;
}

int main(int argc, char **argv)
{
    struct manager manager = {.swap = true};
    sigset_t signals;
    const int words = take_options(&manager, argc, argv);

    if (argc - words != 2) {
        (void)fprintf(stderr, "usage: tpmrm [--delay TABLE] [--count FILE] [--no-swap] SOCKET "
                              "DIRECTORY\n");
        return 2;
    }
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGTERM);
    (void)sigaddset(&signals, SIGINT);
    (void)sigprocmask(SIG_BLOCK, &signals, NULL);
    connect_swtpm(&manager, argv[words]);
    learn_commands(&manager);
    mount_at(&manager, argv[words + 1]);
    (void)printf("ready\n");
    (void)fflush(stdout);
    serve_until_told(&manager, &signals);
    (void)umount2(argv[words + 1], MNT_DETACH);
    for (size_t number = 0; number < MOST_OPEN; number++)
        if (manager.spaces[number] != NULL)
            close_space(&manager, number);
    return 0;
}
