/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/tool.h"
#include "tools/unlock.h"

#include "store/sealed.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Not by stdio, whose buffer would keep it. */
static enum lct_code write_secret(const uint8_t *secret, size_t secret_len, struct lct_err *err)
{
    while (secret_len > 0) {
        ssize_t n = write(STDOUT_FILENO, secret, secret_len);
        if (n < 0 && errno != EINTR)
            return LCT_FAIL(err, LCT_ERR_IO, "standard output cannot be written: %s",
                            strerror(errno));
        secret += n > 0 ? n : 0;
        secret_len -= n > 0 ? (size_t)n : 0;
    }
    return LCT_OK;
}

/* All of it at once, without waiting for who reads: there is nobody yet. */
static bool fill_pipe(int end, const uint8_t *secret, size_t secret_len)
{
    int room = fcntl(end, F_GETPIPE_SZ);

    if (room >= 0 && secret_len > (size_t)room)
        room = fcntl(end, F_SETPIPE_SZ, (int)secret_len);
    if (room < 0 || fcntl(end, F_SETFL, O_NONBLOCK) != 0)
        return false;
    ssize_t n = write(end, secret, secret_len);
    if (n >= 0 && (size_t)n != secret_len)
        errno = ENOBUFS;
    return n >= 0 && (size_t)n == secret_len;
}

/*
 * The secret as standard input: in a pipe, which is memory of the kernel's that is never swapped
 * out, and gone once it is read. It holds LCT_MAX_SECRET, since pipe-max-size is 1 MiB (pipe(7)).
 */
static enum lct_code take_input(const uint8_t *secret, size_t secret_len, struct lct_err *err)
{
    int ends[2] = {-1, -1};
    bool good = pipe2(ends, O_CLOEXEC) == 0 && fill_pipe(ends[1], secret, secret_len) &&
                dup2(ends[0], STDIN_FILENO) == STDIN_FILENO && fcntl(STDIN_FILENO, F_SETFD, 0) == 0;
    int error = errno;

    if (ends[1] >= 0)
        close(ends[1]);
    if (ends[0] > STDIN_FILENO)
        close(ends[0]);
    return good ? LCT_OK
                : LCT_FAIL(err, LCT_ERR_IO, "the secret cannot be put into a pipe: %s",
                           strerror(error));
}

/* A secret is of no store: what approves for it is by its PCRs. What is bound (by another tool) or
 * strict, none of our approvals opens. */
static void suggest_approval(const struct lct_seal *seal, struct lct_err *err)
{
    struct lct_err why = *err;
    char pcrs[LCT_PCRS_TEXT];

    if (seal->authority_len == 0 || seal->ref_len > 0)
        return;
    lct_pcrs_text(pcrs, &seal->pcrs.pcrs);
    (void)LCT_FAIL(err, why.code,
                   "%.300s; if this state is meant, approve it: lct pcrs %s%s| lct approve "
                   "--authority KEY.pem --pcrs -",
                   why.text, pcrs, pcrs[0] != '\0' ? " " : "");
}

/* An older file, or another tool's: who answers in the TPM's place learns enough to guess at the
 * passphrase. */
static void say_unpinned(const struct lct_key *key)
{
    struct lct_generation generation;

    if (key->has_passphrase && lct_key_generation(&generation, key)->parent_name.len == 0)
        lct_tool_warn(key->label,
                      "it does not say which storage key it is under, so its passphrase "
                      "can be guessed at by who answers in the TPM's place; seal it anew: lct "
                      "unseal FILE | lct seal --passphrase >NEW");
}

/* What was sealed, which the caller wipes and frees. */
static enum lct_code unseal(uint8_t **secret, size_t *secret_len, struct lct_tool *tool,
                            const char *file, struct lct_err *err)
{
    struct lct_key *key = NULL;
    struct lct_generation generation;
    uint8_t *text = NULL;
    size_t text_len = 0;
    enum lct_code code = lct_tool_read(&text, &text_len, file, LCT_MAX_SECRET_FILE, err);

    *secret = NULL;
    *secret_len = 0;
    if (code == LCT_OK)
        code = lct_sealed_read(&key, tool->crypto, &tool->store, &tool->config, lct_tool_file(file),
                               text, text_len, err);
    if (code == LCT_OK)
        code = lct_tool_unlock(tool, key, err);
    if (code == LCT_OK) {
        code = lct_sealed_open(secret, secret_len, key, tool->tpm, text, text_len, err);
        if (code == LCT_ERR_SEALED)
            suggest_approval(&lct_key_generation(&generation, key)->seal, err);
    }
    if (code == LCT_OK)
        say_unpinned(key);
    lct_key_free(key);
    free(text);
    return code;
}

/*
 * Becomes the program, so that its exit status and the signals to it are its own. What this process
 * holds in the TPM goes before, since nothing of it runs at its end.
 */
static enum lct_code become(struct lct_tool *tool, char **command, struct lct_err *err)
{
    lct_tool_close(tool);
    (void)execvp(command[0], command);
    return LCT_FAIL(err, LCT_ERR_IO, "%s cannot be run: %s", command[0], strerror(errno));
}

/* The place of the "--" that the program stands behind; `argc`: there is none. */
static int find_command(int argc, char **argv)
{
    int i = 1;

    while (i < argc && strcmp(argv[i], "--") != 0)
        i++;
    return i;
}

enum lct_code lct_unseal_run(struct lct_tool *tool, int argc, char **argv, struct lct_err *err)
{
    bool exec = false;
    const struct lct_option options[] = {{"exec", NULL, &exec}};
    int end = find_command(argc, argv);
    char **command = argc - end > 1 ? argv + end + 1 : NULL;
    uint8_t *secret = NULL;
    size_t secret_len = 0;
    char **operands;
    int num_operands;
    enum lct_code code =
        lct_options_parse(tool, end, argv, options, 1, 0, 1, &operands, &num_operands, err);

    if (code == LCT_OK && exec != (command != NULL))
        code = LCT_FAIL(err, LCT_ERR_USAGE,
                        "--exec takes a program after --: lct unseal FILE --exec -- PROGRAM ARG");
    if (code == LCT_OK)
        code = lct_tool_open(tool, err);
    if (code == LCT_OK)
        code = unseal(&secret, &secret_len, tool, num_operands == 1 ? operands[0] : "-", err);
    if (code == LCT_OK)
        code = exec ? take_input(secret, secret_len, err) : write_secret(secret, secret_len, err);
    if (secret != NULL)
        explicit_bzero(secret, secret_len);
    free(secret);
    return code == LCT_OK && exec ? become(tool, command, err) : code;
}
