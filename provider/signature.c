/* SPDX-License-Identifier: Apache-2.0 */
#include "base/unconst.h"
#include "provider/keydata.h"
#include "provider/provider.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/params.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

static OSSL_FUNC_signature_newctx_fn signature_newctx;
static OSSL_FUNC_signature_freectx_fn signature_freectx;
static OSSL_FUNC_signature_dupctx_fn signature_dupctx;
static OSSL_FUNC_signature_sign_init_fn signature_sign_init;
static OSSL_FUNC_signature_sign_fn signature_sign;
static OSSL_FUNC_signature_verify_init_fn signature_verify_init;
static OSSL_FUNC_signature_verify_fn signature_verify;
static OSSL_FUNC_signature_verify_recover_init_fn signature_verify_recover_init;
static OSSL_FUNC_signature_verify_recover_fn signature_verify_recover;
static OSSL_FUNC_signature_digest_sign_init_fn signature_digest_sign_init;
static OSSL_FUNC_signature_digest_sign_update_fn signature_digest_sign_update;
static OSSL_FUNC_signature_digest_sign_final_fn signature_digest_sign_final;
static OSSL_FUNC_signature_digest_sign_fn signature_digest_sign;
static OSSL_FUNC_signature_digest_verify_init_fn signature_digest_verify_init;
static OSSL_FUNC_signature_digest_verify_update_fn signature_digest_verify_update;
static OSSL_FUNC_signature_digest_verify_final_fn signature_digest_verify_final;
static OSSL_FUNC_signature_digest_verify_fn signature_digest_verify;
static OSSL_FUNC_signature_get_ctx_params_fn signature_get_ctx_params;
static OSSL_FUNC_signature_gettable_ctx_params_fn signature_gettable_ctx_params;
static OSSL_FUNC_signature_set_ctx_params_fn signature_set_ctx_params;
static OSSL_FUNC_signature_settable_ctx_params_fn signature_settable_ctx_params;

/*
 * A signature operation. Everything but signing by the TPM is forwarded to libcrypto's own
 * implementation, in the private library context: `parameters` is its context. While signing by the
 * TPM that is a *verification* context of the public key: it takes, checks and reports parameters
 * exactly as OpenSSL does, and what it holds says what the TPM is asked to do. Nothing here speaks
 * to the TPM before there is a digest to sign: libssl calls init as a probe.
 */
struct operation {
    struct lct_provider *provider;
    EVP_PKEY *pkey;      /* kept between inits: a later one may name no key */
    struct lct_key *key; /* NULL: a software key */
    bool by_tpm;         /* the operation is a signature by `key` */
    EVP_PKEY_CTX *parameters;
    EVP_MD_CTX *hash; /* of a digest operation; unless by_tpm it owns `parameters` */
};

static void *signature_newctx(void *provctx, const char *propq)
{
    struct operation *operation = calloc(1, sizeof *operation);

    (void)propq; /* the private context has one provider to choose from */
    if (operation != NULL)
        operation->provider = provctx;
    return operation;
}

static void clear(struct operation *operation)
{
    if (operation->hash == NULL || operation->by_tpm)
        EVP_PKEY_CTX_free(operation->parameters);
    EVP_MD_CTX_free(operation->hash);
    operation->parameters = NULL;
    operation->hash = NULL;
    operation->by_tpm = false;
}

static void signature_freectx(void *ctx)
{
    struct operation *operation = ctx;

    if (operation == NULL)
        return;
    clear(operation);
    lct_key_free(operation->key);
    EVP_PKEY_free(operation->pkey);
    free(operation);
}

static bool dup_contexts(struct operation *to, const struct operation *from)
{
    if (from->hash != NULL) {
        to->hash = EVP_MD_CTX_new();
        if (to->hash == NULL || EVP_MD_CTX_copy_ex(to->hash, from->hash) != 1)
            return false;
        if (!from->by_tpm) {
            to->parameters = EVP_MD_CTX_get_pkey_ctx(to->hash);
            return to->parameters != NULL;
        }
    }
    to->parameters = from->parameters != NULL ? EVP_PKEY_CTX_dup(from->parameters) : NULL;
    return to->parameters != NULL || from->parameters == NULL;
}

static void *signature_dupctx(void *ctx)
{
    const struct operation *from = ctx;
    struct operation *to = signature_newctx(from->provider, NULL);

    if (to == NULL)
        return NULL;
    to->by_tpm = from->by_tpm;
    to->key = from->key != NULL ? lct_key_up_ref(from->key) : NULL;
    if (from->pkey != NULL && EVP_PKEY_up_ref(from->pkey))
        to->pkey = from->pkey;
    if (dup_contexts(to, from))
        return to;
    signature_freectx(to);
    return NULL;
}

/* Begins an operation anew, with another key if one is named. */
static bool begin(struct operation *operation, const struct lct_keydata *keydata)
{
    clear(operation);
    if (keydata == NULL)
        return operation->pkey != NULL;
    if (keydata->pkey == NULL || !EVP_PKEY_up_ref(keydata->pkey))
        return false;
    EVP_PKEY_free(operation->pkey);
    lct_key_free(operation->key);
    operation->pkey = keydata->pkey;
    operation->key = keydata->key != NULL ? lct_key_up_ref(keydata->key) : NULL;
    return true;
}

static bool fail(const struct operation *operation, const struct lct_err *err)
{
    lct_raise(operation->provider, err);
    return false;
}

/* The name of the digest in the parameters, empty if there is none. */
static void digest_name(const struct operation *operation, char name[64])
{
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST, name, 64),
        OSSL_PARAM_END,
    };

    name[0] = '\0';
    (void)EVP_PKEY_CTX_get_params(operation->parameters, params);
}

/* Our row of a hash by any of its names; NULL: none of ours. *size is its length, 0 if libcrypto
 * has no such hash. */
static const struct lct_hash *find_hash(const struct operation *operation, const char *name,
                                        size_t *size)
{
    OSSL_LIB_CTX *libctx = lct_provider_libctx(operation->provider);
    EVP_MD *md = libctx != NULL ? EVP_MD_fetch(libctx, name, NULL) : NULL;
    size_t num_hashes;
    const struct lct_hash *hashes = lct_hashes(&num_hashes), *found = NULL;

    *size = md != NULL ? (size_t)EVP_MD_get_size(md) : 0;
    for (size_t i = 0; i < num_hashes && found == NULL && md != NULL; i++)
        if (EVP_MD_is_a(md, hashes[i].openssl))
            found = &hashes[i];
    EVP_MD_free(md);
    return found;
}

/*
 * The salt that was asked for must be the one the key's TPM uses: a signature whose salt is not
 * what the certificate or TLS says is refused by the other side, far from here.
 */
static enum lct_code settle_salt(const struct operation *operation, const struct lct_scheme *scheme,
                                 struct lct_err *err)
{
    int asked = RSA_PSS_SALTLEN_AUTO;
    int digest = (int)scheme->hash->size;
    int max = EVP_PKEY_get_size(operation->pkey) - digest - 2;
    enum { AUTO_DIGEST_MAX = -4 }; /* RSA_PSS_SALTLEN_AUTO_DIGEST_MAX, OpenSSL 3.1 */
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_int(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, &asked),
        OSSL_PARAM_END,
    };

    if (EVP_PKEY_CTX_get_params(operation->parameters, params) != 1)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "the salt length is not to be had");
    if (asked == digest)
        asked = RSA_PSS_SALTLEN_DIGEST;
    else if (asked == max)
        asked = RSA_PSS_SALTLEN_MAX;
    if (asked != RSA_PSS_SALTLEN_AUTO && asked != AUTO_DIGEST_MAX && asked != scheme->salt_len)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                        "%s: its TPM makes RSA-PSS signatures with a salt %s; ask for "
                        "rsa_pss_saltlen:%s",
                        operation->key->label,
                        scheme->salt_len == RSA_PSS_SALTLEN_MAX ? "as long as fits"
                                                                : "as long as the digest",
                        scheme->salt_len == RSA_PSS_SALTLEN_MAX ? "max" : "digest");
    if (asked != scheme->salt_len &&
        EVP_PKEY_CTX_set_rsa_pss_saltlen(operation->parameters, scheme->salt_len) != 1)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "the salt length cannot be set");
    return LCT_OK;
}

static enum lct_code check_mgf1(const struct operation *operation, const struct lct_hash *hash,
                                struct lct_err *err)
{
    char name[64] = "";
    size_t size;
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_SIGNATURE_PARAM_MGF1_DIGEST, name, sizeof name),
        OSSL_PARAM_END,
    };

    if (EVP_PKEY_CTX_get_params(operation->parameters, params) == 1 &&
        find_hash(operation, name, &size) == hash)
        return LCT_OK;
    return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                    "%s: a TPM masks RSA-PSS signatures with the digest's own hash, not with %s",
                    operation->key->label, name);
}

static enum lct_code fail_padding(const struct operation *operation, struct lct_err *err)
{
    return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                    "%s: a TPM key signs with the paddings pkcs1 and pss only",
                    operation->key->label);
}

static enum lct_code rsa_scheme(const struct operation *operation, struct lct_scheme *scheme,
                                struct lct_err *err)
{
    int padding = 0;
    char name[64];
    size_t size;

    (void)EVP_PKEY_CTX_get_rsa_padding(operation->parameters, &padding);
    if (padding != RSA_PKCS1_PADDING && padding != RSA_PKCS1_PSS_PADDING)
        return fail_padding(operation, err);
    bool pss = padding == RSA_PKCS1_PSS_PADDING;
    digest_name(operation, name);
    if (name[0] == '\0' && !pss) { /* the caller hands in a DigestInfo: prepare */
        *scheme = (struct lct_scheme){0};
        return LCT_OK;
    }
    const struct lct_hash *hash = find_hash(operation, name, &size);
    if (hash == NULL)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED, "%s: a TPM makes no RSA signatures with %s",
                        operation->key->label, name);
    enum lct_code code = lct_key_scheme(scheme, operation->key, hash, pss, err);
    if (code == LCT_OK && pss)
        code = check_mgf1(operation, hash, err);
    if (code == LCT_OK && pss)
        code = settle_salt(operation, scheme, err);
    return code;
}

/* What the parameters ask of the TPM, or why it cannot be had. For RSA without a digest,
 * scheme->hash is NULL. */
static enum lct_code find_scheme(const struct operation *operation, struct lct_scheme *scheme,
                                 struct lct_err *err)
{
    if (strcmp(operation->key->generation.algorithm->key_type, "EC") == 0)
        return lct_key_scheme(scheme, operation->key, NULL, false, err);
    return rsa_scheme(operation, scheme, err);
}

/* A verification context of the public key, which holds the parameters of a signature by the TPM.
 */
static bool begin_by_tpm(struct operation *operation, const OSSL_PARAM params[])
{
    operation->by_tpm = true;
    operation->parameters = lct_provider_pkey_ctx(operation->provider, operation->pkey, NULL);
    return operation->parameters != NULL &&
           EVP_PKEY_verify_init_ex(operation->parameters, params) == 1;
}

/* A forwarded operation on a digest. */
static bool begin_forward(struct operation *operation, const OSSL_PARAM params[],
                          int (*init)(EVP_PKEY_CTX *ctx, const OSSL_PARAM params[]))
{
    operation->parameters = lct_provider_pkey_ctx(operation->provider, operation->pkey, NULL);
    return operation->parameters != NULL && init(operation->parameters, params) == 1;
}

static int signature_sign_init(void *ctx, void *provkey, const OSSL_PARAM params[])
{
    struct operation *operation = ctx;

    if (!begin(operation, provkey))
        return 0;
    return operation->key != NULL ? begin_by_tpm(operation, params)
                                  : begin_forward(operation, params, EVP_PKEY_sign_init_ex);
}

/* The TPM encodes what it signs anew: that must be what was handed in. */
static bool is_canonical(const X509_SIG *info, const uint8_t *der, size_t der_len)
{
    unsigned char *again = NULL;
    int len = i2d_X509_SIG(info, &again);
    bool same = len >= 0 && (size_t)len == der_len && memcmp(again, der, der_len) == 0;

    OPENSSL_free(again);
    return same;
}

/* RFC 8017, 9.2: for PKCS#1 v1.5 without a digest OpenSSL's callers hand in a DigestInfo; the TPM
 * wants its parts. */
static bool open_digest_info(const struct operation *operation, struct lct_scheme *scheme,
                             uint8_t *digest, size_t *digest_len, const uint8_t *tbs,
                             size_t tbs_len)
{
    const unsigned char *at = tbs;
    (void)ERR_set_mark();
    X509_SIG *info = d2i_X509_SIG(NULL, &at, (long)tbs_len);
    const X509_ALGOR *algorithm = NULL;
    const ASN1_OBJECT *object = NULL;
    const ASN1_OCTET_STRING *value = NULL;
    int parameter = V_ASN1_UNDEF;
    struct lct_err err;
    size_t size = 0;
    bool good = false;

    (void)ERR_pop_to_mark();
    if (info != NULL && at == tbs + tbs_len) {
        X509_SIG_get0(info, &algorithm, &value);
        X509_ALGOR_get0(&object, &parameter, NULL, algorithm);
        const struct lct_hash *hash = find_hash(operation, OBJ_nid2sn(OBJ_obj2nid(object)), &size);
        good = hash != NULL && parameter == V_ASN1_NULL && is_canonical(info, tbs, tbs_len) &&
               (size_t)ASN1_STRING_length(value) == hash->size &&
               lct_key_scheme(scheme, operation->key, hash, false, &err) == LCT_OK;
    }
    if (good) {
        *digest_len = size;
        memcpy(digest, ASN1_STRING_get0_data(value), size);
    }
    X509_SIG_free(info);
    return good;
}

/* What is to be signed, in the form and size the TPM takes. */
static enum lct_code prepare(const struct operation *operation, struct lct_scheme *scheme,
                             uint8_t *digest, size_t *digest_len, const uint8_t *tbs,
                             size_t tbs_len, struct lct_err *err)
{
    char name[64];
    size_t size = 0;

    *scheme = (struct lct_scheme){0};
    enum lct_code code = find_scheme(operation, scheme, err);

    if (code != LCT_OK)
        return code;
    digest_name(operation, name);
    if (name[0] == '\0' && scheme->hash == NULL) {
        if (open_digest_info(operation, scheme, digest, digest_len, tbs, tbs_len))
            return LCT_OK;
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                        "%s: say which digest is signed, as in -pkeyopt digest:sha256; without, an "
                        "RSA key in a TPM signs only the DigestInfo of a hash it has",
                        operation->key->label);
    }
    if (name[0] != '\0')
        (void)find_hash(operation, name, &size);
    if (size != 0 && size != tbs_len)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED, "%s: a digest of %s has %zu bytes, not %zu",
                        operation->key->label, name, size, tbs_len);
    *digest_len = lct_key_fit_digest(scheme, digest, tbs, tbs_len);
    return LCT_OK;
}

/* *siglen bytes of signature, or with sig NULL the most there can be. */
static bool sign_by_tpm(const struct operation *operation, unsigned char *sig, size_t *siglen,
                        size_t sigsize, const uint8_t *tbs, size_t tbs_len)
{
    const struct lct_tpm_key values = lct_key_values(operation->key);
    struct lct_signature signature;
    struct lct_scheme scheme;
    struct lct_err err;
    uint8_t digest[LCT_MAX_HASH];
    size_t digest_len = 0;

    const struct lct_settings *settings = lct_provider_settings(operation->provider);
    if (settings == NULL)
        return false;
    enum lct_code code = prepare(operation, &scheme, digest, &digest_len, tbs, tbs_len, &err);
    if (code == LCT_OK)
        code = lct_tpm_sign(settings->tpm, &signature, &values, &scheme, digest, digest_len, &err);
    if (code == LCT_OK && signature.len > sigsize)
        code = LCT_FAIL(&err, LCT_ERR_INTERNAL, "%s: the caller's buffer is too small",
                        operation->key->label);
    if (code != LCT_OK)
        return fail(operation, &err);
    memcpy(sig, signature.data, signature.len);
    *siglen = signature.len;
    return true;
}

static int give_size(const struct operation *operation, size_t *siglen)
{
    int size = EVP_PKEY_get_size(operation->pkey);

    *siglen = (size_t)size;
    return size > 0;
}

static int signature_sign(void *ctx, unsigned char *sig, size_t *siglen, size_t sigsize,
                          const unsigned char *tbs, size_t tbslen)
{
    const struct operation *operation = ctx;

    if (!operation->by_tpm) {
        *siglen = sigsize;
        return EVP_PKEY_sign(operation->parameters, sig, siglen, tbs, tbslen);
    }
    if (sig == NULL)
        return give_size(operation, siglen);
    return sign_by_tpm(operation, sig, siglen, sigsize, tbs, tbslen);
}

static int signature_verify_init(void *ctx, void *provkey, const OSSL_PARAM params[])
{
    struct operation *operation = ctx;

    return begin(operation, provkey) && begin_forward(operation, params, EVP_PKEY_verify_init_ex);
}

static int signature_verify(void *ctx, const unsigned char *sig, size_t siglen,
                            const unsigned char *tbs, size_t tbslen)
{
    const struct operation *operation = ctx;

    return EVP_PKEY_verify(operation->parameters, sig, siglen, tbs, tbslen) == 1;
}

static int signature_verify_recover_init(void *ctx, void *provkey, const OSSL_PARAM params[])
{
    struct operation *operation = ctx;

    return begin(operation, provkey) &&
           begin_forward(operation, params, EVP_PKEY_verify_recover_init_ex);
}

static int signature_verify_recover(void *ctx, unsigned char *rout, size_t *routlen,
                                    size_t routsize, const unsigned char *sig, size_t siglen)
{
    const struct operation *operation = ctx;

    *routlen = routsize;
    return EVP_PKEY_verify_recover(operation->parameters, rout, routlen, sig, siglen) == 1;
}

/* The hash of a signature by the TPM: in software, whatever the size of the message. */
static bool begin_hash(struct operation *operation, const char *mdname)
{
    OSSL_LIB_CTX *libctx = lct_provider_libctx(operation->provider);
    EVP_MD *md = libctx != NULL ? EVP_MD_fetch(libctx, mdname, NULL) : NULL;
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST, lct_unconst(mdname), 0),
        OSSL_PARAM_END,
    };

    operation->hash = EVP_MD_CTX_new();
    bool good = md != NULL && operation->hash != NULL &&
                EVP_PKEY_CTX_set_params(operation->parameters, params) == 1 &&
                EVP_DigestInit_ex2(operation->hash, md, NULL) == 1;
    EVP_MD_free(md);
    return good;
}

/* What cannot be signed is refused here, so that TLS picks what can be. */
static bool check_by_tpm(const struct operation *operation)
{
    struct lct_scheme scheme;
    struct lct_err err;

    return find_scheme(operation, &scheme, &err) == LCT_OK || fail(operation, &err);
}

/* Programs ask for PSS after init, and until then the padding is PKCS #1: with a key that is bound
 * to PSS that is refused when the padding is set, or when it signs. */
static bool awaits_padding(const struct operation *operation)
{
    return operation->key->public_area.scheme == TPM2_ALG_RSAPSS;
}

static int signature_digest_sign_init(void *ctx, const char *mdname, void *provkey,
                                      const OSSL_PARAM params[])
{
    struct operation *operation = ctx;

    if (!begin(operation, provkey))
        return 0;
    if (operation->key != NULL)
        return begin_by_tpm(operation, NULL) &&
               begin_hash(operation, mdname != NULL && *mdname != '\0' ? mdname : "SHA256") &&
               (params == NULL || EVP_PKEY_CTX_set_params(operation->parameters, params) == 1) &&
               (awaits_padding(operation) || check_by_tpm(operation));
    OSSL_LIB_CTX *libctx = lct_provider_libctx(operation->provider);
    operation->hash = EVP_MD_CTX_new();
    return libctx != NULL && operation->hash != NULL &&
           EVP_DigestSignInit_ex(operation->hash, &operation->parameters, mdname, libctx, NULL,
                                 operation->pkey, params) == 1;
}

static int signature_digest_sign_update(void *ctx, const unsigned char *data, size_t datalen)
{
    const struct operation *operation = ctx;

    return operation->by_tpm ? EVP_DigestUpdate(operation->hash, data, datalen)
                             : EVP_DigestSignUpdate(operation->hash, data, datalen);
}

static int signature_digest_sign_final(void *ctx, unsigned char *sig, size_t *siglen,
                                       size_t sigsize)
{
    const struct operation *operation = ctx;
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned digest_len = 0;

    if (!operation->by_tpm) {
        *siglen = sigsize;
        return EVP_DigestSignFinal(operation->hash, sig, siglen);
    }
    if (sig == NULL)
        return give_size(operation, siglen);
    EVP_MD_CTX *copy =
        EVP_MD_CTX_new(); /* a caller may go on with the context, as with software keys */
    bool good = copy != NULL && EVP_MD_CTX_copy_ex(copy, operation->hash) == 1 &&
                EVP_DigestFinal_ex(copy, digest, &digest_len) == 1;
    EVP_MD_CTX_free(copy);
    return good && sign_by_tpm(operation, sig, siglen, sigsize, digest, digest_len);
}

static int signature_digest_sign(void *ctx, unsigned char *sig, size_t *siglen, size_t sigsize,
                                 const unsigned char *tbs, size_t tbslen)
{
    const struct operation *operation = ctx;

    if (!operation->by_tpm) {
        *siglen = sigsize;
        return EVP_DigestSign(operation->hash, sig, siglen, tbs, tbslen);
    }
    if (sig == NULL)
        return give_size(operation, siglen);
    return signature_digest_sign_update(ctx, tbs, tbslen) &&
           signature_digest_sign_final(ctx, sig, siglen, sigsize);
}

static int signature_digest_verify_init(void *ctx, const char *mdname, void *provkey,
                                        const OSSL_PARAM params[])
{
    struct operation *operation = ctx;

    if (!begin(operation, provkey))
        return 0;
    OSSL_LIB_CTX *libctx = lct_provider_libctx(operation->provider);
    operation->hash = EVP_MD_CTX_new();
    return libctx != NULL && operation->hash != NULL &&
           EVP_DigestVerifyInit_ex(operation->hash, &operation->parameters, mdname, libctx, NULL,
                                   operation->pkey, params) == 1;
}

static int signature_digest_verify_update(void *ctx, const unsigned char *data, size_t datalen)
{
    const struct operation *operation = ctx;

    return EVP_DigestVerifyUpdate(operation->hash, data, datalen);
}

static int signature_digest_verify_final(void *ctx, const unsigned char *sig, size_t siglen)
{
    const struct operation *operation = ctx;

    return EVP_DigestVerifyFinal(operation->hash, sig, siglen) == 1;
}

static int signature_digest_verify(void *ctx, const unsigned char *sig, size_t siglen,
                                   const unsigned char *tbs, size_t tbslen)
{
    const struct operation *operation = ctx;

    return EVP_DigestVerify(operation->hash, sig, siglen, tbs, tbslen) == 1;
}

static int signature_get_ctx_params(void *ctx, OSSL_PARAM *params)
{
    const struct operation *operation = ctx;

    return operation->parameters != NULL &&
           EVP_PKEY_CTX_get_params(operation->parameters, params) == 1;
}

static const OSSL_PARAM *signature_gettable_ctx_params(void *ctx, void *provctx)
{
    static const OSSL_PARAM none[] = {OSSL_PARAM_END};
    const struct operation *operation = ctx;

    (void)provctx;
    return operation != NULL && operation->parameters != NULL
               ? EVP_PKEY_CTX_gettable_params(operation->parameters)
               : none;
}

/* The digest of a digest operation was fixed when it began. */
static bool keeps_digest(const struct operation *operation, const OSSL_PARAM params[])
{
    const OSSL_PARAM *param = OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_DIGEST);
    const char *name = NULL;

    return param == NULL || (OSSL_PARAM_get_utf8_string_ptr(param, &name) &&
                             EVP_MD_is_a(EVP_MD_CTX_get0_md(operation->hash), name));
}

/* OpenSSL 3.0 passes over the name of a padding that it does not know, and signs with another. */
static bool names_padding(const struct operation *operation, const OSSL_PARAM params[])
{
    const OSSL_PARAM *param = OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_PAD_MODE);
    const char *name = NULL;
    struct lct_err err;

    if (param == NULL || param->data_type != OSSL_PARAM_UTF8_STRING)
        return true;
    if (OSSL_PARAM_get_utf8_string_ptr(param, &name) &&
        (strcmp(name, OSSL_PKEY_RSA_PAD_MODE_PKCSV15) == 0 ||
         strcmp(name, OSSL_PKEY_RSA_PAD_MODE_PSS) == 0))
        return true;
    (void)fail_padding(operation, &err);
    return fail(operation, &err);
}

static int signature_set_ctx_params(void *ctx, const OSSL_PARAM params[])
{
    const struct operation *operation = ctx;

    if (params == NULL || params[0].key == NULL)
        return 1;
    bool digest_by_tpm = operation->by_tpm && operation->hash != NULL;
    if (operation->parameters == NULL || (operation->by_tpm && !names_padding(operation, params)) ||
        (digest_by_tpm && !keeps_digest(operation, params)) ||
        EVP_PKEY_CTX_set_params(operation->parameters, params) != 1)
        return 0;
    return !digest_by_tpm || check_by_tpm(operation);
}

static const OSSL_PARAM *signature_settable_ctx_params(void *ctx, void *provctx)
{
    static const OSSL_PARAM none[] = {OSSL_PARAM_END};
    const struct operation *operation = ctx;

    (void)provctx;
    return operation != NULL && operation->parameters != NULL
               ? EVP_PKEY_CTX_settable_params(operation->parameters)
               : none;
}

/* One table for both: that ECDSA recovers nothing, libcrypto says by itself. */
const OSSL_DISPATCH lct_signature[] = {
    {OSSL_FUNC_SIGNATURE_NEWCTX, (void (*)(void))signature_newctx},
    {OSSL_FUNC_SIGNATURE_FREECTX, (void (*)(void))signature_freectx},
    {OSSL_FUNC_SIGNATURE_DUPCTX, (void (*)(void))signature_dupctx},
    {OSSL_FUNC_SIGNATURE_SIGN_INIT, (void (*)(void))signature_sign_init},
    {OSSL_FUNC_SIGNATURE_SIGN, (void (*)(void))signature_sign},
    {OSSL_FUNC_SIGNATURE_VERIFY_INIT, (void (*)(void))signature_verify_init},
    {OSSL_FUNC_SIGNATURE_VERIFY, (void (*)(void))signature_verify},
    {OSSL_FUNC_SIGNATURE_VERIFY_RECOVER_INIT, (void (*)(void))signature_verify_recover_init},
    {OSSL_FUNC_SIGNATURE_VERIFY_RECOVER, (void (*)(void))signature_verify_recover},
    {OSSL_FUNC_SIGNATURE_DIGEST_SIGN_INIT, (void (*)(void))signature_digest_sign_init},
    {OSSL_FUNC_SIGNATURE_DIGEST_SIGN_UPDATE, (void (*)(void))signature_digest_sign_update},
    {OSSL_FUNC_SIGNATURE_DIGEST_SIGN_FINAL, (void (*)(void))signature_digest_sign_final},
    {OSSL_FUNC_SIGNATURE_DIGEST_SIGN, (void (*)(void))signature_digest_sign},
    {OSSL_FUNC_SIGNATURE_DIGEST_VERIFY_INIT, (void (*)(void))signature_digest_verify_init},
    {OSSL_FUNC_SIGNATURE_DIGEST_VERIFY_UPDATE, (void (*)(void))signature_digest_verify_update},
    {OSSL_FUNC_SIGNATURE_DIGEST_VERIFY_FINAL, (void (*)(void))signature_digest_verify_final},
    {OSSL_FUNC_SIGNATURE_DIGEST_VERIFY, (void (*)(void))signature_digest_verify},
    {OSSL_FUNC_SIGNATURE_GET_CTX_PARAMS, (void (*)(void))signature_get_ctx_params},
    {OSSL_FUNC_SIGNATURE_GETTABLE_CTX_PARAMS, (void (*)(void))signature_gettable_ctx_params},
    {OSSL_FUNC_SIGNATURE_SET_CTX_PARAMS, (void (*)(void))signature_set_ctx_params},
    {OSSL_FUNC_SIGNATURE_SETTABLE_CTX_PARAMS, (void (*)(void))signature_settable_ctx_params},
    {0, NULL},
};
