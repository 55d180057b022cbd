/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TPM_ENDPOINT_H
#define LCT_TPM_ENDPOINT_H

#include "tpm/stream.h"

#include <stdbool.h>
#include <sys/socket.h>

/* Where a software TPM listens. */
struct lct_endpoint {
    struct sockaddr_storage address;
    socklen_t address_len;
    char label[160]; /* for messages: the socket's path, or host and port */
};

/*
 * Finds what `conf` means, "path=P" (a UNIX socket) or "host=H,port=N" (IPv4 or IPv6; localhost and
 * 2321 by default), and that something listens there, by connecting and closing. Asks name servers
 * for a host that is no number. Waits until the deadline, 20 s at most. LCT_ERR_CONFIG;
 * LCT_ERR_NO_TPM.
 */
enum lct_code lct_endpoint_find(struct lct_endpoint *endpoint, const char *conf,
                                const struct lct_deadline *deadline, struct lct_err *err);

/* A UNIX socket's address. False: the path is too long. */
bool lct_endpoint_set_path(struct lct_endpoint *endpoint, const char *path);

#endif
