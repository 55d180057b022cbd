/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <poll.h>
#include <stddef.h>
#include <time.h>

int64_t lct_now_ms(void)
{
    struct timespec now = {0};

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void lct_wait_ms(int ms)
{
    const int64_t end = lct_now_ms() + ms;
    int64_t left;

    while ((left = end - lct_now_ms()) > 0)
        (void)poll(NULL, 0, (int)left);
}
