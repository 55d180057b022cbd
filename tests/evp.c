/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What neither Python nor the openssl command can reach. `evp TEST [ARGUMENT...]` prints "ok", or
 * what is wrong and ends with status 1. The configuration is the one OPENSSL_CONF names, in the
 * default library context and in others.
 */
#include "keys.h"

#include <dirent.h>
#include <openssl/bio.h>
#include <openssl/conf.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/encoder.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/provider.h>
#include <openssl/rsa.h>
#include <openssl/store.h>
#include <openssl/ui.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NUM_THREADS = 4, SIGNATURES_EACH = 50, NUM_LOADS = 100 };

static OSSL_LIB_CTX *new_context(void)
{
    OSSL_LIB_CTX *libctx = OSSL_LIB_CTX_new();

    expect(libctx != NULL, "a library context");
    expect(OSSL_LIB_CTX_load_config(libctx, getenv("OPENSSL_CONF")) == 1, "its configuration");
    return libctx;
}

/* parameters URI BITS SECURITY-BITS MAX-SIZE GROUP: exact values; GROUP is "-" for RSA. */
static void test_parameters(char **argv)
{
    char text[64] = "";
    EVP_PKEY *pkey = load(NULL, argv[0]);

    expect(EVP_PKEY_get_bits(pkey) == atoi(argv[1]), "bits");
    expect(EVP_PKEY_get_security_bits(pkey) == atoi(argv[2]), "security-bits");
    expect(EVP_PKEY_get_size(pkey) == atoi(argv[3]), "max-size");
    expect(EVP_PKEY_get_default_digest_name(pkey, text, sizeof text) == 1,
           "a default digest that is not mandatory");
    expect(is_text(text, "SHA256"), "default-digest is SHA256");
    if (strcmp(argv[4], "-") != 0) {
        expect(EVP_PKEY_get_group_name(pkey, text, sizeof text, NULL) == 1, "group");
        expect(is_text(text, argv[4]), "group is the short name");
        expect(EVP_PKEY_is_a(pkey, "EC") == 1 && EVP_PKEY_get_base_id(pkey) == EVP_PKEY_EC,
               "is an EC key");
    } else {
        expect(EVP_PKEY_get_group_name(pkey, text, sizeof text, NULL) == 0, "no group");
        expect(EVP_PKEY_is_a(pkey, "RSA") == 1 && EVP_PKEY_get_base_id(pkey) == EVP_PKEY_RSA,
               "is an RSA key");
    }
    expect(is_text(OSSL_PROVIDER_get0_name(EVP_PKEY_get0_provider(pkey)), "lct"), "is ours");
    EVP_PKEY_free(pkey);
}

/* points URI COORDINATE: octet strings and numbers of an EC key, at their full width. */
static void test_points(char **argv)
{
    size_t size = (size_t)atoi(argv[1]);
    unsigned char point[256], encoded[256];
    size_t len = 0;
    unsigned char *tls = NULL;
    BIGNUM *x = NULL, *y = NULL;
    EVP_PKEY *pkey = load(NULL, argv[0]);

    expect(EVP_PKEY_get_octet_string_param(pkey, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point,
                                           &len) == 1,
           "pub");
    expect(len == 1 + 2 * size && point[0] == 4, "pub is an uncompressed point of full width");
    expect(EVP_PKEY_get_octet_string_param(pkey, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, encoded,
                                           sizeof encoded, &len) == 1,
           "encoded-pub-key");
    expect(len == 1 + 2 * size && memcmp(point, encoded, len) == 0, "encoded-pub-key is pub");
    expect(EVP_PKEY_get1_encoded_public_key(pkey, &tls) == 1 + 2 * size, "the point for TLS");
    expect(EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_EC_PUB_X, &x) == 1 &&
               EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_EC_PUB_Y, &y) == 1,
           "qx and qy");
    expect(BN_bn2binpad(x, encoded + 1, (int)size) == (int)size &&
               BN_bn2binpad(y, encoded + 1 + size, (int)size) == (int)size &&
               memcmp(point, encoded, 1 + 2 * size) == 0,
           "qx and qy are the point's");
    BN_free(x);
    BN_free(y);
    OPENSSL_free(tls);
    EVP_PKEY_free(pkey);
}

static bool has_private(const OSSL_PARAM *params)
{
    static const char *const names[] = {OSSL_PKEY_PARAM_PRIV_KEY, OSSL_PKEY_PARAM_RSA_D,
                                        OSSL_PKEY_PARAM_RSA_FACTOR1, OSSL_PKEY_PARAM_RSA_EXPONENT1,
                                        OSSL_PKEY_PARAM_RSA_COEFFICIENT1};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (OSSL_PARAM_locate_const(params, names[i]) != NULL)
            return true;
    return false;
}

static int refuse_params(const OSSL_PARAM params[], void *called)
{
    (void)params;
    *(bool *)called = true;
    return 1;
}

/* export URI: the private part is refused, the public one is given. */
static void test_export(char **argv)
{
    OSSL_PARAM *params = NULL;
    BIGNUM *number = NULL;
    unsigned char bytes[64];
    size_t len = sizeof bytes;
    bool called = false;
    EVP_PKEY *pkey = load(NULL, argv[0]);

    expect(EVP_PKEY_todata(pkey, EVP_PKEY_KEYPAIR, &params) == 0, "todata of the pair is refused");
    expect(EVP_PKEY_export(pkey, EVP_PKEY_KEYPAIR, refuse_params, &called) == 0 && !called,
           "export of the pair is refused");
    expect(EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_PRIV_KEY, &number) == 0, "no priv");
    expect(EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_D, &number) == 0, "no d");
    expect(EVP_PKEY_get_raw_private_key(pkey, bytes, &len) == 0, "no raw private key");
    expect(EVP_PKEY_export(pkey, EVP_PKEY_KEY_PARAMETERS, refuse_params, &called) ==
                   EVP_PKEY_is_a(pkey, "EC") &&
               called == EVP_PKEY_is_a(pkey, "EC"),
           "export of the parameters, if there are any");
    expect(EVP_PKEY_todata(pkey, EVP_PKEY_PUBLIC_KEY, &params) == 1, "todata of the public key");
    expect(!has_private(params), "no private number is in it");

    EVP_PKEY *copy = NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, EVP_PKEY_is_a(pkey, "EC") ? "EC" : "RSA",
                                                   "provider=default");
    expect(EVP_PKEY_fromdata_init(ctx) == 1 &&
               EVP_PKEY_fromdata(ctx, &copy, EVP_PKEY_PUBLIC_KEY, params) == 1,
           "the default provider takes the public key");
    expect(EVP_PKEY_eq(copy, pkey) == 1, "it is the same key");
    OSSL_PARAM_free(params);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(copy);
    EVP_PKEY_free(pkey);
    ERR_clear_error();
}

/* equal URI OTHER: EVP_PKEY_eq in both argument orders, with our keys and software keys. */
static void test_equal(char **argv)
{
    EVP_PKEY *pkey = load(NULL, argv[0]);
    EVP_PKEY *again = load(NULL, argv[0]);
    EVP_PKEY *other = load(NULL, argv[1]);
    EVP_PKEY *public_key = software_public(NULL, pkey);
    EVP_PKEY *other_public = software_public(NULL, other);

    expect(EVP_PKEY_eq(pkey, again) == 1 && EVP_PKEY_eq(again, pkey) == 1, "loaded twice");
    expect(EVP_PKEY_eq(pkey, public_key) == 1, "ours and software");
    expect(EVP_PKEY_eq(public_key, pkey) == 1, "software and ours");
    expect(EVP_PKEY_eq(pkey, other) != 1 && EVP_PKEY_eq(other, pkey) != 1, "another of ours");
    expect(EVP_PKEY_eq(pkey, other_public) != 1 && EVP_PKEY_eq(other_public, pkey) != 1,
           "another in software");
    expect(EVP_PKEY_parameters_eq(pkey, public_key) == 1 &&
               EVP_PKEY_parameters_eq(public_key, pkey) == 1,
           "parameters");
    EVP_PKEY_free(pkey);
    EVP_PKEY_free(again);
    EVP_PKEY_free(other);
    EVP_PKEY_free(public_key);
    EVP_PKEY_free(other_public);
    ERR_clear_error();
}

/* answers URI: whatever this libcrypto says of the public key, it says of ours. */
static void test_answers(char **argv)
{
    size_t num = 0;
    EVP_PKEY *pkey = load(NULL, argv[0]);
    EVP_PKEY *public_key = software_public(NULL, pkey);
    const OSSL_PARAM *listed = EVP_PKEY_gettable_params(pkey);

    for (const OSSL_PARAM *param = EVP_PKEY_gettable_params(public_key); param->key != NULL;
         param++, num++) {
        unsigned char values[2][1024] = {{0}};
        OSSL_PARAM ours[] = {{param->key, param->data_type, values[0], 1024, OSSL_PARAM_UNMODIFIED},
                             OSSL_PARAM_END};
        OSSL_PARAM theirs[] = {
            {param->key, param->data_type, values[1], 1024, OSSL_PARAM_UNMODIFIED}, OSSL_PARAM_END};
        expect(OSSL_PARAM_locate_const(listed, param->key) != NULL, param->key);
        expect(EVP_PKEY_get_params(pkey, ours) == EVP_PKEY_get_params(public_key, theirs) &&
                   ours[0].return_size == theirs[0].return_size &&
                   memcmp(values[0], values[1], sizeof values[0]) == 0,
               param->key);
    }
    expect(num >= 8, "there are parameters");
    EVP_PKEY_free(public_key);
    EVP_PKEY_free(pkey);
    ERR_clear_error();
}

/* dup URI: a duplicate outlives the original and signs. */
static void test_dup(char **argv)
{
    EVP_PKEY *pkey = load(NULL, argv[0]);
    EVP_PKEY *dup = EVP_PKEY_dup(pkey);

    expect(dup != NULL, "EVP_PKEY_dup");
    expect(EVP_PKEY_eq(pkey, dup) == 1, "it is the same key");
    EVP_PKEY_free(pkey);
    sign_and_verify(NULL, dup);
    EVP_PKEY_free(dup);
}

/* legacy URI: there is no legacy key to be had. */
static void test_legacy(char **argv)
{
    EVP_PKEY *pkey = load(NULL, argv[0]);

    expect(EVP_PKEY_get0_EC_KEY(pkey) == NULL, "no EC_KEY");
    expect(EVP_PKEY_get0_RSA(pkey) == NULL, "no RSA");
    EVP_PKEY_free(pkey);
    ERR_clear_error();
}

static bool init_works(EVP_PKEY *pkey, const char *digest)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool works = EVP_DigestSignInit_ex(ctx, NULL, digest, NULL, NULL, pkey, NULL) == 1;

    EVP_MD_CTX_free(ctx);
    return works;
}

/* accepts URI DIGEST...: init succeeds. */
static void test_accepts(char **argv)
{
    EVP_PKEY *pkey = load(NULL, argv[0]);

    for (char **digest = argv + 1; *digest != NULL; digest++)
        expect(init_works(pkey, *digest), *digest);
    EVP_PKEY_free(pkey);
}

/* refuses URI DIGEST...: init fails. */
static void test_refuses(char **argv)
{
    EVP_PKEY *pkey = load(NULL, argv[0]);

    for (char **digest = argv + 1; *digest != NULL; digest++)
        expect(!init_works(pkey, *digest), *digest);
    EVP_PKEY_free(pkey);
    ERR_clear_error();
}

static int digest_supported(EVP_PKEY *pkey, const char *digest)
{
    return EVP_PKEY_digestsign_supports_digest(pkey, NULL, digest, NULL);
}

/* initial URI: parameters that come with init are looked at as those that come later. */
static void test_initial(char **argv)
{
    char sha1[] = "SHA1", none[] = "none", sha256[] = "SHA256";
    OSSL_PARAM refused[][2] = {
        {OSSL_PARAM_construct_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST, sha1, 0), OSSL_PARAM_END},
        {OSSL_PARAM_construct_utf8_string(OSSL_SIGNATURE_PARAM_PAD_MODE, none, 0), OSSL_PARAM_END},
    };
    OSSL_PARAM taken[] = {OSSL_PARAM_construct_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST, sha256, 0),
                          OSSL_PARAM_END};
    EVP_PKEY *pkey = load(NULL, argv[0]);
    EVP_PKEY_CTX *plain = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    for (size_t i = 0; i < 2; i++)
        expect(EVP_DigestSignInit_ex(ctx, NULL, sha256, NULL, NULL, pkey, refused[i]) != 1,
               refused[i]->key);
    expect(EVP_PKEY_sign_init_ex(plain, refused[1]) != 1, "a padding that no TPM has");
    ERR_clear_error();
    expect(EVP_DigestSignInit_ex(ctx, NULL, sha256, NULL, NULL, pkey, taken) == 1 &&
               EVP_PKEY_sign_init_ex(plain, taken) == 1,
           "the digest again");
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_CTX_free(plain);
    EVP_PKEY_free(pkey);
}

/* Nothing where a name belongs: no value at all, of whatever length it says it is. */
static void expect_no_null(EVP_PKEY_CTX *ctx, const char *key)
{
    for (size_t len = 0; len < 2; len++) {
        const OSSL_PARAM null = {key, OSSL_PARAM_UTF8_STRING, NULL, len, OSSL_PARAM_UNMODIFIED};
        const OSSL_PARAM params[] = {null, OSSL_PARAM_END};
        expect(EVP_PKEY_CTX_set_params(ctx, params) != 1, key);
    }
}

/* nameless URI: parameters without a value are refused, as libcrypto's own providers do. */
static void test_nameless(char **argv)
{
    EVP_PKEY *pkey = load(NULL, argv[0]);
    bool is_rsa = EVP_PKEY_is_a(pkey, "RSA");
    EVP_PKEY_CTX *plain = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL), *hashing = NULL;
    EVP_PKEY_CTX *making = EVP_PKEY_CTX_new_from_name(NULL, is_rsa ? "RSA" : "EC", "provider=lct");
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    expect(EVP_PKEY_sign_init(plain) == 1 &&
               EVP_DigestSignInit_ex(ctx, &hashing, "SHA256", NULL, NULL, pkey, NULL) == 1 &&
               EVP_PKEY_keygen_init(making) == 1,
           "the operations begin");
    expect_no_null(plain, OSSL_SIGNATURE_PARAM_DIGEST);
    expect_no_null(hashing, OSSL_SIGNATURE_PARAM_DIGEST);
    if (is_rsa) {
        expect_no_null(plain, OSSL_SIGNATURE_PARAM_PAD_MODE);
        expect_no_null(hashing, OSSL_SIGNATURE_PARAM_PAD_MODE);
    } else {
        expect_no_null(making, OSSL_PKEY_PARAM_GROUP_NAME);
    }
    expect_no_null(making, "lct-id");
    ERR_clear_error();
    EVP_PKEY_CTX_free(making);
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_CTX_free(plain);
    EVP_PKEY_free(pkey);
}

/* supports URI: what libssl asks before it chooses a signature algorithm. */
static void test_supports(char **argv)
{
    EVP_PKEY *pkey = load(NULL, argv[0]);

    expect(digest_supported(pkey, "SHA256") == 1, "SHA256");
    expect(digest_supported(pkey, "SHA384") == 1, "SHA384");
    expect(digest_supported(pkey, "NOSUCHHASH") != 1, "a digest that does not exist");
    EVP_PKEY_free(pkey);
    ERR_clear_error();
}

/* lengths URI: ECDSA over digests of every length. */
static void test_lengths(char **argv)
{
    unsigned char digest[64], signature[MAX_SIGNATURE];
    EVP_PKEY *pkey = load(NULL, argv[0]);
    EVP_PKEY *public_key = software_public(NULL, pkey);

    for (size_t i = 0; i < sizeof digest; i++)
        digest[i] = (unsigned char)(0xff - i);
    for (size_t len = 1; len <= sizeof digest; len++) {
        char what[32];
        size_t signature_len = sizeof signature;
        EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
        EVP_PKEY_CTX *verify = EVP_PKEY_CTX_new_from_pkey(NULL, public_key, "provider=default");
        snprintf(what, sizeof what, "a digest of %zu bytes", len);
        expect(EVP_PKEY_sign_init(ctx) == 1 &&
                   EVP_PKEY_sign(ctx, signature, &signature_len, digest, len) == 1,
               what);
        expect(EVP_PKEY_verify_init(verify) == 1 &&
                   EVP_PKEY_verify(verify, signature, signature_len, digest, len) == 1,
               what);
        EVP_PKEY_CTX_free(ctx);
        EVP_PKEY_CTX_free(verify);
    }
    EVP_PKEY_free(public_key);
    EVP_PKEY_free(pkey);
}

/* Feeds `message` byte by byte from `from` on. */
static void update(EVP_MD_CTX *ctx, size_t from)
{
    for (size_t i = from; i < sizeof message; i++)
        expect(EVP_DigestSignUpdate(ctx, message + i, 1) == 1, "digest-sign update");
}

/* streams URI: streaming, with the size asked for first, and once more after the end. */
static void test_streams(char **argv)
{
    unsigned char signature[MAX_SIGNATURE];
    size_t size = 0, len;
    EVP_PKEY *pkey = load(NULL, argv[0]);
    EVP_PKEY *public_key = software_public(NULL, pkey);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    expect(EVP_DigestSignInit_ex(ctx, NULL, "SHA256", NULL, NULL, pkey, NULL) == 1, "init");
    update(ctx, 0);
    expect(EVP_DigestSignFinal(ctx, NULL, &size) == 1, "the size");
    expect(size == (size_t)EVP_PKEY_get_size(pkey), "the size is max-size");
    len = size;
    expect(EVP_DigestSignFinal(ctx, signature, &len) == 1, "final");
    expect(len <= size && verifies(NULL, public_key, signature, len), "the streamed signature");

    expect(EVP_DigestSignInit_ex(ctx, NULL, "SHA256", NULL, NULL, pkey, NULL) == 1, "init again");
    len = 0;
    expect(EVP_DigestSign(ctx, NULL, &len, (const unsigned char *)message, sizeof message) == 1 &&
               len == size,
           "the size in one shot");
    len = size;
    expect(EVP_DigestSign(ctx, signature, &len, (const unsigned char *)message, sizeof message) ==
                   1 &&
               verifies(NULL, public_key, signature, len),
           "the signature in one shot");
    expect(EVP_DigestSignInit(ctx, NULL, NULL, NULL, NULL) == 1, "init with what it had");
    update(ctx, 0);
    len = size;
    expect(EVP_DigestSignFinal(ctx, signature, &len) == 1 &&
               verifies(NULL, public_key, signature, len),
           "the signature after that");
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(public_key);
    EVP_PKEY_free(pkey);
}

/* again URI: a context that has signed in one shot goes on as a software key's does. */
static void test_again(char **argv)
{
    unsigned char signature[MAX_SIGNATURE];
    EVP_PKEY *pkey = load(NULL, argv[0]);
    EVP_PKEY *public_key = software_public(NULL, pkey);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_MD_CTX *verify = EVP_MD_CTX_new();
    size_t len = sizeof signature;

    expect(EVP_DigestSignInit_ex(ctx, NULL, "SHA256", NULL, NULL, pkey, NULL) == 1, "init");
    expect(EVP_DigestSign(ctx, signature, &len, (const unsigned char *)"abc", 3) == 1, "once");
    len = sizeof signature;
    if (EVP_DigestSign(ctx, signature, &len, (const unsigned char *)"def", 3) != 1)
        ERR_clear_error(); /* newer libcrypto refuses that by itself */
    else
        expect(EVP_DigestVerifyInit_ex(verify, NULL, "SHA256", NULL, NULL, public_key, NULL) == 1 &&
                   EVP_DigestVerify(verify, signature, len, (const unsigned char *)"abcdef", 6) ==
                       1,
               "the second signature is over both");
    EVP_MD_CTX_free(verify);
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(public_key);
    EVP_PKEY_free(pkey);
}

/* retry URI: one that failed in one shot, for a buffer too small say, leaves nothing behind. */
static void test_retry(char **argv)
{
    unsigned char signature[MAX_SIGNATURE];
    EVP_PKEY *pkey = load(NULL, argv[0]);
    EVP_PKEY *public_key = software_public(NULL, pkey);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    size_t len = 8;

    expect(EVP_DigestSignInit_ex(ctx, NULL, "SHA256", NULL, NULL, pkey, NULL) == 1, "init");
    expect(EVP_DigestSign(ctx, signature, &len, (const unsigned char *)message, sizeof message) !=
               1,
           "8 bytes are too few");
    ERR_clear_error();
    len = sizeof signature;
    if (EVP_DigestSign(ctx, signature, &len, (const unsigned char *)message, sizeof message) != 1)
        ERR_clear_error(); /* newer libcrypto refuses that by itself */
    else
        expect(verifies(NULL, public_key, signature, len), "over the message, once");
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(public_key);
    EVP_PKEY_free(pkey);
}

/* copies URI: a context copied between updates goes on by itself, and both sign. */
static void test_copies(char **argv)
{
    unsigned char signature[MAX_SIGNATURE];
    size_t len = sizeof signature;
    EVP_PKEY *pkey = load(NULL, argv[0]);
    EVP_PKEY *public_key = software_public(NULL, pkey);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_MD_CTX *copy = EVP_MD_CTX_new();

    expect(EVP_DigestSignInit_ex(ctx, NULL, "SHA256", NULL, NULL, pkey, NULL) == 1, "init");
    expect(EVP_DigestSignUpdate(ctx, message, 3) == 1, "update");
    expect(EVP_MD_CTX_copy_ex(copy, ctx) == 1, "EVP_MD_CTX_copy_ex");
    expect(EVP_DigestSignUpdate(ctx, "something else", 14) == 1, "the original goes its way");
    EVP_PKEY_free(pkey);
    update(copy, 3);
    expect(EVP_DigestSignFinal(copy, signature, &len) == 1, "the copy signs");
    expect(verifies(NULL, public_key, signature, len), "the copy's signature");
    len = sizeof signature;
    expect(EVP_DigestSignFinal(ctx, signature, &len) == 1, "the original signs");
    expect(!verifies(NULL, public_key, signature, len), "and not the same");
    EVP_MD_CTX_free(ctx);
    EVP_MD_CTX_free(copy);
    EVP_PKEY_free(public_key);
    ERR_clear_error();
}

/* sizes URI: EVP_PKEY_sign with no buffer, with one too small, and with one that fits. */
static void test_sizes(char **argv)
{
    unsigned char digest[32] = {1}, signature[MAX_SIGNATURE];
    size_t len = 0;
    EVP_PKEY *pkey = load(NULL, argv[0]);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);

    expect(EVP_PKEY_sign_init(ctx) == 1, "sign init");
    expect(EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()) == 1, "digest");
    expect(EVP_PKEY_sign(ctx, NULL, &len, digest, sizeof digest) == 1, "the size");
    expect(len == (size_t)EVP_PKEY_get_size(pkey), "the size is max-size");
    len = 8;
    expect(EVP_PKEY_sign(ctx, signature, &len, digest, sizeof digest) != 1, "8 bytes are too few");
    len = sizeof signature;
    expect(EVP_PKEY_sign(ctx, signature, &len, digest, sizeof digest) == 1, "enough are enough");
    if (EVP_PKEY_is_a(pkey, "RSA")) {
        len = sizeof signature;
        expect(EVP_PKEY_sign(ctx, signature, &len, digest, 20) != 1, "not a SHA-256 digest");
    }
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(pkey);
    ERR_clear_error();
}

/* contexts URI: two library contexts and the default one in turn; the first closes while others go
 * on. */
static void test_contexts(char **argv)
{
    OSSL_LIB_CTX *libctxs[] = {new_context(), new_context(), NULL};
    EVP_PKEY *pkeys[3];

    for (size_t i = 0; i < 3; i++)
        pkeys[i] = load(libctxs[i], argv[0]);
    for (size_t turn = 0; turn < 4; turn++)
        for (size_t i = 0; i < 3; i++)
            sign_and_verify(libctxs[i], pkeys[i]);
    for (size_t gone = 0; gone < 3; gone++) {
        EVP_PKEY_free(pkeys[gone]);
        OSSL_LIB_CTX_free(libctxs[gone]);
        for (size_t i = gone + 1; i < 3; i++)
            sign_and_verify(libctxs[i], pkeys[i]);
    }
}

static void *sign_often(void *pkey)
{
    for (int i = 0; i < SIGNATURES_EACH; i++)
        sign_and_verify(NULL, pkey);
    return NULL;
}

/* threads URI...: threads sign at once, with one key or with several in turn. */
static void test_threads(char **argv)
{
    pthread_t threads[NUM_THREADS];
    EVP_PKEY *pkeys[NUM_THREADS];
    size_t num_uris = 0;

    while (argv[num_uris] != NULL)
        num_uris++;
    for (size_t i = 0; i < NUM_THREADS; i++)
        pkeys[i] = load(NULL, argv[i % num_uris]);
    for (size_t i = 0; i < NUM_THREADS; i++)
        expect(pthread_create(&threads[i], NULL, sign_often, pkeys[num_uris == 1 ? 0 : i]) == 0,
               "a thread");
    for (size_t i = 0; i < NUM_THREADS; i++)
        expect(pthread_join(threads[i], NULL) == 0, "its end");
    for (size_t i = 0; i < NUM_THREADS; i++)
        EVP_PKEY_free(pkeys[i]);
}

/*
 * fork URI: a child signs with what it inherited, while and after the parent does; its end disturbs
 * nobody. One child at a time: of a TPM's three slots, loading takes one for the key and one for
 * its parent.
 */
static void test_fork(char **argv)
{
    EVP_PKEY *pkey = load(NULL, argv[0]);

    sign_and_verify(NULL, pkey);
    for (int round = 0; round < 3; round++) {
        pid_t pid = fork();
        expect(pid >= 0, "fork");
        for (int turn = 0; turn < 10; turn++)
            sign_and_verify(NULL, pkey);
        if (pid == 0) {
            EVP_PKEY_free(pkey);
            exit(0);
        }
        reap(pid, "the child signs");
        sign_and_verify(NULL, pkey);
    }
    pid_t idle = fork();
    if (idle == 0)
        exit(0); /* with every destructor, and nothing sent to the TPM */
    reap(idle, "a child that does nothing");
    sign_and_verify(NULL, pkey);
    EVP_PKEY_free(pkey);
}

static size_t open_descriptors(void)
{
    size_t num = 0;
    DIR *dir = opendir("/proc/self/fd");

    expect(dir != NULL, "/proc");
    while (readdir(dir) != NULL)
        num++;
    closedir(dir);
    return num;
}

/* reload URI: a hundred times a context, its providers, a key and a signature, and all of it gone
 * again. */
static void test_reload(char **argv)
{
    size_t before = 0;

    for (int i = 0; i < NUM_LOADS; i++) {
        OSSL_LIB_CTX *libctx = new_context();
        OSSL_PROVIDER *provider = OSSL_PROVIDER_load(libctx, "lct");
        expect(provider != NULL, "the provider loads");
        EVP_PKEY *pkey = load(libctx, argv[0]);
        if (i % 10 == 0)
            sign_and_verify(libctx, pkey);
        EVP_PKEY_free(pkey);
        expect(OSSL_PROVIDER_unload(provider) == 1, "the provider unloads");
        OSSL_LIB_CTX_free(libctx);
        if (i == 0)
            before = open_descriptors();
    }
    expect(open_descriptors() == before, "no descriptor is left open");
}

/* many URI...: more keys than the TPM has slots, all loaded, each signing in turn. */
static void test_many(char **argv)
{
    EVP_PKEY *pkeys[16];
    size_t num = 0;

    for (; argv[num] != NULL; num++)
        pkeys[num] = load(NULL, argv[num]);
    for (int turn = 0; turn < 2; turn++)
        for (size_t i = 0; i < num; i++)
            sign_and_verify(NULL, pkeys[i]);
    for (size_t i = 0; i < num; i++)
        EVP_PKEY_free(pkeys[i]);
}

/* signs URI COUNT: that many signatures of one key in one process. */
static void test_signs(char **argv)
{
    unsigned char signature[MAX_SIGNATURE];
    size_t len;
    EVP_PKEY *pkey = load(NULL, argv[0]);

    for (int i = atoi(argv[1]); i > 0; i--)
        sign(NULL, pkey, signature, &len);
    EVP_PKEY_free(pkey);
}

/* reason URI REASON: loading fails, and the queue has our library, the reason and a sentence. */
static void test_reason(char **argv)
{
    bool found = false;
    const char *data;
    int flags;
    unsigned long error;
    OSSL_STORE_CTX *store = OSSL_STORE_open(argv[0], NULL, NULL, NULL, NULL);
    OSSL_STORE_INFO *info = store != NULL ? OSSL_STORE_load(store) : NULL;

    expect(info == NULL, "nothing is loaded");
    while ((error = ERR_get_error_all(NULL, NULL, NULL, &data, &flags)) != 0) {
        if (!is_text(ERR_reason_error_string(error), argv[1]))
            continue;
        expect(is_text(ERR_lib_error_string(error), "lct"), "the library is ours");
        expect((flags & ERR_TXT_STRING) != 0 && strstr(data, "lct:") != NULL, "a sentence");
        found = true;
    }
    expect(found, "the reason is in the queue");
    OSSL_STORE_close(store);
}

/* software: with lct's keymgmt asked for by name, other people's keys are whole and ordinary. */
static void test_software(char **argv)
{
    static const char *const private_names[] = {OSSL_PKEY_PARAM_PRIV_KEY, OSSL_PKEY_PARAM_RSA_D};
    (void)argv;
    for (int is_rsa = 0; is_rsa <= 1; is_rsa++) {
        OSSL_PARAM *params = NULL;
        EVP_PKEY *copy = NULL;
        EVP_PKEY *pkey = is_rsa ? EVP_PKEY_Q_keygen(NULL, "provider=lct", "RSA", (size_t)2048)
                                : EVP_PKEY_Q_keygen(NULL, "provider=lct", "EC", "P-256");
        expect(pkey != NULL, "a software key is made by our keymgmt");
        expect(EVP_PKEY_todata(pkey, EVP_PKEY_KEYPAIR, &params) == 1, "it exports whole");
        expect(OSSL_PARAM_locate(params, private_names[is_rsa]) != NULL, "with its private part");
        EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, is_rsa ? "RSA" : "EC", "provider=lct");
        expect(EVP_PKEY_fromdata_init(ctx) == 1 &&
                   EVP_PKEY_fromdata(ctx, &copy, EVP_PKEY_KEYPAIR, params) == 1,
               "and imports whole");
        expect(EVP_PKEY_eq(pkey, copy) == 1, "and is the same");
        EVP_PKEY *dup = EVP_PKEY_dup(pkey);
        expect(dup != NULL && EVP_PKEY_eq(dup, pkey) == 1, "and duplicates");
        sign_and_verify(NULL, pkey);
        sign_and_verify(NULL, copy);
        sign_and_verify(NULL, dup);
        EVP_PKEY_CTX *check = EVP_PKEY_CTX_new_from_pkey(NULL, copy, NULL);
        expect(EVP_PKEY_check(check) == 1, "and passes its check");
        EVP_PKEY_CTX_free(check);
        EVP_PKEY_CTX_free(ctx);
        OSSL_PARAM_free(params);
        EVP_PKEY_free(pkey);
        EVP_PKEY_free(copy);
        EVP_PKEY_free(dup);
    }
}

typedef int printer(BIO *out, const EVP_PKEY *pkey, int indent, ASN1_PCTX *pctx);

static void expect_same_print(printer *print, const EVP_PKEY *ours, const EVP_PKEY *theirs,
                              const char *what)
{
    char *texts[2];
    BIO *bios[2] = {BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem())};

    expect(print(bios[0], ours, 0, NULL) == print(bios[1], theirs, 0, NULL), what);
    long len = BIO_get_mem_data(bios[0], &texts[0]);
    expect(len == BIO_get_mem_data(bios[1], &texts[1]) &&
               (len == 0 || memcmp(texts[0], texts[1], (size_t)len) == 0),
           what);
    BIO_free(bios[0]);
    BIO_free(bios[1]);
}

/* A copy of what another provider's key exports, made by the keymgmt of a provider. */
static EVP_PKEY *copy_to(const char *properties, const EVP_PKEY *from, int selection)
{
    OSSL_PARAM *params = NULL;
    EVP_PKEY *copy = NULL;
    EVP_PKEY_CTX *ctx =
        EVP_PKEY_CTX_new_from_name(NULL, EVP_PKEY_is_a(from, "EC") ? "EC" : "RSA", properties);

    expect(EVP_PKEY_todata(from, selection, &params) == 1 && EVP_PKEY_fromdata_init(ctx) == 1 &&
               EVP_PKEY_fromdata(ctx, &copy, selection, params) == 1,
           "a copy");
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    return copy;
}

/* The parameters, by another provider's encoder if it can: of RSA it gets nothing to print. */
static int print_by_another(BIO *out, const EVP_PKEY *pkey, int indent, ASN1_PCTX *pctx)
{
    OSSL_ENCODER_CTX *ctx = OSSL_ENCODER_CTX_new_for_pkey(pkey, EVP_PKEY_KEY_PARAMETERS, "TEXT",
                                                          NULL, "provider=default");
    (void)indent;
    (void)pctx;
    int good = OSSL_ENCODER_to_bio(ctx, out);
    OSSL_ENCODER_CTX_free(ctx);
    return good;
}

/* printed URI: parameters and public keys are printed as libcrypto prints its own. */
static void test_printed(char **argv)
{
    EVP_PKEY *pkey = load(NULL, argv[0]);
    EVP_PKEY *software = EVP_PKEY_is_a(pkey, "EC")
                             ? EVP_PKEY_Q_keygen(NULL, "provider=lct", "EC", "P-256")
                             : EVP_PKEY_Q_keygen(NULL, "provider=lct", "RSA", (size_t)2048);
    EVP_PKEY *keys[] = {pkey, copy_to("provider=lct", pkey, EVP_PKEY_PUBLIC_KEY), software};

    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        EVP_PKEY *theirs = copy_to("provider=default", keys[i],
                                   keys[i] == software ? EVP_PKEY_KEYPAIR : EVP_PKEY_PUBLIC_KEY);
        expect(is_text(OSSL_PROVIDER_get0_name(EVP_PKEY_get0_provider(keys[i])), "lct"), "is ours");
        expect_same_print(print_by_another, keys[i], theirs, "parameters, by another provider");
        expect_same_print(EVP_PKEY_print_params, keys[i], theirs, "parameters");
        expect_same_print(EVP_PKEY_print_public, keys[i], theirs, "the public key");
        if (keys[i] == software)
            expect_same_print(EVP_PKEY_print_private, keys[i], theirs, "the private key");
        EVP_PKEY_free(theirs);
        EVP_PKEY_free(keys[i]);
    }
    ERR_clear_error();
}

static void expect_same_bytes(const EVP_PKEY *ours, const EVP_PKEY *theirs, const char *output,
                              const char *structure)
{
    const EVP_PKEY *keys[2] = {ours, theirs};
    unsigned char *bytes[2] = {NULL, NULL};
    size_t lens[2] = {0, 0};

    for (int i = 0; i < 2; i++) {
        OSSL_ENCODER_CTX *ctx =
            OSSL_ENCODER_CTX_new_for_pkey(keys[i], EVP_PKEY_KEYPAIR, output, structure, NULL);
        expect(ctx != NULL && OSSL_ENCODER_to_data(ctx, &bytes[i], &lens[i]) == 1,
               structure != NULL ? structure : "a structure that nobody has named");
        OSSL_ENCODER_CTX_free(ctx);
    }
    expect(lens[0] == lens[1] && memcmp(bytes[0], bytes[1], lens[0]) == 0,
           structure != NULL ? structure : "no structure asked for");
    OPENSSL_free(bytes[0]);
    OPENSSL_free(bytes[1]);
}

static bool is_written_as(OSSL_ENCODER_CTX *ctx, const char *begin)
{
    unsigned char *bytes = NULL;
    size_t len = 0;
    bool is = OSSL_ENCODER_to_data(ctx, &bytes, &len) == 1 && len > strlen(begin) &&
              memcmp(bytes, begin, strlen(begin)) == 0;

    OPENSSL_free(bytes);
    ERR_clear_error();
    return is;
}

/* unencrypted URI: no cipher is one, too, and takes back the one that was set before. */
static void test_unencrypted(char **argv)
{
    static const unsigned char pass[] = "a passphrase";
    EVP_PKEY *keys[] = {load(NULL, argv[0]),
                        EVP_PKEY_Q_keygen(NULL, "provider=lct", "EC", "P-256")};
    const char *begins[] = {"-----BEGIN TSS2 PRIVATE KEY", "-----BEGIN PRIVATE KEY"};

    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        OSSL_ENCODER_CTX *ctx = OSSL_ENCODER_CTX_new_for_pkey(keys[i], EVP_PKEY_KEYPAIR, "PEM",
                                                              "PrivateKeyInfo", "provider=lct");
        expect(OSSL_ENCODER_CTX_set_cipher(ctx, NULL, NULL) == 1, "no cipher");
        expect(is_written_as(ctx, begins[i]), "written without one");
        expect(OSSL_ENCODER_CTX_set_cipher(ctx, "AES-256-CBC", NULL) == 1 &&
                   OSSL_ENCODER_CTX_set_passphrase(ctx, pass, sizeof pass - 1) == 1,
               "a cipher");
        expect(is_written_as(ctx, "-----BEGIN ENCRYPTED") == (i == 1),
               "encrypted, but not what the TPM has wrapped");
        expect(!is_written_as(ctx, begins[i]), "and never in clear");
        expect(OSSL_ENCODER_CTX_set_cipher(ctx, NULL, NULL) == 1, "no cipher any more");
        expect(is_written_as(ctx, begins[i]), "written without it");
        OSSL_ENCODER_CTX_free(ctx);
        EVP_PKEY_free(keys[i]);
    }
}

/* written: other people's keys are written in the form that is asked for, as libcrypto does. */
static void test_written(char **argv)
{
    static const char *const structures[] = {"type-specific", "PrivateKeyInfo", NULL};
    EVP_PKEY *keys[] = {EVP_PKEY_Q_keygen(NULL, "provider=lct", "EC", "P-256"),
                        EVP_PKEY_Q_keygen(NULL, "provider=lct", "EC", "P-521"),
                        EVP_PKEY_Q_keygen(NULL, "provider=lct", "RSA", (size_t)2048)};
    (void)argv;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        unsigned char *ours = NULL, *theirs = NULL;
        EVP_PKEY *copy = copy_to("provider=default", keys[i], EVP_PKEY_KEYPAIR);
        int len = i2d_PrivateKey(keys[i], &ours);
        expect(len > 0 && len == i2d_PrivateKey(copy, &theirs) &&
                   memcmp(ours, theirs, (size_t)len) == 0,
               "i2d_PrivateKey");
        for (size_t j = 0; j < sizeof structures / sizeof *structures; j++) {
            expect_same_bytes(keys[i], copy, "DER", structures[j]);
            expect_same_bytes(keys[i], copy, "PEM", structures[j]);
        }
        OPENSSL_free(ours);
        OPENSSL_free(theirs);
        EVP_PKEY_free(copy);
        EVP_PKEY_free(keys[i]);
    }
}

/* prompted URI: a signature for each line of standard input, of one key in one process. */
static void test_prompted(char **argv)
{
    char line[8];
    EVP_PKEY *pkey = load(NULL, argv[0]);

    while (fgets(line, sizeof line, stdin) != NULL) {
        sign_and_verify(NULL, pkey);
        puts("signed");
        expect(fflush(stdout) == 0, "standard output");
    }
    EVP_PKEY_free(pkey);
}

/* One signature, which verifies. False, with the sentence that our provider put into the queue. */
static bool attempt(EVP_PKEY *pkey, EVP_PKEY *public_key, const char **why)
{
    unsigned char signature[MAX_SIGNATURE];
    size_t len = sizeof signature;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    unsigned long error;
    int flags;

    bool good =
        EVP_DigestSignInit_ex(ctx, NULL, "SHA256", NULL, NULL, pkey, NULL) == 1 &&
        EVP_DigestSign(ctx, signature, &len, (const unsigned char *)message, sizeof message) == 1;
    EVP_MD_CTX_free(ctx);
    if (good) {
        expect(verifies(NULL, public_key, signature, len), "the signature verifies in software");
        return true;
    }
    *why = NULL;
    while ((error = ERR_get_error_all(NULL, NULL, NULL, why, &flags)) != 0)
        if (is_text(ERR_lib_error_string(error), "lct") && (flags & ERR_TXT_STRING) != 0)
            break;
    expect(error != 0 && *why != NULL, "a sentence of ours is in the queue");
    return false;
}

/* attempts URI: as prompted, but a signature that fails is said, and the next one is tried. */
static void test_attempts(char **argv)
{
    char line[8];
    const char *why;
    EVP_PKEY *pkey = load(NULL, argv[0]);
    EVP_PKEY *public_key = software_public(NULL, pkey);

    while (fgets(line, sizeof line, stdin) != NULL) {
        if (attempt(pkey, public_key, &why))
            puts("signed");
        else
            printf("failed: %s\n", why);
        expect(fflush(stdout) == 0, "standard output");
        ERR_clear_error();
    }
    EVP_PKEY_free(public_key);
    EVP_PKEY_free(pkey);
}

/* refused URI: a key whose passphrase is wrong signs in none of the children, nor here. */
static void test_refused(char **argv)
{
    EVP_PKEY *pkey = load(NULL, argv[0]);
    EVP_PKEY *public_key = software_public(NULL, pkey);
    const char *why = NULL;
    int status;

    for (int i = 0; i < 3; i++) {
        pid_t child = fork();
        if (child == 0)
            _exit(attempt(pkey, public_key, &why));
        expect(child > 0 && waitpid(child, &status, 0) == child && status == 0, "a child is told");
    }
    for (int i = 0; i < 3; i++)
        expect(!attempt(pkey, public_key, &why), "the parent is told");
    printf("%s\n", why);
    ERR_clear_error();
    EVP_PKEY_free(public_key);
    EVP_PKEY_free(pkey);
}

static int give_passphrase(char *text, int size, int writing, void *arg)
{
    (void)writing;
    (void)arg;
    return snprintf(text, (size_t)size, "%s", getenv("EVP_PASSPHRASE"));
}

/* The key of a URI, or NULL, with a passphrase if there is somebody to ask. */
static EVP_PKEY *load_asking(const char *uri, const UI_METHOD *method)
{
    OSSL_STORE_CTX *store = OSSL_STORE_open(uri, method, NULL, NULL, NULL);

    expect(store != NULL, "the store opens");
    OSSL_STORE_INFO *info = OSSL_STORE_load(store);
    EVP_PKEY *pkey = info != NULL ? OSSL_STORE_INFO_get1_PKEY(info) : NULL;
    OSSL_STORE_INFO_free(info);
    OSSL_STORE_close(store);
    return pkey;
}

/* kept URI: what is read again from DER that the program wrote is the identity's key, as it was;
 * who loads the identity is asked all the same. */
static void test_kept(char **argv)
{
    UI_METHOD *method = UI_UTIL_wrap_read_pem_callback(give_passphrase, 0);
    EVP_PKEY *pkey = load_asking(argv[0], method);
    unsigned char *der = NULL;
    char text[1024] = "";

    expect(pkey != NULL, "the key loads");
    int len = i2d_PrivateKey(pkey, &der);
    expect(len > 0, "it is written as DER");
    EVP_PKEY_free(pkey);
    const unsigned char *at = der;
    pkey = d2i_AutoPrivateKey(NULL, &at, len);
    expect(pkey != NULL && at == der + len, "and read again");
    sign_and_verify(NULL, pkey);
    BIO *bio = BIO_new(BIO_s_mem());
    expect(EVP_PKEY_print_private(bio, pkey, 0, NULL) == 1 &&
               BIO_read(bio, text, sizeof text - 1) > 0 && strstr(text, argv[0]) != NULL,
           "it is the identity's");
    expect(load_asking(argv[0], NULL) == NULL, "the identity is not loaded without a passphrase");
    ERR_clear_error();
    BIO_free(bio);
    OPENSSL_free(der);
    EVP_PKEY_free(pkey);
    UI_destroy_method(method);
}

/* What a program gives the provider itself, where libcrypto can: OSSL_PROVIDER_load_ex(3). */
static OSSL_PROVIDER *load_with(OSSL_LIB_CTX *libctx, const char *tcti, const char *store)
{
#if OPENSSL_VERSION_PREREQ(3, 2)
    OSSL_PARAM params[] = {
        OSSL_PARAM_utf8_string("tcti", (void *)(uintptr_t)tcti, strlen(tcti)),
        OSSL_PARAM_utf8_string("store", (void *)(uintptr_t)store, strlen(store)),
        OSSL_PARAM_END,
    };
    return OSSL_PROVIDER_load_ex(libctx, "lct", params);
#else
    (void)tcti;
    (void)store;
    OSSL_LIB_CTX_free(libctx);
    puts("this libcrypto has no OSSL_PROVIDER_load_ex");
    exit(3);
#endif
}

/* OSSL_PROVIDER_add_conf_parameter(3). */
static OSSL_PROVIDER *load_after_adding(OSSL_LIB_CTX *libctx, const char *tcti, const char *store)
{
#if OPENSSL_VERSION_PREREQ(3, 5)
    OSSL_PROVIDER *provider = OSSL_PROVIDER_load(libctx, "lct");
    expect(OSSL_PROVIDER_add_conf_parameter(provider, "tcti", tcti) == 1 &&
               OSSL_PROVIDER_add_conf_parameter(provider, "store", store) == 1,
           "parameters");
    return provider;
#else
    (void)tcti;
    (void)store;
    OSSL_LIB_CTX_free(libctx);
    puts("this libcrypto has no OSSL_PROVIDER_add_conf_parameter");
    exit(3);
#endif
}

/* given HOW MODULES TCTI STORE URI: the configuration comes from the program and from nowhere else.
 */
static void test_given(char **argv)
{
    OSSL_LIB_CTX *libctx = OSSL_LIB_CTX_new();

    expect(OSSL_PROVIDER_set_default_search_path(libctx, argv[1]) == 1, "the search path");
    OSSL_PROVIDER *provider = is_text(argv[0], "load_ex")
                                  ? load_with(libctx, argv[2], argv[3])
                                  : load_after_adding(libctx, argv[2], argv[3]);
    OSSL_PROVIDER *others = OSSL_PROVIDER_load(libctx, "default");
    expect(provider != NULL && others != NULL, "the providers load");
    EVP_PKEY *pkey = load(libctx, argv[4]);
    sign_and_verify(libctx, pkey);
    EVP_PKEY_free(pkey);
    expect(OSSL_PROVIDER_unload(provider) == 1 && OSSL_PROVIDER_unload(others) == 1,
           "the providers unload");
    OSSL_LIB_CTX_free(libctx);
}

/* use URI...: everything of the above that is short, for runs under another allocator. */
static void test_use(char **argv)
{
    for (; *argv != NULL; argv++) {
        char *one[] = {*argv, NULL};
        test_dup(one);
        test_streams(one);
        test_copies(one);
        test_export(one);
    }
}

static const struct {
    const char *name;
    void (*run)(char **argv);
    int min_arguments;
} tests[] = {{"parameters", test_parameters, 5},
             {"points", test_points, 2},
             {"answers", test_answers, 1},
             {"export", test_export, 1},
             {"equal", test_equal, 2},
             {"dup", test_dup, 1},
             {"legacy", test_legacy, 1},
             {"accepts", test_accepts, 2},
             {"refuses", test_refuses, 2},
             {"initial", test_initial, 1},
             {"nameless", test_nameless, 1},
             {"supports", test_supports, 1},
             {"lengths", test_lengths, 1},
             {"streams", test_streams, 1},
             {"again", test_again, 1},
             {"retry", test_retry, 1},
             {"copies", test_copies, 1},
             {"sizes", test_sizes, 1},
             {"contexts", test_contexts, 1},
             {"threads", test_threads, 1},
             {"fork", test_fork, 1},
             {"reload", test_reload, 1},
             {"many", test_many, 1},
             {"signs", test_signs, 2},
             {"prompted", test_prompted, 1},
             {"given", test_given, 5},
             {"attempts", test_attempts, 1},
             {"refused", test_refused, 1},
             {"reason", test_reason, 2},
             {"kept", test_kept, 1},
             {"software", test_software, 0},
             {"printed", test_printed, 1},
             {"written", test_written, 0},
             {"unencrypted", test_unencrypted, 1},
             {"use", test_use, 1},
             {"allocator", test_use, 1}};

int main(int argc, char **argv)
{
    for (size_t i = 0; argc > 1 && i < sizeof tests / sizeof *tests; i++) {
        if (strcmp(tests[i].name, argv[1]) != 0 || argc - 2 < tests[i].min_arguments)
            continue;
        if (strcmp(argv[1], "allocator") == 0)
            replace_allocator();
        tests[i].run(argv + 2);
        expect(ERR_peek_error() == 0, "the queue is empty");
        puts("ok");
        return 0;
    }
    fputs("usage: evp TEST ARGUMENT...\n", stderr);
    return 2;
}
