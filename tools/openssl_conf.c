/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/openssl_conf.h"

#include <openssl/conf.h>
#include <openssl/err.h>
#include <openssl/provider.h>
#include <openssl/store.h>
#include <stddef.h>
#include <strings.h>

const char *lct_conf_get(const CONF *conf, const char *section, const char *name)
{
    return section != NULL ? NCONF_get_string(conf, section, name) : NULL;
}

bool lct_conf_activates(const CONF *conf, const char *providers, const char *name)
{
    static const char *const no[] = {"0", "no", "off", "false"};
    const char *value = lct_conf_get(conf, lct_conf_get(conf, providers, name), "activate");

    for (size_t i = 0; value != NULL && i < sizeof no / sizeof no[0]; i++)
        if (strcasecmp(value, no[i]) == 0)
            return false;
    return value != NULL;
}

static const char *first_reason(void)
{
    const char *data = NULL;
    int flags = 0;

    (void)ERR_peek_error_data(&data, &flags);
    return data != NULL && (flags & ERR_TXT_STRING) != 0 && *data != '\0' ? data : NULL;
}

/* Of what fails in a configuration 3.0 keeps no reason, but of the module by itself. */
const char *lct_conf_reason(OSSL_LIB_CTX *libctx, const char *module)
{
    const char *reason = first_reason();

    if (reason == NULL) {
        OSSL_PROVIDER *provider = OSSL_PROVIDER_load(libctx, module);
        if (provider != NULL)
            (void)OSSL_PROVIDER_unload(provider);
        reason = first_reason();
    }
    return reason != NULL ? reason : "libcrypto does not say why";
}

/* lct's loader without a property query of its own: what default_properties leave of it. */
bool lct_conf_hides_lct(OSSL_LIB_CTX *libctx)
{
    OSSL_STORE_LOADER *loader = OSSL_STORE_LOADER_fetch(libctx, "lct", NULL);

    OSSL_STORE_LOADER_free(loader);
    return loader == NULL;
}
