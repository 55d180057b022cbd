/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/anchor.h"

#include "base/fd.h"
#include "proof/ak.h"
#include "proof/certificate.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

/* What reading has in its hands: where anchors go, and what may be one. */
struct reading {
    struct lct_anchors *anchors;
    OSSL_LIB_CTX *libctx;
    const char *path;
    bool keys;
};

/* A pipe is not waited for. */
static enum lct_code read_open(int fd, uint8_t **bytes, size_t *bytes_len, const char *path,
                               struct lct_err *err)
{
    struct stat status;

    if (fstat(fd, &status) != 0)
        return LCT_FAIL(err, LCT_ERR_CONFIG, "%s cannot be read: %s", path, strerror(errno));
    if (!S_ISREG(status.st_mode))
        return LCT_FAIL(err, LCT_ERR_CONFIG, "%s is no file", path);
    if (status.st_size > LCT_MAX_ANCHOR_FILE)
        return LCT_FAIL(err, LCT_ERR_CONFIG, "%s is longer than the %d bytes that it may have",
                        path, LCT_MAX_ANCHOR_FILE);
    *bytes = malloc((size_t)status.st_size + 1);
    if (*bytes == NULL)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    if (!lct_fd_read_all(fd, *bytes, bytes_len, (size_t)status.st_size))
        return LCT_FAIL(err, LCT_ERR_CONFIG, "%s cannot be read: %s", path, strerror(errno));
    (*bytes)[*bytes_len] = '\0';
    return LCT_OK;
}

enum lct_code lct_anchor_read_file(uint8_t **bytes, size_t *bytes_len, const char *path,
                                   struct lct_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

    *bytes = NULL;
    *bytes_len = 0;
    if (fd < 0)
        return LCT_FAIL(err, LCT_ERR_CONFIG, "%s cannot be read: %s", path, strerror(errno));
    enum lct_code code = read_open(fd, bytes, bytes_len, path, err);
    close(fd);
    if (code != LCT_OK) {
        free(*bytes);
        *bytes = NULL;
    }
    return code;
}

/* Takes what `anchor` holds over, also if there is no room for it. */
static enum lct_code add(const struct reading *reading, struct lct_anchor anchor,
                         struct lct_err *err)
{
    struct lct_anchors *anchors = reading->anchors;
    struct lct_anchor *grown = NULL;

    if (anchors->num < LCT_MAX_ANCHORS)
        grown = reallocarray(anchors->all, anchors->num + 1, sizeof *grown);
    if (grown != NULL) {
        grown[anchors->num++] = anchor;
        anchors->all = grown;
        return LCT_OK;
    }
    X509_free(anchor.certificate);
    EVP_PKEY_free(anchor.pkey);
    if (anchors->num < LCT_MAX_ANCHORS)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    return LCT_FAIL(err, LCT_ERR_CONFIG,
                    "%s and what was read before it are more than the %d that "
                    "there may be",
                    reading->path, LCT_MAX_ANCHORS);
}

/* A key that something is verified with is of a kind that we take. */
static enum lct_code add_key(const struct reading *reading, struct lct_anchor anchor,
                             struct lct_err *err)
{
    struct lct_err why = {.code = LCT_OK};

    if (anchor.pkey == NULL)
        (void)LCT_FAIL(&why, LCT_ERR_CONFIG, "%s has a key in it that cannot be read",
                       reading->path);
    else if (lct_ak_check_identity(anchor.pkey, &why) != LCT_OK)
        (void)lct_err_prefix(&why, reading->path);
    if (why.code == LCT_OK)
        return add(reading, anchor, err);
    X509_free(anchor.certificate);
    EVP_PKEY_free(anchor.pkey);
    return LCT_FAIL(err, LCT_ERR_CONFIG, "%s", why.text);
}

static enum lct_code take_certificate(const struct reading *reading, const uint8_t *der,
                                      size_t der_len, struct lct_err *err)
{
    struct lct_anchor anchor = {.certificate =
                                    lct_certificate_decode(reading->libctx, der, der_len)};

    if (anchor.certificate == NULL)
        return LCT_FAIL(err, LCT_ERR_CONFIG, "%s has a certificate in it that cannot be read",
                        reading->path);
    if (!reading->keys)
        return add(reading, anchor, err);
    anchor.pkey = X509_get_pubkey(anchor.certificate);
    return add_key(reading, anchor, err);
}

static enum lct_code take_key(const struct reading *reading, const uint8_t *der, long der_len,
                              struct lct_err *err)
{
    const unsigned char *at = der;
    struct lct_anchor anchor = {.pkey = d2i_PUBKEY_ex(NULL, &at, der_len, reading->libctx, NULL)};

    if (anchor.pkey != NULL && at != der + der_len) {
        EVP_PKEY_free(anchor.pkey);
        anchor.pkey = NULL;
    }
    return add_key(reading, anchor, err);
}

static enum lct_code take_block(const struct reading *reading, const char *name, const uint8_t *der,
                                long der_len, struct lct_err *err)
{
    if (strstr(name, "PRIVATE KEY") != NULL)
        return LCT_FAIL(err, LCT_ERR_CONFIG,
                        "%s has a private key in it, which nobody needs who verifies; take it out",
                        reading->path);
    if (strcmp(name, PEM_STRING_X509) == 0 || strcmp(name, PEM_STRING_X509_OLD) == 0)
        return take_certificate(reading, der, (size_t)der_len, err);
    if (reading->keys && strcmp(name, PEM_STRING_PUBLIC) == 0)
        return take_key(reading, der, der_len, err);
    return LCT_FAIL(err, LCT_ERR_CONFIG, "%s has something in it that is no %s", reading->path,
                    reading->keys ? "certificate and no public key" : "certificate");
}

/* The next block of a file; *last: there is none. */
static enum lct_code take_next(const struct reading *reading, BIO *bio, bool *last,
                               struct lct_err *err)
{
    char *name = NULL, *header = NULL;
    unsigned char *der = NULL;
    long der_len = 0;
    enum lct_code code = LCT_OK;

    if (PEM_read_bio(bio, &name, &header, &der, &der_len) == 1) {
        code = take_block(reading, name, der, der_len, err);
        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_clear_free(der, (size_t)der_len);
        return code;
    }
    *last = true;
    unsigned long error = ERR_peek_last_error();
    if (ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE)
        return LCT_OK;
    return LCT_FAIL(err, LCT_ERR_CONFIG, "%s has PEM in it that is damaged", reading->path);
}

static enum lct_code take_pem(const struct reading *reading, const uint8_t *bytes, size_t bytes_len,
                              struct lct_err *err)
{
    BIO *bio = BIO_new_mem_buf(bytes, (int)bytes_len);
    size_t before = reading->anchors->num;
    bool last = false;
    enum lct_code code = LCT_OK;

    if (bio == NULL)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    while (!last && code == LCT_OK)
        code = take_next(reading, bio, &last, err);
    BIO_free(bio);
    if (code == LCT_OK && reading->anchors->num == before)
        return LCT_FAIL(err, LCT_ERR_CONFIG, "%s has no certificate in it", reading->path);
    return code;
}

static enum lct_code take_file(const struct reading *reading, struct lct_err *err)
{
    uint8_t *bytes = NULL;
    size_t bytes_len = 0;
    enum lct_code code = lct_anchor_read_file(&bytes, &bytes_len, reading->path, err);

    if (code != LCT_OK)
        return code;
    (void)ERR_set_mark();
    /* Makers hand their roots out in DER, too: a SEQUENCE is no beginning of a text. */
    if (bytes_len > 0 && bytes[0] == 0x30 && memmem(bytes, bytes_len, "-----BEGIN ", 11) == NULL)
        code = take_certificate(reading, bytes, bytes_len, err);
    else
        code = take_pem(reading, bytes, bytes_len, err);
    (void)ERR_pop_to_mark();
    explicit_bzero(bytes, bytes_len);
    free(bytes);
    return code;
}

static int is_anchor_file(const struct dirent *entry)
{
    static const char *const suffixes[] = {".pem", ".crt", ".cer"};
    const char *suffix = strrchr(entry->d_name, '.');

    if (entry->d_name[0] == '.' || suffix == NULL)
        return 0;
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++)
        if (strcasecmp(suffix, suffixes[i]) == 0)
            return 1;
    return 0;
}

static int compare_names(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static enum lct_code take_in(const struct reading *directory, const char *name, struct lct_err *err)
{
    struct reading reading = *directory;
    char *path = NULL;

    if (asprintf(&path, "%s/%s", directory->path, name) < 0)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    reading.path = path;
    enum lct_code code = take_file(&reading, err);
    free(path);
    return code;
}

static enum lct_code take_directory(const struct reading *reading, struct lct_err *err)
{
    struct dirent **entries = NULL;
    int num = scandir(reading->path, &entries, is_anchor_file, compare_names);
    enum lct_code code = LCT_OK;

    if (num < 0)
        return LCT_FAIL(err, LCT_ERR_CONFIG, "%s cannot be read: %s", reading->path,
                        strerror(errno));
    for (int i = 0; i < num; i++) {
        if (code == LCT_OK)
            code = take_in(reading, entries[i]->d_name, err);
        free(entries[i]);
    }
    free(entries);
    if (num == 0)
        return LCT_FAIL(err, LCT_ERR_CONFIG,
                        "%s has no certificate in it: no file *.pem, *.crt or *.cer",
                        reading->path);
    return code;
}

enum lct_code lct_anchors_read(struct lct_anchors *anchors, OSSL_LIB_CTX *libctx, const char *path,
                               bool keys, struct lct_err *err)
{
    const struct reading reading = {anchors, libctx, path, keys};
    struct stat status;

    if (stat(path, &status) != 0)
        return LCT_FAIL(err, LCT_ERR_CONFIG, "%s cannot be read: %s", path, strerror(errno));
    return S_ISDIR(status.st_mode) ? take_directory(&reading, err) : take_file(&reading, err);
}

void lct_anchors_clear(struct lct_anchors *anchors)
{
    for (size_t i = 0; i < anchors->num; i++) {
        X509_free(anchors->all[i].certificate);
        EVP_PKEY_free(anchors->all[i].pkey);
    }
    free(anchors->all);
    *anchors = (struct lct_anchors){0};
}
