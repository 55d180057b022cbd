/* SPDX-License-Identifier: Apache-2.0 */
#include "tpm/deadline.h"

#include <limits.h>
#include <time.h>

enum { KEY_TIMEOUT = 300000 }; /* ms: an RSA key may take minutes to make */

struct lct_deadline lct_deadline_in(int timeout)
{
    return (struct lct_deadline){lct_now_ms() + timeout, timeout};
}

int lct_deadline_left(const struct lct_deadline *deadline)
{
    int64_t left = deadline->at - lct_now_ms();

    if (deadline->timeout < 0)
        return -1;
    return left < 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
}

struct lct_deadline lct_deadline_sooner(const struct lct_deadline *deadline, int timeout)
{
    const struct lct_deadline other = lct_deadline_in(timeout);

    return deadline->timeout < 0 || other.at < deadline->at ? other : *deadline;
}

#if defined(__SANITIZE_THREAD__)
/* ThreadSanitizer of gcc 12 and clang 14 sees no lock that pthread_mutex_clocklock(3) has taken. */
static int lock_until(pthread_mutex_t *lock, const struct lct_deadline *deadline)
{
    const int left = lct_deadline_left(deadline);
    struct timespec at = {0};

    (void)clock_gettime(CLOCK_REALTIME, &at);
    at.tv_sec += left / 1000 + 1;
    return pthread_mutex_timedlock(lock, &at);
}
#else
static int lock_until(pthread_mutex_t *lock, const struct lct_deadline *deadline)
{
    const struct timespec at = {.tv_sec = (time_t)(deadline->at / 1000),
                                .tv_nsec = (long)(deadline->at % 1000) * 1000000};

    return pthread_mutex_clocklock(lock, CLOCK_MONOTONIC, &at);
}
#endif

bool lct_deadline_lock(pthread_mutex_t *lock, const struct lct_deadline *deadline)
{
    return (deadline->timeout < 0 ? pthread_mutex_lock(lock) : lock_until(lock, deadline)) == 0;
}

void lct_allowance_begin(struct lct_allowance *allowance, int timeout)
{
    if (allowance->deadline.timeout == 0)
        *allowance = (struct lct_allowance){lct_deadline_in(timeout), KEY_TIMEOUT};
}

struct lct_deadline lct_allowance_for_key(const struct lct_allowance *allowance)
{
    const struct lct_deadline own = {lct_now_ms() + allowance->making, KEY_TIMEOUT};

    return own.at > allowance->deadline.at ? own : allowance->deadline;
}

void lct_allowance_made_key(struct lct_allowance *allowance, int64_t since)
{
    int64_t took = lct_now_ms() - since;
    int still = took < allowance->making ? (int)took : allowance->making;

    allowance->making -= still;
    allowance->deadline.at += still;
}
