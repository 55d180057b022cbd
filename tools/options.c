/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/complete.h"
#include "tools/nearest.h"
#include "tools/tool.h"

#include <ctype.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* getopt's table: the subcommand's options, then those of all. A row's index is its `val`. */
static void fill(struct option table[LCT_MAX_OPTIONS + 1], const struct lct_option *options,
                 size_t num_options)
{
    for (size_t i = 0; i < num_options; i++)
        table[i] = (struct option){
            .name = options[i].name,
            .has_arg = options[i].value != NULL ? required_argument : no_argument,
            .val = (int)i,
        };
    table[num_options] = (struct option){0};
}

/* The place for the argument of an option that may come again; NULL: there are too many. */
static const char **free_place(const char **values)
{
    size_t i = 0;

    while (i < LCT_MAX_VALUES && values[i] != NULL)
        i++;
    return i < LCT_MAX_VALUES ? &values[i] : NULL;
}

static enum lct_code take_one(const struct lct_option *option, bool again, const char *hint,
                              struct lct_err *err)
{
    const char **place = option->value;

    if (again && place != NULL && option->flag == NULL) /* of two answers neither is taken */
        return LCT_FAIL(err, LCT_ERR_USAGE, "--%s was given twice; see %s", option->name, hint);

    if (place != NULL && option->flag != NULL)
        place = free_place(place);
    if (option->value != NULL && place == NULL)
        return LCT_FAIL(err, LCT_ERR_USAGE, "--%s was given too often; see %s", option->name, hint);
    if (place != NULL)
        *place = optarg;
    if (option->flag != NULL)
        *option->flag = true;
    return LCT_OK;
}

/* What was typed. Of letters behind one "-" it is one, which is known by itself and not by its
 * place: getopt is in the middle of the word. `optopt` may be a row too, which is below any letter.
 */
static const char *find_typed(char letter[3], char **argv)
{
    if (optopt < 0)
        return "a letter that is not ASCII";
    if (optopt < LCT_MAX_OPTIONS || isgraph(optopt) == 0)
        return argv[optind - 1];
    (void)snprintf(letter, 3, "-%c", optopt);
    return letter;
}

/* The option it may have been is told with it. */
static enum lct_code fail_unknown(const struct lct_option *options, size_t num_options,
                                  const char *typed, const char *hint, struct lct_err *err)
{
    char name[LCT_CALL_TEXT], meant[LCT_NEAREST_HINT];
    struct lct_nearest nearest = {.typed = name};

    (void)snprintf(name, sizeof name, "%.*s", (int)strcspn(typed + strspn(typed, "-"), "="),
                   typed + strspn(typed, "-"));
    for (size_t i = 0; i < num_options; i++)
        lct_nearest_try(&nearest, options[i].name);
    return LCT_FAIL(err, LCT_ERR_USAGE, "%s is not an option here%s%s see %s", typed,
                    lct_nearest_hint(meant, &nearest, "--"), nearest.word == NULL ? ";" : "", hint);
}

/* `num_own` of the options are the subcommand's; the last of the others that is given counts. */
static enum lct_code take(const struct lct_option *options, size_t num_options, size_t num_own,
                          int argc, char **argv, struct lct_err *err)
{
    struct option table[LCT_MAX_OPTIONS + 1];
    bool seen[LCT_MAX_OPTIONS] = {false};
    char hint[LCT_CALL_TEXT], letter[3];
    int got;

    lct_help_hint(hint, argv[0]);
    fill(table, options, num_options);
    opterr = 0;
    optind = 0;
    while ((got = getopt_long(argc, argv, ":", table, NULL)) != -1) {
        if (got == ':')
            return LCT_FAIL(err, LCT_ERR_USAGE, "%s takes an argument; see %s", argv[optind - 1],
                            hint);
        if (got < 0 || (size_t)got >= num_options)
            return fail_unknown(options, num_options, find_typed(letter, argv), hint, err);
        enum lct_code code = take_one(&options[got], seen[got], hint, err);
        if (code != LCT_OK)
            return code;
        seen[got] = (size_t)got < num_own;
    }
    return LCT_OK;
}

enum lct_code lct_options_parse(struct lct_tool *tool, int argc, char **argv,
                                const struct lct_option *options, size_t num_options, int min,
                                int max, char ***operands, int *num_operands, struct lct_err *err)
{
    struct lct_option all[LCT_MAX_OPTIONS];
    bool help = false;
    char call[LCT_CALL_TEXT];
    size_t num = 0;

    for (; num < num_options; num++)
        all[num] = options[num];
    all[num++] = (struct lct_option){"tcti", &tool->tcti, NULL};
    all[num++] = (struct lct_option){"store", &tool->store_dir, NULL};
    all[num++] = (struct lct_option){"passphrase-file", &tool->passphrase_file, NULL};
    all[num++] = (struct lct_option){"quiet", NULL, &tool->quiet};
    all[num++] = (struct lct_option){"help", NULL, &help};
    if (tool->completing != NULL)
        tool->completing->complete(tool, argv[0], all, num);
    enum lct_code code = take(all, num, num_options, argc, argv, err);
    if (code != LCT_OK)
        return code;
    if (help) {
        lct_help_print(argv[0]);
        exit(fflush(stdout) == 0 ? LCT_OK : LCT_ERR_IO);
    }
    *operands = argv + optind;
    *num_operands = argc - optind;
    lct_help_call(call, argv[0]);
    if (*num_operands < min || (max >= 0 && *num_operands > max))
        return LCT_FAIL(err, LCT_ERR_USAGE, "usage: %s %s", call,
                        lct_subcommand_by_name(argv[0])->arguments);
    return LCT_OK;
}

enum lct_code lct_tool_generation(unsigned *generation, const char *text, struct lct_err *err)
{
    char *end = NULL;
    unsigned long number = text != NULL ? strtoul(text, &end, 10) : 0;

    *generation = (unsigned)number;
    if (text == NULL || (*text >= '1' && *text <= '9' && *end == '\0' && number <= LCT_MAX_NUMBER))
        return LCT_OK;
    return LCT_FAIL(err, LCT_ERR_USAGE,
                    "--generation takes a number from 1, as lct show prints it");
}
