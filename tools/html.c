/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/html.h"

#include "base/text.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct lct_html {
    FILE *out;
    char *page;
    size_t page_len;
};

/* Nothing may be fetched and nothing run, even if a markup of somebody's came through. */
static const char head[] =
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
    "style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<meta name=\"color-scheme\" content=\"light dark\">\n"
    "<meta name=\"referrer\" content=\"no-referrer\">\n"
    "<meta name=\"generator\" content=\"lct " LCT_VERSION "\">\n";

/* Text stays in the order in which it is stored (isolate-override), and in its own cell. */
static const char style[] =
    "<style>\n"
    ":root { color-scheme: light dark; --ink: #1d2126; --faint: #5a626c; --paper: #ffffff;\n"
    "  --line: #dde1e6; --shade: #f4f6f8; --ok: #17663a; --note: #3d4f66; --warning: #7d4e00;\n"
    "  --problem: #a3201c; --ok-shade: #e6f4ea; --note-shade: #e9eef5; --warning-shade: #fdf1d9;\n"
    "  --problem-shade: #fce8e6; }\n"
    "@media (prefers-color-scheme: dark) {\n"
    "  :root { --ink: #e4e7eb; --faint: #a3abb5; --paper: #14171a; --line: #31373e;\n"
    "    --shade: #1e2226; --ok: #7fd8a0; --note: #b3c5dd; --warning: #f0c36d;\n"
    "    --problem: #ff9f97; --ok-shade: #16301f; --note-shade: #222b37;\n"
    "    --warning-shade: #382a10; --problem-shade: #3d1c1a; } }\n"
    "* { box-sizing: border-box; }\n"
    "body { margin: 0 auto; max-width: 60rem; padding: 2rem 1.25rem 3rem; color: var(--ink);\n"
    "  background: var(--paper); font: 1rem/1.5 system-ui, -apple-system, \"Segoe UI\", Roboto,\n"
    "  \"Helvetica Neue\", \"DejaVu Sans\", sans-serif; overflow-wrap: anywhere;\n"
    "  -webkit-text-size-adjust: 100%; }\n"
    "h1 { margin: 0; font-size: 1.6rem; line-height: 1.25; font-weight: 650; }\n"
    "h2 { margin: 2.25rem 0 .5rem; font-size: 1.1rem; font-weight: 650; }\n"
    "h2::first-letter { text-transform: uppercase; }\n"
    "p { margin: .75rem 0; }\n"
    ".made { margin: .35rem 0 1.25rem; color: var(--faint); font-size: .875rem; }\n"
    "h1, h2, p, th, td, pre, .under, .command { unicode-bidi: isolate-override; }\n"
    ".verdict { margin: 0; padding: .75rem 1rem; border-left: .3rem solid; border-radius: .3rem; "
    "}\n"
    ".word { display: inline-block; padding: 0 .5rem; border-radius: .25rem; font-size: .875rem;\n"
    "  font-weight: 600; white-space: nowrap; }\n"
    "td .word { min-width: 5rem; text-align: center; }\n"
    ".verdict .word { padding: 0; margin-right: .5rem; font-size: 1rem; }\n"
    ".verdict.ok, .word.ok { color: var(--ok); background: var(--ok-shade); }\n"
    ".verdict.note, .word.note { color: var(--note); background: var(--note-shade); }\n"
    ".verdict.warning, .word.warning { color: var(--warning); background: var(--warning-shade); }\n"
    ".verdict.problem, .word.problem { color: var(--problem); background: var(--problem-shade); }\n"
    "table { width: 100%; border-collapse: collapse; font-size: .9375rem; }\n"
    "th, td { padding: .4rem .75rem .4rem 0; border-top: 1px solid var(--line); text-align: left;\n"
    "  vertical-align: top; overflow: hidden; }\n"
    "th { font-weight: 500; color: var(--faint); }\n"
    "thead th { border-top: 0; font-size: .8125rem; white-space: nowrap; }\n"
    ".record th { width: 10rem; }\n"
    ".detail th { padding-left: 1rem; }\n"
    ".detail th, .detail td { border-top-color: transparent; padding-top: 0; }\n"
    ".table td:not(:last-child) { white-space: nowrap; }\n"
    ".table td:last-child { width: 100%; }\n"
    ".table td code { display: inline-block; min-width: 15rem; white-space: normal; }\n"
    ".under { display: block; color: var(--faint); font-size: .875rem; }\n"
    "code, pre { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, \"DejaVu Sans "
    "Mono\",\n"
    "  monospace; font-size: .8125rem; }\n"
    "pre, .command { display: block; margin: .35rem 0 0; padding: .4rem .6rem;\n"
    "  border-radius: .25rem; background: var(--shade); white-space: pre-wrap; }\n"
    ".command::before { content: \"$ \"; color: var(--faint); }\n";

/* A phone has a line for each cell, and paper has no shades. */
static const char style_elsewhere[] =
    "@media screen and (max-width: 50rem) {\n"
    "  body { padding: 1.25rem 1rem 2rem; }\n"
    "  table, tbody, tr, th, td { display: block; }\n"
    "  thead { position: absolute; width: 1px; height: 1px; overflow: hidden;\n"
    "    clip-path: inset(50%); }\n"
    "  tr { padding: .4rem 0; border-top: 1px solid var(--line); }\n"
    "  th, td, .detail th, .detail td { width: auto; padding: 0; border: 0; }\n"
    "  .record th { width: auto; font-size: .8125rem; }\n"
    "  .detail { padding-left: .75rem; border-top: 0; }\n"
    "  .table td:not(:last-child) { display: inline; padding-right: .6rem; white-space: normal; }\n"
    "  .table td code { display: block; } }\n"
    "@media print {\n"
    "  :root { color-scheme: light; --ink: #000000; --faint: #444444; --paper: #ffffff;\n"
    "    --line: #bbbbbb; --shade: #ffffff; --ok: #0b4f29; --note: #2a3a50; --warning: #5f3b00;\n"
    "    --problem: #8a1512; --ok-shade: #ffffff; --note-shade: #ffffff;\n"
    "    --warning-shade: #ffffff; --problem-shade: #ffffff; }\n"
    "  html { font-size: 9.5pt; }\n"
    "  body { max-width: none; padding: 0; }\n"
    "  .word { border: 1px solid; }\n"
    "  .verdict .word { border: 0; }\n"
    "  .verdict { border: 1px solid; border-left-width: .3rem; }\n"
    "  pre, .command { border: 1px solid var(--line); }\n"
    "  h2 { break-after: avoid; }\n"
    "  tr, pre, .verdict { break-inside: avoid; }\n"
    "  @page { margin: 18mm 16mm; } }\n"
    "</style>\n";

static const struct {
    const char *open, *close;
} elements[] = {
    [LCT_HTML_HEADER] = {"<header>\n", "</header>\n"},
    [LCT_HTML_H1] = {"<h1>", "</h1>\n"},
    [LCT_HTML_H2] = {"<h2>", "</h2>\n"},
    [LCT_HTML_MADE] = {"<p class=\"made\">", "</p>\n"},
    [LCT_HTML_MAIN] = {"<main>\n", "</main>\n"},
    [LCT_HTML_SECTION] = {"<section>\n", "</section>\n"},
    [LCT_HTML_BLOCK] = {"<pre>", "</pre>\n"},
    [LCT_HTML_RECORD] = {"<table class=\"record\">\n", "</table>\n"},
    [LCT_HTML_TABLE] = {"<table class=\"table\">\n", "</table>\n"},
    [LCT_HTML_HEAD] = {"<thead>\n", "</thead>\n"},
    [LCT_HTML_BODY] = {"<tbody>\n", "</tbody>\n"},
    [LCT_HTML_ROW] = {"<tr>", "</tr>\n"},
    [LCT_HTML_DETAIL] = {"<tr class=\"detail\">", "</tr>\n"},
    [LCT_HTML_ROW_NAME] = {"<th scope=\"row\">", "</th>"},
    [LCT_HTML_COLUMN_NAME] = {"<th scope=\"col\">", "</th>"},
    [LCT_HTML_CELL] = {"<td>", "</td>"},
    [LCT_HTML_CODE] = {"<code>", "</code>"},
    [LCT_HTML_NOTE] = {"<span class=\"under\">", "</span>"},
    [LCT_HTML_COMMAND] = {"<code class=\"command\">", "</code>"},
    [LCT_HTML_VERDICT_OK] = {"<p class=\"verdict ok\">", "</p>\n"},
    [LCT_HTML_VERDICT_NOTE] = {"<p class=\"verdict note\">", "</p>\n"},
    [LCT_HTML_VERDICT_WARNING] = {"<p class=\"verdict warning\">", "</p>\n"},
    [LCT_HTML_VERDICT_PROBLEM] = {"<p class=\"verdict problem\">", "</p>\n"},
    [LCT_HTML_WORD_OK] = {"<strong class=\"word ok\">", "</strong>"},
    [LCT_HTML_WORD_NOTE] = {"<strong class=\"word note\">", "</strong>"},
    [LCT_HTML_WORD_WARNING] = {"<strong class=\"word warning\">", "</strong>"},
    [LCT_HTML_WORD_PROBLEM] = {"<strong class=\"word problem\">", "</strong>"},
};

static void raw(struct lct_html *html, const char *markup)
{
    if (html != NULL)
        (void)fputs(markup, html->out); /* whether all of it succeeded is asked at the end */
}

enum { REPLACEMENT = 0xFFFD };

/* Besides control characters: Unicode 15, Default_Ignorable_Code_Point; and the separators of lines
 * and paragraphs, interlinear annotations and noncharacters. */
static const struct {
    uint32_t first, last;
} unseen[] = {
    {0xAD, 0xAD},     {0x34F, 0x34F},     {0x61C, 0x61C},     {0x115F, 0x1160},   {0x17B4, 0x17B5},
    {0x180B, 0x180F}, {0x200B, 0x200F},   {0x2028, 0x2029},   {0x2060, 0x2065},   {0x206A, 0x206F},
    {0x3164, 0x3164}, {0xFDD0, 0xFDEF},   {0xFE00, 0xFE0F},   {0xFEFF, 0xFEFF},   {0xFFA0, 0xFFA0},
    {0xFFF0, 0xFFFB}, {0x1BCA0, 0x1BCA3}, {0x1D173, 0x1D17A}, {0xE0000, 0xE0FFF},
};

static bool is_seen(uint32_t letter)
{
    if ((letter & 0xFFFE) == 0xFFFE || lct_text_is_control(letter))
        return false;
    for (size_t i = 0; i < sizeof unseen / sizeof unseen[0]; i++)
        if (letter >= unseen[i].first && letter <= unseen[i].last)
            return false;
    return true;
}

static uint32_t next_letter(const char *text, size_t text_len, size_t *used)
{
    uint32_t letter = lct_text_letter(text, text_len, used);

    return is_seen(letter) ? letter : REPLACEMENT;
}

static const char *escape_of(uint32_t letter)
{
    static const struct {
        uint32_t letter;
        const char *escape;
    } escapes[] = {{'&', "&amp;"},  {'<', "&lt;"},   {'>', "&gt;"},
                   {'"', "&quot;"}, {'\'', "&#39;"}, {REPLACEMENT, "\xEF\xBF\xBD"}};

    for (size_t i = 0; i < sizeof escapes / sizeof escapes[0]; i++)
        if (escapes[i].letter == letter)
            return escapes[i].escape;
    return NULL;
}

void lct_html_text(struct lct_html *html, const char *text, size_t text_len)
{
    size_t used = 0;

    for (size_t i = 0; html != NULL && i < text_len; i += used) {
        const char *escape = escape_of(next_letter(text + i, text_len - i, &used));
        if (escape != NULL)
            raw(html, escape);
        else
            (void)fwrite(text + i, 1, used, html->out);
    }
}

void lct_html_open(struct lct_html *html, enum lct_html_element element)
{
    raw(html, elements[element].open);
}

void lct_html_close(struct lct_html *html, enum lct_html_element element)
{
    raw(html, elements[element].close);
}

void lct_html_put(struct lct_html *html, enum lct_html_element element, const char *text)
{
    lct_html_open(html, element);
    lct_html_text(html, text, strlen(text));
    lct_html_close(html, element);
}

void lct_html_lines(struct lct_html *html, const char *text)
{
    while (*text != '\0') {
        size_t len = strcspn(text, "\n");
        lct_html_text(html, text, len);
        if (text[len] == '\n')
            raw(html, "\n");
        text += text[len] == '\n' ? len + 1 : len;
    }
}

struct lct_html *lct_html_new(const char *title)
{
    struct lct_html *html = calloc(1, sizeof *html);

    if (html != NULL)
        html->out = open_memstream(&html->page, &html->page_len);
    if (html == NULL || html->out == NULL) {
        free(html);
        return NULL;
    }
    raw(html,
        "<!DOCTYPE html>\n<html lang=\"en\" dir=\"ltr\">\n<head>\n<meta charset=\"utf-8\">\n");
    raw(html, head);
    raw(html, "<title>");
    lct_html_text(html, title, strlen(title));
    raw(html, "</title>\n");
    raw(html, style);
    raw(html, style_elsewhere);
    raw(html, "</head>\n<body>\n");
    return html;
}

char *lct_html_end(struct lct_html *html)
{
    if (html == NULL)
        return NULL;
    raw(html, "</body>\n</html>\n");
    bool whole = ferror(html->out) == 0;
    if (fclose(html->out) != 0)
        whole = false;
    char *page = html->page;
    free(html);
    if (whole)
        return page;
    free(page);
    return NULL;
}
