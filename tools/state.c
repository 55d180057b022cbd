/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/state.h"

#include "base/fd.h"
#include "proof/document.h"
#include "proof/json.h"
#include "tools/private_file.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    MAX_FILE = 2 << 20, /* an offer with every certificate that it may have is shorter */
    OTHERS = S_IRWXG | S_IRWXO,
    ATTEMPTS = 100
};

/* Nothing else of it is left in memory. *len is with the line's end, in the place of the NUL. */
static char *to_text(size_t *len, const struct lct_challenge_state *content)
{
    json_t *json = lct_challenge_state_json(content);
    char *text = json != NULL ? lct_json_dump(json, JSON_INDENT(2)) : NULL;

    lct_challenge_state_forget(json);
    json_decref(json);
    *len = text != NULL ? strlen(text) + 1 : 0;
    if (text != NULL)
        text[*len - 1] = '\n';
    return text;
}

static void wipe_text(char *text, size_t len)
{
    if (text != NULL)
        explicit_bzero(text, len);
    free(text);
}

enum lct_code lct_state_make(const char *file, const struct lct_challenge_state *content,
                             struct lct_err *err)
{
    size_t len;
    char *text = to_text(&len, content);
    enum lct_code code = text != NULL ? lct_private_file_make(file, (const uint8_t *)text, len, err)
                                      : LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");

    wipe_text(text, len);
    return code;
}

static enum lct_code fail_read(const char *file, struct lct_err *err)
{
    return LCT_FAIL(err, LCT_ERR_IO, "%s cannot be read: %s", file,
                    errno == ELOOP ? "it is a link; name the file itself" : strerror(errno));
}

/* Whoever knows the secret can answer without the TPM. */
static enum lct_code check_file(const char *file, const struct stat *status, struct lct_err *err)
{
    if (!S_ISREG(status->st_mode))
        return LCT_FAIL(err, LCT_ERR_IO, "%s is no file", file);
    if ((status->st_mode & OTHERS) != 0 || (status->st_uid != geteuid() && status->st_uid != 0))
        return LCT_FAIL(err, LCT_ERR_IO,
                        "%s is open to others than you, who may know the secret in it; make "
                        "another challenge",
                        file);
    if (status->st_size > MAX_FILE)
        return LCT_FAIL(err, LCT_ERR_IO, "%s is too long for the state of a challenge", file);
    return LCT_OK;
}

static enum lct_code fail_lock(const char *file, struct lct_err *err)
{
    if (errno != EWOULDBLOCK)
        return LCT_FAIL(err, LCT_ERR_IO, "%s cannot be locked: %s", file, strerror(errno));
    return LCT_FAIL(err, LCT_ERR_IO,
                    "%s is locked by another program for %d s; lslocks shows which", file,
                    LCT_LOCK_SECONDS);
}

/*
 * Locks the file that has the name now: who used it up before has put another one in its place.
 * *again: that happened just now.
 */
static enum lct_code lock(struct lct_state *state, bool *again, struct lct_err *err)
{
    struct stat opened, named;

    state->fd = open(state->file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK);
    if (state->fd < 0)
        return fail_read(state->file, err);
    if (fstat(state->fd, &opened) != 0)
        return fail_read(state->file, err);
    enum lct_code code = check_file(state->file, &opened, err);
    if (code != LCT_OK)
        return code;
    if (!lct_fd_lock(state->fd, true))
        return fail_lock(state->file, err);
    if (lstat(state->file, &named) != 0)
        return fail_read(state->file, err);
    *again = opened.st_dev != named.st_dev || opened.st_ino != named.st_ino;
    return LCT_OK;
}

static enum lct_code lock_named(struct lct_state *state, struct lct_err *err)
{
    for (unsigned i = 0; i < ATTEMPTS; i++) {
        bool again = false;
        enum lct_code code = lock(state, &again, err);
        if (code != LCT_OK || !again)
            return code;
        close(state->fd);
        state->fd = -1;
    }
    return LCT_FAIL(err, LCT_ERR_IO, "%s is replaced again and again", state->file);
}

static enum lct_code parse(struct lct_state *state, OSSL_LIB_CTX *libctx, const uint8_t *text,
                           size_t text_len, struct lct_err *err)
{
    json_t *json = NULL;
    const char *type;
    enum lct_code code = lct_document_read(&json, &type, text, text_len, err);

    if (code == LCT_OK)
        code = lct_challenge_state_read(&state->content, libctx, json, err);
    lct_challenge_state_forget(json);
    json_decref(json);
    return code == LCT_OK ? code : lct_err_prefix(err, state->file);
}

static enum lct_code read_content(struct lct_state *state, OSSL_LIB_CTX *libctx,
                                  struct lct_err *err)
{
    uint8_t *text = malloc(MAX_FILE);
    size_t len = 0;

    if (text == NULL)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    enum lct_code code = lct_fd_read_all(state->fd, text, &len, MAX_FILE)
                             ? parse(state, libctx, text, len, err)
                             : fail_read(state->file, err);
    wipe_text((char *)text, len);
    return code;
}

enum lct_code lct_state_open(struct lct_state *state, OSSL_LIB_CTX *libctx, const char *file,
                             struct lct_err *err)
{
    *state = (struct lct_state){.file = file, .fd = -1};
    enum lct_code code = lock_named(state, err);
    return code == LCT_OK ? read_content(state, libctx, err) : code;
}

enum lct_code lct_state_use_up(struct lct_state *state, struct lct_err *err)
{
    size_t len;

    state->content.used = true;
    lct_secret_wipe(&state->content.secret);
    char *text = to_text(&len, &state->content);
    enum lct_code code =
        text != NULL ? lct_private_file_replace(state->file, (const uint8_t *)text, len, err)
                     : LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    free(text);
    return code;
}

void lct_state_close(struct lct_state *state)
{
    if (state->file != NULL && state->fd >= 0)
        close(state->fd);
    lct_challenge_state_clear(&state->content);
    *state = (struct lct_state){.fd = -1};
}
