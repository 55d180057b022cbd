/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/unlock.h"

#include <openssl/core_names.h>
#include <openssl/params.h>
#include <string.h>

/* Asks the application for a passphrase. No lock is held: it may take its time, fork, or sign. */
static enum lct_code ask(struct lct_key *key, OSSL_PASSPHRASE_CALLBACK *pw_cb, void *pw_cbarg,
                         struct lct_err *err)
{
    char typed[128]; /* to see that one is too long */
    size_t typed_len = 0;
    const OSSL_PARAM params[] = {
        OSSL_PARAM_utf8_string(OSSL_PASSPHRASE_PARAM_INFO, key->label, strlen(key->label)),
        OSSL_PARAM_END,
    };

    enum lct_code code =
        pw_cb != NULL && pw_cb(typed, sizeof typed, &typed_len, params, pw_cbarg)
            ? lct_secret_take(&key->passphrase, "its passphrase", (const uint8_t *)typed, typed_len,
                              err)
            : LCT_FAIL(err, LCT_ERR_AUTH,
                       "signing with it takes its passphrase; set passphrase_file in openssl.cnf, "
                       "or give it to the program");
    explicit_bzero(typed, sizeof typed);
    return code == LCT_OK ? LCT_OK : lct_err_prefix(err, key->label);
}

bool lct_provider_unlock(const struct lct_provider *provider, const struct lct_settings *settings,
                         struct lct_key *key, OSSL_PASSPHRASE_CALLBACK *pw_cb, void *pw_cbarg)
{
    struct lct_err err;
    enum lct_code code = lct_key_unlock(key, &settings->config, &err);

    if (code == LCT_OK && lct_key_is_locked(key))
        code = ask(key, pw_cb, pw_cbarg, &err);
    if (code != LCT_OK)
        lct_raise(provider, &err);
    return code == LCT_OK;
}
