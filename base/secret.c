/* SPDX-License-Identifier: Apache-2.0 */
#include "base/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

void lct_secret_wipe(struct lct_secret *secret)
{
    explicit_bzero(secret, sizeof *secret);
}

enum lct_code lct_secret_take(struct lct_secret *secret, const char *what, const uint8_t *text,
                              size_t text_len, struct lct_err *err)
{
    if (text_len > 0 && text[text_len - 1] == '\n')
        text_len--;
    if (text_len > 0 && text[text_len - 1] == '\r')
        text_len--;
    if (text_len == 0)
        return LCT_FAIL(err, LCT_ERR_AUTH, "%s is empty", what);
    if (text_len > LCT_MAX_AUTH)
        return LCT_FAIL(err, LCT_ERR_AUTH, "%s is longer than %d bytes, which is all a TPM takes",
                        what, LCT_MAX_AUTH);
    /* A TPM takes zeros at the end away, and compares what is left: TPM 2.0 Part 1, 19.6.4.3. */
    if (memchr(text, 0, text_len) != NULL)
        return LCT_FAIL(err, LCT_ERR_AUTH, "%s has a zero byte in it", what);
    memcpy(secret->data, text, text_len);
    secret->len = text_len;
    return LCT_OK;
}

enum lct_code lct_secret_read(struct lct_secret *secret, const char *what, const char *path,
                              struct lct_err *err)
{
    uint8_t text[LCT_MAX_AUTH + 3]; /* CR, LF, and one more to see that it is too long */
    size_t len = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    ssize_t n = fd < 0 ? -1 : 1;

    while (n > 0 && len < sizeof text) {
        n = read(fd, text + len, sizeof text - len);
        if (n < 0 && errno == EINTR)
            n = 1;
        else if (n > 0)
            len += (size_t)n;
    }
    int error = errno;
    if (fd >= 0)
        close(fd);
    enum lct_code code =
        n < 0 ? LCT_FAIL(err, LCT_ERR_IO, "%s: %s cannot be read: %s", what, path, strerror(error))
              : lct_secret_take(secret, what, text, len, err);
    explicit_bzero(text, sizeof text);
    return code;
}
