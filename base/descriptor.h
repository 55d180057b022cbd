/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_BASE_DESCRIPTOR_H
#define LCT_BASE_DESCRIPTOR_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * A descriptor that is known again. Hosts close descriptors that they do not know of (daemons do,
 * when they start), and the number is soon another file's: what is written then, is written over
 * that file. Zero: none.
 */
struct lct_descriptor {
    int fd;
    dev_t dev; /* what fd was when we opened it */
    ino_t ino;
};

/*
 * Takes `fd` over, on a number above those of standard input, output and error, which a host that
 * has closed them may open anew. False, with errno: it is closed.
 */
bool lct_descriptor_take(struct lct_descriptor *descriptor, int fd);

/* Whether the number is still what we opened. */
bool lct_descriptor_is_ours(const struct lct_descriptor *descriptor);

/* Closes it if it is still ours; none after that. */
void lct_descriptor_close(struct lct_descriptor *descriptor);

#endif
