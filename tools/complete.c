/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/complete.h"

#include "tools/attest.h"
#include "tools/fragment.h"
#include "tools/verify.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *current(const struct lct_completing *completing)
{
    return completing->num_words > 0 ? completing->words[completing->num_words - 1] : "";
}

/* Prints a word if it is what was begun. */
static void offer(const struct lct_completing *completing, const char *prefix, const char *word)
{
    const char *begun = current(completing);
    size_t len = strlen(prefix);

    if (strncmp(begun, prefix, strlen(begun) < len ? strlen(begun) : len) == 0 &&
        (strlen(begun) <= len || strncmp(begun + len, word, strlen(begun) - len) == 0))
        (void)printf("%s%s\n", prefix, word);
}

/* Words of a list, with a space between them. */
static void offer_words(const struct lct_completing *completing, const char *words)
{
    char word[64];

    for (; *words != '\0'; words += strcspn(words, " "), words += strspn(words, " ")) {
        (void)snprintf(word, sizeof word, "%.*s", (int)strcspn(words, " "), words);
        offer(completing, "", word);
    }
}

/* Of a store that cannot be read there are none. */
static void offer_ids(struct lct_tool *tool)
{
    const struct lct_completing *completing = tool->completing;
    const char *prefix = strncmp(current(completing), "lct:", 4) == 0 ? "lct:" : "";
    char **ids = NULL;
    size_t num_ids = 0;

    for (int i = 0; i + 1 < completing->num_words; i++)
        if (strcmp(completing->words[i], "--store") == 0)
            tool->store_dir = completing->words[i + 1];
    if (lct_tool_open(tool, NULL) == LCT_OK &&
        lct_store_list(&tool->store, &ids, &num_ids, NULL) == LCT_OK)
        for (size_t i = 0; i < num_ids; i++)
            offer(completing, prefix, ids[i]);
    lct_store_free_ids(ids, num_ids);
}

static void offer_commands(const struct lct_completing *completing)
{
    for (size_t i = 0; lct_subcommand_at(i) != NULL; i++)
        offer(completing, "", lct_subcommand_at(i)->name);
}

static void offer_parts(const struct lct_completing *completing)
{
    for (size_t i = 0; lct_attest_part_at(i) != NULL; i++)
        offer(completing, "", lct_attest_verb(lct_attest_part_at(i)));
}

static void offer_configurations(const struct lct_completing *completing)
{
    for (size_t i = 0; i < lct_num_fragments; i++)
        offer(completing, "", lct_fragments[i].name);
}

/* What an option's argument may be; of those that are not here it is a file, or not to be guessed.
 */
static const struct {
    const char *option, *words; /* words NULL: an id */
} values[] = {
    {"algorithm", "ec-p256 ec-p384 rsa-2048 rsa-3072 ed25519"},
    {"as", NULL},
    {"entity-type", "device agent service ai human"},
    {"format", "webauthn-tpm web4"},
    {"hash", "sha1 sha256 sha384 sha512"},
    {"mode", "ak direct"},
    {"predict", "dbx= db= KEK= PK= cmdline= digest="},
    {"purpose", "enrollment session_start re_attestation witness migration device_binding"},
    {"reason", "superseded compromise expired violation"},
    {"require", "sealed boot_state"},
    {"seal", "none authority sha256:7 sha256:0,1,2,3,7 strict:sha256:7"},
    {"to", "tpm"},
};

static void offer_values(struct lct_tool *tool, const char *option)
{
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
        if (strcmp(values[i].option, option) == 0 && values[i].words != NULL)
            offer_words(tool->completing, values[i].words);
        else if (strcmp(values[i].option, option) == 0)
            offer_ids(tool);
}

/* The first operand of a subcommand, where it is one of a few words. */
static const struct {
    const char *name, *words;
} operands[] = {
    {"affected", "firmware secureboot bootloader kernel initramfs"},
    {"authority", "init show import"},
};

/* Whether an operand may be the id of an identity that there is. */
static bool takes_id(const struct lct_subcommand *row, int at)
{
    if (strcmp(row->name, "create") == 0 || strcmp(row->name, "import") == 0)
        return false;
    if (strcmp(row->name, "config") == 0)
        return at == 1;
    return (at == 0 &&
            (strncmp(row->arguments, "ID", 2) == 0 || strstr(row->arguments, "[ID") != NULL)) ||
           strstr(row->arguments, "[ID...]") != NULL;
}

static void offer_operands(struct lct_tool *tool, const struct lct_subcommand *row, int at)
{
    const struct lct_completing *completing = tool->completing;

    if (takes_id(row, at))
        offer_ids(tool);
    if (at == 0 && strcmp(row->name, "help") == 0)
        offer_commands(completing);
    else if (at == 1 && strcmp(row->name, "help") == 0 &&
             strcmp(completing->words[completing->num_words - 2], "attest") == 0)
        offer_parts(completing);
    else if (at == 0 && strcmp(row->name, "config") == 0)
        offer_configurations(completing);
    for (size_t i = 0; at == 0 && i < sizeof operands / sizeof operands[0]; i++)
        if (strcmp(operands[i].name, row->name) == 0)
            offer_words(completing, operands[i].words);
}

/* The option that a word is and whose argument is the next word; NULL: it is none. */
static const struct lct_option *expecting(const char *word, const struct lct_option *options,
                                          size_t num_options)
{
    for (size_t i = 0; i < num_options; i++)
        if (options[i].value != NULL && strncmp(word, "--", 2) == 0 &&
            strcmp(word + 2, options[i].name) == 0)
            return &options[i];
    return NULL;
}

/* How many operands stand before the word, and in *option whose argument it is. */
static int count_operands(const struct lct_completing *completing, const struct lct_option *options,
                          size_t num_options, const struct lct_option **option)
{
    int num = 0;

    *option = NULL;
    for (int i = completing->first; i + 1 < completing->num_words; i++) {
        if (*option != NULL)
            *option = NULL;
        else if (completing->words[i][0] == '-' && completing->words[i][1] != '\0')
            *option = expecting(completing->words[i], options, num_options);
        else
            num++;
    }
    return num;
}

static void complete(struct lct_tool *tool, const char *name, const struct lct_option *options,
                     size_t num_options)
{
    const struct lct_completing *completing = tool->completing;
    const struct lct_option *option = NULL;
    int at = count_operands(completing, options, num_options, &option);

    if (option != NULL) {
        offer_values(tool, option->name);
    } else if (current(completing)[0] == '-') {
        for (size_t i = 0; i < num_options; i++)
            offer(completing, "--", options[i].name);
    } else {
        offer_operands(tool, lct_subcommand_by_name(name), at);
    }
    lct_tool_close(tool);
    exit(fflush(stdout) == 0 ? LCT_OK : LCT_ERR_IO);
}

/* Before there is a subcommand. */
static void complete_first(const struct lct_completing *completing)
{
    const char *before =
        completing->num_words > 1 ? completing->words[completing->num_words - 2] : "";

    if (lct_tool_takes_argument(before))
        return;
    if (current(completing)[0] == '-')
        offer_words(completing, "--tcti --store --passphrase-file --quiet --json --help --version");
    else
        offer_commands(completing);
}

enum lct_code lct_complete(struct lct_tool *tool, int num_words, char **words, struct lct_err *err)
{
    struct lct_completing completing = {words, num_words, 0, complete};
    /* As if "complete" were the program: what is completed is no name yet. */
    int at = num_words > 1 ? lct_tool_find_name(num_words, words - 1) : 0;
    const struct lct_subcommand *row = at != 0 ? lct_subcommand_by_name(words[at - 1]) : NULL;
    char name[LCT_CALL_TEXT];

    if (at == 0)
        complete_first(&completing);
    if (row == NULL)
        return LCT_OK;
    (void)snprintf(name, sizeof name, "%s", row->name);
    completing.first = at;
    if (strcmp(row->name, "attest") == 0 && at + 1 < num_words) {
        (void)snprintf(name, sizeof name, "attest %s", words[at]);
        row = lct_subcommand_by_name(name);
        completing.first++;
    } else if (strcmp(row->name, "attest") == 0) {
        offer_parts(&completing);
        return LCT_OK;
    }
    tool->completing = &completing;
    char *argv[] = {name, NULL};
    enum lct_code code = row != NULL ? row->run(tool, 1, argv, err) : LCT_OK;
    tool->completing = NULL;
    return code;
}
