/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ways in to a TPM, by themselves. `wire TCTI TIMEOUT [STEP...]` opens one ("-": the search),
 * then for each step prints a line; errors are "code: sentence". The steps: "ask" sends
 * TPM2_GetCapability and receives its response, in TIMEOUT ms; "send" and "receive" do one of the
 * two; "settle"; "wait" waits for a line of standard input; "steal" puts a file called "stolen" in
 * the place of every descriptor above 2, as hosts that close and open do; "fork" goes on in a
 * child, which has abandoned the connection and opened its own, and then in the parent.
 */
#include "tpm/wire.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const uint8_t command[] = {0x80, 1, 0, 0, 0, 22, 0, 0, 1, 0x7a, 0,
                                  0,    0, 6, 0, 0, 1,  0, 0, 0, 0,    1};

static const struct lct_deadline for_ever = {.timeout = -1};

static void tell(const char *what, enum lct_code code, const struct lct_err *err)
{
    if (code == LCT_OK)
        printf("%s ok\n", what);
    else
        printf("%s %d: %s\n", what, (int)code, err->text);
    fflush(stdout);
}

static void steal(void)
{
    int file = open("stolen", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    for (int fd = 3; fd < 64; fd++)
        if (fd != file && fcntl(fd, F_GETFD) >= 0)
            (void)dup2(file, fd);
}

/* Reconnects in a child. Returns the wire to go on with. */
static struct lct_wire *go_on_in_child(struct lct_wire *wire, const char *tcti)
{
    struct lct_err err;
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        if (!wire->abandon(wire))
            puts("the child cannot abandon it");
        enum lct_code code = lct_wire_open(&wire, tcti, &for_ever, &err);
        tell("open", code, &err);
        if (code != LCT_OK)
            _exit(1);
        return wire;
    }
    if (waitpid(pid, &status, 0) != pid || status != 0)
        puts("the child failed");
    return wire;
}

static void run(struct lct_wire *wire, const char *step, int timeout)
{
    struct lct_err err = {.code = LCT_OK};
    uint8_t response[4096];
    size_t response_len = 0;
    enum lct_code code = LCT_OK;
    bool ask = strcmp(step, "ask") == 0;
    struct lct_deadline deadline = lct_deadline_in(timeout);

    if (ask || strcmp(step, "send") == 0)
        code = wire->send(wire, command, sizeof command, &deadline, &err);
    if (code == LCT_OK && (ask || strcmp(step, "receive") == 0))
        code = wire->receive(wire, response, &response_len, sizeof response, &deadline, &err);
    if (strcmp(step, "settle") == 0)
        code = wire->settle != NULL ? wire->settle(wire, &deadline, &err) : LCT_ERR_UNSUPPORTED;
    if (strcmp(step, "wait") == 0 && getchar() == EOF)
        puts("nothing on standard input");
    if (strcmp(step, "steal") == 0)
        steal();
    if (code == LCT_OK && ask && response_len != 27)
        printf("%zu bytes\n", response_len);
    tell(step, code, &err);
}

int main(int argc, char **argv)
{
    struct lct_wire *wire = NULL;
    struct lct_err err = {.code = LCT_OK};
    const char *tcti = argc > 1 && strcmp(argv[1], "-") != 0 ? argv[1] : NULL;

    if (argc < 3)
        return 2;
    enum lct_code code = lct_wire_open(&wire, tcti, &for_ever, &err);
    tell("open", code, &err);
    if (code != LCT_OK)
        return 0;
    for (int i = 3; i < argc; i++)
        if (strcmp(argv[i], "fork") == 0)
            wire = go_on_in_child(wire, tcti);
        else
            run(wire, argv[i], (int)strtol(argv[2], NULL, 10));
    wire->close(wire);
    return 0;
}
