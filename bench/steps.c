/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One step for each line of standard input, each told by a line: the providers of openssl.cnf are
 * loaded, then the key KEY, and from then on it signs with EVP_DigestSign of SHA-256. So whoever
 * counts commands at the TPM knows which step they are of.
 *
 *     steps KEY
 *
 * Exit status 1 at any failure.
 */
#include "key.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_SIGNATURE = 1024 };

static void check(bool good, const char *what)
{
    if (good)
        return;
    (void)fprintf(stderr, "steps: %s: ", what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

/* Waits for the next line. False: there is none. */
static bool next(const char *done)
{
    char line[8];

    check(puts(done) >= 0 && fflush(stdout) == 0, "standard output");
    return fgets(line, sizeof line, stdin) != NULL;
}

static void sign(EVP_PKEY *pkey)
{
    static const unsigned char message[32] = "what is signed";
    unsigned char signature[MAX_SIGNATURE];
    size_t len = sizeof signature;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    check(ctx != NULL && EVP_DigestSignInit_ex(ctx, NULL, "SHA256", NULL, NULL, pkey, NULL) == 1 &&
              EVP_DigestSign(ctx, signature, &len, message, sizeof message) == 1,
          "signing");
    EVP_MD_CTX_free(ctx);
}

int main(int argc, char **argv)
{
    check(argc == 2, "usage: steps KEY");
    if (!next("begun"))
        return 0;
    check(OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CONFIG, NULL) == 1, "openssl.cnf");
    if (!next("providers"))
        return 0;
    EVP_PKEY *pkey = key_load(argv[1]);
    check(pkey != NULL, argv[1]);
    for (const char *done = "key"; next(done); done = "signed")
        sign(pkey);
    EVP_PKEY_free(pkey);
    return 0;
}
