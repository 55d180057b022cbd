/* SPDX-License-Identifier: Apache-2.0 */
#include "store/authority.h"

#include "base/text.h"
#include "proof/spki.h"
#include "store/armour.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char lct_authority_file[] = ".authority.pub.pem";
static const char private_line[] = "private-key: ";

enum { MAX_FILE = 16384 };

/* The key as the TPM will have it, in `libctx`: whatever way it was encoded, it is one key. */
static EVP_PKEY *public_half(OSSL_LIB_CTX *libctx, EVP_PKEY *pkey, struct lct_err *err)
{
    uint8_t bytes[LCT_MAX_AUTHORITY];
    struct lct_public public_area;
    size_t len;

    if (lct_authority_public(bytes, &len, pkey, err) != LCT_OK ||
        lct_public_decode(&public_area, bytes, len, err) != LCT_OK)
        return NULL;
    return lct_public_pkey(&public_area, libctx, err);
}

enum lct_code lct_authority_fingerprint(char fingerprint[65], EVP_PKEY *pkey, OSSL_LIB_CTX *libctx,
                                        struct lct_err *err)
{
    EVP_PKEY *public = public_half(libctx, pkey, err);

    fingerprint[0] = '\0';
    if (public == NULL)
        return LCT_ERR_UNSUPPORTED;
    enum lct_code code = lct_spki_fingerprint(fingerprint, public, libctx, err);
    EVP_PKEY_free(public);
    return code;
}

void lct_authority_clear(struct lct_authority *authority)
{
    EVP_PKEY_free(authority->pkey);
    free(authority->dir);
    free(authority->private_key);
    *authority = (struct lct_authority){0};
}

/* The rest of the line that says where the private half is: nothing, if that cannot be shown. False
 * if out of memory. */
static bool take_path(char **path, const char *text, const char *end)
{
    for (const char *line = text; line < end; line = strchr(line, '\n') + 1)
        if (strncmp(line, private_line, sizeof private_line - 1) == 0) {
            const char *start = line + sizeof private_line - 1;
            char *rest = strndup(start, strcspn(start, "\n"));
            if (rest == NULL)
                return false;
            if (lct_text_has_control(rest))
                free(rest);
            else
                *path = rest;
            return true;
        }
    return true;
}

/* Lines for people, then one block. */
enum lct_code lct_authority_parse(struct lct_authority *authority, OSSL_LIB_CTX *libctx,
                                  const char *text, size_t text_len, struct lct_err *err)
{
    const char *block = strstr(text, "-----BEGIN ");
    uint8_t *der = NULL;
    size_t der_len = 0;
    EVP_PKEY *read = NULL;

    *authority = (struct lct_authority){0};
    (void)ERR_set_mark();
    if (block != NULL && (block == text || block[-1] == '\n') &&
        lct_armour_read(&der, &der_len, PEM_STRING_PUBLIC, (const uint8_t *)block,
                        text_len - (size_t)(block - text))) {
        const unsigned char *at = der;
        read = d2i_PUBKEY_ex(NULL, &at, (long)der_len, libctx, NULL);
        if (read != NULL && at == der + der_len)
            authority->pkey = public_half(libctx, read, NULL);
    }
    (void)ERR_pop_to_mark();
    EVP_PKEY_free(read);
    OPENSSL_free(der);
    if (authority->pkey == NULL)
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD,
                        "%s is not the public key of an authority; restore it from a backup",
                        lct_authority_file);
    if (!take_path(&authority->private_key, text, block) ||
        lct_spki_fingerprint(authority->fingerprint, authority->pkey, libctx, NULL) != LCT_OK)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    return lct_authority_public(authority->public_area, &authority->public_len, authority->pkey,
                                err);
}

static enum lct_code read_file(uint8_t **text, size_t *text_len, const char *dir,
                               struct lct_err *err)
{
    int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    enum lct_code code = LCT_ERR_NOT_FOUND;

    if (fd >= 0)
        code = lct_file_read(fd, lct_authority_file, text, text_len, MAX_FILE, err);
    else if (errno != ENOENT)
        code = LCT_FAIL(err, LCT_ERR_STORE, "it cannot be read: %s", strerror(errno));
    if (fd >= 0)
        close(fd);
    return code;
}

enum lct_code lct_authority_get(struct lct_authority *authority, const struct lct_store *store,
                                const char *dir, struct lct_crypto *crypto, struct lct_err *err)
{
    OSSL_LIB_CTX *libctx = lct_crypto_get(crypto, err);
    const char *where = dir != NULL ? dir : store->dirs[store->create_in];
    uint8_t *text = NULL;
    size_t text_len = 0;

    *authority = (struct lct_authority){0};
    if (libctx == NULL)
        return LCT_ERR_INTERNAL;
    enum lct_code code = read_file(&text, &text_len, where, err);
    if (code == LCT_ERR_NOT_FOUND)
        return LCT_FAIL(err, LCT_ERR_NO_AUTHORITY,
                        "the store %s has no recovery authority; make one with lct authority init "
                        "--out FILE, or take one with lct authority import FILE",
                        where);
    if (code == LCT_OK)
        code = lct_authority_parse(authority, libctx, (const char *)text, text_len, err);
    free(text);
    if (code == LCT_OK) {
        authority->dir = strdup(where);
        if (authority->dir == NULL)
            code = LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    }
    if (code != LCT_OK) {
        lct_authority_clear(authority);
        (void)lct_err_prefix(err, where);
    }
    return code;
}

const char *lct_authority_find(const struct lct_store *store, struct lct_crypto *crypto,
                               const struct lct_seal *seal)
{
    const char *found = NULL;

    for (size_t i = 0; i < store->num_dirs && found == NULL && seal->authority_len > 0; i++) {
        struct lct_authority authority;
        if (lct_authority_get(&authority, store, store->dirs[i], crypto, NULL) == LCT_OK &&
            authority.public_len == seal->authority_len &&
            memcmp(authority.public_area, seal->authority, seal->authority_len) == 0)
            found = store->dirs[i];
        lct_authority_clear(&authority);
    }
    return found;
}

/* The file's text, NUL-terminated; the caller frees it. NULL if out of memory. */
static char *write_text(const char *fingerprint, EVP_PKEY *public, const char *private_key)
{
    uint8_t *der = NULL, *pem = NULL;
    size_t pem_len = 0;
    char *text = NULL;
    int der_len = i2d_PUBKEY(public, &der);

    if (der_len > 0 && lct_armour_write(&pem, &pem_len, PEM_STRING_PUBLIC, der, (size_t)der_len) &&
        asprintf(&text,
                 "The recovery authority of this store: it approves other boot states.\n"
                 "fingerprint: %s\n%s%s%s%.*s",
                 fingerprint, private_key != NULL ? private_line : "",
                 private_key != NULL ? private_key : "", private_key != NULL ? "\n" : "",
                 (int)pem_len, (const char *)pem) < 0)
        text = NULL;
    OPENSSL_free(der);
    OPENSSL_free(pem);
    return text;
}

static enum lct_code write_file(const char *dir, const char *text, struct lct_err *err)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return LCT_FAIL(err, LCT_ERR_STORE, "%s: it cannot be opened: %s", dir, strerror(errno));
    enum lct_code code =
        lct_file_put(fd, lct_authority_file, (const uint8_t *)text, strlen(text), 0644, false, err);
    close(fd);
    return code;
}

/* The one that is there already. */
static enum lct_code compare(const struct lct_store *store, struct lct_crypto *crypto,
                             const char *fingerprint, struct lct_err *err)
{
    struct lct_authority there;
    enum lct_code code = lct_authority_get(&there, store, NULL, crypto, err);

    if (code != LCT_OK)
        return code;
    if (strcmp(there.fingerprint, fingerprint) != 0)
        code = LCT_FAIL(err, LCT_ERR_EXISTS,
                        "the store %s has a recovery authority already, %.16s: what is sealed is "
                        "sealed to it, and another one cannot take its place",
                        there.dir, there.fingerprint);
    lct_authority_clear(&there);
    return code;
}

enum lct_code lct_authority_put(const struct lct_store *store, struct lct_crypto *crypto,
                                EVP_PKEY *pkey, const char *private_key, struct lct_err *err)
{
    OSSL_LIB_CTX *libctx = lct_crypto_get(crypto, err);
    char fingerprint[65], *text = NULL;
    EVP_PKEY *public = NULL;

    if (libctx == NULL)
        return LCT_ERR_INTERNAL;
    if (private_key != NULL && lct_text_has_control(private_key))
        return LCT_FAIL(
            err, LCT_ERR_UNSUPPORTED,
            "the path of the private key has a line break or another control character");
    enum lct_code code = lct_authority_fingerprint(fingerprint, pkey, libctx, err);
    if (code == LCT_OK)
        code = lct_store_check_writable(store, err);
    if (code != LCT_OK)
        return code;
    public = public_half(libctx, pkey, err);
    text = public != NULL ? write_text(fingerprint, public, private_key) : NULL;
    if (text != NULL)
        code = write_file(store->dirs[store->create_in], text, err);
    else
        code = LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    if (code == LCT_ERR_EXISTS)
        code = compare(store, crypto, fingerprint, err);
    EVP_PKEY_free(public);
    free(text);
    return code;
}
