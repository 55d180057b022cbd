/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/private_key.h"

#include "tools/ask.h"
#include "tools/tool.h"

#include <openssl/decoder.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_FILE = 65536 };

void lct_phrase_wipe(struct lct_phrase *phrase)
{
    explicit_bzero(phrase, sizeof *phrase);
}

/* Up to the end of the line, whatever is in it. */
static size_t first_line(const uint8_t *bytes, size_t bytes_len)
{
    size_t len = 0;

    while (len < bytes_len && bytes[len] != '\r' && bytes[len] != '\n')
        len++;
    return len;
}

enum lct_code lct_phrase_read(struct lct_phrase *phrase, const char *file, struct lct_err *err)
{
    uint8_t *bytes = NULL;
    size_t bytes_len = 0;
    enum lct_code code = lct_tool_read(&bytes, &bytes_len, file, MAX_FILE, err);

    *phrase = (struct lct_phrase){0};
    if (code != LCT_OK)
        return code;
    size_t len = first_line(bytes, bytes_len);
    if (len == 0 || len > LCT_MAX_PHRASE)
        code = LCT_FAIL(err, LCT_ERR_AUTH,
                        "the first line of %s is no passphrase, which has 1 to %d bytes", file,
                        LCT_MAX_PHRASE);
    else if (memchr(bytes, 0, len) != NULL) /* of which nobody can type what follows it */
        code = LCT_FAIL(err, LCT_ERR_AUTH, "the first line of %s has a zero byte in it", file);
    else
        memcpy(phrase->text, bytes, len);
    phrase->len = code == LCT_OK ? len : 0;
    explicit_bzero(bytes, bytes_len);
    free(bytes);
    return code;
}

/* Who is asked for what a key file is encrypted under: once, and it is remembered. */
struct asking {
    const struct lct_private_key_request *request;
    bool asked;
    struct lct_phrase phrase;
    struct lct_err err;
};

static enum lct_code find_phrase(struct asking *asking)
{
    const struct lct_private_key_request *request = asking->request;
    char what[160];

    if (request->passphrase_file != NULL)
        return lct_phrase_read(&asking->phrase, request->passphrase_file, &asking->err);
    (void)snprintf(what, sizeof what, "%.40s of %.100s", request->phrase, request->file);
    int len = lct_ask_line(asking->phrase.text, LCT_MAX_PHRASE + 1, what);
    asking->phrase.len = len > 0 ? (size_t)len : 0;
    if (len > 0)
        return LCT_OK;
    return LCT_FAIL(&asking->err, LCT_ERR_AUTH,
                    lct_can_ask() ? "the %s of %s was not given"
                                  : "the %s of %s is needed, and there is no terminal to ask on; "
                                    "give it in a file: --passphrase-file",
                    request->phrase, request->file);
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
    struct lct_phrase shown = {0};
    EVP_PKEY *pkey = decode(libctx, bytes, bytes_len, asking);

    if (pkey == NULL && asking->phrase.len > 0 && asking->request->as_shown != NULL &&
        asking->request->as_shown(&shown, &asking->phrase)) {
        asking->phrase = shown;
        pkey = decode(libctx, bytes, bytes_len, asking);
    }
    lct_phrase_wipe(&shown);
    return pkey;
}

static enum lct_code fail(const struct asking *asking, struct lct_err *err)
{
    const struct lct_private_key_request *request = asking->request;

    if (asking->err.code != LCT_OK) {
        *err = asking->err;
        return err->code;
    }
    if (asking->asked)
        return LCT_FAIL(err, LCT_ERR_AUTH, "the %s of %s is wrong", request->phrase, request->file);
    return LCT_FAIL(err, LCT_ERR_BAD_RECORD, "%s holds no private key in PEM or DER%s",
                    request->file, request->hint);
}

enum lct_code lct_private_key_read(EVP_PKEY **pkey, bool *encrypted, OSSL_LIB_CTX *libctx,
                                   const struct lct_private_key_request *request,
                                   struct lct_err *err)
{
    struct asking asking = {.request = request, .err = {.code = LCT_OK}};
    uint8_t *bytes = NULL;
    size_t bytes_len = 0;
    enum lct_code code = lct_tool_read(&bytes, &bytes_len, request->file, MAX_FILE, err);

    *pkey = code == LCT_OK ? decode_either(libctx, bytes, bytes_len, &asking) : NULL;
    *encrypted = asking.asked;
    if (bytes != NULL)
        explicit_bzero(bytes, bytes_len);
    free(bytes);
    lct_phrase_wipe(&asking.phrase);
    if (code != LCT_OK)
        return code;
    return *pkey != NULL ? LCT_OK : fail(&asking, err);
}
