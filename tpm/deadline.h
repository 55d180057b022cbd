/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TPM_DEADLINE_H
#define LCT_TPM_DEADLINE_H

#include "base/clock.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* The end of a wait that several steps share. `timeout` is in ms; below 0: for ever. */
struct lct_deadline {
    int64_t at; /* ms of CLOCK_MONOTONIC */
    int timeout;
};
struct lct_deadline lct_deadline_in(int timeout);
/* What is left of it, for poll(2). */
int lct_deadline_left(const struct lct_deadline *deadline);
/* That one, or one in `timeout` ms, if that is sooner. */
struct lct_deadline lct_deadline_sooner(const struct lct_deadline *deadline, int timeout);

/* Takes a lock that other threads may have. False: not until the deadline. */
bool lct_deadline_lock(pthread_mutex_t *lock, const struct lct_deadline *deadline);

/*
 * How long a piece of work may take, whatever it waits for: all of that shares the deadline. But a
 * key may take minutes to make, and that stands the clock still: for `making` ms in all. Zero: it
 * has not begun.
 */
struct lct_allowance {
    struct lct_deadline deadline;
    int making;
};
/* Begins it, unless it has begun: `timeout` ms from now. */
void lct_allowance_begin(struct lct_allowance *allowance, int timeout);
/* The deadline of a command that makes a key. */
struct lct_deadline lct_allowance_for_key(const struct lct_allowance *allowance);
/* Such a command was sent at `since`, ms of CLOCK_MONOTONIC, and is over. */
void lct_allowance_made_key(struct lct_allowance *allowance, int64_t since);

#endif
