/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void lct_err_set(struct lct_err *err, enum lct_code code, const char *file, int line,
                 const char *func, const char *format, ...)
{
    va_list args;

    if (err == NULL)
        return;
    err->code = code;
    err->tpm_rc = 0;
    err->file = file;
    err->line = line;
    err->func = func;
    va_start(args, format);
    (void)vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    /* What users and files put into it shall not move the reader's cursor or begin a line. */
    lct_text_disarm(err->text);
}

enum lct_code lct_err_prefix(struct lct_err *err, const char *label)
{
    if (err == NULL)
        return LCT_ERR_INTERNAL;
    size_t room = sizeof err->text;
    size_t label_len = strnlen(label, room / 2);
    size_t text_len = strnlen(err->text, room - 1);

    /* A sentence that no longer fits loses its end, never the name of its key. */
    if (text_len > room - 1 - label_len - 2)
        text_len = room - 1 - label_len - 2;
    memmove(err->text + label_len + 2, err->text, text_len);
    memcpy(err->text, label, label_len);
    memcpy(err->text + label_len, ": ", 2);
    err->text[label_len + 2 + text_len] = '\0';
    lct_text_disarm(err->text);
    return err->code;
}
