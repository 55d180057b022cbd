/* SPDX-License-Identifier: Apache-2.0 */
#include "base/config.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static enum lct_code replace(char **field, const char *value, struct lct_err *err)
{
    char *copy = strdup(value);

    if (copy == NULL)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    free(*field);
    *field = copy;
    return LCT_OK;
}

static enum lct_code set_tcti(struct lct_config *config, const char *value, struct lct_err *err)
{
    if (*value == '\0')
        return LCT_FAIL(err, LCT_ERR_CONFIG,
                        "tcti is empty; it takes a name and its configuration, as in "
                        "device:/dev/tpmrm0");
    return replace(&config->tcti, value, err);
}

static enum lct_code set_store(struct lct_config *config, const char *value, struct lct_err *err)
{
    if (*value != '/')
        return LCT_FAIL(err, LCT_ERR_CONFIG, "store is \"%s\"; it takes an absolute path", value);
    enum lct_code code = replace(&config->store, value, err);
    if (code == LCT_OK) /* "/store/" is "/store" */
        for (size_t len = strlen(config->store); len > 1 && config->store[len - 1] == '/'; len--)
            config->store[len - 1] = '\0';
    return code;
}

static enum lct_code set_provision(struct lct_config *config, const char *value,
                                   struct lct_err *err)
{
    if (strcmp(value, "yes") != 0 && strcmp(value, "no") != 0)
        return LCT_FAIL(err, LCT_ERR_CONFIG, "provision is \"%s\"; it takes yes or no", value);
    config->no_provision = strcmp(value, "no") == 0;
    return LCT_OK;
}

static enum lct_code set_timeout(struct lct_config *config, const char *value, struct lct_err *err)
{
    char *end;

    errno = 0;
    long seconds = strtol(value, &end, 10);
    if (!isdigit((unsigned char)*value) || *end != '\0' || errno != 0 || seconds < 1 ||
        seconds > 3600)
        return LCT_FAIL(err, LCT_ERR_CONFIG, "timeout is \"%s\"; it takes seconds, 1 to 3600",
                        value);
    config->timeout = (int)seconds;
    return LCT_OK;
}

static enum lct_code set_session(struct lct_config *config, const char *value, struct lct_err *err)
{
    if (strcmp(value, "auto") != 0 && strcmp(value, "always") != 0)
        return LCT_FAIL(err, LCT_ERR_CONFIG, "session is \"%s\"; it takes auto or always", value);
    config->always_session = strcmp(value, "always") == 0;
    return LCT_OK;
}

static enum lct_code set_file(char **field, const char *name, const char *value,
                              struct lct_err *err)
{
    if (*value != '/')
        return LCT_FAIL(err, LCT_ERR_CONFIG, "%s is \"%s\"; it takes an absolute path", name,
                        value);
    return replace(field, value, err);
}

static enum lct_code set_passphrase_file(struct lct_config *config, const char *value,
                                         struct lct_err *err)
{
    return set_file(&config->passphrase_file, "passphrase_file", value, err);
}

static enum lct_code set_credentials(struct lct_config *config, const char *value,
                                     struct lct_err *err)
{
    return set_file(&config->credentials, "credentials", value, err);
}

static enum lct_code set_owner_auth_file(struct lct_config *config, const char *value,
                                         struct lct_err *err)
{
    return set_file(&config->owner_auth_file, "owner_auth_file", value, err);
}

static enum lct_code set_endorsement_auth_file(struct lct_config *config, const char *value,
                                               struct lct_err *err)
{
    return set_file(&config->endorsement_auth_file, "endorsement_auth_file", value, err);
}

/* What it says is for tcg/seal.h to judge, where it is used. */
static enum lct_code set_seal(struct lct_config *config, const char *value, struct lct_err *err)
{
    if (*value == '\0')
        return LCT_FAIL(err, LCT_ERR_CONFIG,
                        "seal is empty; it takes PCRs, as in sha256:0,1,2,3,7, or none");
    return replace(&config->seal, value, err);
}

static enum lct_code set_pcr_signature(struct lct_config *config, const char *value,
                                       struct lct_err *err)
{
    if (strcmp(value, "none") == 0)
        return replace(&config->pcr_signature, value, err);
    return set_file(&config->pcr_signature, "pcr_signature", value, err);
}

/* Never less strict than before: the environment, which a program's user chooses, cannot undo what
 * the administrator's file says. */
static enum lct_code set_require_hardware(struct lct_config *config, const char *value,
                                          struct lct_err *err)
{
    static const char *const names[] = {
        [LCT_REQUIRE_NO] = "no", [LCT_REQUIRE_NEW] = "new", [LCT_REQUIRE_YES] = "yes"};

    for (int require = LCT_REQUIRE_NO; require <= LCT_REQUIRE_YES; require++)
        if (strcmp(names[require], value) == 0) {
            if (require > (int)config->require_hardware)
                config->require_hardware = (enum lct_require)require;
            return LCT_OK;
        }
    return LCT_FAIL(err, LCT_ERR_CONFIG, "require_hardware is \"%s\"; it takes no, new or yes",
                    value);
}

/* In place of *field, which is freed. "none" is NULL. One that cannot be opened is none of the
 * configuration's faults: a user who may not write there shall list and verify all the same. */
static enum lct_code set_lines(struct lct_lines **field, const char *value, struct lct_err *err)
{
    struct lct_lines *opened = NULL;
    enum lct_code code = strcmp(value, "none") != 0 ? lct_lines_open(&opened, value, err) : LCT_OK;

    if (code != LCT_OK)
        return code;
    lct_lines_free(*field);
    *field = opened;
    return LCT_OK;
}

static enum lct_code set_log(struct lct_config *config, const char *value, struct lct_err *err)
{
    if (strncmp(value, "syslog", 6) == 0)
        return LCT_FAIL(err, LCT_ERR_CONFIG,
                        "log is \"%s\"; it takes stderr, an absolute path or none", value);
    enum lct_code code = set_lines(&config->log, value, err);
    return code == LCT_OK ? LCT_OK : lct_err_prefix(err, "log");
}

static enum lct_code set_audit(struct lct_config *config, const char *value, struct lct_err *err)
{
    if (strcmp(value, "stderr") == 0)
        return LCT_FAIL(err, LCT_ERR_CONFIG,
                        "audit is \"stderr\"; it takes syslog, an absolute path or none");
    enum lct_code code = set_lines(&config->audit, value, err);
    return code == LCT_OK ? LCT_OK : lct_err_prefix(err, "audit");
}

static const struct lct_config_key keys[] = {
    {"tcti", "LCT_TCTI", set_tcti},
    {"store", "LCT_STORE", set_store},
    {"provision", NULL, set_provision},
    {"timeout", NULL, set_timeout},
    {"session", NULL, set_session},
    {"passphrase_file", NULL, set_passphrase_file},
    {"credentials", "CREDENTIALS_DIRECTORY", set_credentials},
    {"owner_auth_file", NULL, set_owner_auth_file},
    {"endorsement_auth_file", NULL, set_endorsement_auth_file},
    {"seal", NULL, set_seal},
    {"pcr_signature", NULL, set_pcr_signature},
    {"require_hardware", "LCT_REQUIRE_HARDWARE", set_require_hardware},
    {"log", "LCT_LOG", set_log},
    {"audit", NULL, set_audit},
};

const struct lct_config_key *lct_config_keys(size_t *num_keys)
{
    *num_keys = sizeof keys / sizeof keys[0];
    return keys;
}

enum lct_code lct_config_set(struct lct_config *config, const char *name, const char *value,
                             struct lct_err *err)
{
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (strcmp(keys[i].name, name) == 0)
            return keys[i].set(config, value, err);
    return LCT_FAIL(err, LCT_ERR_CONFIG, "unknown key \"%s\" in the configuration of lct", name);
}

enum lct_code lct_config_environment(struct lct_config *config, struct lct_err *err)
{
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        const char *value = keys[i].variable != NULL ? secure_getenv(keys[i].variable) : NULL;
        if (value == NULL)
            continue;
        enum lct_code code = keys[i].set(config, value, err);
        if (code != LCT_OK)
            return lct_err_prefix(err, keys[i].variable);
    }
    return LCT_OK;
}

void lct_config_clear(struct lct_config *config)
{
    free(config->tcti);
    free(config->store);
    free(config->passphrase_file);
    free(config->credentials);
    free(config->owner_auth_file);
    free(config->endorsement_auth_file);
    free(config->seal);
    free(config->pcr_signature);
    lct_lines_free(config->log);
    lct_lines_free(config->audit);
    *config = (struct lct_config){0};
}
