/* SPDX-License-Identifier: Apache-2.0 */
#include "tpm/space.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

static bool make_lock(struct lct_space *space)
{
    pthread_mutexattr_t attributes;

    if (pthread_mutexattr_init(&attributes) != 0)
        return false;
    bool good = pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED) == 0 &&
                pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST) == 0 &&
                pthread_mutex_init(&space->turn, &attributes) == 0;
    (void)pthread_mutexattr_destroy(&attributes);
    return good;
}

struct lct_space *lct_space_new(bool shared)
{
    if (!shared)
        return calloc(1, sizeof(struct lct_space));
    struct lct_space *space = mmap(NULL, sizeof *space, PROT_READ | PROT_WRITE,
                                   MAP_SHARED | MAP_ANONYMOUS, -1, 0); /* zeros */
    if (space == MAP_FAILED)
        return NULL;
    space->shared = true;
    if (make_lock(space))
        return space;
    (void)munmap(space, sizeof *space);
    return NULL;
}

/* The lock of a shared one is not destroyed: others may wait for it. */
void lct_space_free(struct lct_space *space)
{
    if (space == NULL)
        return;
    if (space->shared)
        (void)munmap(space, sizeof *space);
    else
        free(space);
}

static struct timespec after(int ms)
{
    struct timespec time;

    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    time.tv_sec += ms / 1000;
    time.tv_nsec += ms % 1000 * 1000000L;
    if (time.tv_nsec >= 1000000000L) {
        time.tv_sec++;
        time.tv_nsec -= 1000000000L;
    }
    return time;
}

enum lct_code lct_space_enter(struct lct_space *space, bool *dirty, int timeout,
                              struct lct_err *err)
{
    const struct timespec deadline = after(timeout);
    int error = 0;

    if (space->shared)
        error = pthread_mutex_clocklock(&space->turn, CLOCK_MONOTONIC, &deadline);
    if (error == EOWNERDEAD)
        error = pthread_mutex_consistent(&space->turn);
    if (error == ETIMEDOUT)
        return LCT_FAIL(err, LCT_ERR_TIMEOUT,
                        "another process has had the TPM for longer than %d s", timeout / 1000);
    if (error != 0)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "the lock of the TPM's connection fails: %s",
                        strerror(error));
    *dirty = space->dirty;
    space->dirty = true; /* until it ends well */
    return LCT_OK;
}

void lct_space_leave(struct lct_space *space, bool clean)
{
    space->dirty = !clean;
    if (space->shared)
        (void)pthread_mutex_unlock(&space->turn);
}
