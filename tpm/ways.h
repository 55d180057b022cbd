/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TPM_WAYS_H
#define LCT_TPM_WAYS_H

#include <stddef.h>

enum lct_way_state { LCT_WAY_OPENS, LCT_WAY_SHUT, LCT_WAY_UNTRIED };

/* A way in to a TPM, for a diagnosis. */
struct lct_way {
    char name[128]; /* "/dev/tpmrm0", "tpm2-abrmd", or the configured tcti */
    enum lct_way_state state;
    char text[640];    /* a sentence: what it is or why it does not open */
    char command[160]; /* what to type then, or empty */
    char holders[256]; /* of a device: the processes that have it open, as far as is to be seen */
};

enum { LCT_MAX_WAYS = 4 }; /* the configured one, and those of the search */

/*
 * Tries the ways in that lct_wire_open would try with the same `tcti`, in that order and until one
 * opens; those of the search that it would not try are told if they are there. Opens and closes
 * each, sends no command. Devices, processes and the system bus's socket are looked for below
 * `root`, "" being the machine itself; a configured `tcti` is taken as it is. Returns how many
 * there are.
 */
size_t lct_ways_try(struct lct_way ways[LCT_MAX_WAYS], const char *root, const char *tcti);

#endif
