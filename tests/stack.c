/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much stack a key takes: stack URI [COMMAND...] loads it and signs, and once more after each
 * COMMAND, all on a stack of its own, and prints "load BYTES" and "sign BYTES yes|no".
 */
#include <openssl/evp.h>
#include <openssl/store.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

enum { STACK = 1 << 20, UNUSED = 0xa5 };

static unsigned char stack[STACK];
static ucontext_t here, there;
static const char *uri;
static EVP_PKEY *pkey;
static bool signed_it;

static void load(void)
{
    OSSL_STORE_CTX *store = OSSL_STORE_open(uri, NULL, NULL, NULL, NULL);

    while (store != NULL && pkey == NULL && OSSL_STORE_eof(store) == 0) {
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);
        if (info != NULL && OSSL_STORE_INFO_get_type(info) == OSSL_STORE_INFO_PKEY)
            pkey = OSSL_STORE_INFO_get1_PKEY(info);
        OSSL_STORE_INFO_free(info);
    }
    OSSL_STORE_close(store);
}

static void sign(void)
{
    static const unsigned char message[] = "what is signed";
    unsigned char signature[1024];
    size_t len = sizeof signature;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    signed_it = ctx != NULL && EVP_DigestSignInit_ex(ctx, NULL, "SHA256", NULL, NULL, pkey, NULL) &&
                EVP_DigestSign(ctx, signature, &len, message, sizeof message) == 1;
    EVP_MD_CTX_free(ctx);
}

static size_t measure(void (*what)(void))
{
    size_t unused = 0;

    memset(stack, UNUSED, sizeof stack);
    if (getcontext(&there) != 0)
        abort();
    there.uc_stack = (stack_t){.ss_sp = stack, .ss_size = sizeof stack};
    there.uc_link = &here;
    makecontext(&there, what, 0);
    if (swapcontext(&here, &there) != 0)
        abort();
    while (unused < sizeof stack && stack[unused] == UNUSED)
        unused++;
    return sizeof stack - unused;
}

static void measure_signature(void)
{
    size_t used = measure(sign);

    printf("sign %zu %s\n", used, signed_it ? "yes" : "no");
    (void)fflush(stdout);
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    uri = argv[1];
    printf("load %zu\n", measure(load));
    if (pkey == NULL)
        return 1;
    measure_signature();
    for (int i = 2; i < argc; i++) {
        if (system(argv[i]) != 0)
            return 1;
        measure_signature();
    }
    EVP_PKEY_free(pkey);
    return 0;
}
