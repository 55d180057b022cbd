/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/setup_text.h"

#include "tools/openssl_conf.h"
#include "tools/tool.h"

#include <openssl/bio.h>
#include <openssl/conf.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char comment[] =
    "# Keys in the TPM, lct:ID. Made by lct setup; lct setup --undo takes "
    "it out again.\n";
static const char include[] = ".include ";
static const char first_line[] =
    "# Made by lct setup, which keeps what follows the last comment.\n";
static const char settings[] = "# Settings of lct, as in OSSL_PROVIDER-lct(7):\n";

/* For the parser of config(5), which takes \, $, quotes and # for its own. */
static char *escape(const char *path)
{
    char *escaped = malloc(2 * strlen(path) + 1), *to = escaped;

    for (; escaped != NULL && *path != '\0'; path++) {
        if (strchr("\\$\"'`#", *path) != NULL)
            *to++ = '\\';
        *to++ = *path;
    }
    if (escaped != NULL)
        *to = '\0';
    return escaped;
}

static char *include_line(const char *ours)
{
    char *escaped = escape(ours), *line = NULL;

    if (escaped != NULL && asprintf(&line, "%s%s\n", include, escaped) < 0)
        line = NULL;
    free(escaped);
    return line;
}

char *lct_setup_base(const char *machines)
{
    char *line = include_line(machines), *base = NULL;

    if (line != NULL &&
        asprintf(&base, "# In place of the machine's, which is included.\n%s", line) < 0)
        base = NULL;
    free(line);
    return base;
}

static const char *after_line(const char *line)
{
    const char *end = strchr(line, '\n');

    return end != NULL ? end + 1 : line + strlen(line);
}

/* Whether `at` begins with the line, whose newline may be missing at the end of a file. */
static bool is_line(const char *at, const char *line)
{
    size_t len = strlen(line) - 1;

    return strncmp(at, line, len) == 0 && (at[len] == '\n' || at[len] == '\0');
}

/* How long what is ours is here; 0: it is not. */
static size_t len_of_ours(const char *at, const char *line)
{
    const char *next = is_line(at, comment) ? after_line(at) : at;

    return is_line(next, line) ? (size_t)(after_line(next) - at) : 0;
}

bool lct_setup_has_comment(const char *text)
{
    while (*text != '\0' && !is_line(text, comment))
        text = after_line(text);
    return *text != '\0';
}

char *lct_setup_without(const char *text, const char *ours)
{
    char *line = include_line(ours), *without = malloc(strlen(text) + 1), *to = without;

    while (line != NULL && without != NULL && *text != '\0') {
        size_t skip = len_of_ours(text, line), len = (size_t)(after_line(text) - text);
        if (skip == 0) {
            memcpy(to, text, len);
            to += len;
        }
        text += skip != 0 ? skip : len;
    }
    if (without != NULL)
        *to = '\0';
    if (line == NULL) {
        free(without);
        without = NULL;
    }
    free(line);
    return without;
}

char *lct_setup_with(const char *text, const char *ours)
{
    size_t len = strlen(text);
    char *line = include_line(ours), *with = NULL;
    bool ended = len == 0 || text[len - 1] == '\n';

    if (line != NULL && asprintf(&with, "%s%s%s%s", text, ended ? "" : "\n", comment, line) < 0)
        with = NULL;
    free(line);
    return with;
}

static CONF *parse(const char *body, const char *file, struct lct_err *err)
{
    BIO *bio = BIO_new_mem_buf(body, -1);
    CONF *conf = NCONF_new(NULL);
    long line = 0;
    bool good = bio != NULL && conf != NULL && NCONF_load_bio(conf, bio, &line) == 1;

    BIO_free(bio);
    ERR_clear_error();
    if (good)
        return conf;
    (void)LCT_FAIL(err, LCT_ERR_CONFIG, "%s has a syntax error in line %ld; mend it first", file,
                   line);
    NCONF_free(conf);
    return NULL;
}

/* A provider that is activated though the default one is not; NULL: there is none. */
static const char *find_alone(const CONF *conf, const char *providers)
{
    STACK_OF(CONF_VALUE) *list = providers != NULL ? NCONF_get_section(conf, providers) : NULL;

    if (lct_conf_activates(conf, providers, "default"))
        return NULL;
    for (int i = 0; i < sk_CONF_VALUE_num(list); i++) {
        const char *name = sk_CONF_VALUE_value(list, i)->name;
        if (strcmp(name, "lct") != 0 && lct_conf_activates(conf, providers, name))
            return name;
    }
    return NULL;
}

static const char *or_own(const char *section, const char *own)
{
    return section != NULL ? section : own;
}

static char *write_ours(const CONF *conf, const char *module, const char *kept)
{
    const char *init = NCONF_get_string(conf, NULL, "openssl_conf");
    const char *providers = lct_conf_get(conf, init, "providers");
    const char *first = or_own(lct_conf_get(conf, providers, "default"), "lct_setup_default");
    const char *lct = or_own(lct_conf_get(conf, providers, "lct"), "lct_setup_lct");
    char *escaped = escape(module), *text = NULL;

    init = or_own(init, "lct_setup_init");
    providers = or_own(providers, "lct_setup_providers");
    if (escaped != NULL &&
        asprintf(&text,
                 "%s[default]\nopenssl_conf = %s\n\n[%s]\nproviders = %s\n\n[%s]\ndefault = %s\n"
                 "lct = %s\n\n[%s]\nactivate = 1\n\n[%s]\nmodule = %s\nactivate = 1\n%s%s",
                 first_line, init, init, providers, providers, first, lct, first, lct, escaped,
                 settings, kept) < 0)
        text = NULL;
    free(escaped);
    return text;
}

static const char *settings_of(const char *ours)
{
    const char *at = ours != NULL ? strstr(ours, settings) : NULL;

    return at != NULL ? at + sizeof settings - 1 : "";
}

enum lct_code lct_setup_ours(char **ours, const char *body, const char *file, const char *module,
                             const char *before, struct lct_err *err)
{
    CONF *conf = parse(body, file, err);
    enum lct_code code = LCT_OK;

    if (conf == NULL)
        return err->code;
    const char *init = NCONF_get_string(conf, NULL, "openssl_conf");
    const char *alone = find_alone(conf, lct_conf_get(conf, init, "providers"));
    if (alone != NULL)
        code = LCT_FAIL(err, LCT_ERR_CONFIG,
                        "%s activates %s and not the default provider, which lct needs; activate "
                        "that too, if it may be used on this machine",
                        file, alone);
    else if ((*ours = write_ours(conf, module, settings_of(before))) == NULL)
        code = LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    ERR_clear_error();
    NCONF_free(conf);
    return code;
}

bool lct_setup_is_ours(const char *text)
{
    return is_line(text, first_line);
}

bool lct_setup_has_settings(const char *ours)
{
    return *settings_of(ours) != '\0';
}

static enum lct_code print_lines(char sign, const char *from, const char *end, struct lct_err *err)
{
    enum lct_code code = LCT_OK;

    while (from < end && code == LCT_OK) {
        const char *next = after_line(from) < end ? after_line(from) : end;
        code = lct_tool_print(err, "%c%.*s%s", sign, (int)(next - from), from,
                              next[-1] == '\n' ? "" : "\n");
        from = next;
    }
    return code;
}

/* The beginning of the line that ends before `at`. */
static const char *line_before(const char *start, const char *at)
{
    at--;
    while (at > start && at[-1] != '\n')
        at--;
    return at;
}

static bool is_same(const char *a, const char *a_end, const char *b, const char *b_end)
{
    return a_end - a == b_end - b && memcmp(a, b, (size_t)(a_end - a)) == 0;
}

enum lct_code lct_setup_show(const char *file, const char *before, const char *after,
                             struct lct_err *err)
{
    const char *old = before != NULL ? before : "", *new = after != NULL ? after : "";
    const char *old_end = old + strlen(old), *new_end = new + strlen(new);

    while (old < old_end && new < new_end && is_same(old, after_line(old), new, after_line(new))) {
        old = after_line(old);
        new = after_line(new);
    }
    while (old < old_end && new < new_end &&
           is_same(line_before(old, old_end), old_end, line_before(new, new_end), new_end)) {
        old_end = line_before(old, old_end);
        new_end = line_before(new, new_end);
    }
    enum lct_code code = lct_tool_print(err, "%s%s:\n", file,
                                        before == NULL  ? ", a new file"
                                        : after == NULL ? ", which goes"
                                                        : "");
    if (code == LCT_OK)
        code = print_lines('-', old, old_end, err);
    return code == LCT_OK ? print_lines('+', new, new_end, err) : code;
}
