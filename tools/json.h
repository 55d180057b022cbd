/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TOOLS_JSON_H
#define LCT_TOOLS_JSON_H

#include "base/error.h"

#include <jansson.h>
#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* JSON that the command reads and prints. */

/* All of a file that somebody else has sent, as lct_tool_read: but one that is longer is
 * LCT_ERR_BAD_EVIDENCE. */
enum lct_code lct_tool_read_sent(uint8_t **bytes, size_t *bytes_len, const char *file, size_t max,
                                 struct lct_err *err);

/* A document of an attestation from a file, or with "-" from standard input, of at most `max`
 * bytes. The caller frees *document with json_decref. Errors of lct_tool_read_sent, and of
 * lct_document_read, which then name the file. */
enum lct_code lct_tool_document(json_t **document, const char *file, size_t max,
                                struct lct_err *err);

/* The same, taken apart by `read` in that library context into what `into` is of: lct_offer_read
 * and its like. Errors of both, which name the file. */
enum lct_code lct_tool_document_into(void *into, OSSL_LIB_CTX *libctx, const char *file, size_t max,
                                     enum lct_code (*read)(void *into, OSSL_LIB_CTX *libctx,
                                                           const json_t *document,
                                                           struct lct_err *err),
                                     struct lct_err *err);

/* Whether the arguments have --json, or as getopt takes it, --js; be they right or wrong. */
bool lct_tool_wants_json(int argc, char **argv);

/* How a program ends that failed: one line on stderr, "lct: " and the sentence, or for a program
 * {"error": {"status": 3, "name": "not_found", "message": "..."}}. */
void lct_tool_print_error(const char *program, bool json, const struct lct_err *err);

/* What a file is called, what was typed and a sentence that is cut within a letter may be no UTF-8:
 * then each byte of it that is not ASCII becomes '?'. */
void lct_tool_make_utf8(char *text);

/* Such a text for a result; null for NULL. Others than this and than what has but ASCII in it are
 * refused by jansson, and the result with them. NULL: out of memory. */
json_t *lct_tool_json_text(const char *text);

/* Prints any value and a newline to stdout; takes it over. LCT_ERR_IO; LCT_ERR_INTERNAL for NULL,
 * which is out of memory. */
enum lct_code lct_tool_print_json(json_t *json, struct lct_err *err);

#endif
