/* SPDX-License-Identifier: Apache-2.0 */
#include "store/certs.h"

#include "store/armour.h"
#include "store/change.h"
#include "store/file.h"
#include "store/part.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void clear_cert(struct lct_cert *cert)
{
    X509_free(cert->x509);
    OPENSSL_free(cert->der);
    *cert = (struct lct_cert){0};
}

void lct_certs_clear(struct lct_certs *certs)
{
    for (size_t i = 0; i < certs->num; i++)
        clear_cert(&certs->certs[i]);
    *certs = (struct lct_certs){0};
}

/* All of the bytes, and what every certificate is asked for later. */
static bool take_apart(struct lct_cert *cert, OSSL_LIB_CTX *libctx)
{
    const unsigned char *at = cert->der;

    cert->x509 = X509_new_ex(libctx, NULL);
    return cert->x509 != NULL && d2i_X509(&cert->x509, &at, (long)cert->der_len) != NULL &&
           at == cert->der + cert->der_len && X509_get0_pubkey(cert->x509) != NULL &&
           ASN1_TIME_check(X509_get0_notBefore(cert->x509)) == 1 &&
           ASN1_TIME_check(X509_get0_notAfter(cert->x509)) == 1;
}

/* One block whose bytes are taken over. */
static enum lct_code take_block(struct lct_certs *certs, OSSL_LIB_CTX *libctx, const char *label,
                                const char *header, uint8_t *der, size_t der_len,
                                struct lct_err *err)
{
    struct lct_cert cert = {.der = der, .der_len = der_len};
    enum lct_code code = LCT_OK;

    if (lct_armour_is_private(label)) {
        OPENSSL_cleanse(der, der_len);
        code = LCT_FAIL(err, LCT_ERR_BAD_RECORD,
                        "it holds a private key, which does not belong here: only certificates do, "
                        "take it out");
    } else if (strcmp(label, PEM_STRING_X509) != 0 || header[0] != '\0') {
        code = LCT_FAIL(err, LCT_ERR_BAD_RECORD,
                        "it holds a block \"%.60s\"; only blocks of the label CERTIFICATE belong "
                        "here",
                        label);
    } else if (certs->num == LCT_MAX_CERTS) {
        code =
            LCT_FAIL(err, LCT_ERR_BAD_RECORD, "it holds more than %d certificates", LCT_MAX_CERTS);
    } else if (!take_apart(&cert, libctx)) {
        code =
            LCT_FAIL(err, LCT_ERR_BAD_RECORD, "its certificate %zu is malformed", certs->num + 1);
    }
    if (code == LCT_OK)
        certs->certs[certs->num++] = cert;
    else
        clear_cert(&cert);
    return code;
}

/* What ended the reading: the end of the text, or a block that is not whole. */
static bool at_the_end(void)
{
    unsigned long error = ERR_peek_last_error();

    return ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
}

static enum lct_code take_blocks(struct lct_certs *certs, OSSL_LIB_CTX *libctx, BIO *bio,
                                 struct lct_err *err)
{
    enum lct_code code = LCT_OK;

    while (code == LCT_OK) {
        char *label = NULL, *header = NULL;
        unsigned char *der = NULL;
        long der_len = 0;
        if (PEM_read_bio(bio, &label, &header, &der, &der_len) != 1)
            break;
        code = take_block(certs, libctx, label, header, der, (size_t)der_len, err);
        OPENSSL_free(label);
        OPENSSL_free(header);
    }
    if (code == LCT_OK && !at_the_end())
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD, "its PEM block %zu is not whole", certs->num + 1);
    if (code == LCT_OK && certs->num == 0)
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD,
                        "it holds no certificate in PEM; openssl x509 -inform DER -in FILE makes "
                        "PEM of DER");
    return code;
}

enum lct_code lct_certs_parse(struct lct_certs *certs, struct lct_crypto *crypto,
                              const uint8_t *pem, size_t pem_len, struct lct_err *err)
{
    OSSL_LIB_CTX *libctx = lct_crypto_get(crypto, err);
    enum lct_code code;

    *certs = (struct lct_certs){0};
    if (libctx == NULL)
        return LCT_ERR_INTERNAL;
    if (pem_len > LCT_MAX_CERTS_FILE)
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD, "it is longer than %d bytes", LCT_MAX_CERTS_FILE);
    BIO *bio = BIO_new_mem_buf(pem, (int)pem_len);
    if (bio == NULL)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    (void)ERR_set_mark();
    code = take_blocks(certs, libctx, bio, err);
    (void)ERR_pop_to_mark();
    BIO_free(bio);
    if (code != LCT_OK)
        lct_certs_clear(certs);
    return code;
}

enum lct_code lct_certs_write(uint8_t **pem, size_t *pem_len, const struct lct_certs *certs,
                              struct lct_err *err)
{
    BIO *bio = BIO_new(BIO_s_mem());
    bool good = bio != NULL;
    char *text = NULL;

    *pem = NULL;
    for (size_t i = 0; i < certs->num && good; i++)
        good = PEM_write_bio(bio, PEM_STRING_X509, "", certs->certs[i].der,
                             (long)certs->certs[i].der_len) > 0;
    if (good) {
        *pem_len = (size_t)BIO_get_mem_data(bio, &text);
        *pem = OPENSSL_memdup(text, *pem_len);
    }
    BIO_free(bio);
    return *pem != NULL ? LCT_OK
                        : LCT_FAIL(err, LCT_ERR_INTERNAL, "the certificates cannot be encoded");
}

static bool is_of_key(const struct lct_cert *cert, const struct lct_key *key)
{
    (void)ERR_set_mark();
    bool same = EVP_PKEY_eq(X509_get0_pubkey(cert->x509), key->pkey) == 1;
    (void)ERR_pop_to_mark();
    return same;
}

enum lct_code lct_certs_check_leaf(const struct lct_certs *certs, const struct lct_key *key,
                                   struct lct_err *err)
{
    if (is_of_key(&certs->certs[0], key))
        return LCT_OK;
    for (size_t i = 1; i < certs->num; i++)
        if (is_of_key(&certs->certs[i], key))
            return LCT_FAIL(err, LCT_ERR_WRONG_KEY,
                            "certificate %zu is the one of this key, and not the first: put it "
                            "first, each issuer after what it issued",
                            i + 1);
    return LCT_FAIL(err, LCT_ERR_WRONG_KEY,
                    "the certificate is of another key than generation %u of %s", key->number,
                    key->label);
}

static bool issued(const struct lct_cert *issuer, const struct lct_cert *cert)
{
    (void)ERR_set_mark();
    bool good =
        X509_NAME_cmp(X509_get_issuer_name(cert->x509), X509_get_subject_name(issuer->x509)) == 0 &&
        X509_verify(cert->x509, X509_get0_pubkey(issuer->x509)) == 1;
    (void)ERR_pop_to_mark();
    return good;
}

enum lct_code lct_certs_check_chain(const struct lct_certs *certs, struct lct_err *err)
{
    for (size_t i = 1; i < certs->num; i++)
        if (!issued(&certs->certs[i], &certs->certs[i - 1]))
            return LCT_FAIL(err, LCT_ERR_BAD_RECORD,
                            "certificate %zu did not issue certificate %zu: the key's comes first, "
                            "each issuer after what it issued, and nothing else",
                            i + 1, i);
    return LCT_OK;
}

static enum lct_code read_file(int fd, struct lct_crypto *crypto, unsigned number,
                               struct lct_certs *certs, struct lct_err *err)
{
    uint8_t *pem = NULL;
    size_t pem_len = 0;
    char name[LCT_PART_NAME];

    lct_part_name(name, LCT_PART_CERTS, number);
    enum lct_code code = lct_file_read(fd, name, &pem, &pem_len, LCT_MAX_CERTS_FILE, err);
    if (code == LCT_ERR_NOT_FOUND)
        return LCT_OK;
    if (code == LCT_OK) {
        code = lct_certs_parse(certs, crypto, pem, pem_len, err);
        if (code != LCT_OK)
            (void)lct_err_prefix(err, name);
        OPENSSL_cleanse(pem, pem_len); /* somebody may have put a key in it */
    }
    free(pem);
    return code;
}

enum lct_code lct_certs_read(const struct lct_store *store, struct lct_crypto *crypto,
                             const char *id, unsigned number, struct lct_certs *certs,
                             struct lct_err *err)
{
    struct lct_record *record = NULL;
    const char *dir = NULL;
    enum lct_code code = LCT_OK;
    int fd = -1;

    *certs = (struct lct_certs){0};
    if (number == 0) {
        code = lct_store_get_record(store, id, &record, NULL, err);
        number = code == LCT_OK ? record->active : 0;
        free(record);
    }
    if (code == LCT_OK)
        code = lct_store_open_identity(store, id, &fd, &dir, err);
    if (code != LCT_OK)
        return code;
    code = lct_store_about(id, dir, read_file(fd, crypto, number, certs, err), err);
    close(fd);
    return code;
}

/* As PEM, after the checks. */
static enum lct_code check_and_write(uint8_t **pem, size_t *pem_len, const struct lct_key *key,
                                     const struct lct_certs *certs, struct lct_err *err)
{
    enum lct_code code = lct_certs_check_leaf(certs, key, err);

    if (code == LCT_OK)
        code = lct_certs_check_chain(certs, err);
    return code == LCT_OK ? lct_certs_write(pem, pem_len, certs, err) : code;
}

enum lct_code lct_certs_put(struct lct_change *change, const struct lct_key *key,
                            const struct lct_certs *certs, struct lct_err *err)
{
    uint8_t *pem = NULL;
    size_t pem_len = 0;
    char name[LCT_PART_NAME];
    enum lct_code code = check_and_write(&pem, &pem_len, key, certs, err);

    lct_part_name(name, LCT_PART_CERTS, key->number);
    if (code == LCT_OK)
        code = lct_change_put(change, name, pem, pem_len, err);
    OPENSSL_free(pem);
    return code;
}

bool lct_certs_are_kept(int dir, unsigned number)
{
    char name[LCT_PART_NAME];

    lct_part_name(name, LCT_PART_CERTS, number);
    return faccessat(dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

enum lct_code lct_certs_set(const struct lct_store *store, const char *id,
                            const struct lct_key *key, const struct lct_certs *certs,
                            struct lct_err *err)
{
    struct lct_change change;
    enum lct_code code = lct_change_begin(&change, store, id, err);

    if (code == LCT_OK)
        code = lct_certs_put(&change, key, certs, err);
    lct_change_end(&change);
    return code;
}

/* On disk when it returns; errors without the id. */
static enum lct_code remove_file(int dir, unsigned number, struct lct_err *err)
{
    char name[LCT_PART_NAME];

    lct_part_name(name, LCT_PART_CERTS, number);
    if (unlinkat(dir, name, 0) != 0)
        return errno == ENOENT
                   ? LCT_FAIL(err, LCT_ERR_NOT_FOUND, "there is no certificate to remove")
                   : LCT_FAIL(err, LCT_ERR_STORE, "%s cannot be removed: %s", name,
                              strerror(errno));
    return fsync(dir) == 0 ? LCT_OK
                           : LCT_FAIL(err, LCT_ERR_STORE, "%s cannot be removed for sure: %s", name,
                                      strerror(errno));
}

enum lct_code lct_certs_remove(const struct lct_store *store, const char *id, unsigned number,
                               struct lct_err *err)
{
    struct lct_change change;
    enum lct_code code = lct_change_begin(&change, store, id, err);

    if (code == LCT_OK)
        code = lct_store_about(change.id, change.where, remove_file(change.dir, number, err), err);
    lct_change_end(&change);
    return code;
}
