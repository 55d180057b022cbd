/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_PROVIDER_CONTEXT_H
#define LCT_PROVIDER_CONTEXT_H

#include "base/config.h"
#include "base/error.h"
#include "store/store.h"
#include "tcg/crypto.h"
#include "tpm/tpm.h"

#include <openssl/core.h>
#include <openssl/core_dispatch.h>

/*
 * The provider context: what libcrypto hands back to every function of ours as `provctx`. Made
 * without touching the TPM, the store, or the private library context.
 */
struct lct_provider {
    const OSSL_CORE_HANDLE *core;
    OSSL_FUNC_core_new_error_fn *new_error;
    OSSL_FUNC_core_set_error_debug_fn *set_error_debug;
    OSSL_FUNC_core_vset_error_fn *vset_error;
    OSSL_FUNC_core_get_params_fn *get_params;
    OSSL_FUNC_BIO_write_ex_fn *bio_write_ex;
    struct lct_config config;
    struct lct_store store;
    struct lct_crypto *crypto;
    struct lct_tpm *tpm;
    struct lct_err
        config_error; /* code LCT_OK: the configuration is good; else raised where it is needed */
};

/* NULL if out of memory: a wrong configuration does not keep the provider from loading. */
struct lct_provider *lct_provider_new(const OSSL_CORE_HANDLE *core, const OSSL_DISPATCH *upcalls);
void lct_provider_free(struct lct_provider *provider);

/* Raises the error of a wrong configuration. False if there is one. */
bool lct_provider_is_configured(const struct lct_provider *provider);

/* Raises an error in libcrypto's queue of this thread, under our name and with our reason. */
void lct_raise(const struct lct_provider *provider, const struct lct_err *err);

/* The reasons, for libcrypto: the codes of base/error.h. */
const OSSL_ITEM *lct_reasons(void);

/*
 * The private library context; raises where there is none. NULL must not go on to libcrypto: to it
 * that is the application's context, which would come back into us.
 */
OSSL_LIB_CTX *lct_provider_libctx(const struct lct_provider *provider);

/* An operation context there, for `pkey` or with NULL for a key of `type`; NULL if there is none.
 */
EVP_PKEY_CTX *lct_provider_pkey_ctx(const struct lct_provider *provider, EVP_PKEY *pkey,
                                    const char *type);

#endif
