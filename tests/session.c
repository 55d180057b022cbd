/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The session arithmetic, for a test to ask: a question a line on standard input, an answer a line
 * on standard output. Words are separated by blanks; bytes are hexadecimal, "-" for none; sessions
 * are numbered. An answer is bytes, or "error", the code's number and the sentence.
 */
#include "base/encode.h"
#include "base/secret.h"
#include "tcg/algorithm.h"
#include "tcg/credential.h"
#include "tcg/kdf.h"
#include "tcg/public.h"
#include "tcg/seed.h"
#include "tcg/session.h"

#include <openssl/crypto.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_WORDS = 10, MAX_SESSIONS = 3, MAX_NAMES = 5, MAX_BYTES = 8192 };

static OSSL_LIB_CTX *libctx;
static struct lct_session_keys sessions[MAX_SESSIONS];
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

static struct lct_secret parse_secret(const char *text)
{
    struct bytes bytes = parse(text);
    struct lct_secret secret = {.len = bytes.len};

    if (bytes.len > sizeof secret.data)
        abort();
    memcpy(secret.data, bytes.data, bytes.len);
    release(&bytes);
    return secret;
}

static void parse_digest(uint8_t digest[LCT_SESSION_DIGEST], const char *text)
{
    struct bytes bytes = parse(text);

    if (bytes.len != LCT_SESSION_DIGEST)
        abort();
    memcpy(digest, bytes.data, bytes.len);
    release(&bytes);
}

static size_t parse_number(const char *text)
{
    return strtoul(text, NULL, 0);
}

static struct lct_session_keys *session(const char *text)
{
    size_t number = parse_number(text);

    if (number >= MAX_SESSIONS)
        abort();
    return &sessions[number];
}

/* NULL for "-". */
static const struct lct_session_keys *other(const char *text)
{
    return strcmp(text, "-") == 0 ? NULL : session(text);
}

static void print_hex(const uint8_t *bytes, size_t len)
{
    if (len == 0)
        printf("-");
    for (size_t i = 0; i < len; i++)
        printf("%02x", bytes[i]);
}

static void answer(enum lct_code code, const uint8_t *bytes, size_t len)
{
    if (code == LCT_OK)
        print_hex(bytes, len);
    else
        printf("error %d %s", (int)code, err.text);
    puts("");
}

static void derive(char **words, bool kdfe)
{
    struct bytes key = parse(words[2]), u = parse(words[4]), v = parse(words[5]);
    size_t out_len = parse_number(words[6]);
    uint8_t *out = malloc(out_len > 0 ? out_len : 1);
    const struct lct_kdf from = {
        .hash = lct_hash_by_id((uint16_t)parse_number(words[1])),
        .key = key.data,
        .key_len = key.len,
        .label = words[3],
        .u = u.len > 0 ? u.data : NULL,
        .u_len = u.len,
        .v = v.len > 0 ? v.data : NULL,
        .v_len = v.len,
    };

    if (from.hash == NULL || out == NULL)
        abort();
    answer((kdfe ? lct_kdfe : lct_kdfa)(out, out_len, libctx, &from, &err), out, out_len);
    free(out);
    release(&v);
    release(&u);
    release(&key);
}

/* kdfa HASH KEY LABEL U V LENGTH */
static void ask_kdfa(char **words)
{
    derive(words, false);
}

/* kdfe HASH Z LABEL U V LENGTH */
static void ask_kdfe(char **words)
{
    derive(words, true);
}

/* seed USE TPM2B_PUBLIC: the seed and what the TPM gets. */
static void ask_seed(char **words)
{
    struct bytes tpm2b = parse(words[2]);
    struct lct_public key;
    struct lct_secret seed = {.len = 1};
    struct lct_encrypted_seed encrypted;
    enum lct_code code = lct_public_decode(&key, tpm2b.data, tpm2b.len, &err);

    if (code == LCT_OK)
        code = lct_seed_make(&seed, &encrypted, libctx, &key,
                             (enum lct_seed_use)parse_number(words[1]), &err);
    if (code == LCT_OK) {
        print_hex(seed.data, seed.len);
        printf(" ");
    } else if (seed.len > 1) {
        abort();
    }
    answer(code, encrypted.data, encrypted.len);
    release(&tpm2b);
}

/*
 * credential EK NAME SECRET SEED: what TPM2B_ID_OBJECT holds. SEED "-": a new one, and what
 * TPM2B_ENCRYPTED_SECRET holds, too.
 */
static void ask_credential(char **words)
{
    struct bytes tpm2b = parse(words[1]), name_bytes = parse(words[2]);
    const struct lct_secret secret = parse_secret(words[3]), seed = parse_secret(words[4]);
    struct lct_name name = {.len = name_bytes.len};
    struct lct_credential credential = {0};
    struct lct_public ek;
    enum lct_code code = lct_public_decode(&ek, tpm2b.data, tpm2b.len, &err);

    if (name.len > sizeof name.data)
        abort();
    memcpy(name.data, name_bytes.data, name.len);
    if (code == LCT_OK)
        code = seed.len == 0
                   ? lct_credential_make(&credential, libctx, &ek, &name, &secret, &err)
                   : lct_credential_wrap(&credential, libctx, &ek, &name, &secret, &seed, &err);
    if (code == LCT_OK && seed.len == 0) {
        print_hex(credential.seed.data, credential.seed.len);
        printf(" ");
    }
    answer(code, credential.id, credential.id_len);
    release(&name_bytes);
    release(&tpm2b);
}

/* roll SESSION: nonceCaller. */
static void ask_roll(char **words)
{
    struct lct_session_keys *keys = session(words[1]);

    answer(lct_session_roll(keys, libctx, &err), keys->nonce_caller, sizeof keys->nonce_caller);
}

/* derive SESSION SALT NONCE_TPM: the session key. */
static void ask_derive(char **words)
{
    struct lct_session_keys *keys = session(words[1]);
    const struct lct_secret salt = parse_secret(words[2]);
    struct bytes nonce = parse(words[3]);
    enum lct_code code = lct_session_derive(keys, libctx, &salt, nonce.data, nonce.len, &err);

    answer(code, keys->key.data, keys->key.len);
    release(&nonce);
}

/* wipe SESSION: what is left of it. */
static void ask_wipe(char **words)
{
    struct lct_session_keys *keys = session(words[1]);

    lct_session_keys_wipe(keys);
    answer(LCT_OK, (const uint8_t *)keys, sizeof *keys);
}

/* name HANDLE */
static void ask_name(char **words)
{
    const struct lct_name name = lct_name_of_handle((uint32_t)parse_number(words[1]));

    answer(LCT_OK, name.data, name.len);
}

/* cp_hash CODE PARAMETERS NAME... */
static void ask_cp_hash(char **words)
{
    struct bytes params = parse(words[2]);
    struct lct_name names[MAX_NAMES];
    uint8_t digest[LCT_SESSION_DIGEST];
    size_t num = 0;

    for (char **word = words + 3; *word != NULL; word++) {
        struct bytes name = parse(*word);
        if (num == MAX_NAMES || name.len > sizeof names[num].data)
            abort();
        names[num].len = name.len;
        memcpy(names[num++].data, name.data, name.len);
        release(&name);
    }
    enum lct_code code =
        lct_session_cp_hash(digest, libctx, (uint32_t)parse_number(words[1]), names, num,
                            params.len > 0 ? params.data : NULL, params.len, &err);
    answer(code, digest, sizeof digest);
    release(&params);
}

/* rp_hash CODE PARAMETERS */
static void ask_rp_hash(char **words)
{
    struct bytes params = parse(words[2]);
    uint8_t digest[LCT_SESSION_DIGEST];
    enum lct_code code = lct_session_rp_hash(digest, libctx, (uint32_t)parse_number(words[1]),
                                             params.data, params.len, &err);

    answer(code, digest, sizeof digest);
    release(&params);
}

/* hmac SESSION AUTH CP_HASH ATTRIBUTES DECRYPT ENCRYPT */
static void ask_hmac(char **words)
{
    const struct lct_secret auth = parse_secret(words[2]);
    uint8_t hash[LCT_SESSION_DIGEST], hmac[LCT_SESSION_DIGEST];

    parse_digest(hash, words[3]);
    answer(lct_session_hmac(hmac, session(words[1]), libctx, auth.len > 0 ? &auth : NULL, hash,
                            (uint8_t)parse_number(words[4]), other(words[5]), other(words[6]),
                            &err),
           hmac, sizeof hmac);
}

/* verify SESSION AUTH RP_HASH NONCE_TPM ATTRIBUTES HMAC: nonceTPM afterwards. */
static void ask_verify(char **words)
{
    struct lct_session_keys *keys = session(words[1]);
    const struct lct_secret auth = parse_secret(words[2]);
    struct bytes nonce = parse(words[4]), hmac = parse(words[6]);
    uint8_t hash[LCT_SESSION_DIGEST];
    const struct lct_session_answer response = {
        nonce.data, nonce.len, (uint8_t)parse_number(words[5]), hmac.data, hmac.len};

    parse_digest(hash, words[3]);
    answer(lct_session_verify(keys, libctx, &auth, hash, &response, &err), keys->nonce_tpm,
           sizeof keys->nonce_tpm);
    release(&hmac);
    release(&nonce);
}

/* encrypt SESSION AUTH BYTES */
static void ask_encrypt(char **words)
{
    const struct lct_secret auth = parse_secret(words[2]);
    struct bytes bytes = parse(words[3]);
    enum lct_code code =
        lct_session_encrypt(session(words[1]), libctx, &auth, bytes.data, bytes.len, &err);

    answer(code, bytes.data, bytes.len);
    release(&bytes);
}

/* decrypt SESSION AUTH BYTES */
static void ask_decrypt(char **words)
{
    const struct lct_secret auth = parse_secret(words[2]);
    struct bytes bytes = parse(words[3]);
    enum lct_code code =
        lct_session_decrypt(session(words[1]), libctx, &auth, bytes.data, bytes.len, &err);

    answer(code, bytes.data, bytes.len);
    release(&bytes);
}

static const struct {
    const char *word;
    int num_words; /* at least, with this one */
    void (*ask)(char **words);
} questions[] = {
    {"kdfa", 7, ask_kdfa},       {"kdfe", 7, ask_kdfe},
    {"seed", 3, ask_seed},       {"roll", 2, ask_roll},
    {"derive", 4, ask_derive},   {"wipe", 2, ask_wipe},
    {"name", 2, ask_name},       {"cp_hash", 3, ask_cp_hash},
    {"rp_hash", 3, ask_rp_hash}, {"hmac", 7, ask_hmac},
    {"verify", 7, ask_verify},   {"encrypt", 4, ask_encrypt},
    {"decrypt", 4, ask_decrypt}, {"credential", 5, ask_credential},
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
    static char line[4 * MAX_BYTES];
    bool asked = true;

    libctx = OSSL_LIB_CTX_new();
    while (libctx != NULL && asked && fgets(line, sizeof line, stdin) != NULL)
        asked = ask(line);
    OSSL_LIB_CTX_free(libctx);
    return libctx != NULL && asked ? 0 : 1;
}
