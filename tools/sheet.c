/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/sheet.h"

#include "proof/json.h"
#include "tools/html.h"
#include "tools/tool.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char cut[] = "...";

/* Of a stranger's value, what is shown, and room for that and the end. */
enum { MAX_SHOWN = 1020, MAX_TEXT = MAX_SHOWN + sizeof cut };
enum { MAX_SENTENCE = 4600, MIN_CODE = 16 };

enum lct_code lct_sheet_check(const struct lct_sheet_request *request, const char *name,
                              struct lct_err *err)
{
    char hint[LCT_CALL_TEXT];

    lct_help_hint(hint, name);
    if (request->html && request->json)
        return LCT_FAIL(err, LCT_ERR_USAGE, "--html and --json do not go together; see %s", hint);
    if (request->out != NULL && !request->html)
        return LCT_FAIL(err, LCT_ERR_USAGE, "--out goes with --html; see %s", hint);
    return LCT_OK;
}

/* A text of strangers for the terminal: ASCII, no longer than there is room. */
static const char *printable(char text[MAX_TEXT], const char *value, size_t value_len)
{
    size_t i = 0;

    for (; i < value_len && i < MAX_SHOWN; i++)
        text[i] = (char)(value[i] >= ' ' && value[i] <= '~' ? value[i] : '?');
    memcpy(text + i, i < value_len ? cut : "", i < value_len ? sizeof cut : 1);
    return text;
}

static void print_value(struct lct_sheet *sheet, const char *value, size_t value_len)
{
    char text[MAX_TEXT];

    if (sheet->strangers)
        (void)lct_tool_print(&sheet->err, "%s", printable(text, value, value_len));
    else
        (void)lct_tool_print(&sheet->err, "%.*s", (int)value_len, value);
}

/* Digests, Names and numbers in hex are set in a type that keeps their digits apart. */
static bool is_code(const char *value, size_t value_len)
{
    return value_len >= MIN_CODE && strspn(value, "0123456789abcdefABCDEFx: ") == value_len;
}

static void put_value(struct lct_sheet *sheet, const char *value, size_t value_len)
{
    bool code = is_code(value, value_len);
    bool is_cut = sheet->strangers && value_len > MAX_SHOWN;
    size_t len = is_cut ? MAX_SHOWN : value_len;

    while (is_cut && len > 0 && ((unsigned char)value[len] & 0xC0) == 0x80)
        len--; /* not in the middle of a letter */
    if (code)
        lct_html_open(sheet->html, LCT_HTML_CODE);
    lct_html_text(sheet->html, value, len);
    if (is_cut)
        lct_html_text(sheet->html, cut, strlen(cut));
    if (code)
        lct_html_close(sheet->html, LCT_HTML_CODE);
}

static const struct {
    enum lct_html_element verdict, word;
} looks[] = {
    [LCT_SHEET_OK] = {LCT_HTML_VERDICT_OK, LCT_HTML_WORD_OK},
    [LCT_SHEET_NOTE] = {LCT_HTML_VERDICT_NOTE, LCT_HTML_WORD_NOTE},
    [LCT_SHEET_WARNING] = {LCT_HTML_VERDICT_WARNING, LCT_HTML_WORD_WARNING},
    [LCT_SHEET_PROBLEM] = {LCT_HTML_VERDICT_PROBLEM, LCT_HTML_WORD_PROBLEM},
};

/* What the words of reports mean; others are notes. */
static enum lct_sheet_status status_of(const char *word)
{
    static const struct {
        const char *word;
        enum lct_sheet_status status;
    } words[] = {{"ok", LCT_SHEET_OK},
                 {"pass", LCT_SHEET_OK},
                 {"warning", LCT_SHEET_WARNING},
                 {"problem", LCT_SHEET_PROBLEM},
                 {"fail", LCT_SHEET_PROBLEM}};

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcmp(words[i].word, word) == 0)
            return words[i].status;
    return LCT_SHEET_NOTE;
}

/* A row stays open for what comes under its last cell. */
static void end_row(struct lct_sheet *sheet)
{
    if (sheet->row == LCT_SHEET_NO_ROW)
        return;
    lct_html_close(sheet->html, LCT_HTML_CELL);
    lct_html_close(sheet->html, sheet->row == LCT_SHEET_IN_ROW ? LCT_HTML_ROW : LCT_HTML_DETAIL);
    sheet->row = LCT_SHEET_NO_ROW;
}

static void end_table(struct lct_sheet *sheet)
{
    end_row(sheet);
    if (sheet->in < LCT_SHEET_IN_RECORD)
        return;
    lct_html_close(sheet->html, LCT_HTML_BODY);
    lct_html_close(sheet->html, sheet->in == LCT_SHEET_IN_TABLE ? LCT_HTML_TABLE : LCT_HTML_RECORD);
    sheet->in = LCT_SHEET_IN_PART;
}

static void end_part(struct lct_sheet *sheet)
{
    end_table(sheet);
    if (sheet->in == LCT_SHEET_IN_PART)
        lct_html_close(sheet->html, LCT_HTML_SECTION);
    sheet->in = LCT_SHEET_NOWHERE;
}

/* Where and when: a report that is mailed is read elsewhere and later. */
static void put_made(struct lct_html *html)
{
    char host[256] = "", at[21] = "", line[400];

    (void)gethostname(host, sizeof host - 1);
    (void)lct_json_of_time(at, time(NULL));
    (void)snprintf(line, sizeof line, "made on %s at %s by lct %s",
                   host[0] != '\0' ? host : "a machine without a name", at, LCT_VERSION);
    lct_html_put(html, LCT_HTML_MADE, line);
}

void lct_sheet_begin(struct lct_sheet *sheet, const char *title, enum lct_sheet_status status,
                     const char *word, const char *sentence)
{
    if (!sheet->page)
        return;
    sheet->html = lct_html_new(title);
    lct_html_open(sheet->html, LCT_HTML_HEADER);
    lct_html_put(sheet->html, LCT_HTML_H1, title);
    put_made(sheet->html);
    lct_html_open(sheet->html, looks[status].verdict);
    lct_html_put(sheet->html, looks[status].word, word);
    lct_html_text(sheet->html, " ", 1);
    lct_html_text(sheet->html, sentence, strlen(sentence));
    lct_html_close(sheet->html, looks[status].verdict);
    lct_html_close(sheet->html, LCT_HTML_HEADER);
    lct_html_open(sheet->html, LCT_HTML_MAIN);
}

void lct_sheet_head(struct lct_sheet *sheet, const char *line)
{
    if (sheet->page)
        return;
    print_value(sheet, line, strlen(line));
    (void)lct_tool_print(&sheet->err, "\n");
}

void lct_sheet_part(struct lct_sheet *sheet, const char *heading)
{
    if (!sheet->page)
        return;
    end_part(sheet);
    lct_html_open(sheet->html, LCT_HTML_SECTION);
    lct_html_put(sheet->html, LCT_HTML_H2, heading);
    sheet->in = LCT_SHEET_IN_PART;
}

static void begin_row(struct lct_sheet *sheet, bool detail)
{
    end_row(sheet);
    sheet->row = detail ? LCT_SHEET_IN_DETAIL : LCT_SHEET_IN_ROW;
    lct_html_open(sheet->html, detail ? LCT_HTML_DETAIL : LCT_HTML_ROW);
}

static void put_row(struct lct_sheet *sheet, const char *label, const char *value, size_t value_len)
{
    size_t indent = strspn(label, " ");

    if (sheet->in != LCT_SHEET_IN_RECORD) {
        end_table(sheet);
        lct_html_open(sheet->html, LCT_HTML_RECORD);
        lct_html_open(sheet->html, LCT_HTML_BODY);
        sheet->in = LCT_SHEET_IN_RECORD;
    }
    begin_row(sheet, indent > 0);
    lct_html_put(sheet->html, LCT_HTML_ROW_NAME, label + indent);
    lct_html_open(sheet->html, LCT_HTML_CELL);
    put_value(sheet, value, value_len);
}

void lct_sheet_row(struct lct_sheet *sheet, const char *label, const char *value, size_t value_len)
{
    if (sheet->page) {
        put_row(sheet, label, value, value_len);
        return;
    }
    (void)lct_tool_print(&sheet->err, "%-12s ", label);
    print_value(sheet, value, value_len);
    (void)lct_tool_print(&sheet->err, "\n");
}

void lct_sheet_say(struct lct_sheet *sheet, const char *label, const char *format, ...)
{
    char text[MAX_SENTENCE];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    lct_sheet_row(sheet, label, text, strlen(text));
}

void lct_sheet_json(struct lct_sheet *sheet, const char *label, const json_t *value)
{
    if (value == NULL)
        return;
    if (json_string_length(value) > 0)
        lct_sheet_row(sheet, label, json_string_value(value), json_string_length(value));
    else if (json_is_integer(value))
        lct_sheet_say(sheet, label, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_boolean(value))
        lct_sheet_say(sheet, label, "%s", json_is_true(value) ? "yes" : "no");
    else
        lct_sheet_say(sheet, label, "none");
}

void lct_sheet_note(struct lct_sheet *sheet, const char *note)
{
    if (sheet->page)
        lct_html_put(sheet->html, LCT_HTML_NOTE, note);
    else
        lct_sheet_row(sheet, "", note, strlen(note));
}

void lct_sheet_command(struct lct_sheet *sheet, const char *command)
{
    if (sheet->page)
        lct_html_put(sheet->html, LCT_HTML_COMMAND, command);
}

void lct_sheet_table(struct lct_sheet *sheet, const struct lct_column *columns, size_t num_columns)
{
    sheet->columns = columns;
    sheet->num_columns = num_columns;
    if (!sheet->page)
        return;
    end_table(sheet);
    lct_html_open(sheet->html, LCT_HTML_TABLE);
    lct_html_open(sheet->html, LCT_HTML_HEAD);
    lct_html_open(sheet->html, LCT_HTML_ROW);
    for (size_t i = 0; i < num_columns; i++)
        lct_html_put(sheet->html, LCT_HTML_COLUMN_NAME, columns[i].heading);
    lct_html_close(sheet->html, LCT_HTML_ROW);
    lct_html_close(sheet->html, LCT_HTML_HEAD);
    lct_html_open(sheet->html, LCT_HTML_BODY);
    sheet->in = LCT_SHEET_IN_TABLE;
}

static void put_cell(struct lct_sheet *sheet, const struct lct_column *column, const char *cell)
{
    lct_html_open(sheet->html, LCT_HTML_CELL);
    if (column->words)
        lct_html_put(sheet->html, looks[status_of(cell)].word, cell);
    else
        put_value(sheet, cell, strlen(cell));
}

static void put_cells(struct lct_sheet *sheet, const char *const cells[])
{
    begin_row(sheet, false);
    for (size_t i = 0; i < sheet->num_columns; i++) {
        if (i > 0)
            lct_html_close(sheet->html, LCT_HTML_CELL);
        put_cell(sheet, &sheet->columns[i], cells[i] + strspn(cells[i], " "));
    }
}

void lct_sheet_cells(struct lct_sheet *sheet, const char *const cells[])
{
    char text[MAX_TEXT];

    if (sheet->page) {
        put_cells(sheet, cells);
        return;
    }
    for (size_t i = 0; i < sheet->num_columns; i++)
        (void)lct_tool_print(&sheet->err, "%s%-*s", i > 0 ? " " : "", sheet->columns[i].width,
                             sheet->strangers ? printable(text, cells[i], strlen(cells[i]))
                                              : cells[i]);
    (void)lct_tool_print(&sheet->err, "\n");
}

void lct_sheet_lines(struct lct_sheet *sheet, const char *lines)
{
    if (!sheet->page) {
        (void)lct_tool_print(&sheet->err, "%s", lines);
        return;
    }
    end_table(sheet);
    lct_html_open(sheet->html, LCT_HTML_BLOCK);
    lct_html_lines(sheet->html, lines);
    lct_html_close(sheet->html, LCT_HTML_BLOCK);
}

enum lct_code lct_sheet_end(struct lct_sheet *sheet, const char *out, struct lct_err *err)
{
    if (!sheet->page) {
        if (sheet->err.code != LCT_OK && err != NULL)
            *err = sheet->err;
        return sheet->err.code;
    }
    end_part(sheet);
    lct_html_close(sheet->html, LCT_HTML_MAIN);
    char *page = lct_html_end(sheet->html);
    enum lct_code code = page != NULL ? lct_tool_write(out != NULL ? out : "-", page, err)
                                      : LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    free(page);
    return code;
}
