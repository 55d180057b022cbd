/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a program does with a key, with each allocation failing in turn, as preload_malloc.c has it:
 * `allocation OPERATION FIRST STEP HOW CONF URI FILE`. Each time in a process of its own, in a
 * library context that CONF configures, the operation on the key that URI names, or that is in
 * FILE, gives what it gives otherwise or leaves an error in the queue; and then it is done again,
 * with all the memory there is. HOW: "once", or "onwards" for all that follow as well; with "-own"
 * after it libcrypto has an allocator whose blocks free() would abort on; with "-libcrypto" what
 * fails is its own, and it need neither say so nor go on; with "-one" after that FIRST is the only
 * one. Prints what is not so, one line each, and how many there were.
 */
#include "keys.h"

#include <dlfcn.h>
#include <openssl/bio.h>
#include <openssl/conf.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/provider.h>
#include <openssl/store.h>
#include <openssl/x509.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    PASSED = 0,
    NOT_SO = 1,
    NOT_REACHED = 3,
    NEVER = 1 << 30,
    LIMIT = 60,     /* s: it hangs */
    MAX_FAULTS = 5, /* of one run; where nothing is as it should be, nothing says where to end */
};

struct scene {
    const char *conf, *uri, *file;
    bool lenient; /* it need neither leave an error nor go on */
    OSSL_LIB_CTX *libctx;
    EVP_PKEY *pkey;
    unsigned char given[MAX_SIGNATURE], *bytes;
    size_t given_len;
    int bytes_len, count;
};

struct operation {
    const char *name;
    void (*prepare)(struct scene *scene);     /* with all the memory there is */
    bool (*run)(struct scene *scene);         /* and what it gives is in the scene */
    void (*check)(const struct scene *scene); /* what it gave is right */
    bool refused;                             /* what is asked is never given, whatever fails */
    bool silent;                              /* libcrypto takes back what was raised */
};

static bool configure(struct scene *scene)
{
    scene->libctx = OSSL_LIB_CTX_new();
    return scene->libctx != NULL && OSSL_LIB_CTX_load_config(scene->libctx, scene->conf) == 1;
}

/* A provider that does not load is no failure of the configuration, to libcrypto 3.0. */
static bool run_provider(struct scene *scene)
{
    return configure(scene) && OSSL_PROVIDER_available(scene->libctx, "lct") == 1;
}

static void with_provider(struct scene *scene)
{
    expect(configure(scene), "the library context is configured");
}

static void with_key(struct scene *scene)
{
    with_provider(scene);
    scene->pkey = load(scene->libctx, scene->uri);
}

static void with_signature(struct scene *scene)
{
    with_key(scene);
    sign(scene->libctx, scene->pkey, scene->given, &scene->given_len);
}

static void with_forgery(struct scene *scene)
{
    with_signature(scene);
    scene->given[scene->given_len - 1] ^= 1;
}

static bool load_uri(struct scene *scene, const char *uri)
{
    OSSL_STORE_CTX *store =
        OSSL_STORE_open_ex(uri, scene->libctx, NULL, NULL, NULL, NULL, NULL, NULL);

    while (store != NULL && scene->pkey == NULL && OSSL_STORE_eof(store) == 0) {
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);
        if (info == NULL && OSSL_STORE_error(store) == 1)
            break;
        if (info != NULL)
            scene->pkey = OSSL_STORE_INFO_get1_PKEY(info);
        OSSL_STORE_INFO_free(info);
    }
    OSSL_STORE_close(store);
    return scene->pkey != NULL;
}

/* By itself: then libcrypto does not take back what was raised. */
static bool run_module(struct scene *scene)
{
    OSSL_PROVIDER *provider = NULL;

    scene->libctx = OSSL_LIB_CTX_new();
    if (scene->libctx != NULL)
        provider = OSSL_PROVIDER_load(scene->libctx, "lct");
    return provider != NULL && OSSL_PROVIDER_unload(provider) == 1;
}

static bool run_load(struct scene *scene)
{
    return load_uri(scene, scene->uri);
}

/* One of the settings is none that the provider takes: it is not overlooked. */
static bool run_misconfigured(struct scene *scene)
{
    return configure(scene) && run_load(scene);
}

static bool run_file(struct scene *scene)
{
    return load_uri(scene, scene->file);
}

static bool run_pem(struct scene *scene)
{
    BIO *in = BIO_new_file(scene->file, "r");

    if (in != NULL)
        scene->pkey = PEM_read_bio_PrivateKey_ex(in, NULL, NULL, NULL, scene->libctx, NULL);
    BIO_free(in);
    return scene->pkey != NULL;
}

static bool run_list(struct scene *scene)
{
    OSSL_STORE_CTX *store =
        OSSL_STORE_open_ex("lct:", scene->libctx, NULL, NULL, NULL, NULL, NULL, NULL);
    bool good = store != NULL;

    scene->count = 0;
    while (good && OSSL_STORE_eof(store) == 0) {
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);
        good = info != NULL;
        scene->count += good;
        OSSL_STORE_INFO_free(info);
    }
    OSSL_STORE_close(store);
    return good;
}

static bool run_sign(struct scene *scene)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    scene->given_len = sizeof scene->given;
    bool good =
        ctx != NULL &&
        EVP_DigestSignInit_ex(ctx, NULL, "SHA256", scene->libctx, NULL, scene->pkey, NULL) == 1 &&
        EVP_DigestSign(ctx, scene->given, &scene->given_len, (const unsigned char *)message,
                       sizeof message) == 1;
    EVP_MD_CTX_free(ctx);
    return good;
}

/* In parts, and what is signed is signed by a copy. */
static bool run_copy(struct scene *scene)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new(), *copy = EVP_MD_CTX_new();

    scene->given_len = sizeof scene->given;
    bool good =
        ctx != NULL && copy != NULL &&
        EVP_DigestSignInit_ex(ctx, NULL, "SHA256", scene->libctx, NULL, scene->pkey, NULL) == 1 &&
        EVP_DigestSignUpdate(ctx, message, 3) == 1 && EVP_MD_CTX_copy_ex(copy, ctx) == 1 &&
        EVP_DigestSignUpdate(copy, message + 3, sizeof message - 3) == 1 &&
        EVP_DigestSignFinal(copy, scene->given, &scene->given_len) == 1;
    EVP_MD_CTX_free(copy);
    EVP_MD_CTX_free(ctx);
    return good;
}

static bool run_verify(struct scene *scene)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool good = ctx != NULL &&
                EVP_DigestVerifyInit_ex(ctx, NULL, "SHA256", scene->libctx, "provider=lct",
                                        scene->pkey, NULL) == 1 &&
                EVP_DigestVerify(ctx, scene->given, scene->given_len,
                                 (const unsigned char *)message, sizeof message) == 1;

    EVP_MD_CTX_free(ctx);
    return good;
}

static bool run_public(struct scene *scene)
{
    scene->bytes_len = i2d_PUBKEY(scene->pkey, &scene->bytes);
    return scene->bytes_len > 0;
}

static bool run_private(struct scene *scene)
{
    scene->bytes_len = i2d_PrivateKey(scene->pkey, &scene->bytes);
    return scene->bytes_len > 0;
}

static bool run_generate(struct scene *scene)
{
    scene->pkey = EVP_PKEY_Q_keygen(scene->libctx, "provider=lct", "EC", "P-256");
    return scene->pkey != NULL;
}

static void check_provider(const struct scene *scene)
{
    EVP_PKEY *pkey = load(scene->libctx, scene->uri);

    sign_and_verify(scene->libctx, pkey);
    EVP_PKEY_free(pkey);
}

static void check_key(const struct scene *scene)
{
    sign_and_verify(scene->libctx, scene->pkey);
}

static void check_list(const struct scene *scene)
{
    expect(scene->count == 6, "all the identities are listed");
}

static void check_signature(const struct scene *scene)
{
    EVP_PKEY *public_key = software_public(scene->libctx, scene->pkey);

    expect(verifies(scene->libctx, public_key, scene->given, scene->given_len),
           "the signature verifies in software");
    EVP_PKEY_free(public_key);
}

static void check_nothing(const struct scene *scene)
{
    (void)scene;
}

static void check_public(const struct scene *scene)
{
    unsigned char *der = NULL;
    int len = i2d_PUBKEY(scene->pkey, &der);

    expect(len == scene->bytes_len && memcmp(der, scene->bytes, (size_t)len) == 0,
           "it is the public key");
    OPENSSL_free(der);
}

static void check_private(const struct scene *scene)
{
    const unsigned char *at = scene->bytes;
    EVP_PKEY *pkey = d2i_AutoPrivateKey_ex(NULL, &at, scene->bytes_len, scene->libctx, NULL);

    expect(pkey != NULL && EVP_PKEY_eq(pkey, scene->pkey) == 1, "it is that key");
    sign_and_verify(scene->libctx, pkey);
    EVP_PKEY_free(pkey);
}

static const struct operation operations[] = {
    {.name = "provider", .run = run_provider, .check = check_provider, .silent = true},
    {.name = "module", .run = run_module, .check = check_nothing},
    {.name = "load", .run = run_load, .prepare = with_provider, .check = check_key},
    {.name = "file", .run = run_file, .prepare = with_provider, .check = check_key},
    {.name = "pem", .run = run_pem, .prepare = with_provider, .check = check_key},
    {.name = "list", .run = run_list, .prepare = with_provider, .check = check_list},
    {.name = "sign", .run = run_sign, .prepare = with_key, .check = check_signature},
    {.name = "copy", .run = run_copy, .prepare = with_key, .check = check_signature},
    {.name = "verify", .run = run_verify, .prepare = with_signature, .check = check_nothing},
    {.name = "forgery", .run = run_verify, .prepare = with_forgery, .refused = true},
    {.name = "misconfigured", .run = run_misconfigured, .refused = true},
    {.name = "public", .run = run_public, .prepare = with_key, .check = check_public},
    {.name = "private", .run = run_private, .prepare = with_key, .check = check_private},
    {.name = "generate", .run = run_generate, .prepare = with_provider, .check = check_key},
};

static void (*arm)(long at, bool onwards);
static long (*disarm)(void), (*held)(void);

static void find_preload(void)
{
    *(void **)&arm = dlsym(RTLD_DEFAULT, "preload_malloc_arm");
    *(void **)&disarm = dlsym(RTLD_DEFAULT, "preload_malloc_disarm");
    *(void **)&held = dlsym(RTLD_DEFAULT, "preload_malloc_held");
    expect(arm != NULL && disarm != NULL && held != NULL, "preload_malloc.so is preloaded");
}

static void forget(struct scene *scene, bool key_too)
{
    OPENSSL_free(scene->bytes);
    scene->bytes = NULL;
    if (!key_too)
        return;
    EVP_PKEY_free(scene->pkey);
    scene->pkey = NULL;
}

static void clear(struct scene *scene)
{
    forget(scene, true);
    OSSL_LIB_CTX_free(scene->libctx);
    scene->libctx = NULL;
}

/* What fails leaves nothing behind that the next would take for its own. */
static bool run(const struct operation *operation, struct scene *scene, long at, bool onwards,
                long *seen)
{
    ERR_clear_error();
    arm(at, onwards);
    bool good = operation->run(scene);
    *seen = disarm();
    expect(good || operation->refused || operation->silent || scene->lenient ||
               ERR_peek_error() != 0,
           "there is an error in the queue");
    ERR_clear_error();
    return good;
}

static void judge(const struct operation *operation, const struct scene *scene, bool good)
{
    expect(!good || !operation->refused, "it is refused");
    if (good && (!scene->lenient || operation->check == check_signature))
        operation->check(scene);
}

/* With no memory, and then with enough. */
static int attempt(const struct operation *operation, struct scene *scene, long at, bool onwards)
{
    long seen;

    alarm(LIMIT);
    if (operation->prepare != NULL)
        operation->prepare(scene);
    bool good = run(operation, scene, at, onwards, &seen);
    judge(operation, scene, good);
    if (scene->lenient) {
        clear(scene);
        return seen < at ? NOT_REACHED : PASSED;
    }
    if (operation->prepare == NULL)
        clear(scene);
    else
        forget(scene, operation->prepare == with_provider);
    good = run(operation, scene, NEVER, false, &(long){0});
    expect(good != operation->refused, "it goes on when there is memory again");
    judge(operation, scene, good);
    clear(scene);
    expect(held() == 0, "all that was allocated is freed with the library context");
    return seen < at ? NOT_REACHED : PASSED;
}

/* PASSED, NOT_REACHED, or it is said what is not so. */
static int look(const struct operation *operation, struct scene *scene, long at, bool onwards)
{
    int status = -1;

    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        printf("%ld: ", at);
        int passed = attempt(operation, scene, at, onwards);
        printf("ok\n");
        exit(passed);
    }
    expect(pid > 0 && waitpid(pid, &status, 0) == pid, "a child");
    if (WIFEXITED(status) && (WEXITSTATUS(status) == PASSED || WEXITSTATUS(status) == NOT_REACHED))
        return WEXITSTATUS(status);
    printf("%ld: ended with %s %d\n", at, WIFEXITED(status) ? "status" : "signal",
           WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
    return NOT_SO;
}

/* How far it came. */
static long look_at_all(const struct operation *operation, struct scene *scene, long at, long step,
                        const char *how)
{
    bool onwards = strncmp(how, "onwards", 7) == 0;
    int faults = 0, result = PASSED;

    for (;; at += step) {
        result = look(operation, scene, at, onwards);
        faults += result == NOT_SO;
        if (result == NOT_REACHED || faults == MAX_FAULTS || strstr(how, "-one") != NULL)
            return at;
    }
}

int main(int argc, char **argv)
{
    if (argc != 8)
        return 2;
    if (strstr(argv[4], "-own") != NULL)
        replace_allocator();
    OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
    find_preload();
    long at = strtol(argv[2], NULL, 10), step = strtol(argv[3], NULL, 10);
    struct scene scene = {.conf = argv[5],
                          .uri = argv[6],
                          .file = argv[7],
                          .lenient = strstr(argv[4], "-libcrypto") != NULL};
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++) {
        if (!is_text(argv[1], operations[i].name))
            continue;
        printf("%ld allocations\n", look_at_all(&operations[i], &scene, at, step, argv[4]));
        return 0;
    }
    return 2;
}
