/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What keys and the provider take, in this process alone.
 *
 *     memory idle             initialises libcrypto with the configuration that OPENSSL_CONF names
 *     memory keys URI...      loads each, and keeps them all
 *
 * Prints, of `idle`, the bytes of its private pages that were written (/proc/self/smaps_rollup); of
 * `keys`, the bytes that one more key takes, as the allocator counts them and as pages, after the
 * first key, which is what is needed once, was loaded. Exit status 1 if one does not load.
 */
#include "key.h"

#include <malloc.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/provider.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct amounts {
    size_t allocated, dirty;
};

static size_t private_dirty(void)
{
    FILE *file = fopen("/proc/self/smaps_rollup", "re");
    char line[256];
    size_t kib = 0;

    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, "Private_Dirty:", strlen("Private_Dirty:")) == 0)
            kib = strtoul(line + strlen("Private_Dirty:"), NULL, 10);
    if (file != NULL)
        (void)fclose(file);
    return kib * 1024;
}

static struct amounts now(void)
{
    struct mallinfo2 info = mallinfo2();

    return (struct amounts){info.uordblks + info.hblkhd, private_dirty()};
}

static int keys(EVP_PKEY **loaded, char **uris, size_t num)
{
    struct amounts first = {0, 0}, last;
    size_t at = 0;

    for (; at < num; at++) {
        loaded[at] = key_load(uris[at]);
        if (loaded[at] == NULL)
            break;
        if (at == 0)
            first = now();
    }
    last = now();
    for (size_t i = 0; i < at; i++)
        EVP_PKEY_free(loaded[i]);
    if (at < num) {
        (void)fprintf(stderr, "memory: %s is not to be loaded\n", uris[at]);
        ERR_print_errors_fp(stderr);
        return EXIT_FAILURE;
    }
    (void)printf("%zu %zu\n", (last.allocated - first.allocated) / (num - 1),
                 (last.dirty - first.dirty) / (num - 1));
    return EXIT_SUCCESS;
}

/* What a program without a use for the provider asks of libcrypto: that it is there. */
static int idle(void)
{
    if (OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CONFIG, NULL) != 1 ||
        OSSL_PROVIDER_available(NULL, "default") != 1) {
        (void)fprintf(stderr, "memory: the configuration does not load\n");
        ERR_print_errors_fp(stderr);
        return EXIT_FAILURE;
    }
    (void)printf("%zu\n", private_dirty());
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "idle") == 0)
        return idle();
    if (argc < 4 || strcmp(argv[1], "keys") != 0) {
        (void)fprintf(stderr, "usage: memory idle | memory keys URI URI...\n");
        return EXIT_FAILURE;
    }
    size_t num = (size_t)argc - 2;
    EVP_PKEY **loaded = calloc(num, sizeof(EVP_PKEY *));
    int status = loaded != NULL ? keys(loaded, argv + 2, num) : EXIT_FAILURE;
    free(loaded);
    return status;
}
