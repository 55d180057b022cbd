/* SPDX-License-Identifier: Apache-2.0 */
#include "base/unconst.h"
#include "provider/keydata.h"
#include "provider/provider.h"
#include "store/identity.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static OSSL_FUNC_keymgmt_new_fn ec_keymgmt_new, rsa_keymgmt_new;
static OSSL_FUNC_keymgmt_free_fn keymgmt_free;
static OSSL_FUNC_keymgmt_load_fn keymgmt_load;
static OSSL_FUNC_keymgmt_dup_fn keymgmt_dup;
static OSSL_FUNC_keymgmt_has_fn keymgmt_has;
static OSSL_FUNC_keymgmt_match_fn keymgmt_match;
static OSSL_FUNC_keymgmt_validate_fn keymgmt_validate;
static OSSL_FUNC_keymgmt_get_params_fn keymgmt_get_params;
static OSSL_FUNC_keymgmt_gettable_params_fn ec_keymgmt_gettable_params, rsa_keymgmt_gettable_params;
static OSSL_FUNC_keymgmt_set_params_fn keymgmt_set_params;
static OSSL_FUNC_keymgmt_settable_params_fn ec_keymgmt_settable_params, rsa_keymgmt_settable_params;
static OSSL_FUNC_keymgmt_import_fn keymgmt_import;
static OSSL_FUNC_keymgmt_export_fn keymgmt_export;
static OSSL_FUNC_keymgmt_import_types_fn ec_keymgmt_types, rsa_keymgmt_types;
static OSSL_FUNC_keymgmt_query_operation_name_fn ec_keymgmt_query_operation_name,
    rsa_keymgmt_query_operation_name;
static OSSL_FUNC_keymgmt_gen_init_fn ec_keymgmt_gen_init, rsa_keymgmt_gen_init;
static OSSL_FUNC_keymgmt_gen_set_template_fn keymgmt_gen_set_template;
static OSSL_FUNC_keymgmt_gen_set_params_fn keymgmt_gen_set_params;
static OSSL_FUNC_keymgmt_gen_settable_params_fn ec_keymgmt_gen_settable_params,
    rsa_keymgmt_gen_settable_params;
static OSSL_FUNC_keymgmt_gen_fn keymgmt_gen;
static OSSL_FUNC_keymgmt_gen_cleanup_fn keymgmt_gen_cleanup;

/* The parameter of generation that makes an identity instead of a software key. */
static const char gen_param_id[] = "lct-id";

static void *ec_keymgmt_new(void *provctx)
{
    return lct_keydata_new(provctx, "EC");
}

static void *rsa_keymgmt_new(void *provctx)
{
    return lct_keydata_new(provctx, "RSA");
}

static void keymgmt_free(void *keydata)
{
    lct_keydata_free(keydata);
}

/* The store and the generation of a key hand over a pointer to the keydata; it is taken out. */
static void *keymgmt_load(const void *reference, size_t reference_sz)
{
    struct lct_keydata **slot = lct_unconst(reference);

    if (reference_sz != sizeof *slot)
        return NULL;
    struct lct_keydata *keydata = *slot;
    *slot = NULL;
    return keydata;
}

/* A part of a software key: what is exported of it, imported anew. */
static EVP_PKEY *copy_part(const struct lct_keydata *from, int selection)
{
    EVP_PKEY_CTX *ctx = lct_provider_pkey_ctx(from->provider, NULL, from->type);
    OSSL_PARAM *params = NULL;
    EVP_PKEY *pkey = NULL;

    if (ctx == NULL || EVP_PKEY_todata(from->pkey, selection, &params) != 1 ||
        EVP_PKEY_fromdata_init(ctx) != 1 || EVP_PKEY_fromdata(ctx, &pkey, selection, params) != 1)
        pkey = NULL;
    OSSL_PARAM_free(params);
    EVP_PKEY_CTX_free(ctx);
    return pkey;
}

static void *keymgmt_dup(const void *keydata_from, int selection)
{
    const struct lct_keydata *from = keydata_from;

    if (from->key != NULL && (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) != 0)
        return lct_keydata_from_key(from->provider, lct_key_up_ref(from->key));
    struct lct_keydata *to = lct_keydata_new(from->provider, from->type);
    if (to == NULL || from->pkey == NULL)
        return to;
    EVP_PKEY *pkey = (selection & OSSL_KEYMGMT_SELECT_KEYPAIR) == OSSL_KEYMGMT_SELECT_KEYPAIR
                         ? EVP_PKEY_dup(from->pkey)
                         : copy_part(from, selection);
    if (pkey == NULL) {
        lct_keydata_free(to);
        return NULL;
    }
    lct_keydata_take(to, pkey);
    return to;
}

/* NULL and empty keys have nothing: `openssl cms` asks. */
static int keymgmt_has(const void *keydata, int selection)
{
    const struct lct_keydata *key = keydata;

    return key != NULL && key->pkey != NULL && (selection & ~key->has) == 0;
}

static int keymgmt_match(const void *keydata1, const void *keydata2, int selection)
{
    const struct lct_keydata *a = keydata1, *b = keydata2;

    if (a->pkey == NULL || b->pkey == NULL)
        return 0;
    if ((selection & OSSL_KEYMGMT_SELECT_KEYPAIR) != 0)
        return EVP_PKEY_eq(a->pkey, b->pkey) == 1;
    return EVP_PKEY_parameters_eq(a->pkey, b->pkey) == 1;
}

static int keymgmt_validate(const void *keydata, int selection, int checktype)
{
    const struct lct_keydata *key = keydata;
    EVP_PKEY_CTX *ctx;
    int good = 1;

    if (key->pkey == NULL)
        return 0;
    ctx = lct_provider_pkey_ctx(key->provider, key->pkey, NULL);
    if (ctx == NULL)
        return 0;
    bool quick = checktype == OSSL_KEYMGMT_VALIDATE_QUICK_CHECK;
    /* RSA has no parameters to check, and a private key in the TPM was checked by the TPM when it
     * was loaded. */
    if ((selection & OSSL_KEYMGMT_SELECT_DOMAIN_PARAMETERS) != 0 && strcmp(key->type, "EC") == 0)
        good = quick ? EVP_PKEY_param_check_quick(ctx) : EVP_PKEY_param_check(ctx);
    if (good == 1 && (selection & OSSL_KEYMGMT_SELECT_PUBLIC_KEY) != 0)
        good = quick ? EVP_PKEY_public_check_quick(ctx) : EVP_PKEY_public_check(ctx);
    if (good == 1 && key->key == NULL && (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) != 0)
        good = (selection & OSSL_KEYMGMT_SELECT_PUBLIC_KEY) != 0 ? EVP_PKEY_pairwise_check(ctx)
                                                                 : EVP_PKEY_private_check(ctx);
    EVP_PKEY_CTX_free(ctx);
    return good == 1;
}

static int keymgmt_get_params(void *keydata, OSSL_PARAM params[])
{
    const struct lct_keydata *key = keydata;

    return key->pkey != NULL && EVP_PKEY_get_params(key->pkey, params) == 1;
}

/* libcrypto answers, and what it can answer grows with its versions: the list is its own. */
static const OSSL_PARAM *gettable_params(const struct lct_provider *provider, const char *type)
{
    OSSL_LIB_CTX *libctx = lct_provider_libctx(provider);
    EVP_KEYMGMT *keymgmt = libctx != NULL ? EVP_KEYMGMT_fetch(libctx, type, NULL) : NULL;
    const OSSL_PARAM *params = keymgmt != NULL ? EVP_KEYMGMT_gettable_params(keymgmt) : NULL;

    EVP_KEYMGMT_free(keymgmt);
    return params;
}

static const OSSL_PARAM *ec_keymgmt_gettable_params(void *provctx)
{
    return gettable_params(provctx, "EC");
}

static const OSSL_PARAM *rsa_keymgmt_gettable_params(void *provctx)
{
    return gettable_params(provctx, "RSA");
}

/* An identity's key is what it is. That its public half be written with it, which openssl-ec(1)
 * asks for, is so anyway. */
static int set_params_of_identity(const struct lct_keydata *key, const OSSL_PARAM params[])
{
    struct lct_err err;
    int public = 0;

    for (const OSSL_PARAM *param = params; param->key != NULL; param++) {
        if (strcmp(param->key, OSSL_PKEY_PARAM_EC_INCLUDE_PUBLIC) == 0 &&
            OSSL_PARAM_get_int(param, &public) && public == 1)
            continue;
        (void)LCT_FAIL(&err, LCT_ERR_UNSUPPORTED,
                       "%s: an identity's key is not changed (%.40s); convert its public key: "
                       "openssl pkey -pubout, and the rest with that",
                       key->key->label, param->key);
        lct_raise(key->provider, &err);
        return 0;
    }
    return 1;
}

/* TLS sets the peer's point on a key it made itself. */
static int keymgmt_set_params(void *keydata, const OSSL_PARAM params[])
{
    struct lct_keydata *key = keydata;

    if (params == NULL || params[0].key == NULL)
        return 1;
    if (key->key != NULL)
        return set_params_of_identity(key, params);
    if (key->pkey == NULL || EVP_PKEY_set_params(key->pkey, lct_unconst(params)) != 1)
        return 0;
    lct_keydata_update(key);
    return 1;
}

static const OSSL_PARAM *ec_keymgmt_settable_params(void *provctx)
{
    static const OSSL_PARAM params[] = {
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_EC_ENCODING, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, NULL, 0),
        OSSL_PARAM_int(OSSL_PKEY_PARAM_USE_COFACTOR_ECDH, NULL),
        OSSL_PARAM_END,
    };

    (void)provctx;
    return params;
}

static const OSSL_PARAM *rsa_keymgmt_settable_params(void *provctx)
{
    static const OSSL_PARAM params[] = {OSSL_PARAM_END};

    (void)provctx;
    return params;
}

static int keymgmt_import(void *keydata, int selection, const OSSL_PARAM params[])
{
    struct lct_keydata *key = keydata;
    EVP_PKEY *pkey = NULL;

    if (key->key != NULL)
        return 0;
    EVP_PKEY_CTX *ctx = lct_provider_pkey_ctx(key->provider, NULL, key->type);
    bool good = ctx != NULL && EVP_PKEY_fromdata_init(ctx) == 1 &&
                EVP_PKEY_fromdata(ctx, &pkey, selection, lct_unconst(params)) == 1;
    EVP_PKEY_CTX_free(ctx);
    if (good)
        lct_keydata_take(key, pkey);
    return good;
}

/*
 * libcrypto tries to move a key to whichever provider it found for an operation, and comes back to
 * us only if that fails: the private part of a key in the TPM must be refused, or it signs with a
 * key that is not there. So must the parameters of RSA, which has none: libcrypto's own encoder
 * crashes on the empty key that it would get.
 */
static int keymgmt_export(void *keydata, int selection, OSSL_CALLBACK *param_cb, void *cbarg)
{
    const struct lct_keydata *key = keydata;

    if (key->pkey == NULL ||
        (key->key != NULL && (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) != 0))
        return 0;
    if ((selection & OSSL_KEYMGMT_SELECT_KEYPAIR) == 0 && strcmp(key->type, "RSA") == 0)
        return 0;
    return EVP_PKEY_export(key->pkey, selection, param_cb, cbarg);
}

static const OSSL_PARAM *ec_keymgmt_types(int selection)
{
    static const OSSL_PARAM params[] = {
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_EC_ENCODING, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_EC_FIELD_TYPE, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_EC_P, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_EC_A, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_EC_B, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_EC_GENERATOR, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_EC_ORDER, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_EC_COFACTOR, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_EC_SEED, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_PRIV_KEY, NULL, 0),
        OSSL_PARAM_int(OSSL_PKEY_PARAM_USE_COFACTOR_ECDH, NULL),
        OSSL_PARAM_int(OSSL_PKEY_PARAM_EC_INCLUDE_PUBLIC, NULL),
        OSSL_PARAM_END,
    };

    return (selection & OSSL_KEYMGMT_SELECT_ALL) != 0 ? params : NULL;
}

static const OSSL_PARAM *rsa_keymgmt_types(int selection)
{
    static const OSSL_PARAM params[] = {
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_N, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_E, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_D, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_FACTOR1, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_FACTOR2, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_EXPONENT1, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_EXPONENT2, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_COEFFICIENT1, NULL, 0),
        OSSL_PARAM_END,
    };

    return (selection & OSSL_KEYMGMT_SELECT_KEYPAIR) != 0 ? params : NULL;
}

static const char *ec_keymgmt_query_operation_name(int operation_id)
{
    switch (operation_id) {
    case OSSL_OP_SIGNATURE:
        return "ECDSA";
    case OSSL_OP_KEYEXCH:
        return "ECDH";
    default:
        return NULL;
    }
}

static const char *rsa_keymgmt_query_operation_name(int operation_id)
{
    (void)operation_id;
    return "RSA";
}

/* A generation under way: of a software key, or with `id` of an identity. */
struct generation {
    struct lct_provider *provider;
    const char *type;
    int selection;
    EVP_PKEY_CTX *ctx;
    bool is_identity;        /* an id was given */
    bool is_special;         /* something was asked for that a TPM's template has no place for */
    char id[LCT_MAX_ID + 2]; /* a byte more than fits, so that too long an id is seen */
    char group[64];
    size_t bits;
    OSSL_CALLBACK *progress;
    void *progress_arg;
};

static bool gen_start(struct generation *gen)
{
    if (gen->ctx == NULL)
        return false;
    if ((gen->selection & OSSL_KEYMGMT_SELECT_KEYPAIR) == 0)
        return EVP_PKEY_paramgen_init(gen->ctx) == 1;
    return EVP_PKEY_keygen_init(gen->ctx) == 1;
}

static void *gen_init(void *provctx, const char *type, int selection, const OSSL_PARAM params[])
{
    struct lct_provider *provider = provctx;
    struct generation *gen = calloc(1, sizeof *gen);

    if (gen == NULL) {
        lct_raise_memory(provider);
        return NULL;
    }
    gen->provider = provider;
    gen->type = type;
    gen->selection = selection;
    gen->bits = 2048;
    gen->ctx = lct_provider_pkey_ctx(provider, NULL, type);
    if (!gen_start(gen) || !keymgmt_gen_set_params(gen, params)) {
        keymgmt_gen_cleanup(gen);
        return NULL;
    }
    return gen;
}

static void *ec_keymgmt_gen_init(void *provctx, int selection, const OSSL_PARAM params[])
{
    return gen_init(provctx, "EC", selection, params);
}

static void *rsa_keymgmt_gen_init(void *provctx, int selection, const OSSL_PARAM params[])
{
    return gen_init(provctx, "RSA", selection, params);
}

static int keymgmt_gen_set_template(void *genctx, void *template)
{
    struct generation *gen = genctx;
    const struct lct_keydata *from = template;

    if (from->pkey == NULL)
        return 0;
    EVP_PKEY_CTX_free(gen->ctx);
    gen->ctx = lct_provider_pkey_ctx(gen->provider, from->pkey, NULL);
    (void)EVP_PKEY_get_utf8_string_param(from->pkey, OSSL_PKEY_PARAM_GROUP_NAME, gen->group,
                                         sizeof gen->group, NULL);
    return gen_start(gen);
}

static bool get_text(const OSSL_PARAM params[], const char *key, char *text, size_t size)
{
    const OSSL_PARAM *param = OSSL_PARAM_locate_const(params, key);

    return param == NULL || OSSL_PARAM_get_utf8_string(param, &text, size);
}

static bool take_id(struct generation *gen, const OSSL_PARAM params[])
{
    const OSSL_PARAM *param = OSSL_PARAM_locate_const(params, gen_param_id);
    const char *id = NULL;

    for (const OSSL_PARAM *other = params; other->key != NULL; other++)
        if (strcmp(other->key, gen_param_id) != 0 &&
            strcmp(other->key, OSSL_PKEY_PARAM_GROUP_NAME) != 0 &&
            strcmp(other->key, OSSL_PKEY_PARAM_RSA_BITS) != 0)
            gen->is_special = true;
    if (param == NULL)
        return true;
    gen->is_identity = OSSL_PARAM_get_utf8_string_ptr(param, &id) && id != NULL;
    if (gen->is_identity)
        (void)snprintf(gen->id, sizeof gen->id, "%s", id);
    return gen->is_identity;
}

static int keymgmt_gen_set_params(void *genctx, const OSSL_PARAM params[])
{
    struct generation *gen = genctx;

    if (params == NULL || params[0].key == NULL)
        return 1;
    const OSSL_PARAM *bits = OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_RSA_BITS);
    if (!take_id(gen, params) ||
        !get_text(params, OSSL_PKEY_PARAM_GROUP_NAME, gen->group, sizeof gen->group) ||
        (bits != NULL && !OSSL_PARAM_get_size_t(bits, &gen->bits)))
        return 0;
    return EVP_PKEY_CTX_set_params(gen->ctx, params) == 1;
}

static const OSSL_PARAM *ec_keymgmt_gen_settable_params(void *genctx, void *provctx)
{
    static const OSSL_PARAM params[] = {
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
        OSSL_PARAM_int(OSSL_PKEY_PARAM_USE_COFACTOR_ECDH, NULL),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_EC_ENCODING, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_EC_FIELD_TYPE, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_EC_P, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_EC_A, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_EC_B, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_EC_GENERATOR, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_EC_ORDER, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_EC_COFACTOR, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_EC_SEED, NULL, 0),
        OSSL_PARAM_utf8_string(gen_param_id, NULL, 0),
        OSSL_PARAM_END,
    };

    (void)genctx;
    (void)provctx;
    return params;
}

static const OSSL_PARAM *rsa_keymgmt_gen_settable_params(void *genctx, void *provctx)
{
    static const OSSL_PARAM params[] = {
        OSSL_PARAM_size_t(OSSL_PKEY_PARAM_RSA_BITS, NULL),
        OSSL_PARAM_size_t(OSSL_PKEY_PARAM_RSA_PRIMES, NULL),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_E, NULL, 0),
        OSSL_PARAM_utf8_string(gen_param_id, NULL, 0),
        OSSL_PARAM_END,
    };

    (void)genctx;
    (void)provctx;
    return params;
}

static const struct lct_algorithm *gen_algorithm(const struct generation *gen)
{
    char name[32] = "rsa-";

    if (strcmp(gen->type, "EC") == 0)
        return lct_algorithm_by_group(gen->group[0] != '\0' ? gen->group : "P-256");
    (void)snprintf(name, sizeof name, "rsa-%zu", gen->bits);
    return lct_algorithm_by_name(name);
}

static enum lct_code create_identity(const struct generation *gen,
                                     const struct lct_settings *settings, struct lct_key **key,
                                     struct lct_err *err)
{
    const struct lct_config *config = &settings->config;
    struct lct_secret owner_auth = {0};
    const struct lct_identity_request request = {
        .id = gen->id,
        .algorithm = gen_algorithm(gen),
        .owner = {(uid_t)-1, (gid_t)-1},
        .provision = !config->no_provision,
        .owner_auth = &owner_auth,
    };
    enum lct_code code = LCT_OK;

    if (request.algorithm == NULL || gen->is_special)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                        "lct:%s: identities have P-256 or P-384, or RSA keys of 2048 or 3072 bits "
                        "with the exponent 65537, and nothing else to choose",
                        gen->id);
    if (config->owner_auth_file != NULL)
        code =
            lct_secret_read(&owner_auth, "the owner's authorization", config->owner_auth_file, err);
    if (code == LCT_OK)
        code = lct_identity_create(&settings->store, settings->tpm, gen->provider->crypto, &request,
                                   key, NULL, err);
    lct_secret_wipe(&owner_auth);
    if (code != LCT_OK)
        return code;
    code = lct_key_look_in(*key, settings->store.dirs[settings->store.create_in], config, err);
    if (code != LCT_OK) {
        lct_key_free(*key);
        *key = NULL;
    }
    return code;
}

static struct lct_keydata *gen_identity(const struct generation *gen)
{
    const struct lct_settings *settings = lct_provider_settings(gen->provider);
    struct lct_key *key = NULL;
    struct lct_err err;

    if (settings == NULL)
        return NULL;
    if (create_identity(gen, settings, &key, &err) == LCT_OK)
        return lct_keydata_from_key(gen->provider, key);
    lct_raise(gen->provider, &err);
    return NULL;
}

/* libcrypto's key generation reports progress to us, we to the caller, who may stop it. */
static int forward_progress(EVP_PKEY_CTX *ctx)
{
    struct generation *gen = EVP_PKEY_CTX_get_app_data(ctx);
    int potential = EVP_PKEY_CTX_get_keygen_info(ctx, 0);
    int iteration = EVP_PKEY_CTX_get_keygen_info(ctx, 1);
    const OSSL_PARAM params[] = {
        OSSL_PARAM_int(OSSL_GEN_PARAM_POTENTIAL, &potential),
        OSSL_PARAM_int(OSSL_GEN_PARAM_ITERATION, &iteration),
        OSSL_PARAM_END,
    };

    return gen->progress(params, gen->progress_arg);
}

static struct lct_keydata *gen_software(struct generation *gen)
{
    struct lct_keydata *keydata = lct_keydata_new(gen->provider, gen->type);
    EVP_PKEY *pkey = NULL;

    if (gen->progress != NULL) {
        EVP_PKEY_CTX_set_app_data(gen->ctx, gen);
        EVP_PKEY_CTX_set_cb(gen->ctx, forward_progress);
    }
    if (keydata == NULL || EVP_PKEY_generate(gen->ctx, &pkey) != 1) {
        lct_keydata_free(keydata);
        return NULL;
    }
    lct_keydata_take(keydata, pkey);
    return keydata;
}

static void *keymgmt_gen(void *genctx, OSSL_CALLBACK *cb, void *cbarg)
{
    struct generation *gen = genctx;

    gen->progress = cb;
    gen->progress_arg = cbarg;
    if (gen->is_identity && (gen->selection & OSSL_KEYMGMT_SELECT_KEYPAIR) != 0)
        return gen_identity(gen);
    return gen_software(gen);
}

static void keymgmt_gen_cleanup(void *genctx)
{
    struct generation *gen = genctx;

    if (gen == NULL)
        return;
    EVP_PKEY_CTX_free(gen->ctx);
    free(gen);
}

/* The two tables differ where a function is told neither the key nor the type. */
const OSSL_DISPATCH lct_ec_keymgmt[] = {
    {OSSL_FUNC_KEYMGMT_NEW, (void (*)(void))ec_keymgmt_new},
    {OSSL_FUNC_KEYMGMT_FREE, (void (*)(void))keymgmt_free},
    {OSSL_FUNC_KEYMGMT_LOAD, (void (*)(void))keymgmt_load},
    {OSSL_FUNC_KEYMGMT_DUP, (void (*)(void))keymgmt_dup},
    {OSSL_FUNC_KEYMGMT_HAS, (void (*)(void))keymgmt_has},
    {OSSL_FUNC_KEYMGMT_MATCH, (void (*)(void))keymgmt_match},
    {OSSL_FUNC_KEYMGMT_VALIDATE, (void (*)(void))keymgmt_validate},
    {OSSL_FUNC_KEYMGMT_GET_PARAMS, (void (*)(void))keymgmt_get_params},
    {OSSL_FUNC_KEYMGMT_GETTABLE_PARAMS, (void (*)(void))ec_keymgmt_gettable_params},
    {OSSL_FUNC_KEYMGMT_SET_PARAMS, (void (*)(void))keymgmt_set_params},
    {OSSL_FUNC_KEYMGMT_SETTABLE_PARAMS, (void (*)(void))ec_keymgmt_settable_params},
    {OSSL_FUNC_KEYMGMT_IMPORT, (void (*)(void))keymgmt_import},
    {OSSL_FUNC_KEYMGMT_IMPORT_TYPES, (void (*)(void))ec_keymgmt_types},
    {OSSL_FUNC_KEYMGMT_EXPORT, (void (*)(void))keymgmt_export},
    {OSSL_FUNC_KEYMGMT_EXPORT_TYPES, (void (*)(void))ec_keymgmt_types},
    {OSSL_FUNC_KEYMGMT_QUERY_OPERATION_NAME, (void (*)(void))ec_keymgmt_query_operation_name},
    {OSSL_FUNC_KEYMGMT_GEN_INIT, (void (*)(void))ec_keymgmt_gen_init},
    {OSSL_FUNC_KEYMGMT_GEN_SET_TEMPLATE, (void (*)(void))keymgmt_gen_set_template},
    {OSSL_FUNC_KEYMGMT_GEN_SET_PARAMS, (void (*)(void))keymgmt_gen_set_params},
    {OSSL_FUNC_KEYMGMT_GEN_SETTABLE_PARAMS, (void (*)(void))ec_keymgmt_gen_settable_params},
    {OSSL_FUNC_KEYMGMT_GEN, (void (*)(void))keymgmt_gen},
    {OSSL_FUNC_KEYMGMT_GEN_CLEANUP, (void (*)(void))keymgmt_gen_cleanup},
    {0, NULL},
};

const OSSL_DISPATCH lct_rsa_keymgmt[] = {
    {OSSL_FUNC_KEYMGMT_NEW, (void (*)(void))rsa_keymgmt_new},
    {OSSL_FUNC_KEYMGMT_FREE, (void (*)(void))keymgmt_free},
    {OSSL_FUNC_KEYMGMT_LOAD, (void (*)(void))keymgmt_load},
    {OSSL_FUNC_KEYMGMT_DUP, (void (*)(void))keymgmt_dup},
    {OSSL_FUNC_KEYMGMT_HAS, (void (*)(void))keymgmt_has},
    {OSSL_FUNC_KEYMGMT_MATCH, (void (*)(void))keymgmt_match},
    {OSSL_FUNC_KEYMGMT_VALIDATE, (void (*)(void))keymgmt_validate},
    {OSSL_FUNC_KEYMGMT_GET_PARAMS, (void (*)(void))keymgmt_get_params},
    {OSSL_FUNC_KEYMGMT_GETTABLE_PARAMS, (void (*)(void))rsa_keymgmt_gettable_params},
    {OSSL_FUNC_KEYMGMT_SET_PARAMS, (void (*)(void))keymgmt_set_params},
    {OSSL_FUNC_KEYMGMT_SETTABLE_PARAMS, (void (*)(void))rsa_keymgmt_settable_params},
    {OSSL_FUNC_KEYMGMT_IMPORT, (void (*)(void))keymgmt_import},
    {OSSL_FUNC_KEYMGMT_IMPORT_TYPES, (void (*)(void))rsa_keymgmt_types},
    {OSSL_FUNC_KEYMGMT_EXPORT, (void (*)(void))keymgmt_export},
    {OSSL_FUNC_KEYMGMT_EXPORT_TYPES, (void (*)(void))rsa_keymgmt_types},
    {OSSL_FUNC_KEYMGMT_QUERY_OPERATION_NAME, (void (*)(void))rsa_keymgmt_query_operation_name},
    {OSSL_FUNC_KEYMGMT_GEN_INIT, (void (*)(void))rsa_keymgmt_gen_init},
    {OSSL_FUNC_KEYMGMT_GEN_SET_TEMPLATE, (void (*)(void))keymgmt_gen_set_template},
    {OSSL_FUNC_KEYMGMT_GEN_SET_PARAMS, (void (*)(void))keymgmt_gen_set_params},
    {OSSL_FUNC_KEYMGMT_GEN_SETTABLE_PARAMS, (void (*)(void))rsa_keymgmt_gen_settable_params},
    {OSSL_FUNC_KEYMGMT_GEN, (void (*)(void))keymgmt_gen},
    {OSSL_FUNC_KEYMGMT_GEN_CLEANUP, (void (*)(void))keymgmt_gen_cleanup},
    {0, NULL},
};
