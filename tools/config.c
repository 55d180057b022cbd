/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/tool.h"

#include <errno.h>
#include <openssl/conf.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <string.h>
#include <unistd.h>

/* The section that [openssl_conf] -> providers -> lct names, or NULL. */
static const char *find_section(CONF *conf)
{
    static const char *const path[] = {"openssl_conf", "providers", "lct"};
    const char *section = NULL;

    for (size_t i = 0; i < sizeof path / sizeof path[0]; i++) {
        section = NCONF_get_string(conf, section, path[i]);
        if (section == NULL)
            return NULL;
    }
    return section;
}

/* libcrypto's own keys of a provider's section: config(5). */
static bool is_libcryptos(const char *name)
{
    static const char *const names[] = {"identity", "module", "activate", "soft_load"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

static enum lct_code take_section(struct lct_config *config, CONF *conf, struct lct_err *err)
{
    const char *section = find_section(conf);
    STACK_OF(CONF_VALUE) *values = section != NULL ? NCONF_get_section(conf, section) : NULL;
    enum lct_code code = LCT_OK;

    for (int i = 0; i < sk_CONF_VALUE_num(values) && code == LCT_OK; i++) {
        const CONF_VALUE *value = sk_CONF_VALUE_value(values, i);
        if (!is_libcryptos(value->name))
            code = lct_config_set(config, value->name, value->value, err);
    }
    return code;
}

enum lct_code lct_tool_read_config(struct lct_config *config, struct lct_err *err)
{
    char *file = CONF_get1_default_config_file();
    CONF *conf = NCONF_new(NULL);
    enum lct_code code = LCT_OK;
    long line = 0;

    (void)ERR_set_mark();
    if (file == NULL || conf == NULL)
        code = LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    else if (*file == '\0' || access(file, F_OK) != 0)
        code = LCT_OK; /* no configuration is a configuration */
    else if (NCONF_load(conf, file, &line) != 1)
        code = LCT_FAIL(err, LCT_ERR_CONFIG, "%s cannot be read: %s", file,
                        line > 0 ? "it has a syntax error" : strerror(errno));
    else if (take_section(config, conf, err) != LCT_OK)
        code = lct_err_prefix(err, file);
    (void)ERR_pop_to_mark();
    NCONF_free(conf);
    OPENSSL_free(file);
    return code;
}
