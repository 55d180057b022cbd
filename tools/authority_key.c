/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/authority_key.h"

#include "store/file.h"
#include "tools/unlock.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/decoder.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Crockford's base 32: no I, L, O and U, so that what is read from paper is unambiguous. */
static const char letters[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

enum {
    GROUP = 4,
    NUM_LETTERS = 7 * GROUP, /* of 5 bits each */
    SALT = 16,
    /* scrypt (RFC 7914): 16 MiB, which is what OpenSSL allows without being told, eight times. */
    SCRYPT_N = 1 << 14,
    SCRYPT_R = 8,
    SCRYPT_P = 8,
    MAX_FILE = 65536
};

void lct_phrase_wipe(struct lct_phrase *phrase)
{
    explicit_bzero(phrase, sizeof *phrase);
}

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

enum lct_code lct_phrase_read(struct lct_phrase *phrase, const char *file, struct lct_err *err)
{
    uint8_t *bytes = NULL;
    size_t bytes_len = 0;
    enum lct_code code = lct_tool_read(&bytes, &bytes_len, file, MAX_FILE, err);

    *phrase = (struct lct_phrase){0};
    if (code != LCT_OK)
        return code;
    size_t len = strcspn((const char *)bytes, "\r\n");
    if (len == 0 || len > LCT_MAX_PHRASE)
        code = LCT_FAIL(err, LCT_ERR_AUTH,
                        "the first line of %s is no passphrase, which has 1 to %d bytes", file,
                        LCT_MAX_PHRASE);
    else
        memcpy(phrase->text, bytes, len);
    phrase->len = code == LCT_OK ? len : 0;
    explicit_bzero(bytes, bytes_len);
    free(bytes);
    return code;
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

/* That there is such a file is on disk too, before anything is sealed to it. */
static bool sync_dir_of(const char *file)
{
    char *copy = strdup(file);
    int fd = copy != NULL ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    bool good = fd < 0 || fsync(fd) == 0 || errno == EINVAL; /* not every file system can */

    if (fd >= 0)
        close(fd);
    free(copy);
    return good;
}

static enum lct_code write_new(const char *file, const char *text, size_t text_len,
                               struct lct_err *err)
{
    int fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0 && errno == EEXIST)
        return LCT_FAIL(err, LCT_ERR_IO,
                        "%s is there already, and is not replaced; name another file", file);
    if (fd < 0)
        return LCT_FAIL(err, LCT_ERR_IO, "%s cannot be made: %s", file, strerror(errno));
    bool good = lct_file_write_all(fd, (const uint8_t *)text, text_len) && fsync(fd) == 0;
    if (close(fd) != 0)
        good = false;
    if (good && sync_dir_of(file))
        return LCT_OK;
    int error = errno;
    (void)unlink(file);
    return LCT_FAIL(err, LCT_ERR_IO, "%s cannot be written: %s", file, strerror(error));
}

enum lct_code lct_authority_key_write(const char *file, EVP_PKEY *pkey, OSSL_LIB_CTX *libctx,
                                      const struct lct_phrase *phrase, struct lct_err *err)
{
    char *text = NULL;
    BIO *bio = encrypt(pkey, libctx, phrase);

    if (bio == NULL)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "the authority's key cannot be encrypted");
    long len = BIO_get_mem_data(bio, &text);
    enum lct_code code = write_new(file, text, len > 0 ? (size_t)len : 0, err);
    BIO_free(bio);
    return code;
}

/* Who is asked for what a key file is encrypted under: once, and it is remembered. */
struct asking {
    const struct lct_tool *tool;
    const char *file;
    bool asked;
    struct lct_phrase phrase;
    struct lct_err err;
};

static enum lct_code find_phrase(struct asking *asking)
{
    char what[160];

    if (asking->tool->passphrase_file != NULL)
        return lct_phrase_read(&asking->phrase, asking->tool->passphrase_file, &asking->err);
    (void)snprintf(what, sizeof what, "recovery phrase, or passphrase, of %.100s", asking->file);
    int len = lct_ask_line(asking->phrase.text, LCT_MAX_PHRASE + 1, what);
    asking->phrase.len = len > 0 ? (size_t)len : 0;
    if (len > 0)
        return LCT_OK;
    return LCT_FAIL(&asking->err, LCT_ERR_AUTH,
                    lct_can_ask() ? "the recovery phrase of %s was not given"
                                  : "the recovery phrase of %s is needed, and there is no terminal "
                                    "to ask on; give it in a file: --passphrase-file",
                    asking->file);
}

static int give_phrase(char *typed, int size, int writing, void *arg)
{
    struct asking *asking = arg;

    (void)writing;
    if (!asking->asked) {
        asking->asked = true;
        (void)find_phrase(asking);
    }
    if (asking->phrase.len == 0 || asking->phrase.len > (size_t)size)
        return -1;
    memcpy(typed, asking->phrase.text, asking->phrase.len);
    return (int)asking->phrase.len;
}

/* NULL: it is none, or is encrypted under something else. */
static EVP_PKEY *decode(OSSL_LIB_CTX *libctx, const uint8_t *bytes, size_t bytes_len,
                        struct asking *asking)
{
    EVP_PKEY *pkey = NULL;
    OSSL_DECODER_CTX *ctx =
        OSSL_DECODER_CTX_new_for_pkey(&pkey, NULL, NULL, NULL, EVP_PKEY_KEYPAIR, libctx, NULL);

    (void)ERR_set_mark();
    bool good = ctx != NULL &&
                OSSL_DECODER_CTX_set_pem_password_cb(ctx, give_phrase, asking) == 1 &&
                OSSL_DECODER_from_data(ctx, &bytes, &bytes_len) == 1;
    (void)ERR_pop_to_mark();
    OSSL_DECODER_CTX_free(ctx);
    if (good)
        return pkey;
    EVP_PKEY_free(pkey);
    return NULL;
}

static EVP_PKEY *decode_either(OSSL_LIB_CTX *libctx, const uint8_t *bytes, size_t bytes_len,
                               struct asking *asking)
{
    struct lct_phrase shown;
    EVP_PKEY *pkey = decode(libctx, bytes, bytes_len, asking);

    if (pkey == NULL && asking->phrase.len > 0 && canonical(&shown, &asking->phrase)) {
        asking->phrase = shown;
        pkey = decode(libctx, bytes, bytes_len, asking);
    }
    lct_phrase_wipe(&shown);
    return pkey;
}

enum lct_code lct_authority_key_read(EVP_PKEY **pkey, const struct lct_tool *tool, const char *file,
                                     struct lct_err *err)
{
    struct asking asking = {.tool = tool, .file = file, .err = {.code = LCT_OK}};
    uint8_t *bytes = NULL;
    size_t bytes_len = 0;
    OSSL_LIB_CTX *libctx = lct_crypto_get(tool->crypto, err);
    enum lct_code code =
        libctx != NULL ? lct_tool_read(&bytes, &bytes_len, file, MAX_FILE, err) : LCT_ERR_INTERNAL;

    *pkey = code == LCT_OK ? decode_either(libctx, bytes, bytes_len, &asking) : NULL;
    if (bytes != NULL)
        explicit_bzero(bytes, bytes_len);
    free(bytes);
    lct_phrase_wipe(&asking.phrase);
    if (code != LCT_OK)
        return code;
    if (*pkey == NULL && asking.err.code != LCT_OK) {
        *err = asking.err;
        return err->code;
    }
    if (*pkey == NULL)
        return asking.asked
                   ? LCT_FAIL(err, LCT_ERR_AUTH, "the recovery phrase or passphrase of %s is wrong",
                              file)
                   : LCT_FAIL(err, LCT_ERR_BAD_RECORD,
                              "%s holds no private key in PEM or DER; it takes the file that lct "
                              "authority init wrote",
                              file);
    if (!asking.asked)
        (void)fprintf(stderr,
                      "lct: warning: %s is not encrypted: whoever reads it can approve any boot\n",
                      file);
    return LCT_OK;
}
