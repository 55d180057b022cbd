/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TOOLS_HTML_H
#define LCT_TOOLS_HTML_H

#include <stddef.h>

/*
 * A page of HTML that is complete in itself: it has no script, and fetches nothing. What is markup
 * in it comes from the table of elements alone; every text is escaped, whoever has written it.
 * What cannot be seen or would move what can be, is shown as U+FFFD: controls, an end of line too,
 * what Unicode calls default ignorable (UAX #44, 5.1; marks that turn the direction of writing are
 * of it), noncharacters, and what is no UTF-8.
 */

enum lct_html_element {
    LCT_HTML_HEADER,
    LCT_HTML_H1,
    LCT_HTML_H2,
    LCT_HTML_MADE, /* who has made it, and when */
    LCT_HTML_MAIN,
    LCT_HTML_SECTION,
    LCT_HTML_BLOCK,  /* lines */
    LCT_HTML_RECORD, /* a table with a heading in each row */
    LCT_HTML_TABLE,  /* one with a heading in each column */
    LCT_HTML_HEAD,
    LCT_HTML_BODY,
    LCT_HTML_ROW,
    LCT_HTML_DETAIL, /* a row that is of the one before it */
    LCT_HTML_ROW_NAME,
    LCT_HTML_COLUMN_NAME,
    LCT_HTML_CELL,
    LCT_HTML_CODE,
    LCT_HTML_NOTE,    /* under what a cell has */
    LCT_HTML_COMMAND, /* there too: what to type */
    LCT_HTML_VERDICT_OK,
    LCT_HTML_VERDICT_NOTE,
    LCT_HTML_VERDICT_WARNING,
    LCT_HTML_VERDICT_PROBLEM,
    LCT_HTML_WORD_OK,
    LCT_HTML_WORD_NOTE,
    LCT_HTML_WORD_WARNING,
    LCT_HTML_WORD_PROBLEM
};

struct lct_html;

/* Begins a page of that title. NULL if out of memory: then the other functions do nothing. */
struct lct_html *lct_html_new(const char *title);

/* Whoever opens an element closes it. */
void lct_html_open(struct lct_html *html, enum lct_html_element element);
void lct_html_close(struct lct_html *html, enum lct_html_element element);

/* A text, of which any byte may be anything, into the element that is open. */
void lct_html_text(struct lct_html *html, const char *text, size_t text_len);

/* A whole element with a text in it. */
void lct_html_put(struct lct_html *html, enum lct_html_element element, const char *text);

/* The lines of a text, each as lct_html_text, and their ends, into a block. */
void lct_html_lines(struct lct_html *html, const char *text);

/* Ends the page and frees `html`. The caller frees what is returned; NULL if out of memory. */
char *lct_html_end(struct lct_html *html);

#endif
