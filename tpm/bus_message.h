/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TPM_BUS_MESSAGE_H
#define LCT_TPM_BUS_MESSAGE_H

#include "tpm/bus.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Inside of bus.c: messages as bytes. D-Bus Specification 0.41, "Message Protocol". */

enum { LCT_BUS_MAX_MESSAGE = 16384 };
enum { LCT_BUS_FIXED = 16 }; /* bytes that a message begins with, its lengths among them */
enum { LCT_BUS_RETURN = 2, LCT_BUS_ERROR = 3 }; /* types of a message */

/* Messages that are written, one behind the other, or one that is read. Zero: empty. */
struct lct_bus_message {
    size_t len, at;
    bool big_endian;
    bool bad; /* it ends too early, or is too long */
    uint8_t bytes[LCT_BUS_MAX_MESSAGE];
};

/* What of an answer counts. The strings are in the message. */
struct lct_bus_reply {
    uint8_t type;
    uint32_t serial;        /* of the message that it answers */
    const char *error_name; /* or NULL */
    const char *text;       /* its first parameter where that is a string, or NULL */
};

/* Appends a call without parameters. Where it does not fit the message is bad. */
void lct_bus_message_put_call(struct lct_bus_message *message, int serial,
                              const struct lct_bus_call *call);

/* How many bytes come after the first LCT_BUS_FIXED. False: more than fit. */
bool lct_bus_message_measure(struct lct_bus_message *message, size_t *rest);

/* Reads a whole message. False: it is malformed. */
bool lct_bus_message_parse(struct lct_bus_message *message, struct lct_bus_reply *reply);

#endif
