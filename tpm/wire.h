/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TPM_WIRE_H
#define LCT_TPM_WIRE_H

#include "base/error.h"
#include "tpm/deadline.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What carries command bytes to a TPM and response bytes back. Neither looks at what it carries,
 * prints anything, nor raises SIGPIPE where we write ourselves. Not safe in threads: its owner
 * takes turns.
 */
struct lct_wire {
    struct lct_wire *next; /* for its owner */
    bool private_handles;  /* what is loaded by this way in is gone when it closes */
    /*
     * A session may outlive a piece of work: who manages this way in ends it with the connection
     * and sees to it that those of clients who say nothing are in nobody's way. tpm2-abrmd does: it
     * takes so many clients and no more, and saves an idle session again before the TPM cannot tell
     * it from new ones (TPM_RC_CONTEXT_GAP). Linux does not: of the 64 sessions that a TPM has,
     * whoever opens the device takes any number, and one that is idle fails everybody's commands
     * after TPM2_PT_CONTEXT_GAP_MAX saves, with EFAULT. Of a TCTI module it is not known.
     */
    bool keeps_sessions;
    bool software;     /* the way in leads to a simulator or emulator */
    const char *found; /* by a search: the way in, as tcti names it; NULL: it was named */
    bool inheritable;  /* children of fork may go on with it, in turns that they agree on */
    /* Sends one whole command, waiting until the deadline for it to be taken. LCT_ERR_NO_TPM;
     * LCT_ERR_TIMEOUT. */
    enum lct_code (*send)(struct lct_wire *wire, const uint8_t *command, size_t command_len,
                          const struct lct_deadline *deadline, struct lct_err *err);
    /* Receives one whole response into `capacity` bytes, waiting until the deadline.
     * LCT_ERR_NO_TPM; LCT_ERR_TIMEOUT: it may still come. Linux's driver may wait for longer:
     * poll(2) is held up while it executes a command, whose end it bounds itself. */
    enum lct_code (*receive)(struct lct_wire *wire, uint8_t *response, size_t *response_len,
                             size_t capacity, const struct lct_deadline *deadline,
                             struct lct_err *err);
    /*
     * After a command whose response nobody has read: waits for it until the deadline and throws it
     * away, so that the next command gets its own. LCT_ERR_TIMEOUT; LCT_ERR_NO_TPM: it has to be
     * opened anew. NULL: that is so always.
     */
    enum lct_code (*settle)(struct lct_wire *wire, const struct lct_deadline *deadline,
                            struct lct_err *err);
    /* Ends the connection and frees it. */
    void (*close)(struct lct_wire *wire);
    /* In a child of fork: frees it without a word to the TPM. False if that is not to be had. */
    bool (*abandon)(struct lct_wire *wire);
    /* There, at once, before anything is known to need it: closes the child's copies of
     * descriptors, which would keep a TPM of one client busy. NULL: a child may need them, or there
     * are none. */
    void (*let_go)(struct lct_wire *wire);
    /* Before another is opened, or this one closed: forgets a descriptor that the program has
     * closed, or has `surely` closed, though what has its number now looks like it, and does not
     * close that. NULL: its descriptor is like no other. */
    void (*disown)(struct lct_wire *wire, bool surely);
};

/*
 * Opens the way in that `tcti` names ("name:conf"). With NULL it is searched: the kernel's resource
 * manager, tpm2-abrmd, the kernel's device without a manager; never a software TPM. The search lets
 * the bus start tpm2-abrmd only where there is a device for it. Waits until the deadline, or for as
 * long as is usual there; name servers and TCTI modules know none. Also LCT_ERR_CONFIG.
 */
enum lct_code lct_wire_open(struct lct_wire **wire, const char *tcti,
                            const struct lct_deadline *deadline, struct lct_err *err);

enum { LCT_MAX_WAY_NAME = 64 };

/*
 * Splits a tcti into its short name, also where it is given as a file's ("libtss2-tcti-swtpm.so.0",
 * as tpm2-tss's loader takes it), and what follows the colon. LCT_ERR_CONFIG.
 */
enum lct_code lct_wire_split(char name[LCT_MAX_WAY_NAME], const char **conf, const char *tcti,
                             struct lct_err *err);

/*
 * What may be opened ahead of need, when a key is loaded: the kernel's resource manager's device,
 * if that is what `tcti` means. Silent and quick. LCT_ERR_NO_TPM: it is something else, or does not
 * open.
 */
enum lct_code lct_wire_open_ahead(struct lct_wire **wire, const char *tcti, struct lct_err *err);

/* The kernel's character device at `path`, by a transport of ours: close-on-exec, silent, timeouts.
 */
enum lct_code lct_device_open(struct lct_wire **wire, const char *path, struct lct_err *err);

/*
 * swtpm by its socket, "path=P" or "host=H,port=N", a connection for each command; opening it finds
 * out that something listens. tpm2-abrmd is in tpm/abrmd.h. Also LCT_ERR_CONFIG.
 */
enum lct_code lct_swtpm_open(struct lct_wire **wire, const char *conf,
                             const struct lct_deadline *deadline, struct lct_err *err);

/*
 * Any other way in, by a TCTI module of tpm2-tss: mssim, cmd, pcap, libtpms. The modules and their
 * loader print every failure on the host program's stderr, so one is asked only after checks of
 * ours: its file is there, and something listens, where it is known what should. They know no
 * timeouts, either. Also LCT_ERR_CONFIG.
 */
enum lct_code lct_module_open(struct lct_wire **wire, const char *name, const char *conf,
                              const struct lct_deadline *deadline, struct lct_err *err);

/* Whether the file of a TCTI module is there: LCT_ERR_NO_TPM says which package has it. */
enum lct_code lct_module_find(const char *name, struct lct_err *err);

#endif
