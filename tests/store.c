/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What programs do with OSSL_STORE and the openssl command does not.
 *
 *     store load URI KIND [PASSPHRASE]   prints what is loaded, an object a word, then how often it
 *                                        was asked for the passphrase, and "failed" if a load was
 *     store early URI SUBJECT            looks for the end first, then says what it wants
 *     store searches URI                 which kinds of search there are
 *     store garbage URI                  opens it with parameters that are none
 *     store delete URI                   OSSL_STORE_delete; "skip: ..." without it
 */
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/store.h>
#include <openssl/ui.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct asked {
    const char *passphrase;
    int times;
};

static int answer(char *text, int size, int rwflag, void *arg)
{
    struct asked *asked = arg;

    (void)rwflag;
    asked->times++;
    return snprintf(text, (size_t)size, "%s", asked->passphrase);
}

static OSSL_STORE_CTX *open_uri(const char *uri, const UI_METHOD *ui, void *arg,
                                const OSSL_PARAM params[])
{
    return OSSL_STORE_open_ex(uri, NULL, NULL, ui, arg, params, NULL, NULL);
}

/* Loads as programs do that go on after an error; a loader without an end would be endless. */
static bool print_all(OSSL_STORE_CTX *store)
{
    static const char *const words[] = {
        [OSSL_STORE_INFO_NAME] = "name",  [OSSL_STORE_INFO_PARAMS] = "params",
        [OSSL_STORE_INFO_PUBKEY] = "pub", [OSSL_STORE_INFO_PKEY] = "key",
        [OSSL_STORE_INFO_CERT] = "cert",  [OSSL_STORE_INFO_CRL] = "crl"};
    bool failed = false;

    for (int left = 1000; !OSSL_STORE_eof(store); left--) {
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);
        if (left == 0)
            return false;
        if (info == NULL) {
            failed = failed || OSSL_STORE_error(store);
            continue;
        }
        printf("%s ", words[OSSL_STORE_INFO_get_type(info)]);
        OSSL_STORE_INFO_free(info);
    }
    if (failed)
        printf("failed ");
    return true;
}

static int load(const char *uri, const char *kind, const char *passphrase)
{
    static const struct {
        const char *kind;
        int expect;
    } kinds[] = {{"any", 0},
                 {"pub", OSSL_STORE_INFO_PUBKEY},
                 {"key", OSSL_STORE_INFO_PKEY},
                 {"cert", OSSL_STORE_INFO_CERT},
                 {"crl", OSSL_STORE_INFO_CRL}};
    struct asked asked = {passphrase, 0};
    UI_METHOD *ui = UI_UTIL_wrap_read_pem_callback(answer, 0);
    OSSL_STORE_CTX *store = open_uri(uri, ui, &asked, NULL);
    bool good = store != NULL;

    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0] && good; i++)
        if (strcmp(kinds[i].kind, kind) == 0 && kinds[i].expect != 0)
            good = OSSL_STORE_expect(store, kinds[i].expect) == 1;
    good = good && print_all(store);
    printf("%d\n", asked.times);
    if (store != NULL)
        OSSL_STORE_close(store);
    UI_destroy_method(ui);
    return good ? 0 : 1;
}

static int early(const char *uri, const char *subject)
{
    X509_NAME *name = X509_NAME_new();
    OSSL_STORE_CTX *store = open_uri(uri, NULL, NULL, NULL);
    bool good = store != NULL && OSSL_STORE_eof(store) == 0 &&
                X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                                           (const unsigned char *)subject, -1, -1, 0) == 1 &&
                OSSL_STORE_expect(store, OSSL_STORE_INFO_CERT) == 1;
    OSSL_STORE_SEARCH *search = OSSL_STORE_SEARCH_by_name(name);

    if (good)
        (void)OSSL_STORE_eof(store);
    good = good && OSSL_STORE_find(store, search) == 1;
    for (int i = 0; i < 5 && good; i++)
        (void)OSSL_STORE_eof(store);
    good = good && print_all(store);
    puts("");
    OSSL_STORE_SEARCH_free(search);
    X509_NAME_free(name);
    if (store != NULL)
        OSSL_STORE_close(store);
    return good ? 0 : 1;
}

static int searches(const char *uri)
{
    static const int kinds[] = {OSSL_STORE_SEARCH_BY_NAME, OSSL_STORE_SEARCH_BY_ISSUER_SERIAL,
                                OSSL_STORE_SEARCH_BY_KEY_FINGERPRINT, OSSL_STORE_SEARCH_BY_ALIAS};
    OSSL_STORE_CTX *store = open_uri(uri, NULL, NULL, NULL);

    if (store == NULL)
        return 1;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        printf("%d ", OSSL_STORE_supports_search(store, kinds[i]));
    puts("");
    OSSL_STORE_close(store);
    return 0;
}

static int garbage(const char *uri)
{
    static char text[] = "nothing";
    static unsigned char bytes[] = {0x30, 0x05, 0x31, 0x03, 0xff};
    const OSSL_PARAM wrong[] = {
        OSSL_PARAM_construct_octet_string(OSSL_STORE_PARAM_SUBJECT, bytes, sizeof bytes),
        OSSL_PARAM_construct_octet_string(OSSL_STORE_PARAM_SUBJECT, bytes, 0),
        OSSL_PARAM_construct_utf8_string(OSSL_STORE_PARAM_ISSUER, text, 0),
        OSSL_PARAM_construct_utf8_string(OSSL_STORE_PARAM_SERIAL, text, 0),
        OSSL_PARAM_construct_utf8_string(OSSL_STORE_PARAM_DIGEST, text, 0),
        OSSL_PARAM_construct_utf8_string(OSSL_STORE_PARAM_FINGERPRINT, text, 0),
        OSSL_PARAM_construct_octet_string(OSSL_STORE_PARAM_FINGERPRINT, bytes, sizeof bytes),
        OSSL_PARAM_construct_octet_string(OSSL_STORE_PARAM_ALIAS, bytes, sizeof bytes),
        OSSL_PARAM_construct_utf8_string(OSSL_STORE_PARAM_EXPECT, text, 0),
    };

    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        const OSSL_PARAM params[] = {wrong[i], OSSL_PARAM_construct_end()};
        OSSL_STORE_CTX *store = open_uri(uri, NULL, NULL, params);
        bool good = store != NULL && print_all(store);
        if (store != NULL)
            OSSL_STORE_close(store);
        if (!good)
            return 1;
    }
    puts("");
    return 0;
}

#if OPENSSL_VERSION_NUMBER >= 0x30200000L
static int delete_uri(const char *uri)
{
    if (OSSL_STORE_delete(uri, NULL, NULL, NULL, NULL, NULL) == 1) {
        puts("deleted");
        return 0;
    }
    return 1;
}
#else
static int delete_uri(const char *uri)
{
    (void)uri;
    puts("skip: OpenSSL has OSSL_STORE_delete from 3.2 on");
    return 0;
}
#endif

int main(int argc, char **argv)
{
    int status = 2;

    if (argc >= 4 && strcmp(argv[1], "load") == 0)
        status = load(argv[2], argv[3], argc > 4 ? argv[4] : "");
    else if (argc == 4 && strcmp(argv[1], "early") == 0)
        status = early(argv[2], argv[3]);
    else if (argc == 3 && strcmp(argv[1], "searches") == 0)
        status = searches(argv[2]);
    else if (argc == 3 && strcmp(argv[1], "garbage") == 0)
        status = garbage(argv[2]);
    else if (argc == 3 && strcmp(argv[1], "delete") == 0)
        status = delete_uri(argv[2]);
    ERR_print_errors_fp(stderr);
    return status;
}
