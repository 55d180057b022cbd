/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `crypto STEP`: the private library context, with each STEPth allocation that it takes failing in
 * turn, once, as preload_malloc.c has it: it cannot be had, and then can; and once it is there, it
 * has the algorithms of every key. Prints what is not so, and how many allocations there were.
 */
#include "tcg/crypto.h"

#include <dlfcn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static void (*arm)(long at, bool onwards);
static long (*disarm)(void);

static bool has_all(OSSL_LIB_CTX *libctx)
{
    static const char *const digests[] = {"SHA256", "SHA384", "SHA512"};
    static const char *const types[] = {"EC", "RSA"}, *const signatures[] = {"ECDSA", "RSA"};
    bool all = true;

    for (size_t i = 0; i < sizeof digests / sizeof digests[0]; i++) {
        EVP_MD *md = EVP_MD_fetch(libctx, digests[i], NULL);
        all &= md != NULL;
        EVP_MD_free(md);
    }
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        EVP_KEYMGMT *keymgmt = EVP_KEYMGMT_fetch(libctx, types[i], NULL);
        EVP_SIGNATURE *signature = EVP_SIGNATURE_fetch(libctx, signatures[i], NULL);
        all &= keymgmt != NULL && signature != NULL;
        EVP_KEYMGMT_free(keymgmt);
        EVP_SIGNATURE_free(signature);
    }
    return all;
}

/* How many allocations there were. */
static long attempt(long at)
{
    struct lct_err err = {.code = LCT_OK};
    struct lct_crypto *crypto = lct_crypto_new();

    if (crypto == NULL)
        return 0;
    arm(at, false);
    OSSL_LIB_CTX *libctx = lct_crypto_get(crypto, &err);
    long seen = disarm();
    if (libctx == NULL && err.code != LCT_ERR_INTERNAL)
        printf("%ld: it is not there, and nothing says so\n", at);
    if (libctx == NULL)
        libctx = lct_crypto_get(crypto, &err);
    if (libctx == NULL || !has_all(libctx))
        printf("%ld: an algorithm is missing for ever\n", at);
    ERR_clear_error();
    lct_crypto_free(crypto);
    return seen;
}

int main(int argc, char **argv)
{
    long at = 1, step = argc == 2 ? strtol(argv[1], NULL, 10) : 0;

    *(void **)&arm = dlsym(RTLD_DEFAULT, "preload_malloc_arm");
    *(void **)&disarm = dlsym(RTLD_DEFAULT, "preload_malloc_disarm");
    if (arm == NULL || disarm == NULL || step < 1)
        return 2;
    (void)attempt(1L << 30); /* what is made once in a process */
    while (attempt(at) >= at)
        at += step;
    printf("%ld allocations\n", at);
    return 0;
}
