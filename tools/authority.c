/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/authority.h"

#include "tools/ask.h"
#include "tools/authority_key.h"
#include "tools/json.h"

#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_FILE = 65536 };

bool lct_authority_is_here(const struct lct_authority *authority)
{
    return authority->private_key != NULL && access(authority->private_key, F_OK) == 0;
}

const char *lct_authority_key_file(char file[PATH_MAX], const struct lct_tool *tool,
                                   const struct lct_seal *seal)
{
    const struct lct_store *store = &tool->store;
    bool found = false;

    for (size_t i = 0; i < store->num_dirs && !found; i++) {
        struct lct_authority authority;
        found =
            lct_authority_get(&authority, store, store->dirs[i], tool->crypto, NULL) == LCT_OK &&
            authority.private_key != NULL && authority.public_len == seal->authority_len &&
            memcmp(authority.public_area, seal->authority, seal->authority_len) == 0 &&
            snprintf(file, PATH_MAX, "%s", authority.private_key) < PATH_MAX;
        lct_authority_clear(&authority);
    }
    return found ? file : "KEY.pem";
}

enum lct_code lct_authority_try(const struct lct_tool *tool, const struct lct_authority *authority,
                                const char *label, struct lct_err *err)
{
    struct lct_seal seal = {.kind = LCT_SEAL_AUTHORITY, .authority_len = authority->public_len};
    OSSL_LIB_CTX *libctx = lct_crypto_get(tool->crypto, err);

    memcpy(seal.authority, authority->public_area, authority->public_len);
    return libctx != NULL ? lct_tpm_try_authority(tool->tpm, &seal, label, libctx, err)
                          : LCT_ERR_INTERNAL;
}

/* From --passphrase-file, asked for, or made: then *made. */
static enum lct_code find_phrase(struct lct_phrase *phrase, bool *made, const struct lct_tool *tool,
                                 const struct lct_authority_request *request, OSSL_LIB_CTX *libctx,
                                 struct lct_err *err)
{
    *made = tool->passphrase_file == NULL && !request->passphrase;
    if (*made && tool->json && !lct_can_ask()) /* standard output is the JSON's */
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "%s: there is no terminal to show a recovery phrase on, and --json is no "
                        "place for it; give a passphrase in a file: --passphrase-file",
                        request->out);
    if (*made)
        return lct_phrase_make(phrase, libctx, err);
    if (tool->passphrase_file != NULL)
        return lct_phrase_read(phrase, tool->passphrase_file, err);
    int len = lct_ask_new_line(phrase->text, LCT_MAX_PHRASE + 1, "new passphrase of the authority");
    phrase->len = len > 0 ? (size_t)len : 0;
    if (len > 0)
        return LCT_OK;
    return LCT_FAIL(err, LCT_ERR_AUTH,
                    lct_can_ask() ? "the passphrase was not given, or not the same twice"
                                  : "a passphrase is needed, and there is no terminal to ask on; "
                                    "give it in a file: --passphrase-file");
}

/* Not through a buffer that stays in memory. */
static enum lct_code show_phrase(const struct lct_phrase *phrase, const char *file,
                                 struct lct_err *err)
{
    char line[sizeof phrase->text + 64];
    int tty = open("/dev/tty", O_WRONLY | O_CLOEXEC | O_NOCTTY);
    int out = tty >= 0 ? tty : STDOUT_FILENO;
    enum lct_code code =
        fflush(stdout) == 0 ? LCT_OK : LCT_FAIL(err, LCT_ERR_IO, "standard output is closed");

    int len = snprintf(line, sizeof line, "recovery phrase: %s\n", phrase->text);
    if (code == LCT_OK && write(out, line, (size_t)len) != len)
        code = LCT_FAIL(err, LCT_ERR_IO, "the recovery phrase of %s cannot be shown", file);
    explicit_bzero(line, sizeof line);
    if (tty >= 0)
        close(tty);
    return code;
}

/* Its key file was written: it is shown and kept, or gone again. */
static enum lct_code keep(struct lct_tool *tool, EVP_PKEY *pkey, const struct lct_phrase *phrase,
                          bool made, const char *file, struct lct_err *err)
{
    char *path = realpath(file, NULL);
    enum lct_code code =
        path != NULL ? LCT_OK : LCT_FAIL(err, LCT_ERR_IO, "%s is gone already", file);

    if (code == LCT_OK && made)
        code = show_phrase(phrase, file, err);
    if (code == LCT_OK)
        code = lct_authority_put(&tool->store, tool->crypto, pkey, path, err);
    if (code != LCT_OK)
        (void)unlink(file);
    free(path);
    return code;
}

static enum lct_code say_made(const struct lct_tool *tool, const char *file, bool made,
                              struct lct_err *err)
{
    struct lct_authority authority = {0};
    char algorithm[16];
    enum lct_code code = lct_authority_get(&authority, &tool->store, NULL, tool->crypto, err);

    if (code == LCT_OK) {
        lct_authority_key_algorithm(algorithm, authority.pkey);
        code = lct_tool_say(tool, err,
                            "made the recovery authority %.*s (%s) of %s\n"
                            "its private half is %s, encrypted under the %s\n"
                            "keep %s away from this machine: with the disk and %s any boot "
                            "can be approved, without %s an update may lock keys for ever\n",
                            LCT_FINGERPRINT_SHORT, authority.fingerprint, algorithm, authority.dir,
                            file, made ? "recovery phrase" : "passphrase", made ? "both" : "it",
                            made ? "them" : "it", made ? "them" : "it");
    }
    lct_authority_clear(&authority);
    return code;
}

/* What can be known to fail before anything is made or shown. */
static enum lct_code check_absent(const struct lct_tool *tool, struct lct_err *err)
{
    struct lct_authority authority = {0};
    enum lct_code code = lct_authority_get(&authority, &tool->store, NULL, tool->crypto, err);

    if (code == LCT_OK)
        code = LCT_FAIL(err, LCT_ERR_EXISTS,
                        "%s has a recovery authority already, %.*s; keys are sealed to it",
                        authority.dir, LCT_FINGERPRINT_SHORT, authority.fingerprint);
    else if (code == LCT_ERR_NO_AUTHORITY)
        code = lct_store_check_writable(&tool->store, err);
    lct_authority_clear(&authority);
    return code;
}

enum lct_code lct_tool_make_authority(struct lct_tool *tool,
                                      const struct lct_authority_request *request,
                                      struct lct_err *err)
{
    struct lct_phrase phrase = {0};
    EVP_PKEY *pkey = NULL;
    bool made = false;
    OSSL_LIB_CTX *libctx = lct_crypto_get(tool->crypto, err);
    enum lct_code code = libctx != NULL ? check_absent(tool, err) : LCT_ERR_INTERNAL;

    if (code == LCT_OK)
        code = lct_authority_key_make(
            &pkey, libctx, request->algorithm != NULL ? request->algorithm : "ec-p256", err);
    if (code == LCT_OK)
        code = find_phrase(&phrase, &made, tool, request, libctx, err);
    if (code == LCT_OK)
        code = lct_authority_key_write(request->out, pkey, libctx, &phrase, err);
    if (code == LCT_OK)
        code = keep(tool, pkey, &phrase, made, request->out, err);
    lct_phrase_wipe(&phrase);
    EVP_PKEY_free(pkey);
    return code == LCT_OK ? say_made(tool, request->out, made, err) : code;
}

/* Its public key in PEM; the caller frees it. NULL if out of memory. */
static char *public_pem(const struct lct_authority *authority)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *data = NULL, *text = NULL;

    if (bio != NULL && PEM_write_bio_PUBKEY(bio, authority->pkey) == 1) {
        long len = BIO_get_mem_data(bio, &data);
        text = len > 0 ? strndup(data, (size_t)len) : NULL;
    }
    BIO_free(bio);
    return text;
}

static enum lct_code show_json(const struct lct_authority *authority, const char *algorithm,
                               const char *pem, struct lct_err *err)
{
    char *file = NULL;

    if (asprintf(&file, "%s/.authority.pub.pem", authority->dir) < 0)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    enum lct_code code = lct_tool_print_json(
        json_pack("{s:i, s:s, s:s, s:o, s:o, s:b, s:s}", "version", 1, "fingerprint",
                  authority->fingerprint, "algorithm", algorithm, "file", lct_tool_json_text(file),
                  "private_key", lct_tool_json_text(authority->private_key), "private_key_is_here",
                  lct_authority_is_here(authority), "public_key", pem),
        err);
    free(file);
    return code;
}

static enum lct_code show_text(const struct lct_authority *authority, const char *algorithm,
                               struct lct_err *err)
{
    return lct_tool_print(err,
                          "authority    %s\nalgorithm    %s\nfile         %s/.authority.pub.pem\n"
                          "private half %s%s\n",
                          authority->fingerprint, algorithm, authority->dir,
                          authority->private_key != NULL ? authority->private_key
                                                         : "was not made here",
                          authority->private_key == NULL     ? ""
                          : lct_authority_is_here(authority) ? ", where it is now"
                                                             : ", where it is not now");
}

static enum lct_code show(const struct lct_tool *tool, bool pem, struct lct_err *err)
{
    struct lct_authority authority = {0};
    char algorithm[16];
    char *text = NULL;
    enum lct_code code = lct_authority_get(&authority, &tool->store, NULL, tool->crypto, err);

    if (code == LCT_OK) {
        lct_authority_key_algorithm(algorithm, authority.pkey);
        text = public_pem(&authority);
        code = text == NULL ? LCT_FAIL(err, LCT_ERR_INTERNAL, "the key cannot be written")
               : pem        ? lct_tool_print(err, "%s", text)
               : tool->json ? show_json(&authority, algorithm, text, err)
                            : show_text(&authority, algorithm, err);
    }
    free(text);
    lct_authority_clear(&authority);
    return code;
}

/* A SubjectPublicKeyInfo in PEM. */
static enum lct_code read_public(EVP_PKEY **pkey, OSSL_LIB_CTX *libctx, const char *file,
                                 struct lct_err *err)
{
    static const char private_end[] = "PRIVATE KEY-----";
    uint8_t *bytes = NULL;
    size_t bytes_len = 0;
    enum lct_code code = lct_tool_read(&bytes, &bytes_len, file, MAX_FILE, err);

    if (code != LCT_OK)
        return code;
    file = lct_tool_file(file);
    BIO *bio = BIO_new_mem_buf(bytes, (int)bytes_len);
    (void)ERR_set_mark();
    if (memmem(bytes, bytes_len, private_end, sizeof private_end - 1) != NULL)
        code = LCT_FAIL(err, LCT_ERR_USAGE,
                        "%s is a private key, which this machine is better without; import the "
                        "public one: openssl pkey -pubout",
                        file);
    else if (bio == NULL ||
             (*pkey = PEM_read_bio_PUBKEY_ex(bio, NULL, NULL, NULL, libctx, NULL)) == NULL)
        code = LCT_FAIL(err, LCT_ERR_USAGE,
                        "%s is no public key in PEM, as lct authority show --pem and openssl pkey "
                        "-pubout write it",
                        file);
    (void)ERR_pop_to_mark();
    BIO_free(bio);
    explicit_bzero(bytes, bytes_len); /* it may be a private key, by mistake */
    free(bytes);
    return code;
}

static enum lct_code import(struct lct_tool *tool, const char *file, struct lct_err *err)
{
    struct lct_authority authority = {0};
    EVP_PKEY *pkey = NULL;
    char algorithm[16];
    OSSL_LIB_CTX *libctx = lct_crypto_get(tool->crypto, err);
    enum lct_code code = libctx != NULL ? read_public(&pkey, libctx, file, err) : LCT_ERR_INTERNAL;

    if (code == LCT_OK)
        code = lct_authority_put(&tool->store, tool->crypto, pkey, NULL, err);
    if (code == LCT_OK)
        code = lct_authority_get(&authority, &tool->store, NULL, tool->crypto, err);
    if (code == LCT_OK) {
        lct_authority_key_algorithm(algorithm, authority.pkey);
        code = lct_tool_say(tool, err, "%.*s (%s) is the recovery authority of %s\n",
                            LCT_FINGERPRINT_SHORT, authority.fingerprint, algorithm, authority.dir);
    }
    lct_authority_clear(&authority);
    EVP_PKEY_free(pkey);
    return code;
}

/* What there is to say is said before: a TPM that hangs takes its time. That none answers is no
 * reason to warn, as an authority may be for other machines. */
static enum lct_code warn_of_tpm(const struct lct_tool *tool, struct lct_err *err)
{
    struct lct_authority authority = {0};
    char algorithm[16];

    if (fflush(stdout) != 0)
        return LCT_FAIL(err, LCT_ERR_IO, "standard output cannot be written");
    enum lct_code code = lct_authority_get(&authority, &tool->store, NULL, tool->crypto, err);
    if (code == LCT_OK && lct_authority_try(tool, &authority, "the recovery authority", NULL) ==
                              LCT_ERR_UNSUPPORTED) {
        lct_authority_key_algorithm(algorithm, authority.pkey);
        lct_tool_warn(NULL,
                      "this machine's TPM does not take an authority's %s key, and nothing can be "
                      "sealed to it here; one of ec-p256 every TPM takes",
                      algorithm);
    }
    lct_authority_clear(&authority);
    return code;
}

struct words {
    struct lct_authority_request request;
    bool pem;
};

static enum lct_code run(struct lct_tool *tool, const struct words *words, char **operands,
                         int num_operands, struct lct_err *err)
{
    const struct lct_authority_request *request = &words->request;
    const char *verb = operands[0];
    bool init = strcmp(verb, "init") == 0, importing = strcmp(verb, "import") == 0;
    bool made = request->out != NULL || request->algorithm != NULL || request->passphrase;

    if (!init && !importing && strcmp(verb, "show") != 0)
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "there is no lct authority %s; it is lct authority init, show or import",
                        verb);
    if (num_operands != (importing ? 2 : 1) || (made && !init) ||
        (words->pem && (tool->json || init || importing)))
        return LCT_FAIL(err, LCT_ERR_USAGE, "usage: lct authority %s",
                        lct_subcommand_by_name("authority")->arguments);
    if (init && request->out == NULL)
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "where shall the private half go? --out FILE, best on a stick that is kept "
                        "elsewhere");
    enum lct_code code = lct_tool_open(tool, err);
    if (code != LCT_OK)
        return code;
    if (init)
        code = lct_tool_make_authority(tool, request, err);
    else if (importing)
        code = import(tool, operands[1], err);
    if (code == LCT_OK && (tool->json || !(init || importing)))
        code = show(tool, words->pem, err);
    return code == LCT_OK && (init || importing) ? warn_of_tpm(tool, err) : code;
}

enum lct_code lct_authority_run(struct lct_tool *tool, int argc, char **argv, struct lct_err *err)
{
    struct words words = {.pem = false};
    const struct lct_option options[] = {
        {"out", &words.request.out, NULL},
        {"algorithm", &words.request.algorithm, NULL},
        {"passphrase", NULL, &words.request.passphrase},
        {"json", NULL, &tool->json},
        {"pem", NULL, &words.pem},
    };
    char **operands;
    int num_operands;
    enum lct_code code =
        lct_options_parse(tool, argc, argv, options, sizeof options / sizeof options[0], 1, 2,
                          &operands, &num_operands, err);

    return code == LCT_OK ? run(tool, &words, operands, num_operands, err) : code;
}
