/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signatures under names that say the digest, and of messages: libcrypto 3.4 and later. `message
 * TEST [ARGUMENT...]` prints "ok", or what is wrong and ends with status 1; with status 3 it says
 * that this libcrypto has no such thing.
 */
#include "keys.h"

#include <openssl/opensslv.h>
#include <stdio.h>

#if OPENSSL_VERSION_PREREQ(3, 4)

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/provider.h>
#include <openssl/rsa.h>
#include <stdlib.h>
#include <string.h>

struct signature {
    unsigned char data[MAX_SIGNATURE];
    size_t len;
};

static EVP_SIGNATURE *fetch(const char *name, const char *query)
{
    EVP_SIGNATURE *algorithm = EVP_SIGNATURE_fetch(NULL, name, query);

    expect(algorithm != NULL, "the algorithm is there");
    return algorithm;
}

static EVP_PKEY_CTX *context(EVP_PKEY *pkey)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);

    expect(ctx != NULL, "a context");
    return ctx;
}

/* Verifies a signature of `message` by the default provider alone, in the way of libcrypto 3.0. */
static bool verifies_by(EVP_PKEY *public_key, const char *digest, const struct signature *signature)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    expect(EVP_DigestVerifyInit_ex(ctx, NULL, digest, NULL, "provider=default", public_key, NULL) ==
               1,
           "digest-verify init in software");
    int result = EVP_DigestVerify(ctx, signature->data, signature->len,
                                  (const unsigned char *)message, sizeof message);
    EVP_MD_CTX_free(ctx);
    return result == 1;
}

static void hash(const char *digest, unsigned char bytes[EVP_MAX_MD_SIZE], size_t *len)
{
    expect(EVP_Q_digest(NULL, digest, NULL, message, sizeof message, bytes, len) == 1, "a digest");
}

/* In parts, with the size asked for first; a copy made in between goes on by itself. */
static void sign_in_parts(EVP_PKEY *pkey, EVP_SIGNATURE *algorithm, struct signature *signature,
                          struct signature *of_copy)
{
    EVP_PKEY_CTX *ctx = context(pkey);
    size_t size = 0;

    expect(EVP_PKEY_sign_message_init(ctx, algorithm, NULL) == 1, "sign-message init");
    expect(EVP_PKEY_sign_message_update(ctx, (const unsigned char *)message, 3) == 1, "update");
    EVP_PKEY_CTX *copy = EVP_PKEY_CTX_dup(ctx);
    expect(copy != NULL, "EVP_PKEY_CTX_dup");
    for (size_t i = 3; i < sizeof message; i++)
        expect(EVP_PKEY_sign_message_update(ctx, (const unsigned char *)message + i, 1) == 1,
               "update");
    expect(EVP_PKEY_sign_message_final(ctx, NULL, &size) == 1, "the size");
    expect(size == (size_t)EVP_PKEY_get_size(pkey), "the size is max-size");
    signature->len = size;
    expect(EVP_PKEY_sign_message_final(ctx, signature->data, &signature->len) == 1, "final");
    EVP_PKEY_CTX_free(ctx);
    expect(EVP_PKEY_sign_message_update(copy, (const unsigned char *)message + 3,
                                        sizeof message - 3) == 1,
           "the copy's update");
    of_copy->len = sizeof of_copy->data;
    expect(EVP_PKEY_sign_message_final(copy, of_copy->data, &of_copy->len) == 1, "the copy's end");
    EVP_PKEY_CTX_free(copy);
}

static void sign_whole(EVP_PKEY *pkey, EVP_SIGNATURE *algorithm, struct signature *signature)
{
    EVP_PKEY_CTX *ctx = context(pkey);

    expect(EVP_PKEY_sign_message_init(ctx, algorithm, NULL) == 1, "sign-message init");
    expect(EVP_PKEY_sign(ctx, NULL, &signature->len, (const unsigned char *)message,
                         sizeof message) == 1 &&
               signature->len == (size_t)EVP_PKEY_get_size(pkey),
           "the size in one shot");
    expect(EVP_PKEY_sign(ctx, signature->data, &signature->len, (const unsigned char *)message,
                         sizeof message) == 1,
           "sign-message in one shot");
    EVP_PKEY_CTX_free(ctx);
}

static void sign_digest(EVP_PKEY *pkey, EVP_SIGNATURE *algorithm, const char *digest,
                        struct signature *signature)
{
    EVP_PKEY_CTX *ctx = context(pkey);
    unsigned char bytes[EVP_MAX_MD_SIZE], identifier[64];
    size_t len = 0;
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_SIGNATURE_PARAM_ALGORITHM_ID, identifier,
                                          sizeof identifier),
        OSSL_PARAM_END,
    };

    hash(digest, bytes, &len);
    signature->len = sizeof signature->data;
    expect(EVP_PKEY_sign_init_ex2(ctx, algorithm, NULL) == 1, "sign init");
    expect(EVP_PKEY_sign(ctx, signature->data, &signature->len, bytes, len) == 1, "sign");
    expect(EVP_PKEY_CTX_get_params(ctx, params) == 1 && params[0].return_size > 10,
           "an AlgorithmIdentifier");
    size_t ignored = MAX_SIGNATURE;
    unsigned char none[MAX_SIGNATURE];
    expect(EVP_PKEY_sign(ctx, none, &ignored, bytes, len - 1) != 1, "not a digest of that length");
    ERR_clear_error();
    EVP_PKEY_CTX_free(ctx);
}

/* Verifying in software, by our own operations: the good signature and a spoiled one. */
static void verify_in_parts(EVP_PKEY *pkey, EVP_SIGNATURE *algorithm, struct signature *signature,
                            int expected)
{
    EVP_PKEY_CTX *ctx = context(pkey);

    expect(EVP_PKEY_verify_message_init(ctx, algorithm, NULL) == 1, "verify-message init");
    expect(EVP_PKEY_CTX_set_signature(ctx, signature->data, signature->len) == 1, "its signature");
    for (size_t i = 0; i < sizeof message; i++)
        expect(EVP_PKEY_verify_message_update(ctx, (const unsigned char *)message + i, 1) == 1,
               "update");
    expect((EVP_PKEY_verify_message_final(ctx) == 1) == expected, "verify-message");
    ERR_clear_error();
    EVP_PKEY_CTX_free(ctx);
}

static void verify_whole(EVP_PKEY *pkey, EVP_SIGNATURE *algorithm, const char *digest,
                         const struct signature *signature, int expected)
{
    EVP_PKEY_CTX *ctx = context(pkey);
    unsigned char bytes[EVP_MAX_MD_SIZE];
    size_t len = 0;

    hash(digest, bytes, &len);
    expect(EVP_PKEY_verify_init_ex2(ctx, algorithm, NULL) == 1, "verify init");
    expect((EVP_PKEY_verify(ctx, signature->data, signature->len, bytes, len) == 1) == expected,
           "verify of a digest");
    expect(EVP_PKEY_verify_message_init(ctx, algorithm, NULL) == 1, "verify-message init");
    expect((EVP_PKEY_verify(ctx, signature->data, signature->len, (const unsigned char *)message,
                            sizeof message) == 1) == expected,
           "verify of a message");
    ERR_clear_error();
    EVP_PKEY_CTX_free(ctx);
}

static void verify_all(EVP_PKEY *pkey, EVP_SIGNATURE *algorithm, const char *digest,
                       struct signature *signature)
{
    for (int expected = 1; expected >= 0; expected--) {
        verify_in_parts(pkey, algorithm, signature, expected);
        verify_whole(pkey, algorithm, digest, signature, expected);
        signature->data[signature->len - 1] ^= 1;
    }
}

/* Every operation of an algorithm of ours with a key. */
static void use(EVP_PKEY *pkey, EVP_PKEY *public_key, const char *name, const char *digest)
{
    struct signature signatures[4];
    EVP_SIGNATURE *algorithm = fetch(name, "provider=lct");

    sign_in_parts(pkey, algorithm, &signatures[0], &signatures[1]);
    sign_whole(pkey, algorithm, &signatures[2]);
    sign_digest(pkey, algorithm, digest, &signatures[3]);
    for (size_t i = 0; i < 4; i++)
        expect(verifies_by(public_key, digest, &signatures[i]), "it verifies in software");
    verify_all(pkey, algorithm, digest, &signatures[0]);
    verify_all(public_key, algorithm, digest, &signatures[1]);
    EVP_SIGNATURE_free(algorithm);
}

/* Of one context, each signature is over its own message, whatever came before. */
static void sign_again(EVP_PKEY *pkey, EVP_PKEY *public_key, const char *name, const char *digest)
{
    struct signature signature = {.len = 8};
    EVP_SIGNATURE *algorithm = fetch(name, "provider=lct");
    EVP_PKEY_CTX *ctx = context(pkey);

    expect(EVP_PKEY_sign_message_init(ctx, algorithm, NULL) == 1, "sign-message init");
    expect(EVP_PKEY_sign(ctx, signature.data, &signature.len, (const unsigned char *)message,
                         sizeof message) != 1,
           "8 bytes are too few");
    ERR_clear_error();
    for (int i = 0; i < 2; i++) {
        signature.len = sizeof signature.data;
        expect(EVP_PKEY_sign(ctx, signature.data, &signature.len, (const unsigned char *)message,
                             sizeof message) == 1 &&
                   verifies_by(public_key, digest, &signature),
               "a signature of that message alone");
    }
    EVP_PKEY_CTX_free(ctx);
    EVP_SIGNATURE_free(algorithm);
}

/* signs URI NAME DIGEST */
static void test_signs(char **argv)
{
    EVP_PKEY *pkey = load(NULL, argv[0]);
    EVP_PKEY *public_key = software_public(NULL, pkey);

    use(pkey, public_key, argv[1], argv[2]);
    sign_again(pkey, public_key, argv[1], argv[2]);
    EVP_PKEY_free(public_key);
    EVP_PKEY_free(pkey);
}

/* software NAME DIGEST: keys of our keymgmt, and of the default provider's, without a TPM. */
static void test_software(char **argv)
{
    static const char *const queries[] = {"provider=lct", "provider=default"};

    for (size_t i = 0; i < 2; i++) {
        EVP_PKEY *pkey = strncmp(argv[0], "RSA", 3) == 0
                             ? EVP_PKEY_Q_keygen(NULL, queries[i], "RSA", (size_t)2048)
                             : EVP_PKEY_Q_keygen(NULL, queries[i], "EC", "P-256");
        expect(pkey != NULL, "a software key");
        use(pkey, pkey, argv[0], argv[1]);
        EVP_PKEY_free(pkey);
    }
}

/* The sentence of ours that is in the queue. */
static bool says(const char *part)
{
    const char *data;
    unsigned long error;
    int flags;
    bool found = false;

    while ((error = ERR_get_error_all(NULL, NULL, NULL, &data, &flags)) != 0)
        if (is_text(ERR_lib_error_string(error), "lct") && (flags & ERR_TXT_STRING) != 0)
            found = found || strstr(data, part) != NULL;
    return found;
}

/* refuses URI NAME SENTENCE: neither a digest nor a message is begun. */
static void test_refuses(char **argv)
{
    EVP_PKEY *pkey = load(NULL, argv[0]);
    EVP_SIGNATURE *algorithm = fetch(argv[1], "provider=lct");
    EVP_PKEY_CTX *ctx = context(pkey);

    expect(EVP_PKEY_sign_init_ex2(ctx, algorithm, NULL) <= 0 && says(argv[2]), "sign init");
    expect(EVP_PKEY_sign_message_init(ctx, algorithm, NULL) <= 0 && says(argv[2]),
           "sign-message init");
    EVP_PKEY_CTX_free(ctx);
    EVP_SIGNATURE_free(algorithm);
    EVP_PKEY_free(pkey);
}

/* mismatch URI NAME: libcrypto takes no key of another type. */
static void test_mismatch(char **argv)
{
    EVP_PKEY *pkey = load(NULL, argv[0]);
    EVP_SIGNATURE *algorithm = fetch(argv[1], "provider=lct");
    EVP_PKEY_CTX *ctx = context(pkey);

    expect(EVP_PKEY_sign_message_init(ctx, algorithm, NULL) <= 0, "sign-message init");
    EVP_PKEY_CTX_free(ctx);
    ctx = context(pkey);
    expect(EVP_PKEY_verify_message_init(ctx, algorithm, NULL) <= 0, "verify-message init");
    EVP_PKEY_CTX_free(ctx);
    EVP_SIGNATURE_free(algorithm);
    EVP_PKEY_free(pkey);
    ERR_clear_error();
}

/* settled URI NAME: what the name says cannot be changed, before or after init. */
static void test_settled(char **argv)
{
    char sha1[] = "SHA1", pss[] = "pss";
    EVP_PKEY *pkey = load(NULL, argv[0]);
    EVP_SIGNATURE *algorithm = fetch(argv[1], "provider=lct");
    EVP_PKEY_CTX *ctx = context(pkey);
    OSSL_PARAM params[][2] = {
        {OSSL_PARAM_construct_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST, sha1, 0), OSSL_PARAM_END},
        {OSSL_PARAM_construct_utf8_string(OSSL_SIGNATURE_PARAM_PAD_MODE, pss, 0), OSSL_PARAM_END},
    };

    for (size_t i = 0; i < (EVP_PKEY_is_a(pkey, "RSA") ? 2 : 1); i++) {
        expect(EVP_PKEY_sign_message_init(ctx, algorithm, params[i]) != 1 && says(params[i][0].key),
               "init");
        expect(EVP_PKEY_sign_init_ex2(ctx, algorithm, NULL) == 1, "init without");
        expect(EVP_PKEY_CTX_set_params(ctx, params[i]) != 1 && says(params[i][0].key), "set");
    }
    expect(EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha1()) != 1, "set_signature_md");
    expect(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) != 1, "set_rsa_padding");
    EVP_PKEY_CTX_free(ctx);
    EVP_SIGNATURE_free(algorithm);
    EVP_PKEY_free(pkey);
    ERR_clear_error();
}

/* default URI NAME: the default provider's algorithm of that name does not get the key, and signs
 * with no other. */
static void test_default(char **argv)
{
    EVP_PKEY *pkey = load(NULL, argv[0]);
    EVP_SIGNATURE *algorithm = fetch(argv[1], "provider=default");
    EVP_PKEY_CTX *ctx = context(pkey);

    expect(EVP_PKEY_sign_message_init(ctx, algorithm, NULL) != 1, "sign-message init");
    expect(EVP_PKEY_sign_init_ex2(ctx, algorithm, NULL) != 1, "sign init");
    EVP_PKEY_CTX_free(ctx);
    EVP_SIGNATURE_free(algorithm);
    EVP_PKEY_free(pkey);
    ERR_clear_error();
}

/* probes URI NAME: init and what may follow it, without a signature. */
static void test_probes(char **argv)
{
    EVP_PKEY *pkey = load(NULL, argv[0]);
    EVP_SIGNATURE *algorithm = fetch(argv[1], "provider=lct");
    EVP_PKEY_CTX *ctx = context(pkey);
    size_t len = 0;

    expect(EVP_PKEY_sign_init_ex2(ctx, algorithm, NULL) == 1, "sign init");
    expect(EVP_PKEY_sign(ctx, NULL, &len, (const unsigned char *)message, 32) == 1, "the size");
    expect(EVP_PKEY_sign_message_init(ctx, algorithm, NULL) == 1, "sign-message init");
    expect(EVP_PKEY_sign_message_update(ctx, (const unsigned char *)message, 3) == 1, "update");
    EVP_PKEY_CTX_free(ctx);
    EVP_SIGNATURE_free(algorithm);
    EVP_PKEY_free(pkey);
}

static void print_name(const char *name, void *count)
{
    printf(" %s", name);
    (*(int *)count)++;
}

static void print_algorithm(EVP_SIGNATURE *algorithm, void *provider)
{
    int count = 0;

    if (!is_text(OSSL_PROVIDER_get0_name(EVP_SIGNATURE_get0_provider(algorithm)), provider))
        return;
    printf("%s:", EVP_SIGNATURE_get0_name(algorithm));
    expect(EVP_SIGNATURE_names_do_all(algorithm, print_name, &count) == 1 && count > 0, "names");
    puts("");
}

/* names MODULES PROVIDER: the algorithms of one provider alone, with their names. */
static void test_names(char **argv)
{
    OSSL_LIB_CTX *libctx = OSSL_LIB_CTX_new();

    expect(OSSL_PROVIDER_set_default_search_path(libctx, argv[0]) == 1, "the search path");
    OSSL_PROVIDER *provider = OSSL_PROVIDER_load(libctx, argv[1]);
    expect(provider != NULL, "the provider");
    EVP_SIGNATURE_do_all_provided(libctx, print_algorithm, argv[1]);
    expect(OSSL_PROVIDER_unload(provider) == 1, "the provider unloads");
    OSSL_LIB_CTX_free(libctx);
}

static const struct {
    const char *name;
    void (*run)(char **argv);
    int num_arguments;
} tests[] = {{"signs", test_signs, 3},     {"software", test_software, 2},
             {"refuses", test_refuses, 3}, {"mismatch", test_mismatch, 2},
             {"settled", test_settled, 2}, {"default", test_default, 2},
             {"probes", test_probes, 2},   {"names", test_names, 2}};

int main(int argc, char **argv)
{
    for (size_t i = 0; argc > 1 && i < sizeof tests / sizeof *tests; i++) {
        if (!is_text(argv[1], tests[i].name) || argc - 2 != tests[i].num_arguments)
            continue;
        tests[i].run(argv + 2);
        expect(ERR_peek_error() == 0, "the queue is empty");
        puts("ok");
        return 0;
    }
    fputs("usage: message TEST ARGUMENT...\n", stderr);
    return 2;
}

#else

int main(void)
{
    puts("this libcrypto signs no messages: it is older than 3.4");
    return 3;
}

#endif
