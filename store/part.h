/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_STORE_PART_H
#define LCT_STORE_PART_H

#include <stdbool.h>

/* What there may be in the directory of an identity besides its record, lct_record_file. */

/* Of each generation. */
enum lct_part {
    LCT_PART_KEY,        /* "key-2.pem": its key file */
    LCT_PART_CERTS,      /* "certs-2.pem": its certificates */
    LCT_PART_SUCCESSION, /* "succession-2.json": the statement that it follows another */
    LCT_NUM_PARTS
};

enum { LCT_PART_NAME = 32, LCT_MAX_KEYFILE = 1 << 16 /* bytes of a key file */ };

/* The name of the file of generation `number`. */
void lct_part_name(char name[LCT_PART_NAME], enum lct_part part, unsigned number);

/* Whether a file of that name is one of these, of whatever number: nothing else is called so. */
bool lct_part_is(const char *name);

/* "ending.json": the statement that the identity has come to its end. */
extern const char lct_ending_file[];

#endif
