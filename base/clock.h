/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_BASE_CLOCK_H
#define LCT_BASE_CLOCK_H

#include <stdint.h>

/* ms of CLOCK_MONOTONIC. */
int64_t lct_now_ms(void);

/* Waits so long, not cut short by signals. */
void lct_wait_ms(int ms);

#endif
