/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client that does nothing but full TLS 1.3 handshakes, by libssl, which verifies each signature.
 *
 *     handshakes [--connections C] [--seconds S] HOST PORT
 *
 * C at a time (4), for S seconds (1). Each is a connection of its own, without resumption, and
 * counts when the server has closed it after ours ended: it has then taken the client's part, too.
 * Prints how many there were in a second. One that failed is not counted, the number of them and
 * the first one's reason are said, and the exit status is 1.
 */
#include "key.h"

#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_CONNECTIONS = 64, PATIENCE = 10 /* s */ };

struct client {
    SSL_CTX *context;
    struct addrinfo *server;
    double end;
    atomic_ulong done, failed;
    _Atomic(const char *) reason; /* why the first one failed */
};

/* Returns a connected socket, on which nobody is waited for longer than PATIENCE, or -1. */
static int connect_to(const struct addrinfo *server)
{
    const struct timeval patience = {.tv_sec = PATIENCE};
    int fd = socket(server->ai_family, server->ai_socktype | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0 &&
        connect(fd, server->ai_addr, server->ai_addrlen) == 0)
        return fd;
    (void)close(fd);
    return -1;
}

/* Whether the server closes when we do. Its tickets come before that. */
static bool is_closed(int fd)
{
    char rest[4096];
    ssize_t n;

    if (shutdown(fd, SHUT_WR) != 0)
        return false;
    do
        n = recv(fd, rest, sizeof rest, MSG_WAITALL);
    while (n > 0);
    return n == 0;
}

/* What libssl says of what went wrong. */
static const char *reason(void)
{
    const char *text = ERR_reason_error_string(ERR_peek_error());

    ERR_clear_error();
    return text != NULL ? text : "the server sent nothing more";
}

/* NULL, or what went wrong. */
static const char *shake_hands(const struct client *client)
{
    int fd = connect_to(client->server);
    SSL *ssl = fd >= 0 ? SSL_new(client->context) : NULL;
    const char *wrong = NULL;

    if (fd < 0)
        return "the server takes no connection";
    if (ssl == NULL || SSL_set_fd(ssl, fd) != 1 || SSL_connect(ssl) != 1)
        wrong = reason();
    else if (!is_closed(fd))
        wrong = "the server does not end the connection";
    SSL_free(ssl);
    (void)close(fd);
    return wrong;
}

static void *go_on(void *arg)
{
    struct client *client = arg;

    while (seconds_now() < client->end) {
        const char *none = NULL;
        const char *wrong = shake_hands(client);
        (void)atomic_fetch_add(wrong == NULL ? &client->done : &client->failed, 1);
        if (wrong != NULL)
            (void)atomic_compare_exchange_strong(&client->reason, &none, wrong);
    }
    return NULL;
}

/* Returns how long it took, or 0 if there were not so many threads. */
static double run(struct client *client, long connections, double length)
{
    pthread_t threads[MAX_CONNECTIONS];
    const double start = seconds_now();
    long num = 0;

    client->end = start + length;
    while (num < connections && pthread_create(&threads[num], NULL, go_on, client) == 0)
        num++;
    for (long i = 0; i < num; i++)
        (void)pthread_join(threads[i], NULL);
    return num == connections ? seconds_now() - start : 0;
}

/* TLS 1.3, with what is least work; who the server is does not matter. NULL: it is not to be had.
 */
static SSL_CTX *make_context(void)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    char group[] = "X25519"; /* libssl's macro takes no constant */

    if (context != NULL && SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) == 1 &&
        SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256") == 1 &&
        SSL_CTX_set1_groups_list(context, group) == 1)
        return context;
    SSL_CTX_free(context);
    return NULL;
}

static int usage(void)
{
    (void)fprintf(stderr, "usage: handshakes [--connections 1-%d] [--seconds S] HOST PORT\n",
                  MAX_CONNECTIONS);
    return 2;
}

static bool read_options(int argc, char **argv, long *connections, double *length)
{
    static const struct option options[] = {{"connections", required_argument, NULL, 'c'},
                                            {"seconds", required_argument, NULL, 's'},
                                            {NULL, 0, NULL, 0}};
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'c')
            *connections = strtol(optarg, NULL, 10);
        else if (option == 's')
            *length = strtod(optarg, NULL);
        else
            return false;
    }
    return *connections > 0 && *connections <= MAX_CONNECTIONS && *length > 0 && argc - optind == 2;
}

/* Prints how many a second there were, or why some failed. */
static bool tell(struct client *client, double took)
{
    const unsigned long done = atomic_load(&client->done), failed = atomic_load(&client->failed);

    if (failed > 0)
        (void)fprintf(stderr, "handshakes: %lu of %lu failed, the first one so: %s\n", failed,
                      done + failed, atomic_load(&client->reason));
    else if (took <= 0)
        (void)fprintf(stderr, "handshakes: no threads for so many connections\n");
    else
        (void)printf("%.1f\n", (double)done / took);
    return failed == 0 && took > 0;
}

int main(int argc, char **argv)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct client client = {0};
    long connections = 4;
    double length = 1;

    if (!read_options(argc, argv, &connections, &length))
        return usage();
    int error = getaddrinfo(argv[optind], argv[optind + 1], &hints, &client.server);
    if (error != 0) {
        (void)fprintf(stderr, "handshakes: %s: %s\n", argv[optind], gai_strerror(error));
        return 1;
    }
    client.context = make_context();
    if (client.context == NULL)
        (void)fprintf(stderr, "handshakes: libssl has no TLS 1.3 with X25519\n");
    bool good = client.context != NULL && tell(&client, run(&client, connections, length));
    SSL_CTX_free(client.context);
    freeaddrinfo(client.server);
    return good ? 0 : 1;
}
