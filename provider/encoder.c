/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/keydata.h"
#include "provider/provider.h"
#include "provider/unlock.h"

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/encoder.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static OSSL_FUNC_encoder_newctx_fn encoder_newctx;
static OSSL_FUNC_encoder_freectx_fn encoder_freectx;
static OSSL_FUNC_encoder_settable_ctx_params_fn encoder_settable_ctx_params;
static OSSL_FUNC_encoder_set_ctx_params_fn encoder_set_ctx_params;
static OSSL_FUNC_encoder_does_selection_fn public_does_selection, private_does_selection,
    text_does_selection;
static OSSL_FUNC_encoder_encode_fn spki_der_encode, spki_pem_encode, private_der_encode,
    private_pem_encode, specific_pem_encode, pkcs8_encode, text_encode;

/* The private part of a key in the TPM is written as its key file; everything else libcrypto's own
 * encoders write. */
struct encoder {
    struct lct_provider *provider;
    char cipher[64]; /* to encrypt a private key with; empty: none */
};

static void *encoder_newctx(void *provctx)
{
    struct encoder *encoder = calloc(1, sizeof *encoder);

    if (encoder != NULL)
        encoder->provider = provctx;
    else
        lct_raise_memory(provctx);
    return encoder;
}

static void encoder_freectx(void *ctx)
{
    free(ctx);
}

static const OSSL_PARAM *encoder_settable_ctx_params(void *provctx)
{
    static const OSSL_PARAM params[] = {
        OSSL_PARAM_utf8_string(OSSL_ENCODER_PARAM_CIPHER, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_ENCODER_PARAM_PROPERTIES, NULL, 0),
        OSSL_PARAM_END,
    };

    (void)provctx;
    return params;
}

/* No cipher takes one back that was set before: OSSL_ENCODER_CTX_set_cipher(3). */
static int encoder_set_ctx_params(void *ctx, const OSSL_PARAM params[])
{
    struct encoder *encoder = ctx;
    const OSSL_PARAM *cipher = OSSL_PARAM_locate_const(params, OSSL_ENCODER_PARAM_CIPHER);
    char *name = encoder->cipher;

    if (cipher == NULL)
        return 1;
    if (cipher->data == NULL && cipher->data_type == OSSL_PARAM_UTF8_STRING) {
        encoder->cipher[0] = '\0';
        return 1;
    }
    return OSSL_PARAM_get_utf8_string(cipher, &name, sizeof encoder->cipher);
}

static int public_does_selection(void *provctx, int selection)
{
    (void)provctx;
    return (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) == 0 &&
           (selection & OSSL_KEYMGMT_SELECT_PUBLIC_KEY) != 0;
}

static int private_does_selection(void *provctx, int selection)
{
    (void)provctx;
    return (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) != 0;
}

static int text_does_selection(void *provctx, int selection)
{
    (void)provctx;
    return (selection & OSSL_KEYMGMT_SELECT_ALL) != 0;
}

static int write_out(const struct encoder *encoder, OSSL_CORE_BIO *cout, const void *bytes,
                     size_t bytes_len)
{
    size_t written = 0;

    return encoder->provider->bio_write_ex != NULL &&
           encoder->provider->bio_write_ex(cout, bytes, bytes_len, &written) &&
           written == bytes_len;
}

/* The caller's passphrase callback in the form that libcrypto's encoders take. */
struct passphrase {
    OSSL_PASSPHRASE_CALLBACK *callback;
    void *arg;
};

static int ask_passphrase(char *pass, size_t pass_size, size_t *pass_len, const OSSL_PARAM params[],
                          void *arg)
{
    const struct passphrase *passphrase = arg;

    return passphrase->callback != NULL &&
           passphrase->callback(pass, pass_size, pass_len, params, passphrase->arg);
}

/* A software key, or a public one, by libcrypto's own encoders. */
static int forward(const struct encoder *encoder, OSSL_CORE_BIO *cout, const EVP_PKEY *pkey,
                   int selection, const char *output, const char *structure,
                   struct passphrase passphrase)
{
    OSSL_ENCODER_CTX *ctx = OSSL_ENCODER_CTX_new_for_pkey(pkey, selection, output, structure, NULL);
    unsigned char *bytes = NULL;
    size_t bytes_len = 0;
    int good = ctx != NULL && OSSL_ENCODER_CTX_get_num_encoders(ctx) > 0;

    if (good && encoder->cipher[0] != '\0')
        good = OSSL_ENCODER_CTX_set_cipher(ctx, encoder->cipher, NULL) &&
               OSSL_ENCODER_CTX_set_passphrase_cb(ctx, ask_passphrase, &passphrase);
    if (good)
        good = OSSL_ENCODER_to_data(ctx, &bytes, &bytes_len) &&
               write_out(encoder, cout, bytes, bytes_len);
    OPENSSL_clear_free(bytes, bytes_len);
    OSSL_ENCODER_CTX_free(ctx);
    return good;
}

static int encode_public(const struct encoder *encoder, OSSL_CORE_BIO *cout,
                         const struct lct_keydata *keydata, int selection, const char *output)
{
    if (keydata == NULL || keydata->pkey == NULL)
        return 0;
    return forward(encoder, cout, keydata->pkey,
                   selection &
                       (OSSL_KEYMGMT_SELECT_PUBLIC_KEY | OSSL_KEYMGMT_SELECT_ALL_PARAMETERS),
                   output, "SubjectPublicKeyInfo", (struct passphrase){0});
}

static int spki_der_encode(void *ctx, OSSL_CORE_BIO *out, const void *obj_raw,
                           const OSSL_PARAM obj_abstract[], int selection,
                           OSSL_PASSPHRASE_CALLBACK *cb, void *cbarg)
{
    (void)cb;
    (void)cbarg;
    return obj_abstract == NULL && encode_public(ctx, out, obj_raw, selection, "DER");
}

static int spki_pem_encode(void *ctx, OSSL_CORE_BIO *out, const void *obj_raw,
                           const OSSL_PARAM obj_abstract[], int selection,
                           OSSL_PASSPHRASE_CALLBACK *cb, void *cbarg)
{
    (void)cb;
    (void)cbarg;
    return obj_abstract == NULL && encode_public(ctx, out, obj_raw, selection, "PEM");
}

/* What a private key is written as: by libcrypto's encoder of that structure, or, of a key in the
 * TPM, as its key file. */
struct form {
    const char *output;
    const char *structure;
    enum lct_code (*write)(uint8_t **bytes, size_t *bytes_len, const struct lct_keyfile *keyfile,
                           struct lct_err *err);
};

static const struct form specific_der = {"DER", "type-specific", lct_keyfile_write_der},
                         specific_pem = {"PEM", "type-specific", lct_keyfile_write_pem},
                         pkcs8_der = {"DER", "PrivateKeyInfo", NULL},
                         pkcs8_pem = {"PEM", "PrivateKeyInfo", lct_keyfile_write_pem};

static int encode_private(const struct encoder *encoder, OSSL_CORE_BIO *cout,
                          const struct lct_keydata *keydata, int selection, const struct form *form,
                          struct passphrase passphrase)
{
    const struct lct_keyfile *keyfile = NULL;
    uint8_t *bytes = NULL;
    size_t bytes_len = 0;
    struct lct_err err;
    enum lct_code code;

    if (keydata == NULL || keydata->pkey == NULL)
        return 0;
    if (keydata->key == NULL)
        return forward(encoder, cout, keydata->pkey, selection, form->output, form->structure,
                       passphrase);
    if (encoder->cipher[0] != '\0')
        code = LCT_FAIL(&err, LCT_ERR_UNSUPPORTED,
                        "%s: a key file of a TPM is not encrypted by a passphrase: the TPM has "
                        "wrapped its key; leave the cipher out",
                        keydata->key->label);
    else
        code = lct_key_file(&keyfile, keydata->key, &err);
    if (code == LCT_OK)
        code = form->write(&bytes, &bytes_len, keyfile, &err);
    int good = code == LCT_OK && write_out(encoder, cout, bytes, bytes_len);
    if (good && strcmp(form->output, "DER") == 0)
        lct_provider_remember(encoder->provider, keydata->key);
    if (code != LCT_OK)
        lct_raise(encoder->provider, &err);
    OPENSSL_free(bytes);
    return good;
}

static int private_der_encode(void *ctx, OSSL_CORE_BIO *out, const void *obj_raw,
                              const OSSL_PARAM obj_abstract[], int selection,
                              OSSL_PASSPHRASE_CALLBACK *cb, void *cbarg)
{
    return obj_abstract == NULL && encode_private(ctx, out, obj_raw, selection, &specific_der,
                                                  (struct passphrase){cb, cbarg});
}

static int private_pem_encode(void *ctx, OSSL_CORE_BIO *out, const void *obj_raw,
                              const OSSL_PARAM obj_abstract[], int selection,
                              OSSL_PASSPHRASE_CALLBACK *cb, void *cbarg)
{
    return obj_abstract == NULL &&
           encode_private(ctx, out, obj_raw, selection, &pkcs8_pem, (struct passphrase){cb, cbarg});
}

static int specific_pem_encode(void *ctx, OSSL_CORE_BIO *out, const void *obj_raw,
                               const OSSL_PARAM obj_abstract[], int selection,
                               OSSL_PASSPHRASE_CALLBACK *cb, void *cbarg)
{
    return obj_abstract == NULL && encode_private(ctx, out, obj_raw, selection, &specific_pem,
                                                  (struct passphrase){cb, cbarg});
}

/* What PKCS #8 and PKCS #12 files are made of, which a key in the TPM cannot be. */
static int pkcs8_encode(void *ctx, OSSL_CORE_BIO *out, const void *obj_raw,
                        const OSSL_PARAM obj_abstract[], int selection,
                        OSSL_PASSPHRASE_CALLBACK *cb, void *cbarg)
{
    const struct encoder *encoder = ctx;
    const struct lct_keydata *keydata = obj_raw;
    struct lct_err err;

    if (obj_abstract != NULL || keydata == NULL)
        return 0;
    if (keydata->key == NULL)
        return encode_private(ctx, out, obj_raw, selection, &pkcs8_der,
                              (struct passphrase){cb, cbarg});
    (void)LCT_FAIL(
        &err, LCT_ERR_UNSUPPORTED,
        "%s: its key does not leave the TPM, so there is no PKCS #8 or PKCS #12 of it; a "
        "key file for programs is made by lct pem",
        keydata->key->label);
    lct_raise(encoder->provider, &err);
    return 0;
}

/* "Private-Key: ..." as libcrypto begins, with where the key is instead of what it is. */
static int write_heading(const struct encoder *encoder, OSSL_CORE_BIO *cout,
                         const struct lct_key *key)
{
    char text[256];
    int len = snprintf(text, sizeof text, "Private-Key: (%d bit, in the TPM, %s)\n",
                       key->algorithm->bits, key->label);

    return len > 0 && (size_t)len < sizeof text && write_out(encoder, cout, text, (size_t)len);
}

static int text_encode(void *ctx, OSSL_CORE_BIO *out, const void *obj_raw,
                       const OSSL_PARAM obj_abstract[], int selection, OSSL_PASSPHRASE_CALLBACK *cb,
                       void *cbarg)
{
    const struct encoder *encoder = ctx;
    const struct lct_keydata *keydata = obj_raw;

    (void)cb;
    (void)cbarg;
    if (obj_abstract != NULL || keydata == NULL || keydata->pkey == NULL)
        return 0;
    if (keydata->key != NULL && (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) != 0) {
        if (!write_heading(encoder, out, keydata->key))
            return 0;
        selection &= ~OSSL_KEYMGMT_SELECT_PRIVATE_KEY;
        selection |= OSSL_KEYMGMT_SELECT_PUBLIC_KEY;
    }
    return forward(encoder, out, keydata->pkey, selection, "TEXT", NULL, (struct passphrase){0});
}

const OSSL_DISPATCH lct_spki_der_encoder[] = {
    {OSSL_FUNC_ENCODER_NEWCTX, (void (*)(void))encoder_newctx},
    {OSSL_FUNC_ENCODER_FREECTX, (void (*)(void))encoder_freectx},
    {OSSL_FUNC_ENCODER_DOES_SELECTION, (void (*)(void))public_does_selection},
    {OSSL_FUNC_ENCODER_ENCODE, (void (*)(void))spki_der_encode},
    {0, NULL},
};

const OSSL_DISPATCH lct_spki_pem_encoder[] = {
    {OSSL_FUNC_ENCODER_NEWCTX, (void (*)(void))encoder_newctx},
    {OSSL_FUNC_ENCODER_FREECTX, (void (*)(void))encoder_freectx},
    {OSSL_FUNC_ENCODER_DOES_SELECTION, (void (*)(void))public_does_selection},
    {OSSL_FUNC_ENCODER_ENCODE, (void (*)(void))spki_pem_encode},
    {0, NULL},
};

const OSSL_DISPATCH lct_private_der_encoder[] = {
    {OSSL_FUNC_ENCODER_NEWCTX, (void (*)(void))encoder_newctx},
    {OSSL_FUNC_ENCODER_FREECTX, (void (*)(void))encoder_freectx},
    {OSSL_FUNC_ENCODER_SETTABLE_CTX_PARAMS, (void (*)(void))encoder_settable_ctx_params},
    {OSSL_FUNC_ENCODER_SET_CTX_PARAMS, (void (*)(void))encoder_set_ctx_params},
    {OSSL_FUNC_ENCODER_DOES_SELECTION, (void (*)(void))private_does_selection},
    {OSSL_FUNC_ENCODER_ENCODE, (void (*)(void))private_der_encode},
    {0, NULL},
};

const OSSL_DISPATCH lct_private_pem_encoder[] = {
    {OSSL_FUNC_ENCODER_NEWCTX, (void (*)(void))encoder_newctx},
    {OSSL_FUNC_ENCODER_FREECTX, (void (*)(void))encoder_freectx},
    {OSSL_FUNC_ENCODER_SETTABLE_CTX_PARAMS, (void (*)(void))encoder_settable_ctx_params},
    {OSSL_FUNC_ENCODER_SET_CTX_PARAMS, (void (*)(void))encoder_set_ctx_params},
    {OSSL_FUNC_ENCODER_DOES_SELECTION, (void (*)(void))private_does_selection},
    {OSSL_FUNC_ENCODER_ENCODE, (void (*)(void))private_pem_encode},
    {0, NULL},
};

const OSSL_DISPATCH lct_specific_pem_encoder[] = {
    {OSSL_FUNC_ENCODER_NEWCTX, (void (*)(void))encoder_newctx},
    {OSSL_FUNC_ENCODER_FREECTX, (void (*)(void))encoder_freectx},
    {OSSL_FUNC_ENCODER_SETTABLE_CTX_PARAMS, (void (*)(void))encoder_settable_ctx_params},
    {OSSL_FUNC_ENCODER_SET_CTX_PARAMS, (void (*)(void))encoder_set_ctx_params},
    {OSSL_FUNC_ENCODER_DOES_SELECTION, (void (*)(void))private_does_selection},
    {OSSL_FUNC_ENCODER_ENCODE, (void (*)(void))specific_pem_encode},
    {0, NULL},
};

const OSSL_DISPATCH lct_pkcs8_encoder[] = {
    {OSSL_FUNC_ENCODER_NEWCTX, (void (*)(void))encoder_newctx},
    {OSSL_FUNC_ENCODER_FREECTX, (void (*)(void))encoder_freectx},
    {OSSL_FUNC_ENCODER_SETTABLE_CTX_PARAMS, (void (*)(void))encoder_settable_ctx_params},
    {OSSL_FUNC_ENCODER_SET_CTX_PARAMS, (void (*)(void))encoder_set_ctx_params},
    {OSSL_FUNC_ENCODER_DOES_SELECTION, (void (*)(void))private_does_selection},
    {OSSL_FUNC_ENCODER_ENCODE, (void (*)(void))pkcs8_encode},
    {0, NULL},
};

const OSSL_DISPATCH lct_text_encoder[] = {
    {OSSL_FUNC_ENCODER_NEWCTX, (void (*)(void))encoder_newctx},
    {OSSL_FUNC_ENCODER_FREECTX, (void (*)(void))encoder_freectx},
    {OSSL_FUNC_ENCODER_DOES_SELECTION, (void (*)(void))text_does_selection},
    {OSSL_FUNC_ENCODER_ENCODE, (void (*)(void))text_encode},
    {0, NULL},
};
