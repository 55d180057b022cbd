/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signs with an identity, past what our readers check: the TPM alone is to refuse what it must.
 * `seal STORE ID TCTI` reads lines of words, bytes being hexadecimal and "-" none:
 *
 *     approval PCRS POLICY REF SIGNATURE HANDLE NAME VALUE   one more approval, as it is
 *     forget            no approvals
 *     kind NUMBER       the seal is of that kind (enum lct_seal_kind)
 *     authority BYTES   its authority has that TPM2B_PUBLIC
 *     ref BYTES         its policyRef is that
 *     passphrase TEXT   the key's
 *     open              the key is said to have no passphrase
 *     again             the seal and the passphrase are the record's again
 *     sign              prints "signed", or "error", the code's number and the sentence
 */
#include "base/encode.h"
#include "base/secret.h"
#include "store/store.h"
#include "tcg/crypto.h"
#include "tcg/seal.h"
#include "tpm/tpm.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_APPROVALS = 8, MAX_WORDS = 9, MAX_LINE = 8192 };

struct signer {
    struct lct_tpm *tpm;
    struct lct_key *key;
    struct lct_seal seal;
    struct lct_secret passphrase;
    bool open;
    struct lct_approval approvals[MAX_APPROVALS];
    size_t num_approvals;
};

static size_t parse_into(uint8_t *place, size_t size, const char *text)
{
    size_t len = 0;

    if (strcmp(text, "-") != 0 && !lct_hex_decode(place, &len, size, text))
        abort();
    return len;
}

static void do_approval(struct signer *signer, char **words)
{
    struct lct_approval *approval = &signer->approvals[signer->num_approvals];
    struct lct_err err;

    if (signer->num_approvals == MAX_APPROVALS)
        abort();
    *approval = (struct lct_approval){.created = "2026-01-02T03:04:05Z"};
    if (lct_pcrs_parse(&approval->pcrs, words[1], strlen(words[1]), &err) != LCT_OK)
        abort();
    if (parse_into(approval->policy, sizeof approval->policy, words[2]) != sizeof approval->policy)
        abort();
    approval->ref_len = parse_into(approval->ref, sizeof approval->ref, words[3]);
    approval->signature.len =
        parse_into(approval->signature.data, sizeof approval->signature.data, words[4]);
    approval->counter.handle = (uint32_t)strtoul(words[5], NULL, 0);
    approval->counter.name.len =
        parse_into(approval->counter.name.data, sizeof approval->counter.name.data, words[6]);
    approval->counter.value = strtoull(words[7], NULL, 0);
    signer->num_approvals++;
}

static void do_forget(struct signer *signer, char **words)
{
    (void)words;
    signer->num_approvals = 0;
}

static void do_kind(struct signer *signer, char **words)
{
    signer->seal.kind = (enum lct_seal_kind)strtoul(words[1], NULL, 0);
}

static void do_authority(struct signer *signer, char **words)
{
    signer->seal.authority_len =
        parse_into(signer->seal.authority, sizeof signer->seal.authority, words[1]);
}

static void do_ref(struct signer *signer, char **words)
{
    signer->seal.ref_len = parse_into(signer->seal.ref, sizeof signer->seal.ref, words[1]);
}

static void do_passphrase(struct signer *signer, char **words)
{
    struct lct_err err;

    if (lct_secret_take(&signer->passphrase, "it", (const uint8_t *)words[1], strlen(words[1]),
                        &err) != LCT_OK)
        abort();
}

static void do_open(struct signer *signer, char **words)
{
    (void)words;
    signer->open = true;
}

static void do_again(struct signer *signer, char **words)
{
    struct lct_generation generation;

    (void)words;
    signer->seal = lct_key_generation(&generation, signer->key)->seal;
    signer->open = false;
}

static void do_sign(struct signer *signer, char **words)
{
    struct lct_generation generation;
    struct lct_tpm_key values = lct_key_values(signer->key, &generation);
    const uint8_t digest[32] = {0x5a};
    struct lct_signature signature = {0};
    struct lct_scheme scheme;
    struct lct_err err = {.code = LCT_OK};

    (void)words;
    values.seal = &signer->seal;
    values.approvals = signer->approvals;
    values.num_approvals = signer->num_approvals;
    values.auth = &signer->passphrase;
    if (signer->open)
        values.needs_auth = false;
    enum lct_code code =
        lct_key_scheme(&scheme, signer->key, lct_hash_by_name("sha256"), false, &err);
    if (code == LCT_OK)
        code = lct_tpm_sign(signer->tpm, &signature, &values, &scheme, digest, sizeof digest, &err);
    if (code == LCT_OK)
        puts("signed");
    else
        printf("error %d %s\n", (int)code, err.text);
}

static const struct {
    const char *word;
    int num_words; /* with this one */
    void (*run)(struct signer *signer, char **words);
} steps[] = {
    {"approval", 8, do_approval},     {"forget", 1, do_forget}, {"kind", 2, do_kind},
    {"authority", 2, do_authority},   {"ref", 2, do_ref},       {"open", 1, do_open},
    {"passphrase", 2, do_passphrase}, {"again", 1, do_again},   {"sign", 1, do_sign},
};

static bool take(struct signer *signer, char *line)
{
    char *words[MAX_WORDS] = {0};
    int num = 0;
    char *rest = NULL;

    for (char *word = strtok_r(line, " \n", &rest); word != NULL && num < MAX_WORDS;
         word = strtok_r(NULL, " \n", &rest))
        words[num++] = word;
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        if (num != steps[i].num_words || strcmp(words[0], steps[i].word) != 0)
            continue;
        steps[i].run(signer, words);
        return fflush(stdout) == 0;
    }
    return false;
}

/* False, with a sentence on standard output: there is no such key to begin with. */
static bool begin(struct signer *signer, struct lct_crypto *crypto, struct lct_config *config,
                  char **argv)
{
    struct lct_store store = {0};
    struct lct_generation generation;
    struct lct_err err = {.code = LCT_OK};
    enum lct_code code = lct_config_set(config, "store", argv[1], &err);

    if (code == LCT_OK)
        code = lct_config_set(config, "tcti", argv[3], &err);
    if (code == LCT_OK)
        code = lct_store_open(&store, config, &err);
    if (code == LCT_OK)
        code = lct_store_get_key(&store, crypto, argv[2], 0, &signer->key, &err);
    if (code == LCT_OK)
        code = lct_tpm_open(&signer->tpm, config, &err);
    lct_store_close(&store);
    if (code != LCT_OK)
        printf("error %d %s\n", (int)code, err.text);
    else
        signer->seal = lct_key_generation(&generation, signer->key)->seal;
    return code == LCT_OK;
}

int main(int argc, char **argv)
{
    static struct signer signer;
    static char line[MAX_LINE];
    struct lct_config config = {0};
    struct lct_crypto *crypto = lct_crypto_new();
    bool good = argc == 4 && crypto != NULL && begin(&signer, crypto, &config, argv);

    while (good && fgets(line, sizeof line, stdin) != NULL)
        good = take(&signer, line);
    lct_tpm_close(signer.tpm);
    lct_key_free(signer.key);
    lct_secret_wipe(&signer.passphrase);
    lct_crypto_free(crypto);
    lct_config_clear(&config);
    return good ? 0 : 1;
}
