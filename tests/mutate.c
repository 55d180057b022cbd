/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes good evidence, a bit of each byte of each of its parts at a time, and judges each as `lct
 * verify` does: none may hold, none may crash.
 *
 *     mutate TRUST STATE EVIDENCE [SEED]
 *
 * STATE is one that was not used, and stays so. SEED says which bit of each byte; without one all
 * eight are tried. Prints how many changes were tried, and each that held: 1 if there is one.
 */
#include "base/encode.h"
#include "proof/evidence.h"
#include "tcg/crypto.h"

#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* What does not change. */
struct bench {
    OSSL_LIB_CTX *libctx;
    struct lct_trust *trust;
    struct lct_challenge_state state;
    json_t *evidence;
    long seed; /* -1: every bit */
    size_t tried, held;
};

static void give_up(const char *what)
{
    (void)fprintf(stderr, "mutate: %s\n", what);
    exit(2);
}

/* As the command has it: everything that has to pass does. */
static bool holds(struct bench *bench)
{
    const struct lct_evidence_request request = {
        .trust = bench->trust, .state = &bench->state, .now = time(NULL)};
    struct lct_evidence *evidence = NULL;
    struct lct_verdict verdict;
    unsigned passed = 0;
    enum lct_code code = lct_evidence_read(&evidence, bench->libctx, bench->evidence, NULL);

    if (code == LCT_OK)
        code = lct_evidence_judge(&verdict, bench->libctx, evidence, &request, NULL);
    bool good = code == LCT_OK;
    for (unsigned i = 0; good && i < LCT_NUM_CLAIMS; i++) {
        if (verdict.findings[i].outcome == LCT_FAILED)
            good = false;
        else if (verdict.findings[i].outcome == LCT_PASSED)
            passed |= 1u << i;
    }
    good = good && (lct_evidence_claims(evidence, &request) & ~passed) == 0;
    lct_evidence_free(evidence);
    if (ERR_peek_error() != 0)
        give_up("something was left in libcrypto's queue of errors");
    return good;
}

/* Judges with `value` having this text, in place. */
static void try_text(struct bench *bench, json_t *value, const char *text, const char *path,
                     size_t at)
{
    if (json_string_set(value, text) != 0)
        return; /* no UTF-8: jansson would not have read it */
    bench->tried++;
    if (holds(bench)) {
        (void)printf("%s %zu\n", path, at);
        bench->held++;
    }
}

/* The bits of a byte that are changed. */
static bool is_wanted(const struct bench *bench, size_t at, unsigned bit)
{
    return bench->seed < 0 || ((size_t)bench->seed + at) % 8 == bit;
}

/* Bytes in base64url: each bit of them. */
static void change_bytes(struct bench *bench, json_t *value, const char *path)
{
    size_t len = 0, size = json_string_length(value);
    uint8_t *bytes = malloc(size);
    char *text = malloc(size + 1);

    if (bytes == NULL || text == NULL ||
        !lct_base64url_decode(bytes, &len, size, json_string_value(value), size))
        give_up("a value is not in base64url");
    for (size_t i = 0; i < 8 * len; i++) {
        if (!is_wanted(bench, i / 8, i % 8))
            continue;
        bytes[i / 8] ^= (uint8_t)(1u << i % 8);
        lct_base64url_encode(text, bytes, len);
        try_text(bench, value, text, path, i / 8);
        bytes[i / 8] ^= (uint8_t)(1u << i % 8);
    }
    lct_base64url_encode(text, bytes, len);
    (void)json_string_set(value, text);
    free(bytes);
    free(text);
}

/* Any other text: each bit of its characters. */
static void change_text(struct bench *bench, json_t *value, const char *path)
{
    size_t len = json_string_length(value);
    char *text = malloc(len + 1), *right = malloc(len + 1);

    if (text == NULL || right == NULL)
        give_up("out of memory");
    memcpy(right, json_string_value(value), len + 1);
    memcpy(text, right, len + 1);
    for (size_t i = 0; i < 8 * len; i++) {
        if (!is_wanted(bench, i / 8, i % 8))
            continue;
        text[i / 8] = (char)(text[i / 8] ^ (1 << i % 8));
        try_text(bench, value, text, path, i / 8);
        text[i / 8] = right[i / 8];
    }
    (void)json_string_set(value, right);
    free(text);
    free(right);
}

static void change_number(struct bench *bench, json_t *value, const char *path)
{
    json_int_t right = json_integer_value(value);
    const json_int_t wrong[] = {right + 1, right - 1, -right, right + (1LL << 32)};

    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        (void)json_integer_set(value, wrong[i]);
        bench->tried++;
        if (holds(bench)) {
            (void)printf("%s %zu\n", path, i);
            bench->held++;
        }
    }
    (void)json_integer_set(value, right);
}

/* Bytes are whatever is not one of the members that are words or hexadecimal. */
static bool has_bytes(const char *name)
{
    static const char *const names[] = {"public",  "parent",  "certificate", "certificates",
                                        "issuers", "attest",  "signature",   "id_object",
                                        "secret",  "eventlog"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

static void change(struct bench *bench, json_t *value, const char *name, const char *path)
{
    char inner[256];
    const char *key;
    json_t *member;
    size_t i;

    if (json_is_string(value) && has_bytes(name))
        change_bytes(bench, value, path);
    else if (json_is_string(value))
        change_text(bench, value, path);
    else if (json_is_integer(value))
        change_number(bench, value, path);
    json_object_foreach (value, key, member) {
        (void)snprintf(inner, sizeof inner, "%s.%s", path, key);
        change(bench, member, key, inner);
    }
    json_array_foreach (value, i, member) {
        (void)snprintf(inner, sizeof inner, "%s.%zu", path, i);
        change(bench, member, name, inner);
    }
}

static json_t *load(const char *path)
{
    json_t *json = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);

    if (json == NULL)
        give_up(path);
    return json;
}

int main(int argc, char **argv)
{
    struct bench bench = {.seed = argc > 4 ? strtol(argv[4], NULL, 10) : -1};
    struct lct_crypto *crypto = lct_crypto_new();
    struct lct_err err = {.code = LCT_OK};

    bench.libctx = crypto != NULL ? lct_crypto_get(crypto, &err) : NULL;
    if (argc < 4 || bench.libctx == NULL)
        give_up("usage: mutate TRUST STATE EVIDENCE [SEED]");
    json_t *state = load(argv[2]);
    bench.evidence = load(argv[3]);
    if (lct_trust_read(&bench.trust, bench.libctx, argv[1], &err) != LCT_OK ||
        lct_challenge_state_read(&bench.state, bench.libctx, state, &err) != LCT_OK)
        give_up(err.text);
    if (!holds(&bench))
        give_up("the evidence does not hold as it is");
    change(&bench, bench.evidence, "", "");
    if (!holds(&bench))
        give_up("the evidence was not put back");
    (void)printf("%zu\n", bench.tried);
    lct_challenge_state_clear(&bench.state);
    lct_trust_free(bench.trust);
    json_decref(bench.evidence);
    json_decref(state);
    lct_crypto_free(crypto);
    return bench.held > 0 ? 1 : 0;
}
