/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every way in which libcrypto and libssl read a private key from a file; and store-public, by
 * which the openssl command reads a public one, and which is refused.
 *
 *     decode [MODE...] FILE URI WAY...
 *
 * reads FILE in each way; each must give the key that URI names (or, with "software", a software
 * key, with "provided" not a legacy one; with "any", any key of ours), and leave the error queue as
 * it was. MODEs, before FILE: "own", a library context of its own; "stale", an old error in the
 * queue; "threads", eight at once; "allocator", with another allocator; "sign", what was read
 * signs; "refused", no way gives a key, and each prints the first sentence of ours; "mutate", each
 * bit of FILE is flipped and each byte is its end, and whatever is still taken is that key, or with
 * "any" one of ours. It prints how often a passphrase was asked for, which is $DECODE_PASSPHRASE.
 */
#include "keys.h"

#include <openssl/core_names.h>
#include <openssl/core_object.h>
#include <openssl/crypto.h>
#include <openssl/decoder.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/provider.h>
#include <openssl/ssl.h>
#include <openssl/store.h>
#include <openssl/ui.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { NUM_THREADS = 8, READS_EACH = 5, MAX_FILE = 1 << 20 };

struct mode {
    bool own, stale, threads, allocator, sign, refused, software, provided, any, mutate;
};

struct reading {
    OSSL_LIB_CTX *libctx;
    const char *file;
    unsigned prompts;
};

static int give_passphrase(char *text, int size, int writing, void *arg)
{
    struct reading *reading = arg;
    const char *passphrase = getenv("DECODE_PASSPHRASE");

    (void)writing;
    reading->prompts++;
    return passphrase != NULL ? snprintf(text, (size_t)size, "%s", passphrase) : -1;
}

static BIO *open_file(const struct reading *reading)
{
    BIO *bio = BIO_new_file(reading->file, "rb");

    expect(bio != NULL, "the file opens");
    return bio;
}

static EVP_PKEY *read_pem(BIO *bio, struct reading *reading)
{
    EVP_PKEY *pkey =
        PEM_read_bio_PrivateKey_ex(bio, NULL, give_passphrase, reading, reading->libctx, NULL);

    BIO_free(bio);
    return pkey;
}

static EVP_PKEY *by_pem(struct reading *reading)
{
    return read_pem(open_file(reading), reading);
}

static size_t slurp(const struct reading *reading, unsigned char *bytes)
{
    FILE *file = fopen(reading->file, "rb");

    expect(file != NULL, "the file opens");
    size_t len = fread(bytes, 1, MAX_FILE, file);
    fclose(file);
    return len;
}

/* From what cannot seek: the other end writes what fits, and closes. */
static int stream(const struct reading *reading, int ends[2])
{
    unsigned char *bytes = malloc(MAX_FILE);
    size_t len = slurp(reading, bytes);

    expect(len < 65536 && write(ends[1], bytes, len) == (ssize_t)len, "the file fits");
    close(ends[1]);
    free(bytes);
    return ends[0];
}

/* The descriptor is closed here: what libcrypto does is not seen by a sanitizer. */
static EVP_PKEY *read_descriptor(int fd, struct reading *reading)
{
    EVP_PKEY *pkey = read_pem(BIO_new_fd(fd, BIO_NOCLOSE), reading);

    close(fd);
    return pkey;
}

static EVP_PKEY *by_pipe(struct reading *reading)
{
    int ends[2];

    expect(pipe(ends) == 0, "a pipe");
    return read_descriptor(stream(reading, ends), reading);
}

/* By a BIO of descriptors: one of sockets says that it can seek, so libcrypto reads no key from it.
 */
static EVP_PKEY *by_socket(struct reading *reading)
{
    int ends[2];

    expect(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0, "a socket");
    return read_descriptor(stream(reading, ends), reading);
}

static EVP_PKEY *by_memory(struct reading *reading)
{
    unsigned char *bytes = malloc(MAX_FILE);
    size_t len = slurp(reading, bytes);
    EVP_PKEY *pkey = read_pem(BIO_new_mem_buf(bytes, (int)len), reading);

    free(bytes);
    return pkey;
}

static EVP_PKEY *by_d2i(struct reading *reading)
{
    unsigned char *bytes = malloc(MAX_FILE);
    const unsigned char *at = bytes;
    size_t len = slurp(reading, bytes);
    EVP_PKEY *pkey = d2i_AutoPrivateKey_ex(NULL, &at, (long)len, reading->libctx, NULL);

    free(bytes);
    return pkey;
}

static EVP_PKEY *by_d2i_bio(struct reading *reading)
{
    BIO *bio = open_file(reading);
    EVP_PKEY *pkey = d2i_PrivateKey_ex_bio(bio, NULL, reading->libctx, NULL);

    BIO_free(bio);
    return pkey;
}

static EVP_PKEY *by_info(struct reading *reading)
{
    BIO *bio = open_file(reading);
    EVP_PKEY *pkey = NULL;
    STACK_OF(X509_INFO) *infos =
        PEM_X509_INFO_read_bio_ex(bio, NULL, give_passphrase, reading, reading->libctx, NULL);

    for (int i = 0; i < sk_X509_INFO_num(infos) && pkey == NULL; i++) {
        X509_INFO *info = sk_X509_INFO_value(infos, i);
        if (info->x_pkey != NULL && info->x_pkey->dec_pkey != NULL &&
            EVP_PKEY_up_ref(info->x_pkey->dec_pkey))
            pkey = info->x_pkey->dec_pkey;
    }
    sk_X509_INFO_pop_free(infos, X509_INFO_free);
    BIO_free(bio);
    return pkey;
}

static SSL_CTX *new_ssl(struct reading *reading)
{
    SSL_CTX *ssl = SSL_CTX_new_ex(reading->libctx, NULL, TLS_method());

    expect(ssl != NULL, "TLS");
    SSL_CTX_set_default_passwd_cb(ssl, give_passphrase);
    SSL_CTX_set_default_passwd_cb_userdata(ssl, reading);
    return ssl;
}

static EVP_PKEY *take_key(SSL_CTX *ssl, struct reading *reading, int type)
{
    EVP_PKEY *pkey = SSL_CTX_use_PrivateKey_file(ssl, reading->file, type) == 1
                         ? SSL_CTX_get0_privatekey(ssl)
                         : NULL;

    if (pkey != NULL)
        expect(EVP_PKEY_up_ref(pkey) == 1, "a reference");
    SSL_CTX_free(ssl);
    return pkey;
}

static EVP_PKEY *by_ssl(struct reading *reading)
{
    return take_key(new_ssl(reading), reading, SSL_FILETYPE_PEM);
}

static EVP_PKEY *by_ssl_der(struct reading *reading)
{
    return take_key(new_ssl(reading), reading, SSL_FILETYPE_ASN1);
}

/* A bundle, in whatever order. */
static EVP_PKEY *by_ssl_bundle(struct reading *reading)
{
    SSL_CTX *ssl = new_ssl(reading);

    expect(SSL_CTX_use_certificate_chain_file(ssl, reading->file) == 1, "a chain is in it");
    expect(SSL_CTX_use_PrivateKey_file(ssl, reading->file, SSL_FILETYPE_PEM) == 1 &&
               SSL_CTX_check_private_key(ssl) == 1,
           "the key of the certificate is in it");
    return take_key(ssl, reading, SSL_FILETYPE_PEM);
}

static EVP_PKEY *decode(struct reading *reading, const char *input, const char *type, int selection)
{
    EVP_PKEY *pkey = NULL;
    BIO *bio = open_file(reading);
    OSSL_DECODER_CTX *ctx =
        OSSL_DECODER_CTX_new_for_pkey(&pkey, input, NULL, type, selection, reading->libctx, NULL);

    expect(ctx != NULL && OSSL_DECODER_CTX_set_pem_password_cb(ctx, give_passphrase, reading) == 1,
           "a decoder");
    (void)OSSL_DECODER_from_bio(ctx, bio);
    OSSL_DECODER_CTX_free(ctx);
    BIO_free(bio);
    return pkey;
}

static int is_exported(const OSSL_PARAM params[], void *arg)
{
    (void)params;
    *(bool *)arg = true;
    return 1;
}

/* In the place of what makes an EVP_PKEY of the decoder's object. */
static int export_instead(OSSL_DECODER_INSTANCE *decoder, const OSSL_PARAM *params, void *arg)
{
    const OSSL_PARAM *object = OSSL_PARAM_locate_const(params, OSSL_OBJECT_PARAM_REFERENCE);
    bool exported = false;

    (void)arg;
    if (object == NULL)
        return 0;
    expect(OSSL_DECODER_export(decoder, object->data, object->data_size, is_exported, &exported) ==
               0,
           "an export fails");
    expect(!exported, "nothing is exported");
    puts("asked for an export");
    return 0;
}

static EVP_PKEY *by_export(struct reading *reading)
{
    EVP_PKEY *pkey = NULL;
    BIO *bio = open_file(reading);
    OSSL_DECODER_CTX *ctx = OSSL_DECODER_CTX_new_for_pkey(&pkey, NULL, NULL, NULL, EVP_PKEY_KEYPAIR,
                                                          reading->libctx, NULL);

    expect(ctx != NULL && OSSL_DECODER_CTX_set_construct(ctx, export_instead) == 1, "a decoder");
    (void)OSSL_DECODER_from_bio(ctx, bio);
    OSSL_DECODER_CTX_free(ctx);
    BIO_free(bio);
    return pkey;
}

static EVP_PKEY *by_decoder(struct reading *reading)
{
    return decode(reading, NULL, NULL, EVP_PKEY_KEYPAIR);
}

static EVP_PKEY *by_decoder_any(struct reading *reading)
{
    return decode(reading, NULL, NULL, 0);
}

static EVP_PKEY *by_decoder_pem(struct reading *reading)
{
    return decode(reading, "PEM", NULL, EVP_PKEY_KEYPAIR);
}

static EVP_PKEY *by_decoder_ec(struct reading *reading)
{
    return decode(reading, NULL, "EC", EVP_PKEY_KEYPAIR);
}

static EVP_PKEY *by_decoder_rsa(struct reading *reading)
{
    return decode(reading, NULL, "RSA", EVP_PKEY_KEYPAIR);
}

static EVP_PKEY *open_store(struct reading *reading, int expected)
{
    EVP_PKEY *pkey = NULL;
    UI_METHOD *ui = UI_UTIL_wrap_read_pem_callback(give_passphrase, 0);
    OSSL_STORE_CTX *store =
        OSSL_STORE_open_ex(reading->file, reading->libctx, NULL, ui, reading, NULL, NULL, NULL);

    expect(store != NULL, "the store opens");
    expect(expected == 0 || OSSL_STORE_expect(store, expected) == 1, "it takes an expectation");
    while (pkey == NULL && OSSL_STORE_eof(store) == 0) {
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);
        if (info != NULL && OSSL_STORE_INFO_get_type(info) == OSSL_STORE_INFO_PKEY)
            pkey = OSSL_STORE_INFO_get1_PKEY(info);
        else if (info != NULL && OSSL_STORE_INFO_get_type(info) == OSSL_STORE_INFO_PUBKEY)
            pkey = OSSL_STORE_INFO_get1_PUBKEY(info);
        OSSL_STORE_INFO_free(info);
    }
    OSSL_STORE_close(store);
    UI_destroy_method(ui);
    return pkey;
}

static EVP_PKEY *by_store(struct reading *reading)
{
    return open_store(reading, OSSL_STORE_INFO_PKEY);
}

static EVP_PKEY *by_store_public(struct reading *reading)
{
    return open_store(reading, OSSL_STORE_INFO_PUBKEY);
}

static EVP_PKEY *by_store_any(struct reading *reading)
{
    return open_store(reading, 0);
}

static const struct way {
    const char *name;
    EVP_PKEY *(*read)(struct reading *reading);
    bool noisy; /* libcrypto leaves an error for each certificate that it passes over */
} ways[] = {{"pem", by_pem, false},
            {"pipe", by_pipe, false},
            {"socket", by_socket, false},
            {"memory", by_memory, false},
            {"d2i", by_d2i, false},
            {"d2i-bio", by_d2i_bio, false},
            {"info", by_info, false},
            {"ssl", by_ssl, false},
            {"ssl-der", by_ssl_der, false},
            {"ssl-bundle", by_ssl_bundle, false},
            {"decoder", by_decoder, false},
            {"decoder-any", by_decoder_any, false},
            {"decoder-pem", by_decoder_pem, false},
            {"decoder-ec", by_decoder_ec, false},
            {"decoder-rsa", by_decoder_rsa, false},
            {"decoder-export", by_export, false},
            {"store", by_store, true},
            {"store-public", by_store_public, true},
            {"store-any", by_store_any, false}};

static const struct way *find_way(const char *name)
{
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        if (strcmp(ways[i].name, name) == 0)
            return &ways[i];
    fprintf(stderr, "decode: no way %s\n", name);
    exit(2);
}

/* The first sentence of ours in the queue, which is emptied. */
static void print_why(const struct way *way, const struct reading *reading)
{
    const char *why = "";
    unsigned long error;
    int flags;
    bool found = false;

    while ((error = ERR_get_error_all(NULL, NULL, NULL, &why, &flags)) != 0 && !found) {
        found = is_text(ERR_lib_error_string(error), "lct") && (flags & ERR_TXT_STRING) != 0;
        if (found)
            printf("%s %u %s\n", way->name, reading->prompts, why);
    }
    if (!found)
        printf("%s %u -\n", way->name, reading->prompts);
    ERR_clear_error();
}

static const int stale_reason = ERR_R_MALLOC_FAILURE;

static void check_queue(const struct mode *mode, const struct way *way)
{
    unsigned long error = ERR_get_error();

    expect(!mode->stale || ERR_GET_REASON(error) == stale_reason, "the old error is still there");
    expect(way->noisy || ((mode->stale || error == 0) && ERR_peek_error() == 0),
           "the queue is as it was");
}

static void check_key(const struct mode *mode, OSSL_LIB_CTX *libctx, EVP_PKEY *pkey,
                      EVP_PKEY *expected)
{
    const OSSL_PROVIDER *provider = EVP_PKEY_get0_provider(pkey); /* NULL: a legacy key */
    const char *name = provider != NULL ? OSSL_PROVIDER_get0_name(provider) : "default";

    expect(!mode->provided || provider != NULL, "the key is no legacy key");
    expect(is_text(name, mode->software ? "default" : "lct"), "the key is the right one's");
    expect(mode->software || mode->any || EVP_PKEY_eq(pkey, expected) == 1, "it is that key");
    expect(mode->software ||
               (EVP_PKEY_get0_EC_KEY(pkey) == NULL && EVP_PKEY_get0_RSA(pkey) == NULL),
           "there is no legacy key of it");
    ERR_clear_error();
    if (mode->sign)
        sign_and_verify(libctx, pkey);
}

static void try_way(const struct mode *mode, const struct way *way, struct reading *reading,
                    EVP_PKEY *expected)
{
    reading->prompts = 0;
    ERR_clear_error();
    if (mode->stale)
        ERR_raise(ERR_LIB_PEM, stale_reason);
    EVP_PKEY *pkey = way->read(reading);
    if (mode->refused) {
        expect(pkey == NULL, "no key is given");
        print_why(way, reading);
        return;
    }
    expect(pkey != NULL, way->name);
    check_queue(mode, way);
    check_key(mode, reading->libctx, pkey, expected);
    EVP_PKEY_free(pkey);
    if (!mode->threads)
        printf("%s %u\n", way->name, reading->prompts);
}

struct task {
    const struct mode *mode;
    struct reading reading;
    EVP_PKEY *expected;
    char **names;
};

static void *run(void *arg)
{
    struct task *task = arg;

    for (int i = 0; i < (task->mode->threads ? READS_EACH : 1); i++)
        for (char **name = task->names; *name != NULL; name++)
            try_way(task->mode, find_way(*name), &task->reading, task->expected);
    return NULL;
}

static void run_threads(const struct task *task)
{
    pthread_t threads[NUM_THREADS];
    struct task tasks[NUM_THREADS];

    for (size_t i = 0; i < NUM_THREADS; i++) {
        tasks[i] = *task;
        expect(pthread_create(&threads[i], NULL, run, &tasks[i]) == 0, "a thread");
    }
    for (size_t i = 0; i < NUM_THREADS; i++)
        expect(pthread_join(threads[i], NULL) == 0, "its end");
}

/* The key in some bytes that may be PEM or DER, if there is one, is no other than the expected. */
static bool taken(const struct task *task, const unsigned char *bytes, size_t len)
{
    EVP_PKEY *pkey = NULL;
    const unsigned char *at = bytes;
    OSSL_DECODER_CTX *ctx = OSSL_DECODER_CTX_new_for_pkey(&pkey, NULL, NULL, NULL, EVP_PKEY_KEYPAIR,
                                                          task->reading.libctx, NULL);

    (void)OSSL_DECODER_from_data(ctx, &at, &len);
    OSSL_DECODER_CTX_free(ctx);
    if (pkey != NULL)
        check_key(task->mode, task->reading.libctx, pkey, task->expected);
    EVP_PKEY_free(pkey);
    ERR_clear_error();
    return pkey != NULL;
}

static void mutate(const struct task *task)
{
    unsigned char *bytes = malloc(MAX_FILE);
    size_t len = slurp(&task->reading, bytes);
    unsigned num_taken = 0;

    for (size_t cut = 0; cut + 1 < len; cut++) /* but for the last line's end */
        expect(!taken(task, bytes, cut) || cut + 2 > len, "what is cut is not taken");
    for (size_t bit = 0; bit < 8 * len; bit++) {
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
        num_taken += taken(task, bytes, len);
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
    }
    expect(taken(task, bytes, len) && num_taken < 8 * len, "what is whole is taken");
    printf("%u taken\n", num_taken);
    free(bytes);
}

static char **read_modes(struct mode *mode, char **argv)
{
    const struct {
        const char *name;
        bool *value;
    } modes[] = {{"own", &mode->own},           {"stale", &mode->stale},
                 {"threads", &mode->threads},   {"allocator", &mode->allocator},
                 {"sign", &mode->sign},         {"refused", &mode->refused},
                 {"software", &mode->software}, {"provided", &mode->provided},
                 {"any", &mode->any},           {"mutate", &mode->mutate}};
    size_t i;

    for (; *argv != NULL; argv++) {
        for (i = 0; i < sizeof modes / sizeof *modes && strcmp(modes[i].name, *argv) != 0; i++)
            ;
        if (i == sizeof modes / sizeof *modes)
            break;
        *modes[i].value = true;
    }
    return argv;
}

static OSSL_LIB_CTX *new_context(void)
{
    OSSL_LIB_CTX *libctx = OSSL_LIB_CTX_new();

    expect(libctx != NULL && OSSL_LIB_CTX_load_config(libctx, getenv("OPENSSL_CONF")) == 1,
           "a library context with its configuration");
    return libctx;
}

int main(int argc, char **argv)
{
    struct mode mode = {0};

    (void)argc;
    argv = read_modes(&mode, argv + 1);
    if (argv[0] == NULL || argv[1] == NULL)
        return 2;
    if (mode.allocator)
        replace_allocator();
    struct task task = {.mode = &mode, .reading = {.file = argv[0]}, .names = argv + 2};
    if (mode.own)
        task.reading.libctx = new_context();
    if (!mode.refused && !mode.software && !mode.any)
        task.expected = load(task.reading.libctx, argv[1]);
    if (mode.mutate)
        mutate(&task);
    else if (mode.threads)
        run_threads(&task);
    else
        run(&task);
    EVP_PKEY_free(task.expected);
    OSSL_LIB_CTX_free(task.reading.libctx);
    puts("ok");
    return 0;
}
