/* SPDX-License-Identifier: Apache-2.0 */
#include "keys.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/provider.h>
#include <openssl/store.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

const char message[15] = "what is signed";

void expect(bool condition, const char *what)
{
    if (condition)
        return;
    printf("not so: %s\n", what);
    ERR_print_errors_fp(stdout);
    fflush(stdout);
    _exit(1);
}

bool is_text(const char *text, const char *expected)
{
    return text != NULL && strcmp(text, expected) == 0;
}

EVP_PKEY *load(OSSL_LIB_CTX *libctx, const char *uri)
{
    EVP_PKEY *pkey = NULL;
    OSSL_STORE_CTX *store = OSSL_STORE_open_ex(uri, libctx, NULL, NULL, NULL, NULL, NULL, NULL);

    expect(store != NULL, "the URI opens");
    expect(OSSL_STORE_expect(store, OSSL_STORE_INFO_PKEY) == 1, "the store takes an expectation");
    while (pkey == NULL && OSSL_STORE_eof(store) == 0) {
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);
        if (info != NULL)
            pkey = OSSL_STORE_INFO_get1_PKEY(info);
        OSSL_STORE_INFO_free(info);
    }
    OSSL_STORE_close(store);
    expect(pkey != NULL, "the URI gives a key");
    return pkey;
}

EVP_PKEY *software_public(OSSL_LIB_CTX *libctx, EVP_PKEY *pkey)
{
    unsigned char *der = NULL;
    int len = i2d_PUBKEY(pkey, &der);
    const unsigned char *at = der;

    expect(len > 0, "the public key is encoded");
    EVP_PKEY *public_key = d2i_PUBKEY_ex(NULL, &at, len, libctx, "provider=default");
    expect(public_key != NULL, "the default provider reads the public key");
    expect(is_text(OSSL_PROVIDER_get0_name(EVP_PKEY_get0_provider(public_key)), "default"),
           "the public key is the default provider's");
    OPENSSL_free(der);
    return public_key;
}

void sign(OSSL_LIB_CTX *libctx, EVP_PKEY *pkey, unsigned char signature[MAX_SIGNATURE], size_t *len)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    *len = MAX_SIGNATURE;
    expect(EVP_DigestSignInit_ex(ctx, NULL, "SHA256", libctx, NULL, pkey, NULL) == 1,
           "digest-sign init");
    expect(EVP_DigestSign(ctx, signature, len, (const unsigned char *)message, sizeof message) == 1,
           "digest-sign");
    EVP_MD_CTX_free(ctx);
}

bool verifies(OSSL_LIB_CTX *libctx, EVP_PKEY *public_key, const unsigned char *signature,
              size_t len)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    expect(EVP_DigestVerifyInit_ex(ctx, NULL, "SHA256", libctx, "provider=default", public_key,
                                   NULL) == 1,
           "digest-verify init in software");
    int result =
        EVP_DigestVerify(ctx, signature, len, (const unsigned char *)message, sizeof message);
    EVP_MD_CTX_free(ctx);
    return result == 1;
}

void sign_and_verify(OSSL_LIB_CTX *libctx, EVP_PKEY *pkey)
{
    unsigned char signature[MAX_SIGNATURE];
    size_t len;
    EVP_PKEY *public_key = software_public(libctx, pkey);

    sign(libctx, pkey, signature, &len);
    expect(verifies(libctx, public_key, signature, len), "the signature verifies in software");
    EVP_PKEY_free(public_key);
}

void reap(pid_t pid, const char *what)
{
    int status = -1;

    expect(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0, what);
}

/* An allocator whose blocks free() would abort on: who mixes allocators is found out. */
static void *offset_malloc(size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    char *block = malloc(size + 64);
    return block != NULL ? block + 64 : NULL;
}

static void offset_free(void *bytes, const char *file, int line)
{
    (void)file;
    (void)line;
    if (bytes != NULL)
        free((char *)bytes - 64);
}

static void *offset_realloc(void *bytes, size_t size, const char *file, int line)
{
    if (bytes == NULL)
        return offset_malloc(size, file, line);
    if (size == 0) {
        offset_free(bytes, file, line);
        return NULL;
    }
    char *block = realloc((char *)bytes - 64, size + 64);
    return block != NULL ? block + 64 : NULL;
}

void replace_allocator(void)
{
    expect(CRYPTO_set_mem_functions(offset_malloc, offset_realloc, offset_free) == 1,
           "the allocator is ours");
}
