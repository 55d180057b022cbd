/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/doctor.h"

#include "tools/openssl_conf.h"
#include "tools/sealing.h"
#include "tools/shell.h"

#include <limits.h>
#include <openssl/conf.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/provider.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const enum lct_topic topic = LCT_TOPIC_OPENSSL;

/* What openssl.cnf says, and what libcrypto makes of it. */
struct openssl {
    const char *file;
    CONF *conf;
    const char *init, *providers;    /* names of sections, or NULL */
    const char *named_by;            /* " (named by OPENSSL_CONF)", or empty */
    char command[LCT_SHELL_COMMAND]; /* to edit the file */
};

static json_t *problem(struct lct_doctor *doctor, const struct openssl *openssl, const char *text)
{
    return lct_doctor_problem(doctor, topic, LCT_ERR_CONFIG, openssl->command, "%s: %s",
                              openssl->file, text);
}

/* The place of a provider in the list of them, from 0, or -1. */
static int place_of(const struct openssl *openssl, const char *name)
{
    STACK_OF(CONF_VALUE) *values = NCONF_get_section(openssl->conf, openssl->providers);

    for (int i = 0; i < sk_CONF_VALUE_num(values); i++)
        if (strcmp(sk_CONF_VALUE_value(values, i)->name, name) == 0)
            return i;
    return -1;
}

/* Whether the file names and activates the providers. False: there is no more to ask. */
static bool judge_sections(struct lct_doctor *doctor, const struct openssl *openssl)
{
    if (lct_conf_get(openssl->conf, openssl->providers, "lct") == NULL) {
        (void)lct_doctor_problem(doctor, topic, LCT_ERR_CONFIG, "lct setup",
                                 "%s: lct is not in the list of providers", openssl->file);
        return false;
    }
    if (!lct_conf_activates(openssl->conf, openssl->providers, "lct")) {
        (void)problem(doctor, openssl, "lct is not activated; put activate = 1 into its section");
        return false;
    }
    if (!lct_conf_activates(openssl->conf, openssl->providers, "default"))
        (void)problem(doctor, openssl,
                      "the default provider is not activated, and OpenSSL adds it by itself only "
                      "where no other is; list default before lct, with activate = 1");
    else if (place_of(openssl, "default") > place_of(openssl, "lct"))
        (void)lct_doctor_find(doctor, topic, LCT_SEVERITY_WARNING, openssl->command,
                              "%s: lct stands before default, so that software keys go through lct "
                              "too; list default first",
                              openssl->file);
    return true;
}

/* Where libcrypto looks for the module: provider_core.c, provider_init(). */
static void find_module(const struct openssl *openssl, char *path, size_t size)
{
    const char *module = lct_conf_get(
        openssl->conf, lct_conf_get(openssl->conf, openssl->providers, "lct"), "module");
    const char *dir = secure_getenv("OPENSSL_MODULES");

    if (dir == NULL)
        dir = OPENSSL_info(OPENSSL_INFO_MODULES_DIR);
    if (module != NULL && module[0] == '/')
        (void)snprintf(path, size, "%s", module);
    else if (module != NULL)
        (void)snprintf(path, size, "%s/%s", dir, module);
    else
        (void)snprintf(path, size, "%s/lct%s", dir, OPENSSL_info(OPENSSL_INFO_DSO_EXTENSION));
}

static int take_version(OSSL_PROVIDER *provider, void *arg)
{
    const char **version = arg;
    OSSL_PARAM params[] = {
        OSSL_PARAM_utf8_ptr(OSSL_PROV_PARAM_VERSION, NULL, 0),
        OSSL_PARAM_END,
    };
    char *value = NULL;

    params[0].data = &value;
    if (strcmp(OSSL_PROVIDER_get0_name(provider), "lct") == 0 &&
        OSSL_PROVIDER_get_params(provider, params) == 1)
        *version = value;
    return 1;
}

static void judge_version(struct lct_doctor *doctor, const char *version, const char *module)
{
    if (version == NULL || strcmp(version, LCT_VERSION) != 0)
        (void)lct_doctor_find(doctor, topic, LCT_SEVERITY_WARNING, NULL,
                              "the module %s is of version %s and this command of %s; install both "
                              "from one build",
                              module, version != NULL ? version : "unknown", LCT_VERSION);
}

/* What else in the file fails is not lct's: programs are not told of it either. */
static void judge_loaded(struct lct_doctor *doctor, const struct openssl *openssl,
                         OSSL_LIB_CTX *libctx, const char *module)
{
    const char *properties =
        lct_conf_get(openssl->conf, lct_conf_get(openssl->conf, openssl->init, "alg_section"),
                     "default_properties");
    const char *version = NULL;

    ERR_clear_error();
    (void)OSSL_LIB_CTX_load_config(libctx, openssl->file);
    if (OSSL_PROVIDER_available(libctx, "lct") != 1) {
        (void)lct_doctor_problem(doctor, topic, LCT_ERR_CONFIG, openssl->command,
                                 "%s: OpenSSL does not load lct from %s: %.300s", openssl->file,
                                 module, lct_conf_reason(libctx, module));
        return;
    }
    (void)OSSL_PROVIDER_do_all(libctx, take_version, &version);
    judge_version(doctor, version, module);
    if (lct_conf_hides_lct(libctx))
        (void)lct_doctor_problem(doctor, topic, LCT_ERR_CONFIG, openssl->command,
                                 "%s: default_properties = %s hides lct from programs; take it "
                                 "out, or put a ? before it",
                                 openssl->file, properties != NULL ? properties : "(unknown)");
    else
        (void)lct_doctor_find(doctor, topic, LCT_SEVERITY_OK, NULL,
                              "%s%s activates lct, the module %s of version %s", openssl->file,
                              openssl->named_by, module, version != NULL ? version : "unknown");
}

/* As any program does it: all of the file, into a library context that is thrown away. */
static void judge_loading(struct lct_doctor *doctor, const struct openssl *openssl)
{
    char module[PATH_MAX];
    OSSL_LIB_CTX *libctx = OSSL_LIB_CTX_new();

    find_module(openssl, module, sizeof module);
    if (access(module, R_OK) != 0)
        (void)lct_doctor_problem(doctor, topic, LCT_ERR_CONFIG, openssl->command,
                                 "%s: there is no module %s; write its absolute path as module =",
                                 openssl->file, module);
    else if (libctx != NULL)
        judge_loaded(doctor, openssl, libctx, module);
    OSSL_LIB_CTX_free(libctx);
}

static void list_setting(struct lct_doctor_list *list, const char *key, const char *value,
                         const char *option, const char *variable)
{
    const char *by = option != NULL                                        ? option
                     : variable != NULL && secure_getenv(variable) != NULL ? variable
                                                                           : NULL;

    if (value != NULL)
        lct_doctor_list(list, ", ", "%s = %s%s%s%s", key, value, by != NULL ? " (" : "",
                        by != NULL ? by : "", by != NULL ? ")" : "");
}

/* Without its audit no key signs. */
static void find_lines(struct lct_doctor *doctor)
{
    const struct lct_lines *audit = doctor->tool->config.audit, *log = doctor->tool->config.log;
    struct lct_err err;

    if (log != NULL && lct_lines_check(log, &err) != LCT_OK)
        (void)lct_doctor_find(doctor, topic, LCT_SEVERITY_WARNING, NULL, "no trace is kept: %s",
                              err.text);
    if (audit != NULL && lct_lines_check(audit, &err) != LCT_OK)
        (void)lct_doctor_problem(doctor, topic, LCT_ERR_CONFIG, NULL,
                                 "audit: %s; nothing is signed without it", err.text);
}

/* Of the file's and the variable's the stricter one counts. */
static void list_requirement(struct lct_doctor_list *list, enum lct_require require)
{
    static const char *const words[] = {
        [LCT_REQUIRE_NO] = NULL, [LCT_REQUIRE_NEW] = "new", [LCT_REQUIRE_YES] = "yes"};
    static const char name[] = "LCT_REQUIRE_HARDWARE";
    const char *variable = secure_getenv(name), *word = words[require];
    bool by_it = word != NULL && variable != NULL && strcmp(variable, word) == 0;

    list_setting(list, "require_hardware", word, by_it ? name : NULL, NULL);
}

/* Where secrets are, which have findings of their own. */
static void list_secrets(struct lct_doctor_list *list, const struct lct_config *config)
{
    list_setting(list, "passphrase_file", config->passphrase_file, NULL, NULL);
    list_setting(list, "credentials", config->credentials, NULL, "CREDENTIALS_DIRECTORY");
    list_setting(list, "owner_auth_file", config->owner_auth_file, NULL, NULL);
    list_setting(list, "endorsement_auth_file", config->endorsement_auth_file, NULL, NULL);
}

/* What is set, and by whom if not by the file. */
static void find_settings(struct lct_doctor *doctor)
{
    const struct lct_tool *tool = doctor->tool;
    const struct lct_config *config = &tool->config;
    struct lct_doctor_list list = {0};

    list_setting(&list, "tcti", config->tcti, tool->tcti != NULL ? "--tcti" : NULL, "LCT_TCTI");
    list_setting(&list, "store", config->store, tool->store_dir != NULL ? "--store" : NULL,
                 "LCT_STORE");
    if (config->no_provision)
        lct_doctor_list(&list, ", ", "provision = no");
    if (config->always_session)
        lct_doctor_list(&list, ", ", "session = always");
    if (config->timeout != 0)
        lct_doctor_list(&list, ", ", "timeout = %d", config->timeout);
    list_setting(&list, "seal", config->seal, NULL, NULL);
    list_setting(&list, "pcr_signature", config->pcr_signature, NULL, NULL);
    list_setting(&list, "log", config->log != NULL ? lct_lines_where(config->log) : NULL, NULL,
                 "LCT_LOG");
    list_setting(&list, "audit", config->audit != NULL ? lct_lines_where(config->audit) : NULL,
                 NULL, NULL);
    list_requirement(&list, config->require_hardware);
    list_secrets(&list, config);
    json_t *finding =
        lct_doctor_find(doctor, topic, LCT_SEVERITY_OK, NULL, "settings of lct: %s",
                        list.num > 0 ? lct_doctor_list_end(&list) : "none, which are the defaults");
    (void)json_object_set_new(finding, "session",
                              json_string(config->always_session ? "always" : "auto"));
    (void)json_object_set_new(finding, "timeout",
                              config->timeout != 0 ? json_integer(config->timeout) : json_null());
}

/* What lct create would say only once it is needed. */
static void judge_seal(struct lct_doctor *doctor, const struct openssl *openssl)
{
    struct lct_err err = {.code = LCT_OK};
    struct lct_seal seal;
    enum lct_code code = lct_sealing_default(&seal, doctor->tool, &err);

    if (code != LCT_OK)
        (void)lct_doctor_problem(doctor, topic, code, openssl->command, "%s", err.text);
}

void lct_doctor_openssl(struct lct_doctor *doctor, bool configured)
{
    char *file = CONF_get1_default_config_file();
    bool named = secure_getenv("OPENSSL_CONF") != NULL;
    struct openssl openssl = {
        .file = file, .conf = NCONF_new(NULL), .named_by = named ? " (named by OPENSSL_CONF)" : ""};

    if (file != NULL && openssl.conf != NULL) {
        (void)lct_shell_command(openssl.command, "editor", file);
        if (access(file, F_OK) != 0) {
            (void)lct_doctor_problem(
                doctor, topic, LCT_ERR_CONFIG, "lct setup",
                "%s%s: there is no such file, so that OpenSSL does not load lct", file,
                openssl.named_by);
        } else if (NCONF_load(openssl.conf, file, NULL) == 1) { /* else it has been told already */
            openssl.init = NCONF_get_string(openssl.conf, NULL, "openssl_conf");
            openssl.providers = lct_conf_get(openssl.conf, openssl.init, "providers");
            if (judge_sections(doctor, &openssl))
                judge_loading(doctor, &openssl);
        }
    }
    if (configured) {
        find_settings(doctor);
        find_lines(doctor);
        judge_seal(doctor, &openssl);
    }
    ERR_clear_error();
    NCONF_free(openssl.conf);
    OPENSSL_free(file);
}
