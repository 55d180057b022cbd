/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a verifier believes by a trust file or directory: `trust TRUST` reads it, prints "error",
 * the code's number and the sentence if it cannot, and else answers lines of words, where FILE is a
 * path or "-" for none, and TIME seconds:
 *
 *     ek PUBLIC CERTIFICATE TIME [ISSUER...]     prints the outcome and the reason
 *     ak KEY CERTIFICATE TIME [ISSUER...]        the same; KEY is all that lct_ak_decode takes
 *     flip PUBLIC CERTIFICATE TIME [ISSUER...]   the EK with each bit of its certificate changed:
 *                                                prints how many pass
 *     cut PUBLIC CERTIFICATE TIME [ISSUER...]    with each beginning of it
 *     time PUBLIC CERTIFICATE TIME [ISSUER...]   prints microseconds
 *     issuers TIME                               the verdict issuers: how many
 *     policies [FINGERPRINT...]                  "none", or the PCRs and whether each may approve
 */
#include "proof/ak.h"
#include "proof/der.h"
#include "proof/trust.h"
#include "tcg/crypto.h"

#include <openssl/err.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_LINE = 65536, MAX_FILE = 65536, MAX_WORDS = 32, NUM_TIMED = 200 };

struct file {
    uint8_t *bytes; /* in a block of their own, so that a sanitizer sees a byte too many */
    size_t len;
};

struct words {
    int num;
    char *all[MAX_WORDS];
};

static const struct lct_trust *trust;
static OSSL_LIB_CTX *libctx;

static uint8_t *copy(const uint8_t *bytes, size_t len)
{
    uint8_t *block = malloc(len > 0 ? len : 1);

    if (block == NULL)
        abort();
    memcpy(block, bytes, len);
    return block;
}

static struct file read_file(const char *path)
{
    static uint8_t room[MAX_FILE];
    struct file file = {NULL, 0};

    if (strcmp(path, "-") == 0)
        return file;
    FILE *stream = fopen(path, "rb");
    if (stream == NULL)
        abort();
    file.len = fread(room, 1, sizeof room, stream);
    (void)fclose(stream);
    file.bytes = copy(room, file.len);
    return file;
}

/* An EK with all that belongs to it, or an AK: what both have is the same. */
struct given {
    struct file key;
    struct lct_der certificate;
    struct lct_der_chain issuers;
    struct lct_public public_area;
    struct lct_ek_given ek;
    time_t now;
};

static void read_der(struct lct_der *der, const char *path)
{
    struct file file = read_file(path);

    der->bytes = file.bytes;
    der->len = file.len;
}

static void take(struct given *given, const struct words *words)
{
    given->key = read_file(words->all[1]);
    read_der(&given->certificate, words->all[2]);
    given->now = (time_t)strtoll(words->all[3], NULL, 10);
    given->issuers.num = (size_t)words->num - 4;
    for (size_t i = 0; i < given->issuers.num; i++)
        read_der(&given->issuers.certs[i], words->all[4 + i]);
    given->ek = (struct lct_ek_given){&given->public_area, &given->certificate, &given->issuers};
}

static void drop(struct given *given)
{
    free(given->key.bytes);
    lct_der_clear(&given->certificate);
    lct_der_chain_clear(&given->issuers);
}

static void show(const struct lct_finding *finding)
{
    printf("%s %s\n", lct_outcome_name(finding->outcome), finding->reason);
}

static struct lct_finding judge(const struct given *given)
{
    struct lct_finding finding = {.outcome = LCT_NOT_CLAIMED};

    lct_trust_judge_ek(&finding, trust, &given->ek, given->now);
    if (ERR_peek_error() != 0 || finding.reason[0] == '\0')
        abort();
    return finding;
}

static void do_ek(struct given *given)
{
    struct lct_finding finding = judge(given);

    show(&finding);
}

static void do_flip(struct given *given)
{
    uint8_t *bytes = given->certificate.bytes;
    size_t passed = 0;

    for (size_t bit = 0; bit < 8 * given->certificate.len; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (judge(given).outcome == LCT_PASSED)
            passed++;
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    printf("%zu\n", passed);
}

static void do_cut(struct given *given)
{
    size_t passed = 0;

    for (size_t len = 0; len < given->certificate.len; len++) {
        struct lct_der cut = {copy(given->certificate.bytes, len), len};
        given->ek.certificate = &cut;
        if (judge(given).outcome == LCT_PASSED)
            passed++;
        lct_der_clear(&cut);
    }
    printf("%zu\n", passed);
}

static void do_time(struct given *given)
{
    struct timespec start, end;

    /* Of the processor: what else runs on the machine is no part of it. */
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &start);
    for (size_t i = 0; i < NUM_TIMED; i++)
        (void)judge(given);
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
    printf("%ld\n",
           ((end.tv_sec - start.tv_sec) * 1000000L + (end.tv_nsec - start.tv_nsec) / 1000L) /
               NUM_TIMED);
}

static void answer_ek(const struct words *words, void (*answer)(struct given *given))
{
    struct given *given = calloc(1, sizeof *given);
    struct lct_err err;
    struct lct_name name;

    if (given == NULL)
        abort();
    take(given, words);
    if (lct_public_import(&given->public_area, &name, libctx, given->key.bytes, given->key.len,
                          &err) == LCT_OK)
        answer(given);
    else
        printf("error %d %s\n", (int)err.code, err.text);
    drop(given);
    free(given);
}

static void answer_ak(const struct words *words)
{
    struct given *given = calloc(1, sizeof *given);
    struct lct_finding finding = {.outcome = LCT_PASSED};
    struct lct_ak ak;
    struct lct_err err;

    if (given == NULL)
        abort();
    take(given, words);
    if (lct_ak_decode(&ak, libctx, given->key.bytes, given->key.len, &err) != LCT_OK)
        abort();
    const struct lct_ak_given asked = {ak.pkey, &given->certificate, &given->issuers};
    lct_trust_judge_ak(&finding, trust, &asked, given->now);
    if (ERR_peek_error() != 0)
        abort();
    show(&finding);
    lct_ak_clear(&ak);
    drop(given);
    free(given);
}

static void answer_issuers(const struct words *words)
{
    time_t now = (time_t)strtoll(words->all[1], NULL, 10);
    size_t num = 0;

    while (lct_trust_verdict_issuer(trust, num, now) != NULL)
        num++;
    printf("%zu\n", num);
}

static void answer_policies(const struct words *words)
{
    char pcrs[LCT_PCRS_TEXT];

    lct_pcrs_text(pcrs, lct_trust_pcrs(trust));
    printf("%s", lct_trust_has_policies(trust) ? pcrs : "none");
    for (int i = 1; i < words->num; i++)
        printf(" %d", lct_trust_accepts_authority(trust, words->all[i]));
    puts("");
}

static bool answer(const struct words *words)
{
    static const struct {
        const char *word;
        void (*answer)(struct given *given);
    } rows[] = {{"ek", do_ek}, {"flip", do_flip}, {"cut", do_cut}, {"time", do_time}};

    for (size_t i = 0; i < sizeof rows / sizeof rows[0] && words->num >= 4; i++) {
        if (strcmp(words->all[0], rows[i].word) != 0)
            continue;
        answer_ek(words, rows[i].answer);
        return true;
    }
    if (words->num >= 4 && strcmp(words->all[0], "ak") == 0)
        answer_ak(words);
    else if (words->num == 2 && strcmp(words->all[0], "issuers") == 0)
        answer_issuers(words);
    else if (words->num >= 1 && strcmp(words->all[0], "policies") == 0)
        answer_policies(words);
    else
        return false;
    return true;
}

static bool answer_all(void)
{
    static char line[MAX_LINE];
    bool good = true;

    while (good && fgets(line, sizeof line, stdin) != NULL) {
        struct words words = {0};
        char *rest = NULL;
        for (char *word = strtok_r(line, " \n", &rest); word != NULL && words.num < MAX_WORDS;
             word = strtok_r(NULL, " \n", &rest))
            words.all[words.num++] = word;
        good = answer(&words);
    }
    return good;
}

int main(int argc, char **argv)
{
    struct lct_crypto *crypto = lct_crypto_new();
    struct lct_trust *owned = NULL;
    struct lct_err err = {.code = LCT_OK};
    bool good = true;

    libctx = argc == 2 && crypto != NULL ? lct_crypto_get(crypto, &err) : NULL;
    if (libctx == NULL)
        return 1;
    if (lct_trust_read(&owned, libctx, argv[1], &err) != LCT_OK) {
        printf("error %d %s\n", (int)err.code, err.text);
        good = owned == NULL;
    } else {
        trust = owned;
        good = answer_all();
    }
    good = good && ERR_peek_error() == 0;
    lct_trust_free(owned);
    lct_crypto_free(crypto);
    return good ? 0 : 1;
}
