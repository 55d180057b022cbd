/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TOOLS_SHEET_H
#define LCT_TOOLS_SHEET_H

#include "base/attribute.h"
#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct lct_html;

/*
 * What a report says, part by part, written once for two readers: lines on standard output, and a
 * page of HTML (tools/html.h). Nothing here returns an error: the first one is kept, and is what
 * lct_sheet_end returns.
 */

/* What was asked for: --html, --json, and --out FILE, which is of a page. */
struct lct_sheet_request {
    bool html, json;
    const char *out; /* NULL: standard output */
};

/* LCT_ERR_USAGE: they do not go together; `name` is the subcommand. */
enum lct_code lct_sheet_check(const struct lct_sheet_request *request, const char *name,
                              struct lct_err *err);

enum lct_sheet_status { LCT_SHEET_OK, LCT_SHEET_NOTE, LCT_SHEET_WARNING, LCT_SHEET_PROBLEM };

/* What a sheet is begun with. */
struct lct_sheet {
    bool page;      /* HTML, not text */
    bool strangers; /* anybody may have written the values: of each 1020 bytes are shown, and in a
                       text printable ASCII alone */
    struct lct_html *html;
    enum { LCT_SHEET_NOWHERE, LCT_SHEET_IN_PART, LCT_SHEET_IN_RECORD, LCT_SHEET_IN_TABLE } in;
    enum { LCT_SHEET_NO_ROW, LCT_SHEET_IN_ROW, LCT_SHEET_IN_DETAIL } row;
    const struct lct_column *columns; /* of the table it is in */
    size_t num_columns;
    struct lct_err err;
};

/* Begins a page: what it is of, how it comes out in a word, and in a sentence. A text has no such
 * head. The page says which machine has made it, when, and with which version. */
void lct_sheet_begin(struct lct_sheet *sheet, const char *title, enum lct_sheet_status status,
                     const char *word, const char *sentence);

/* The line of a text that says what the head of a page does. */
void lct_sheet_head(struct lct_sheet *sheet, const char *line);

/* Begins a part, which all that follows is in; a text has no headings. */
void lct_sheet_part(struct lct_sheet *sheet, const char *heading);

/* A line of a label and a value of any bytes, which a NUL follows; a label that begins with two
 * spaces is a detail of the line before. */
void lct_sheet_row(struct lct_sheet *sheet, const char *label, const char *value, size_t value_len);

/* The same of a sentence. */
void lct_sheet_say(struct lct_sheet *sheet, const char *label, const char *format, ...)
    LCT_PRINTF(3, 4);

/* The same of a string, number or boolean; null and an empty string are "none". NULL: no line. */
void lct_sheet_json(struct lct_sheet *sheet, const char *label, const json_t *value);

/* What is said of the line before, under its value. */
void lct_sheet_note(struct lct_sheet *sheet, const char *note);

/* A table: the text has no headings, `width` is of its columns; the last takes what is left. A
 * column of words is coloured by what they mean: ok, pass, warning, fail and so on. */
struct lct_column {
    const char *heading;
    int width;
    bool words;
};
void lct_sheet_table(struct lct_sheet *sheet, const struct lct_column *columns, size_t num_columns);

/* A row of the table. */
void lct_sheet_cells(struct lct_sheet *sheet, const char *const cells[]);

/* On a page, under the last cell: what to type. */
void lct_sheet_command(struct lct_sheet *sheet, const char *command);

/* Lines of ours as they are: a key in PEM. */
void lct_sheet_lines(struct lct_sheet *sheet, const char *lines);

/* Ends it; a page is written to `out`, NULL or "-" for standard output. The first error there was;
 * LCT_ERR_IO; LCT_ERR_INTERNAL: out of memory. */
enum lct_code lct_sheet_end(struct lct_sheet *sheet, const char *out, struct lct_err *err);

#endif
