/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/terminal.h"

#include "tools/tool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* ECMA-48, 8.3.117: bold is for what is to be seen first. */
static const char good[] = "\033[32m", attention[] = "\033[33m", bad[] = "\033[1;31m",
                  faint[] = "\033[2m", plain[] = "\033[0m";

static const struct {
    const char *word, *colour;
} words[] = {
    {"ok", good},           {"pass", good},         {"good", good},   {"active", good},
    {"warning", attention}, {"from", attention},    {"note", faint},  {"not_claimed", faint},
    {"retired", faint},     {"problem", bad},       {"fail", bad},    {"FAILED", bad},
    {"revoked", bad},       {"expired", bad},       {"damaged", bad}, {"bad", bad},
    {"counted", good},      {"unknown", attention},
};

bool lct_terminal_is(int fd)
{
    const char *term = getenv("TERM");

    return term != NULL && *term != '\0' && strcmp(term, "dumb") != 0 && isatty(fd) == 1;
}

static const char *colour_of(const char *word)
{
    const char *no_color = getenv("NO_COLOR");
    size_t len = strcspn(word, " ");

    if ((no_color != NULL && *no_color != '\0') || !lct_terminal_is(STDOUT_FILENO))
        return NULL;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strlen(words[i].word) == len && memcmp(words[i].word, word, len) == 0)
            return words[i].colour;
    return NULL;
}

size_t lct_terminal_columns(void)
{
    struct winsize size = {0};

    if (isatty(STDOUT_FILENO) != 1 || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0)
        return 0;
    return size.ws_col;
}

const char *lct_terminal_word(char text[LCT_TERMINAL_WORD], const char *word, size_t width)
{
    const char *colour = colour_of(word);

    if (colour == NULL)
        (void)snprintf(text, LCT_TERMINAL_WORD, "%-*s", (int)width, word);
    else
        (void)snprintf(text, LCT_TERMINAL_WORD, "%s%s%s%*s", colour, word, plain,
                       strlen(word) < width ? (int)(width - strlen(word)) : 0, "");
    return text;
}

const char *lct_terminal_cut(char cut[LCT_TERMINAL_CUT], const char *text, size_t width)
{
    if (strlen(text) <= width || width < 2)
        return text;
    (void)snprintf(cut, LCT_TERMINAL_CUT, "%.*s..", (int)width - 2, text);
    return cut;
}

/* How many bytes of a text go into `room` columns, up to a space or its end: a word that is longer
 * is not broken. In UTF-8 what goes on with a character takes no column. */
static size_t line_len(const char *text, size_t room)
{
    size_t columns = 0, at = 0, end = 0;

    for (; text[at] != '\0' && (columns < room || end == 0); at++) {
        columns += ((unsigned char)text[at] & 0xc0) != 0x80 ? 1 : 0;
        if (text[at + 1] == ' ' || text[at + 1] == '\0')
            end = columns <= room || end == 0 ? at + 1 : end;
    }
    return end != 0 ? end : at;
}

enum lct_code lct_terminal_print(struct lct_err *err, size_t indent, const char *text)
{
    enum { NARROW = 24 }; /* columns in which a sentence is not to be squeezed */
    const size_t columns = lct_terminal_columns();
    enum lct_code code = LCT_OK;

    if (columns < indent + NARROW)
        return lct_tool_print(err, "%s\n", text);
    for (size_t begun = 0; (begun == 0 || *text != '\0') && code == LCT_OK; begun = indent) {
        const size_t len = line_len(text, columns - indent);
        code = lct_tool_print(err, "%*s%.*s\n", (int)begun, "", (int)len, text);
        text += len + strspn(text + len, " ");
    }
    return code;
}
