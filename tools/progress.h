/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TOOLS_PROGRESS_H
#define LCT_TOOLS_PROGRESS_H

#include "tools/tool.h"

#include <pthread.h>
#include <stdbool.h>

/*
 * A line on standard error while something takes longer than a second, "lct: making an rsa-3072 key
 * in the TPM ... 12 s": where that is a terminal, and unless --quiet. Nobody is asked anything
 * meanwhile.
 */
struct lct_progress {
    const char *what; /* borrowed */
    bool begun, ended;
    pthread_t thread;
    pthread_mutex_t mutex; /* guards `ended` */
    pthread_cond_t changed;
};

void lct_progress_begin(struct lct_progress *progress, const struct lct_tool *tool,
                        const char *what);

/* Takes the line away again. */
void lct_progress_end(struct lct_progress *progress);

#endif
