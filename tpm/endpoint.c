/* SPDX-License-Identifier: Apache-2.0 */
#include "tpm/endpoint.h"

#include "tpm/option.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

enum { FIND_TIMEOUT = 20000 }; /* ms: a host that is off says nothing at all */

bool lct_endpoint_set_path(struct lct_endpoint *endpoint, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (strlen(path) >= sizeof address.sun_path)
        return false;
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    memcpy(&endpoint->address, &address, sizeof address);
    endpoint->address_len = sizeof address;
    (void)snprintf(endpoint->label, sizeof endpoint->label, "%s", path);
    return true;
}

/* 0, or the errno of the failure. */
static int try_to_reach(const struct lct_endpoint *endpoint, const struct lct_deadline *deadline)
{
    struct lct_stream stream = {0};
    int error = lct_stream_connect(&stream, (const struct sockaddr *)&endpoint->address,
                                   endpoint->address_len, deadline);

    lct_stream_close(&stream);
    return error;
}

static enum lct_code find_path(struct lct_endpoint *endpoint, const char *path, struct lct_err *err)
{
    if (!lct_endpoint_set_path(endpoint, path))
        return LCT_FAIL(err, LCT_ERR_CONFIG, "the socket's path is too long: %s", path);
    /* Where all seats are taken somebody is at home: the command will wait for one. */
    const struct lct_deadline at_once = lct_deadline_in(0);
    int error = try_to_reach(endpoint, &at_once);
    if (error != 0 && error != ETIMEDOUT)
        return LCT_FAIL(err, LCT_ERR_NO_TPM, "no TPM at %s: %s", path, strerror(error));
    return LCT_OK;
}

static enum lct_code find_port(struct lct_endpoint *endpoint, const char *host, const char *port,
                               const struct lct_deadline *until, struct lct_err *err)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    const struct lct_deadline deadline = lct_deadline_sooner(until, FIND_TIMEOUT);
    struct addrinfo *list = NULL;

    (void)snprintf(endpoint->label, sizeof endpoint->label, "%s port %s", host, port);
    int error = getaddrinfo(host, port, &hints, &list);
    if (error != 0)
        return LCT_FAIL(err, LCT_ERR_NO_TPM, "no TPM at %s: %s", endpoint->label,
                        gai_strerror(error));
    error = EADDRNOTAVAIL;
    for (const struct addrinfo *entry = list; entry != NULL && error != 0; entry = entry->ai_next) {
        memcpy(&endpoint->address, entry->ai_addr, entry->ai_addrlen);
        endpoint->address_len = entry->ai_addrlen;
        error = try_to_reach(endpoint, &deadline);
    }
    freeaddrinfo(list);
    if (error != 0)
        return LCT_FAIL(err, LCT_ERR_NO_TPM, "no TPM at %s: %s", endpoint->label, strerror(error));
    return LCT_OK;
}

enum lct_code lct_endpoint_find(struct lct_endpoint *endpoint, const char *conf,
                                const struct lct_deadline *deadline, struct lct_err *err)
{
    char path[256], host[128], port[16];
    enum lct_code code = lct_option_get(path, sizeof path, conf, "path", "", err);

    if (code == LCT_OK && path[0] != '\0')
        return find_path(endpoint, path, err);
    if (code == LCT_OK)
        code = lct_option_get(host, sizeof host, conf, "host", "localhost", err);
    if (code == LCT_OK)
        code = lct_option_get(port, sizeof port, conf, "port", "2321", err);
    return code == LCT_OK ? find_port(endpoint, host, port, deadline, err) : code;
}
