/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/progress.h"

#include "tools/terminal.h"

#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

/* Writes the line each second until it is told to end. */
static void *show(void *arg)
{
    struct lct_progress *progress = arg;
    struct timespec next;
    unsigned seconds = 0;

    (void)clock_gettime(CLOCK_MONOTONIC, &next);
    (void)pthread_mutex_lock(&progress->mutex);
    while (!progress->ended) {
        next.tv_sec++;
        while (!progress->ended &&
               pthread_cond_timedwait(&progress->changed, &progress->mutex, &next) == 0)
            continue;
        if (!progress->ended)
            (void)fprintf(stderr, "\rlct: %s ... %u s", progress->what, ++seconds);
    }
    if (seconds > 0) /* ECMA-48, 8.3.41: erase to the end of the line */
        (void)fprintf(stderr, "\r\033[K");
    (void)pthread_mutex_unlock(&progress->mutex);
    return NULL;
}

/* A signal is for who waits for the TPM: the thread takes none. */
static bool start(struct lct_progress *progress)
{
    sigset_t all, before;

    (void)sigfillset(&all);
    if (pthread_sigmask(SIG_SETMASK, &all, &before) != 0)
        return false;
    const bool started = pthread_create(&progress->thread, NULL, show, progress) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

void lct_progress_begin(struct lct_progress *progress, const struct lct_tool *tool,
                        const char *what)
{
    pthread_condattr_t monotonic;

    *progress = (struct lct_progress){.what = what};
    if (tool->quiet || !lct_terminal_is(STDERR_FILENO) || pthread_condattr_init(&monotonic) != 0)
        return;
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    if (pthread_cond_init(&progress->changed, &monotonic) == 0) {
        (void)pthread_mutex_init(&progress->mutex, NULL); /* it does not fail: pthreads(7) */
        progress->begun = start(progress);
    }
    (void)pthread_condattr_destroy(&monotonic);
}

void lct_progress_end(struct lct_progress *progress)
{
    if (!progress->begun)
        return;
    (void)pthread_mutex_lock(&progress->mutex);
    progress->ended = true;
    (void)pthread_cond_signal(&progress->changed);
    (void)pthread_mutex_unlock(&progress->mutex);
    (void)pthread_join(progress->thread, NULL);
    (void)pthread_cond_destroy(&progress->changed);
    (void)pthread_mutex_destroy(&progress->mutex);
}
