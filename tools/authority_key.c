/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/authority_key.h"

#include "tools/private_file.h"

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

/* Crockford's base 32: no I, L, O and U, so that what is read from paper is unambiguous. */
static const char letters[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

enum {
    GROUP = 4,
    NUM_LETTERS = 7 * GROUP, /* of 5 bits each */
    SALT = 16,
    /* scrypt (RFC 7914): 16 MiB, which is what OpenSSL allows without being told, eight times. */
    SCRYPT_N = 1 << 14,
    SCRYPT_R = 8,
    SCRYPT_P = 8
};

static void add_letter(struct lct_phrase *phrase, char letter, size_t number)
{
    if (number > 0 && number % GROUP == 0)
        phrase->text[phrase->len++] = '-';
    phrase->text[phrase->len++] = letter;
    phrase->text[phrase->len] = '\0';
}

enum lct_code lct_phrase_make(struct lct_phrase *phrase, OSSL_LIB_CTX *libctx, struct lct_err *err)
{
    unsigned char random[NUM_LETTERS];
    bool good = RAND_priv_bytes_ex(libctx, random, sizeof random, 0) == 1;

    *phrase = (struct lct_phrase){0};
    for (size_t i = 0; good && i < NUM_LETTERS; i++)
        add_letter(phrase, letters[random[i] & 31], i);
    explicit_bzero(random, sizeof random);
    return good ? LCT_OK : LCT_FAIL(err, LCT_ERR_INTERNAL, "libcrypto has no random bytes");
}

/* What is taken for a letter when it is read from paper; 0: it is none. */
static char as_written(char typed)
{
    static const char twins[][2] = {{'I', '1'}, {'L', '1'}, {'O', '0'}};
    char letter = typed;

    if (letter >= 'a' && letter <= 'z')
        letter = (char)(letter - 'a' + 'A');
    for (size_t i = 0; i < sizeof twins / sizeof twins[0]; i++)
        if (letter == twins[i][0])
            letter = twins[i][1];
    if (letter == '\0' || strchr(letters, letter) == NULL)
        return '\0';
    return letter;
}

/* A recovery phrase that was typed, as it was shown; false: it is none. */
static bool canonical(struct lct_phrase *phrase, const struct lct_phrase *typed)
{
    size_t num = 0;

    *phrase = (struct lct_phrase){0};
    for (size_t i = 0; i < typed->len && num <= NUM_LETTERS; i++) {
        if (strchr(" \t-", typed->text[i]) != NULL)
            continue;
        char letter = as_written(typed->text[i]);
        if (letter == '\0')
            return false;
        add_letter(phrase, letter, num++);
    }
    return num == NUM_LETTERS;
}

/* What an authority may be: a row each. */
static const struct {
    const char *name, *type, *curve;
    int bits;
} algorithms[] = {
    {"ec-p256", "EC", "P-256", 256},
    {"rsa-2048", "RSA", NULL, 2048},
    {"rsa-3072", "RSA", NULL, 3072},
};

enum lct_code lct_authority_key_make(EVP_PKEY **pkey, OSSL_LIB_CTX *libctx, const char *algorithm,
                                     struct lct_err *err)
{
    size_t i = 0;

    while (i < sizeof algorithms / sizeof algorithms[0] &&
           strcmp(algorithms[i].name, algorithm) != 0)
        i++;
    if (i == sizeof algorithms / sizeof algorithms[0])
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "there is no authority of \"%s\"; choose ec-p256, rsa-2048 or rsa-3072",
                        algorithm);
    *pkey = algorithms[i].curve != NULL
                ? EVP_PKEY_Q_keygen(libctx, NULL, algorithms[i].type, algorithms[i].curve)
                : EVP_PKEY_Q_keygen(libctx, NULL, algorithms[i].type, (size_t)algorithms[i].bits);
    return *pkey != NULL ? LCT_OK
                         : LCT_FAIL(err, LCT_ERR_INTERNAL, "libcrypto makes no %s key", algorithm);
}

void lct_authority_key_algorithm(char name[16], EVP_PKEY *pkey)
{
    (void)snprintf(name, 16, "%s%d", EVP_PKEY_is_a(pkey, "EC") ? "ec-p" : "rsa-",
                   EVP_PKEY_get_bits(pkey));
}

/* Encrypted PKCS#8 in PEM, in memory. */
static BIO *encrypt(EVP_PKEY *pkey, OSSL_LIB_CTX *libctx, const struct lct_phrase *phrase)
{
    unsigned char salt[SALT];
    PKCS8_PRIV_KEY_INFO *plain = EVP_PKEY2PKCS8(pkey);
    X509_ALGOR *method = RAND_bytes_ex(libctx, salt, sizeof salt, 0) == 1
                             ? PKCS5_pbe2_set_scrypt(EVP_aes_256_cbc(), salt, sizeof salt, NULL,
                                                     SCRYPT_N, SCRYPT_R, SCRYPT_P)
                             : NULL;
    X509_SIG *sealed =
        plain != NULL && method != NULL
            ? PKCS8_set0_pbe_ex(phrase->text, (int)phrase->len, plain, method, libctx, NULL)
            : NULL;
    BIO *bio = sealed != NULL ? BIO_new(BIO_s_mem()) : NULL;

    if (sealed == NULL) /* else it is part of that */
        X509_ALGOR_free(method);
    if (bio != NULL && PEM_write_bio_PKCS8(bio, sealed) != 1) {
        BIO_free(bio);
        bio = NULL;
    }
    X509_SIG_free(sealed);
    PKCS8_PRIV_KEY_INFO_free(plain);
    return bio;
}

enum lct_code lct_authority_key_write(const char *file, EVP_PKEY *pkey, OSSL_LIB_CTX *libctx,
                                      const struct lct_phrase *phrase, struct lct_err *err)
{
    char *text = NULL;
    BIO *bio = encrypt(pkey, libctx, phrase);

    if (bio == NULL)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "the authority's key cannot be encrypted");
    long len = BIO_get_mem_data(bio, &text);
    enum lct_code code =
        lct_private_file_make(file, (const uint8_t *)text, len > 0 ? (size_t)len : 0, err);
    BIO_free(bio);
    return code;
}

enum lct_code lct_authority_key_read(EVP_PKEY **pkey, const struct lct_tool *tool, const char *file,
                                     struct lct_err *err)
{
    const struct lct_private_key_request request = {
        .file = file,
        .passphrase_file = tool->passphrase_file,
        .phrase = "recovery phrase or passphrase",
        .hint = "; it takes the file that lct authority init wrote",
        .as_shown = canonical,
    };
    OSSL_LIB_CTX *libctx = lct_crypto_get(tool->crypto, err);
    bool encrypted = false;
    enum lct_code code = libctx != NULL
                             ? lct_private_key_read(pkey, &encrypted, libctx, &request, err)
                             : LCT_ERR_INTERNAL;

    if (code == LCT_OK && !encrypted)
        lct_tool_warn(NULL, "%s is not encrypted: whoever reads it can approve any boot", file);
    return code;
}
