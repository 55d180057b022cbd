/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TPM_BUS_H
#define LCT_TPM_BUS_H

#include "tpm/endpoint.h"

#include <stdbool.h>
#include <stddef.h>

/*
 * D-Bus, as much of it as one call takes whose answer is a descriptor (D-Bus Specification 0.41).
 * No library of it, because tpm2-abrmd's answer does not name the descriptor in its body, where
 * libdbus and sd-bus look for it, and GLib's starts threads that a child of fork does not have.
 * Nothing is kept between calls.
 */

enum lct_bus_outcome {
    LCT_BUS_ANSWERED,
    LCT_BUS_ABSENT,  /* there is no bus */
    LCT_BUS_DENIED,  /* this user is not let in, or may not ask that */
    LCT_BUS_NO_NAME, /* nobody on the bus has the name */
    LCT_BUS_NOTHING, /* who has the name has nothing there to call */
    LCT_BUS_SILENT,  /* no answer in time */
    LCT_BUS_FAILED
};

enum lct_bus_type { LCT_BUS_SYSTEM, LCT_BUS_SESSION };

/*
 * Where the bus of this user is: as DBUS_SYSTEM_BUS_ADDRESS or DBUS_SESSION_BUS_ADDRESS says (but
 * not to programs with raised privileges), or at its usual place; the system's below `root`. False:
 * at none that is a UNIX socket, `label` being where.
 */
bool lct_bus_find(struct lct_endpoint *endpoint, enum lct_bus_type type, const char *root);

struct lct_bus_call {
    const char *name, *path, *interface, *member; /* well-formed, 255 bytes at most */
    bool start; /* the bus may start the service that has the name */
};

/*
 * Connects to the bus, calls a method without parameters, and leaves the bus. `fd` is the
 * descriptor that the answer brought, owned by the caller, -1 if none; close-on-exec. Waits
 * until the deadline. Where not answered, `text` is what the bus or the system says, or empty.
 */
enum lct_bus_outcome lct_bus_call(int *fd, const struct lct_endpoint *bus,
                                  const struct lct_bus_call *call,
                                  const struct lct_deadline *deadline, char *text,
                                  size_t text_size);

#endif
