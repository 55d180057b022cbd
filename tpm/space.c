/* SPDX-License-Identifier: Apache-2.0 */
#include "tpm/space.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <tss2/tss2_tpm2_types.h>
#include <unistd.h>

/*
 * No pointers, no lengths that are used unchecked, and no types that have invalid values. Each word
 * is read once: what was looked at is what is used, whoever writes meanwhile.
 */
struct lct_space_page {
    atomic_uint dirty, stalled;
    atomic_uint resident_handle, resident_len;
    uint8_t resident[sizeof((struct lct_name *)0)->data];
};

/* Bytes of what is locked. Who holds NEXT has the next turn: so who has just had one does not
 * overtake who waits. */
enum { NEXT, TURN };

/*
 * An end to write to, of a pipe that nobody reads: what has an inode of its own, can be locked and
 * holds nothing. Who made a file of it would need leave for memfd_create(2), which sandboxes take
 * away (systemd.exec(5), MemoryDenyWriteExecute=). The other end goes when this one is on its
 * number: a host that prints meanwhile, on a number of its own that it has closed, gets no SIGPIPE.
 */
static bool make_lock(struct lct_descriptor *lock)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) != 0)
        return false;
    bool taken = lct_descriptor_take(lock, ends[1]);
    int error = errno;
    close(ends[0]);
    errno = error;
    return taken;
}

/*
 * Memory of no file: there is nothing that a child could truncate, so that who touches it gets
 * SIGBUS, and nothing that grows, which is SIGXFSZ where no file may (setrlimit(2)).
 */
static bool share(struct lct_space *space)
{
    if (!make_lock(&space->lock))
        return false;
    void *page = mmap(NULL, sizeof *space->page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                      -1, 0); /* zeros */
    space->page = page != MAP_FAILED ? page : NULL;
    return space->page != NULL;
}

struct lct_space *lct_space_new(bool shared)
{
    struct lct_space *space = calloc(1, sizeof *space);

    if (space == NULL || !shared || share(space))
        return space;
    int error = errno;
    lct_space_free(space);
    errno = error;
    return NULL;
}

bool lct_space_is_closed(const struct lct_space *space)
{
    return space->page != NULL && !lct_descriptor_is_ours(&space->lock);
}

void lct_space_free(struct lct_space *space)
{
    if (space == NULL)
        return;
    if (space->page != NULL)
        (void)munmap(space->page, sizeof *space->page);
    lct_descriptor_close(&space->lock);
    free(space);
}

/* Locks one byte, or unlocks it. These locks are a process's: fcntl(2). Returns 0 or an errno. */
static int set_lock(const struct lct_space *space, short type, off_t byte)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};

    if (!lct_descriptor_is_ours(&space->lock))
        return EBADF;
    return fcntl(space->lock.fd, F_SETLK, &lock) == 0 ? 0 : errno;
}

static int lock_until(const struct lct_space *space, off_t byte,
                      const struct lct_deadline *deadline)
{
    enum { FIRST_TRIES = 16 }; /* that only let others run, before each pause of 1 ms */

    for (int tries = 0;; tries++) {
        int error = set_lock(space, F_WRLCK, byte);
        if (error != EAGAIN && error != EACCES && error != EINTR)
            return error;
        if (lct_deadline_left(deadline) == 0)
            return ETIMEDOUT;
        (void)poll(NULL, 0, tries < FIRST_TRIES ? 0 : 1);
    }
}

static int take_turn(const struct lct_space *space, const struct lct_deadline *deadline)
{
    int error = lock_until(space, NEXT, deadline);

    if (error != 0)
        return error;
    error = lock_until(space, TURN, deadline);
    (void)set_lock(space, F_UNLCK, NEXT);
    return error;
}

/* From the page, as it may have been left by a process that wants no good. */
static void take_state(struct lct_space *space)
{
    struct lct_space_page *page = space->page;
    const uint32_t handle = atomic_load(&page->resident_handle);
    const uint32_t len = atomic_load(&page->resident_len);

    space->dirty = atomic_load(&page->dirty) != 0;
    space->stalled = atomic_load(&page->stalled) != 0;
    space->resident = (struct lct_name){0};
    if (len > sizeof space->resident.data || handle >> TPM2_HR_SHIFT != TPM2_HT_TRANSIENT)
        return;
    space->resident_handle = handle;
    space->resident.len = len;
    memcpy(space->resident.data, page->resident, len);
}

/* Who dies in it has left the page dirty: that is said last. */
static void give_state(const struct lct_space *space)
{
    struct lct_space_page *page = space->page;

    atomic_store(&page->stalled, space->stalled);
    atomic_store(&page->resident_handle, space->resident_handle);
    atomic_store(&page->resident_len, (uint32_t)space->resident.len);
    memcpy(page->resident, space->resident.data, sizeof page->resident);
    atomic_store(&page->dirty, space->dirty);
}

enum lct_code lct_space_enter(struct lct_space *space, bool *dirty,
                              const struct lct_deadline *deadline, struct lct_err *err)
{
    int error = space->page != NULL ? take_turn(space, deadline) : 0;

    if (error == ETIMEDOUT)
        return LCT_FAIL(err, LCT_ERR_TIMEOUT,
                        "another process has had the TPM for longer than %d s",
                        deadline->timeout / 1000);
    if (error != 0)
        return LCT_FAIL(err, LCT_ERR_NO_TPM, "the connection to the TPM has no lock any more: %s",
                        error == EBADF ? "the program closed its descriptor" : strerror(error));
    if (space->page != NULL) {
        take_state(space);
        atomic_store(&space->page->dirty, 1); /* until it ends well */
    }
    *dirty = space->dirty;
    return LCT_OK;
}

void lct_space_leave(struct lct_space *space, bool clean)
{
    space->dirty = !clean;
    if (space->page == NULL)
        return;
    give_state(space);
    (void)set_lock(space, F_UNLCK, TURN);
}
