/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TCG_EVENT_TEXT_H
#define LCT_TCG_EVENT_TEXT_H

#include "tcg/eventlog.h"

#include <stdint.h>

/*
 * Events of a log (tcg/eventlog.h) for people. What an event says of itself is a claim even where
 * the PCRs bear the log out, unless its digest is that of its bytes. All is printable ASCII.
 */

/* The name of a type: "EV_SEPARATOR"; "0x000000a0" of one that the PFP, 10.4.1, does not have.
 * Returns `name` or a constant. */
enum { LCT_EVENT_NAME = 11 };
const char *lct_event_name(char name[LCT_EVENT_NAME], uint32_t type);

/*
 * What the event says, NUL-terminated: a UEFI variable's name, of an image the name of its file, a
 * version, a command; "" where it says nothing that can be read. Whatever lengths are in it,
 * nothing is read beyond its bytes, and what is too long is cut and ends in "...".
 */
enum { LCT_EVENT_TEXT = 192 };
void lct_event_text(char text[LCT_EVENT_TEXT], const struct lct_event *event);

#endif
