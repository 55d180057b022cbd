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
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

/* The configuration and what it opens: neither TPM nor store is touched by that. Immutable. */
struct lct_settings {
    struct lct_config config;
    struct lct_store store;
    struct lct_tpm *tpm;
    struct lct_err
        error; /* code LCT_OK: the configuration is good; else raised when it is needed */
};

enum { LCT_MAX_CONFIG_KEYS = 16 };

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
    OSSL_FUNC_BIO_read_ex_fn *bio_read_ex;
    OSSL_FUNC_BIO_gets_fn *bio_gets;
    OSSL_FUNC_BIO_ctrl_fn *bio_ctrl;
    OSSL_FUNC_BIO_write_ex_fn *bio_write_ex;
    struct lct_crypto *crypto;
    /* As text, by the table of keys, NULL: not set. Servers clear their environment after loading
     * us, and OSSL_PROVIDER_add_conf_parameter(3) is called only then. */
    char *given[LCT_MAX_CONFIG_KEYS], *environment[LCT_MAX_CONFIG_KEYS];
    struct lct_settings *first;               /* as it was when we were loaded */
    _Atomic(struct lct_settings *) effective; /* as it was at the first use; NULL: not used yet */
    _Atomic(struct lct_remembered *) remembered; /* keys, of unlock.h; only added to */
    pthread_key_t listener; /* of each thread, of unlock.h; none could be had: !has_listener */
    bool has_listener;
};

/* NULL if out of memory, whatever it was for: no setting is lost. A wrong configuration does not
 * keep the provider from loading. */
struct lct_provider *lct_provider_new(const OSSL_CORE_HANDLE *core, const OSSL_DISPATCH *upcalls);
void lct_provider_free(struct lct_provider *provider);

/* The settings, borrowed for as long as the provider is loaded; NULL if the configuration is wrong,
 * and then its error is raised. */
const struct lct_settings *lct_provider_settings(struct lct_provider *provider);

/* Raises an error in libcrypto's queue of this thread, under our name and with our reason. */
void lct_raise(const struct lct_provider *provider, const struct lct_err *err);

/* Raises that there is no memory, for who has no more to say. */
void lct_raise_memory(const struct lct_provider *provider);

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
