/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_STORE_ID_H
#define LCT_STORE_ID_H

#include "base/error.h"

#include <stdbool.h>

enum { LCT_MAX_ID = 128 };

/*
 * An id: 1 to LCT_MAX_ID bytes of A-Z a-z 0-9 . _ : @ + -, not starting with . or -. Every such
 * byte stands for itself in a file name, so an id is the name of its directory, and two ids are two
 * directories. LCT_ERR_BAD_ID says which rule it breaks.
 */
enum lct_code lct_id_check(const char *id, struct lct_err *err);

/* The same for an id to be made: the prefix "web4:mb32:" is kept for key-derived names. */
enum lct_code lct_id_check_new(const char *id, struct lct_err *err);

/* A URI taken apart. `id` is empty for the container, "lct:". */
struct lct_uri {
    char id[LCT_MAX_ID + 1];
    unsigned generation; /* 0: the active one */
};

/* Whether `text` starts with our scheme, in either case (RFC 3986, 3.1). */
bool lct_uri_is_ours(const char *text);

/*
 * lct:ID, lct://ID or lct:///ID, percent-decoded ('+' is itself), with ?generation=N perhaps.
 * LCT_ERR_BAD_ID: anything else, and an unknown or repeated parameter.
 */
enum lct_code lct_uri_parse(struct lct_uri *uri, const char *text, struct lct_err *err);

#endif
