/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signatures a second, of several subjects in turns, so that whatever else the machine does hits
 * all of them.
 *
 *     sign [--rounds N] [--seconds S] [--threads N] [--size BYTES] [--tcti TCTI] SUBJECT...
 *
 * A SUBJECT is NAME=KEY, a key that OSSL_STORE opens, used by `--threads` with EVP_DigestSign of
 * SHA-256 over messages of `--size` bytes; or one of the floors below, by `--tcti`. Prints a line a
 * round and subject: its number, the name, operations a second. The first round of each is not
 * counted. Exit status 1 at any failure.
 */
#include "floor.h"
#include "key.h"

#include <getopt.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_SUBJECTS = 16, MAX_THREADS = 64, MAX_ROUNDS = 10000, MAX_SIGNATURE = 1024 };

static const struct {
    const char *name;
    enum floor_kind kind;
} floors[] = {
    {"floor", FLOOR_SIGN},
    {"floor-verified", FLOOR_VERIFIED},
    {"floor-hmac", FLOOR_HMAC},
    {"floor-literal", FLOOR_LITERAL},
    {"floor-approved", FLOOR_APPROVED},
    {"floor-short", FLOOR_SHORT},
    {"floor-create", FLOOR_CREATE},
    {"floor-create-rsa", FLOOR_CREATE_RSA},
};

struct subject {
    const char *name;
    EVP_PKEY *pkey; /* NULL: a floor */
    enum floor_kind kind;
};

/* What one thread does in a round. */
struct work {
    EVP_PKEY *pkey;
    const unsigned char *message;
    size_t size;
    double end;
    unsigned long done;
};

static void fail(const char *what)
{
    (void)fprintf(stderr, "sign: %s\n", what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

static void *sign_until(void *arg)
{
    struct work *work = arg;

    do {
        unsigned char signature[MAX_SIGNATURE];
        size_t len = sizeof signature;
        EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        if (ctx == NULL ||
            EVP_DigestSignInit_ex(ctx, NULL, "SHA256", NULL, NULL, work->pkey, NULL) != 1 ||
            EVP_DigestSign(ctx, signature, &len, work->message, work->size) != 1)
            fail("a signature failed");
        EVP_MD_CTX_free(ctx);
        work->done++;
    } while (seconds_now() < work->end);
    return NULL;
}

static double run_key(const struct work *pattern, double length, size_t num_threads)
{
    pthread_t threads[MAX_THREADS];
    struct work works[MAX_THREADS];
    unsigned long done = 0;
    double start = seconds_now();

    for (size_t i = 0; i < num_threads; i++) {
        works[i] = *pattern;
        works[i].end = start + length;
        if (i > 0 && pthread_create(&threads[i], NULL, sign_until, &works[i]) != 0)
            fail("no thread");
    }
    (void)sign_until(&works[0]);
    for (size_t i = 1; i < num_threads; i++)
        (void)pthread_join(threads[i], NULL);
    double elapsed = seconds_now() - start;
    for (size_t i = 0; i < num_threads; i++)
        done += works[i].done;
    return (double)done / elapsed;
}

static double run_floor(const char *tcti, enum floor_kind kind, double length)
{
    struct floor *floor = floor_open(tcti, kind);
    unsigned long done = 0;
    double start = seconds_now(), now;

    do {
        floor_operate(floor);
        done++;
        now = seconds_now();
    } while (now - start < length);
    floor_close(floor);
    return (double)done / (now - start);
}

static struct subject subject_of(char *word)
{
    char *key = strchr(word, '=');

    for (size_t i = 0; key == NULL && i < sizeof floors / sizeof floors[0]; i++)
        if (strcmp(word, floors[i].name) == 0)
            return (struct subject){word, NULL, floors[i].kind};
    if (key == NULL)
        fail("a subject is NAME=KEY, or a floor");
    *key++ = '\0';
    EVP_PKEY *pkey = key_load(key);
    if (pkey == NULL)
        fail(key);
    return (struct subject){word, pkey, FLOOR_SIGN};
}

struct options {
    unsigned long rounds, threads, size;
    double seconds;
    const char *tcti;
};

static struct options parse(int argc, char **argv)
{
    static const struct option known[] = {
        {"rounds", required_argument, NULL, 'r'},  {"seconds", required_argument, NULL, 's'},
        {"threads", required_argument, NULL, 'n'}, {"size", required_argument, NULL, 'b'},
        {"tcti", required_argument, NULL, 't'},    {0}};
    struct options options = {.rounds = 7, .threads = 1, .size = 32, .seconds = 0.5};
    int option;

    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1)
        switch (option) {
        case 'r':
            options.rounds = strtoul(optarg, NULL, 10);
            break;
        case 's':
            options.seconds = strtod(optarg, NULL);
            break;
        case 'n':
            options.threads = strtoul(optarg, NULL, 10);
            break;
        case 'b':
            options.size = strtoul(optarg, NULL, 10);
            break;
        case 't':
            options.tcti = optarg;
            break;
        default:
            exit(2);
        }
    if (options.threads == 0 || options.threads > MAX_THREADS)
        fail("--threads is from 1 to 64");
    if (options.rounds == 0 || options.rounds > MAX_ROUNDS)
        fail("--rounds is from 1 to 10000");
    return options;
}

int main(int argc, char **argv)
{
    const struct options options = parse(argc, argv);
    struct subject subjects[MAX_SUBJECTS];
    size_t num = (size_t)(argc - optind);
    unsigned char *message = calloc(1, options.size + 1);

    if (num == 0 || num > MAX_SUBJECTS || message == NULL)
        fail("it takes from 1 to 16 subjects");
    for (size_t i = 0; i < num; i++)
        subjects[i] = subject_of(argv[optind + (int)i]);
    for (unsigned long round = 0; round <= options.rounds; round++)
        for (size_t i = 0; i < num; i++) {
            const struct subject *subject = &subjects[(i + round) % num];
            const struct work work = {
                .pkey = subject->pkey, .message = message, .size = options.size};
            double rate = subject->pkey != NULL
                              ? run_key(&work, options.seconds, options.threads)
                              : run_floor(options.tcti, subject->kind, options.seconds);
            if (round > 0)
                (void)printf("%lu %s %.3f\n", round, subject->name, rate);
        }
    for (size_t i = 0; i < num; i++)
        EVP_PKEY_free(subjects[i].pkey);
    free(message);
    return 0;
}
