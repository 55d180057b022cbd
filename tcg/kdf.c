/* SPDX-License-Identifier: Apache-2.0 */
#include "tcg/kdf.h"

#include "base/unconst.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <stdbool.h>
#include <string.h>

struct context {
    size_t len;
    uint8_t data[LCT_MAX_KDF_CONTEXT];
};

static bool append(struct context *context, const void *bytes, size_t len)
{
    if (len > sizeof context->data - context->len)
        return false;
    if (len > 0)
        memcpy(context->data + context->len, bytes, len);
    context->len += len;
    return true;
}

static OSSL_PARAM octets(const char *key, const void *bytes, size_t len)
{
    return OSSL_PARAM_construct_octet_string(key, lct_unconst(bytes), len);
}

static OSSL_PARAM text(const char *key, const char *value)
{
    return OSSL_PARAM_construct_utf8_string(key, lct_unconst(value), 0);
}

static bool derive(uint8_t *out, size_t out_len, OSSL_LIB_CTX *libctx, const char *name,
                   const OSSL_PARAM params[])
{
    EVP_KDF *kdf = EVP_KDF_fetch(libctx, name, NULL);
    EVP_KDF_CTX *ctx = kdf != NULL ? EVP_KDF_CTX_new(kdf) : NULL;
    bool derived = ctx != NULL && EVP_KDF_derive(ctx, out, out_len, params) == 1;

    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(kdf);
    return derived;
}

static enum lct_code finish(bool derived, uint8_t *out, size_t out_len, struct lct_err *err)
{
    if (derived)
        return LCT_OK;
    OPENSSL_cleanse(out, out_len);
    return LCT_FAIL(err, LCT_ERR_INTERNAL, "libcrypto cannot derive a key");
}

enum lct_code lct_kdfa(uint8_t *out, size_t out_len, OSSL_LIB_CTX *libctx,
                       const struct lct_kdf *from, struct lct_err *err)
{
    struct context context = {0};
    bool derived = false;

    if (out_len > 0 && from->key_len > 0 && append(&context, from->u, from->u_len) &&
        append(&context, from->v, from->v_len)) {
        /* The zero that KBKDF puts behind the label is the label's NUL. */
        const OSSL_PARAM params[] = {
            text(OSSL_KDF_PARAM_MAC, "HMAC"),
            text(OSSL_KDF_PARAM_DIGEST, from->hash->openssl),
            octets(OSSL_KDF_PARAM_KEY, from->key, from->key_len),
            octets(OSSL_KDF_PARAM_SALT, from->label, strlen(from->label)),
            octets(OSSL_KDF_PARAM_INFO, context.data, context.len),
            OSSL_PARAM_END,
        };
        derived = derive(out, out_len, libctx, "KBKDF", params);
    }
    return finish(derived, out, out_len, err);
}

enum lct_code lct_kdfe(uint8_t *out, size_t out_len, OSSL_LIB_CTX *libctx,
                       const struct lct_kdf *from, struct lct_err *err)
{
    struct context context = {0};
    bool derived = false;

    if (out_len > 0 && from->key_len > 0 &&
        append(&context, from->label, strlen(from->label) + 1) &&
        append(&context, from->u, from->u_len) && append(&context, from->v, from->v_len)) {
        const OSSL_PARAM params[] = {
            text(OSSL_KDF_PARAM_DIGEST, from->hash->openssl),
            octets(OSSL_KDF_PARAM_KEY, from->key, from->key_len),
            octets(OSSL_KDF_PARAM_INFO, context.data, context.len),
            OSSL_PARAM_END,
        };
        derived = derive(out, out_len, libctx, "SSKDF", params);
    }
    return finish(derived, out, out_len, err);
}
