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
                pthread_mutex_init(&space->next, &attributes) == 0 &&
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

#ifdef __SANITIZE_THREAD__
/* The sanitizer of gcc 12 does not see pthread_mutex_clocklock(3). */
static int lock_until(pthread_mutex_t *lock, const struct timespec *deadline)
{
    (void)deadline;
    return pthread_mutex_lock(lock);
}
#else
static int lock_until(pthread_mutex_t *lock, const struct timespec *deadline)
{
    return pthread_mutex_clocklock(lock, CLOCK_MONOTONIC, deadline);
}
#endif

/* Returns 0 or an errno. Whoever died holding it has left `dirty` set. */
static int lock_robust(pthread_mutex_t *lock, const struct timespec *deadline)
{
    int error = lock_until(lock, deadline);

    return error == EOWNERDEAD ? pthread_mutex_consistent(lock) : error;
}

/* Who has just had its turn waits behind the one who waits for it. */
static int take_turn(struct lct_space *space, int timeout)
{
    const struct timespec deadline = after(timeout);
    int error = lock_robust(&space->next, &deadline);

    if (error != 0)
        return error;
    error = lock_robust(&space->turn, &deadline);
    (void)pthread_mutex_unlock(&space->next);
    return error;
}

enum lct_code lct_space_enter(struct lct_space *space, bool *dirty, int timeout,
                              struct lct_err *err)
{
    int error = space->shared ? take_turn(space, timeout) : 0;

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
