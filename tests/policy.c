/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The arithmetic of policies and seals, for a test to ask: a question a line on standard input, an
 * answer a line on standard output. Words are separated by blanks; bytes are hexadecimal, "-" for
 * none. PCRs are as lct_pcrs_parse takes them, "-" for none, and their values are one after the
 * other; a counter is HANDLE NAME VALUE, with handle 0 none. An answer is words, or "error", the
 * code's number and the sentence.
 */
#include "base/encode.h"
#include "tcg/pcr.h"
#include "tcg/policy.h"
#include "tcg/seal.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_WORDS = 20, MAX_LINE = 65536 };

static OSSL_LIB_CTX *libctx;
static struct lct_err err;

/* Bytes in a block of their own, so that a sanitizer sees a byte too many. */
struct bytes {
    uint8_t *data;
    size_t len;
};

static struct bytes parse(const char *text)
{
    size_t len = strcmp(text, "-") == 0 ? 0 : strlen(text) / 2;
    struct bytes bytes = {.data = malloc(len > 0 ? len : 1)};

    if (bytes.data == NULL || (len > 0 && !lct_hex_decode(bytes.data, &bytes.len, len, text)))
        abort();
    return bytes;
}

static void release(struct bytes *bytes)
{
    free(bytes->data);
}

static size_t parse_into(uint8_t *place, size_t size, const char *text)
{
    struct bytes bytes = parse(text);
    size_t len = bytes.len;

    if (len > size)
        abort();
    memcpy(place, bytes.data, len);
    release(&bytes);
    return len;
}

static void parse_digest(uint8_t digest[LCT_POLICY_DIGEST], const char *text)
{
    if (parse_into(digest, LCT_POLICY_DIGEST, text) != LCT_POLICY_DIGEST)
        abort();
}

static struct lct_pcrs parse_pcrs(const char *text)
{
    struct lct_pcrs pcrs = {0};

    if (strcmp(text, "-") != 0 && lct_pcrs_parse(&pcrs, text, strlen(text), &err) != LCT_OK)
        abort();
    return pcrs;
}

static struct lct_pcr_values parse_values(const char *pcrs, const char *text)
{
    struct lct_pcr_values values = {.pcrs = parse_pcrs(pcrs)};
    struct bytes bytes = parse(text);
    size_t at = 0;

    for (size_t i = 0; i < values.pcrs.num_banks; i++) {
        const struct lct_pcr_bank *bank = &values.pcrs.banks[i];
        for (unsigned n = 0; n < LCT_NUM_PCRS; n++) {
            if ((bank->pcrs >> n & 1) == 0)
                continue;
            if (bytes.len - at < bank->hash->size)
                abort();
            memcpy(values.values[i][n], bytes.data + at, bank->hash->size);
            at += bank->hash->size;
        }
    }
    if (at != bytes.len)
        abort();
    release(&bytes);
    return values;
}

static struct lct_counter parse_counter(char **words)
{
    struct lct_counter counter = {.handle = (uint32_t)strtoul(words[0], NULL, 0),
                                  .value = strtoull(words[2], NULL, 0)};

    counter.name.len = parse_into(counter.name.data, sizeof counter.name.data, words[1]);
    return counter;
}

static void print_hex(const uint8_t *bytes, size_t len)
{
    if (len == 0)
        printf("-");
    for (size_t i = 0; i < len; i++)
        printf("%02x", bytes[i]);
}

/* True: the answer is still to be written. */
static bool good(enum lct_code code)
{
    if (code != LCT_OK)
        printf("error %d %s\n", (int)code, err.text);
    return code == LCT_OK;
}

static void answer(enum lct_code code, const uint8_t *bytes, size_t len)
{
    if (!good(code))
        return;
    print_hex(bytes, len);
    puts("");
}

static void print_pcrs(const struct lct_pcrs *pcrs)
{
    char text[LCT_PCRS_TEXT];

    lct_pcrs_text(text, pcrs);
    printf("%s", text[0] != '\0' ? text : "-");
}

/* parse TEXT: in words, and as the TPM takes it. */
static void ask_parse(char **words)
{
    struct lct_pcrs pcrs;
    uint8_t bytes[LCT_PCRS_BYTES];

    if (!good(lct_pcrs_parse(&pcrs, words[1], strlen(words[1]), &err)))
        return;
    print_pcrs(&pcrs);
    printf(" ");
    answer(LCT_OK, bytes, lct_pcrs_marshal(bytes, &pcrs));
}

/* unmarshal BYTES: in words, and how many bytes it took. */
static void ask_unmarshal(char **words)
{
    struct bytes bytes = parse(words[1]);
    struct lct_pcrs pcrs;
    size_t used = 0;

    if (good(lct_pcrs_unmarshal(&pcrs, &used, bytes.data, bytes.len, &err))) {
        print_pcrs(&pcrs);
        printf(" %zu\n", used);
    }
    release(&bytes);
}

/* check PCRS */
static void ask_check(char **words)
{
    const struct lct_pcrs pcrs = parse_pcrs(words[1]);

    answer(lct_pcrs_check_seal(&pcrs, &err), NULL, 0);
}

/* pcr_digest PCRS VALUES */
static void ask_pcr_digest(char **words)
{
    const struct lct_pcr_values values = parse_values(words[1], words[2]);
    uint8_t digest[LCT_POLICY_DIGEST];

    answer(lct_pcr_digest(digest, libctx, &values, &err), digest, sizeof digest);
}

/* blank PCRS VALUES: whether all are, and which tell no boot from another */
static void ask_blank(char **words)
{
    const struct lct_pcr_values values = parse_values(words[1], words[2]);

    struct lct_pcrs blank;

    printf("%s ", lct_pcr_values_are_blank(&values) ? "yes" : "no");
    lct_pcr_values_blank(&blank, &values);
    print_pcrs(&blank);
    printf("\n");
}

/* pick PCRS PCRS VALUES: the digest of those of the first that are among the second, or "none". */
static void ask_pick(char **words)
{
    const struct lct_pcrs pcrs = parse_pcrs(words[1]);
    const struct lct_pcr_values values = parse_values(words[2], words[3]);
    struct lct_pcr_values picked;
    uint8_t digest[LCT_POLICY_DIGEST];

    if (!lct_pcr_values_pick(&picked, &pcrs, &values)) {
        puts("none");
        return;
    }
    if (!lct_pcrs_equal(&picked.pcrs, &pcrs))
        abort();
    answer(lct_pcr_digest(digest, libctx, &picked, &err), digest, sizeof digest);
}

/* Extends `digest` as the words say; returns how many words that took. */
static int take_step(uint8_t digest[LCT_POLICY_DIGEST], enum lct_code *code, char **words)
{
    if (strcmp(words[0], "pcr") == 0) {
        const struct lct_pcrs pcrs = parse_pcrs(words[1]);
        uint8_t of_values[LCT_POLICY_DIGEST];
        parse_digest(of_values, words[2]);
        *code = lct_policy_pcr(digest, libctx, &pcrs, of_values, &err);
        return 3;
    }
    if (strcmp(words[0], "counter") == 0) {
        const struct lct_counter counter = parse_counter(words + 1);
        *code = lct_policy_counter(digest, libctx, &counter, &err);
        return 4;
    }
    if (strcmp(words[0], "authorize") == 0) {
        struct lct_name name = {0};
        struct bytes ref = parse(words[2]);
        name.len = parse_into(name.data, sizeof name.data, words[1]);
        *code = lct_policy_authorize(digest, libctx, &name, ref.data, ref.len, &err);
        release(&ref);
        return 3;
    }
    if (strcmp(words[0], "or") == 0) {
        uint8_t first[LCT_POLICY_DIGEST], second[LCT_POLICY_DIGEST];
        parse_digest(first, words[1]);
        parse_digest(second, words[2]);
        *code = lct_policy_or(digest, libctx, first, second, &err);
        return 3;
    }
    if (strcmp(words[0], "auth") != 0)
        abort();
    *code = lct_policy_auth_value(digest, libctx, &err);
    return 1;
}

/* policy STEP...: of pcr PCRS DIGEST, counter COUNTER, authorize NAME REF, or FIRST SECOND, auth.
 */
static void ask_policy(char **words)
{
    uint8_t digest[LCT_POLICY_DIGEST] = {0};
    enum lct_code code = LCT_OK;

    for (char **word = words + 1; *word != NULL && code == LCT_OK;)
        word += take_step(digest, &code, word);
    answer(code, digest, sizeof digest);
}

/* to_sign POLICY REF */
static void ask_to_sign(char **words)
{
    uint8_t policy[LCT_POLICY_DIGEST], digest[LCT_POLICY_DIGEST];
    struct bytes ref = parse(words[2]);

    parse_digest(policy, words[1]);
    answer(lct_policy_to_sign(digest, libctx, policy, ref.data, ref.len, &err), digest,
           sizeof digest);
    release(&ref);
}

/* state PCRS VALUES COUNTER */
static void ask_state(char **words)
{
    const struct lct_pcr_values values = parse_values(words[1], words[2]);
    const struct lct_counter counter = parse_counter(words + 3);
    uint8_t digest[LCT_POLICY_DIGEST];

    answer(lct_seal_state(digest, libctx, &values, &counter, &err), digest, sizeof digest);
}

/* seal TEXT VALUES AUTHORITY REF PASSPHRASE: authPolicy; TEXT as lct_seal_parse takes it. */
static void ask_seal(char **words)
{
    struct lct_seal seal;
    uint8_t digest[LCT_POLICY_DIGEST];
    char text[LCT_PCRS_TEXT];

    if (!good(lct_seal_parse(&seal, words[1], &err)))
        return;
    if (strcmp(words[2], "-") != 0) {
        lct_pcrs_text(text, &seal.pcrs.pcrs);
        seal.pcrs = parse_values(text, words[2]);
        seal.has_values = true;
        if (!good(lct_pcr_digest(seal.pcr_digest, libctx, &seal.pcrs, &err)))
            return;
    }
    seal.authority_len = parse_into(seal.authority, sizeof seal.authority, words[3]);
    seal.ref_len = parse_into(seal.ref, sizeof seal.ref, words[4]);
    answer(lct_seal_policy(digest, libctx, &seal, strcmp(words[5], "yes") == 0, &err), digest,
           sizeof digest);
}

/* words TEXT: a seal's kind and PCRs, and in words. */
static void ask_words(char **words)
{
    struct lct_seal seal;
    char text[LCT_SEAL_TEXT];

    if (!good(lct_seal_parse(&seal, strcmp(words[1], "-") == 0 ? "" : words[1], &err)))
        return;
    lct_seal_text(text, &seal);
    printf("%d ", (int)seal.kind);
    print_pcrs(&seal.pcrs.pcrs);
    printf(" %s\n", text);
}

/* bind ID COUNTER: policyRef. */
static void ask_bind(char **words)
{
    struct lct_seal seal = {.kind = LCT_SEAL_AUTHORITY, .counter = parse_counter(words + 2)};

    enum lct_code code = lct_seal_bind(&seal, libctx, words[1], &err);
    answer(code, seal.ref, seal.ref_len);
}

static EVP_PKEY *read_key(const char *path, bool is_private)
{
    FILE *file = fopen(path, "r");
    EVP_PKEY *pkey = NULL;

    if (file == NULL)
        abort();
    if (is_private)
        (void)PEM_read_PrivateKey_ex(file, &pkey, NULL, NULL, libctx, NULL);
    else
        (void)PEM_read_PUBKEY_ex(file, &pkey, NULL, NULL, libctx, NULL);
    fclose(file);
    if (pkey == NULL)
        abort();
    return pkey;
}

/* authority FILE: TPM2B_PUBLIC of a public key. */
static void ask_authority(char **words)
{
    uint8_t public_area[LCT_MAX_AUTHORITY];
    size_t len = 0;
    EVP_PKEY *pkey = read_key(words[1], false);

    enum lct_code code = lct_authority_public(public_area, &len, pkey, &err);
    answer(code, public_area, len);
    EVP_PKEY_free(pkey);
}

/* sign FILE PCRS VALUES REF COUNTER: the policy, and the signature of an approval. */
static void ask_sign(char **words)
{
    const struct lct_pcr_values values = parse_values(words[2], words[3]);
    struct lct_approval approval = {.pcrs = values.pcrs, .counter = parse_counter(words + 5)};
    EVP_PKEY *pkey = read_key(words[1], true);

    approval.ref_len = parse_into(approval.ref, sizeof approval.ref, words[4]);
    enum lct_code code = lct_approval_sign(&approval, libctx, &values, pkey, &err);
    if (code == LCT_OK) {
        print_hex(approval.policy, sizeof approval.policy);
        printf(" ");
    }
    answer(code, approval.signature.data, approval.signature.len);
    EVP_PKEY_free(pkey);
}

/* verify AUTHORITY POLICY REF SIGNATURE */
static void ask_verify(char **words)
{
    struct bytes authority = parse(words[1]);
    struct lct_approval approval = {.pcrs = parse_pcrs("sha256:7")};

    parse_digest(approval.policy, words[2]);
    approval.ref_len = parse_into(approval.ref, sizeof approval.ref, words[3]);
    approval.signature.len =
        parse_into(approval.signature.data, sizeof approval.signature.data, words[4]);
    answer(lct_approval_verify(&approval, libctx, authority.data, authority.len, &err), NULL, 0);
    release(&authority);
}

/* fits REF COUNTER REF COUNTER: an approval's, then a seal's. */
static void ask_fits(char **words)
{
    struct lct_approval approval = {.pcrs = parse_pcrs("sha256:7"),
                                    .counter = parse_counter(words + 2)};
    struct lct_seal seal = {.kind = LCT_SEAL_AUTHORITY, .counter = parse_counter(words + 6)};

    approval.ref_len = parse_into(approval.ref, sizeof approval.ref, words[1]);
    seal.ref_len = parse_into(seal.ref, sizeof seal.ref, words[5]);
    puts(lct_approval_fits(&approval, &seal) ? "yes" : "no");
}

static const struct {
    const char *word;
    int num_words; /* at least, with this one */
    void (*ask)(char **words);
} questions[] = {
    {"parse", 2, ask_parse},   {"unmarshal", 2, ask_unmarshal},
    {"check", 2, ask_check},   {"pcr_digest", 3, ask_pcr_digest},
    {"blank", 3, ask_blank},   {"pick", 4, ask_pick},
    {"policy", 1, ask_policy}, {"to_sign", 3, ask_to_sign},
    {"state", 6, ask_state},   {"seal", 6, ask_seal},
    {"words", 2, ask_words},   {"bind", 5, ask_bind},
    {"sign", 8, ask_sign},     {"authority", 2, ask_authority},
    {"verify", 5, ask_verify}, {"fits", 9, ask_fits},
};

static bool ask(char *line)
{
    char *words[MAX_WORDS + 1] = {0};
    int num = 0;
    char *rest = NULL;

    for (char *word = strtok_r(line, " \n", &rest); word != NULL && num < MAX_WORDS;
         word = strtok_r(NULL, " \n", &rest))
        words[num++] = word;
    for (size_t i = 0; i < sizeof questions / sizeof questions[0]; i++) {
        if (num < questions[i].num_words || strcmp(words[0], questions[i].word) != 0)
            continue;
        questions[i].ask(words);
        return fflush(stdout) == 0;
    }
    return false;
}

int main(void)
{
    static char line[MAX_LINE];
    bool asked = true;

    libctx = OSSL_LIB_CTX_new();
    while (libctx != NULL && asked && fgets(line, sizeof line, stdin) != NULL)
        asked = ask(line);
    OSSL_LIB_CTX_free(libctx);
    return libctx != NULL && asked ? 0 : 1;
}
