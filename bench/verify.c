/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many files of evidence are judged in a second, on one core: each time all that `lct verify`
 * does with one but for reading and writing files, from text to verdict.
 *
 *     verify TRUST STATE EVIDENCE
 *
 * STATE is one that was not used, and stays so. Prints the number; exit status 1 if the verdict
 * does not hold.
 */
#include "proof/document.h"
#include "proof/evidence.h"
#include "tcg/crypto.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { MAX_FILE = 1 << 20 };
static const double duration = 2; /* s */

static char *read_file(const char *path, size_t *len)
{
    char *text = malloc(MAX_FILE);
    FILE *file = fopen(path, "rb");

    if (text == NULL || file == NULL) {
        (void)fprintf(stderr, "verify: %s cannot be read\n", path);
        exit(2);
    }
    *len = fread(text, 1, MAX_FILE, file);
    (void)fclose(file);
    return text;
}

static json_t *document(const char *text, size_t len)
{
    json_t *json;
    const char *type;
    struct lct_err err;

    if (lct_document_read(&json, &type, (const uint8_t *)text, len, &err) == LCT_OK)
        return json;
    (void)fprintf(stderr, "verify: %s\n", err.text);
    exit(2);
}

/* Text to verdict, once. */
static bool judge(OSSL_LIB_CTX *libctx, const struct lct_trust *trust, const char *state_text,
                  size_t state_len, const char *text, size_t len)
{
    struct lct_challenge_state state = {0};
    struct lct_evidence *evidence = NULL;
    struct lct_verdict verdict;
    struct lct_err err = {.code = LCT_OK};
    json_t *state_json = document(state_text, state_len), *json = document(text, len);
    const struct lct_evidence_request request = {
        .trust = trust, .state = &state, .now = time(NULL)};
    unsigned wanted = 0, passed = 0;
    enum lct_code code = lct_challenge_state_read(&state, libctx, state_json, &err);

    if (code == LCT_OK)
        code = lct_evidence_read(&evidence, libctx, json, &err);
    if (code == LCT_OK)
        code = lct_evidence_judge(&verdict, libctx, evidence, &request, &err);
    if (code != LCT_OK)
        (void)fprintf(stderr, "verify: %s\n", err.text);
    else
        wanted = lct_evidence_claims(evidence, &request);
    for (size_t i = 0; code == LCT_OK && i < LCT_NUM_CLAIMS; i++)
        if (verdict.findings[i].outcome == LCT_PASSED)
            passed |= 1u << i;
    lct_evidence_free(evidence);
    lct_challenge_state_clear(&state);
    json_decref(json);
    json_decref(state_json);
    return code == LCT_OK && (wanted & ~passed) == 0;
}

static double seconds(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    struct lct_trust *trust = NULL;
    struct lct_err err = {.code = LCT_OK};
    struct lct_crypto *crypto = lct_crypto_new();
    OSSL_LIB_CTX *libctx = crypto != NULL ? lct_crypto_get(crypto, &err) : NULL;
    size_t state_len, len, num = 0;

    if (argc != 4 || libctx == NULL || lct_trust_read(&trust, libctx, argv[1], &err) != LCT_OK) {
        (void)fprintf(stderr, "usage: verify TRUST STATE EVIDENCE\n%s\n", err.text);
        return 2;
    }
    char *state = read_file(argv[2], &state_len), *evidence = read_file(argv[3], &len);
    double start = seconds(), now = start;
    bool holds = true;
    while (holds && now - start < duration) {
        holds = judge(libctx, trust, state, state_len, evidence, len);
        num++;
        now = seconds();
    }
    (void)printf("%.0f\n", (double)num / (now - start));
    free(state);
    free(evidence);
    lct_trust_free(trust);
    lct_crypto_free(crypto);
    return holds ? 0 : 1;
}
