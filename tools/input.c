/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/tool.h"

#include "base/fd.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINE = 1024 }; /* of what is told; a sentence is shorter */

const char lct_kernel_eventlog[] = "/sys/kernel/security/tpm0/binary_bios_measurements";

const char *lct_tool_file(const char *file)
{
    return strcmp(file, "-") == 0 ? "standard input" : file;
}

enum lct_code lct_tool_read(uint8_t **bytes, size_t *bytes_len, const char *file, size_t max,
                            struct lct_err *err)
{
    bool standard = strcmp(file, "-") == 0;
    int fd = standard ? STDIN_FILENO : open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    enum lct_code code = LCT_OK;

    *bytes_len = 0;
    *bytes = malloc(max + 2);
    if (fd < 0)
        code = LCT_FAIL(err, LCT_ERR_IO, "%s cannot be read: %s", file, strerror(errno));
    else if (*bytes == NULL)
        code = LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    else if (!lct_fd_read_all(fd, *bytes, bytes_len, max + 1))
        code = LCT_FAIL(err, LCT_ERR_IO, "%s cannot be read: %s", lct_tool_file(file),
                        strerror(errno));
    else if (*bytes_len > max)
        code = LCT_FAIL(err, LCT_ERR_USAGE, "%s is longer than the %zu bytes that it may have",
                        lct_tool_file(file), max);
    else
        (*bytes)[*bytes_len] = '\0';
    if (fd >= 0 && !standard)
        close(fd);
    if (code != LCT_OK) {
        if (*bytes != NULL)
            explicit_bzero(*bytes, *bytes_len);
        free(*bytes);
        *bytes = NULL;
    }
    return code;
}

LCT_PRINTF(2, 0)
static enum lct_code print(struct lct_err *err, const char *format, va_list args)
{
    return vprintf(format, args) >= 0
               ? LCT_OK
               : LCT_FAIL(err, LCT_ERR_IO, "standard output cannot be written");
}

enum lct_code lct_tool_print(struct lct_err *err, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    enum lct_code code = print(err, format, args);
    va_end(args);
    return code;
}

enum lct_code lct_tool_say(const struct lct_tool *tool, struct lct_err *err, const char *format,
                           ...)
{
    va_list args;

    if (tool->quiet || tool->json)
        return LCT_OK;
    va_start(args, format);
    enum lct_code code = print(err, format, args);
    va_end(args);
    return code;
}

void lct_tool_warn(const char *label, const char *format, ...)
{
    char text[LINE];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    lct_text_disarm(text);
    (void)fprintf(stderr, "lct: %s%swarning: %s\n", label != NULL ? label : "",
                  label != NULL ? ": " : "", text);
}

void lct_tool_note(const struct lct_tool *tool, const char *format, ...)
{
    char text[LINE];
    va_list args;

    if (tool->quiet)
        return;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    lct_text_disarm(text);
    (void)fprintf(stderr, "lct: %s\n", text);
}

enum lct_code lct_tool_write(const char *file, const char *text, struct lct_err *err)
{
    if (strcmp(file, "-") == 0)
        return lct_tool_print(err, "%s", text);
    FILE *out = fopen(file, "we");
    bool good = out != NULL && fputs(text, out) >= 0;
    if (out != NULL && fclose(out) != 0)
        good = false;
    return good ? LCT_OK
                : LCT_FAIL(err, LCT_ERR_IO, "%s cannot be written: %s", file, strerror(errno));
}

void lct_tool_fail_later(struct lct_err *worst, const struct lct_err *one)
{
    if (worst->code != LCT_OK)
        (void)fprintf(stderr, "lct: %s\n", worst->text);
    *worst = *one;
}
