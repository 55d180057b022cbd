/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/signing.h"
#include "tools/tool.h"

#include "proof/json.h"
#include "proof/jws.h"
#include "proof/signed_statement.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static enum lct_code fail_input(struct lct_err *err)
{
    return LCT_FAIL(err, LCT_ERR_IO, "standard input cannot be read");
}

/* The digest of standard input, of any length. */
static enum lct_code digest_input(const struct lct_signing *signing, uint8_t digest[LCT_MAX_HASH],
                                  struct lct_err *err)
{
    uint8_t buffer[16384];
    EVP_MD *md = EVP_MD_fetch(signing->key->libctx, signing->scheme.hash->openssl, NULL);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    enum lct_code code = LCT_OK;
    size_t n;

    bool good = md != NULL && ctx != NULL && EVP_DigestInit_ex2(ctx, md, NULL) == 1;
    while (good && (n = fread(buffer, 1, sizeof buffer, stdin)) > 0)
        good = EVP_DigestUpdate(ctx, buffer, n) == 1;
    if (ferror(stdin))
        code = fail_input(err);
    else if (!good || EVP_DigestFinal_ex(ctx, digest, NULL) != 1)
        code = LCT_FAIL(err, LCT_ERR_INTERNAL, "the input cannot be hashed");
    EVP_MD_CTX_free(ctx);
    EVP_MD_free(md);
    return code;
}

static enum lct_code write_output(const uint8_t *bytes, size_t bytes_len, struct lct_err *err)
{
    if (fwrite(bytes, 1, bytes_len, stdout) == bytes_len)
        return LCT_OK;
    return LCT_FAIL(err, LCT_ERR_IO, "standard output cannot be written");
}

/* The signature as bytes, in OpenSSL's encoding or with ECDSA's r and s in fixed width. */
static enum lct_code to_form(const struct lct_signing *signing, bool fixed, uint8_t *bytes,
                             size_t *bytes_len, const struct lct_signature *signature,
                             struct lct_err *err)
{
    size_t size = signing->key->algorithm->size;

    if (fixed && strcmp(signing->key->algorithm->key_type, "EC") == 0) {
        *bytes_len = 2 * size;
        return lct_signature_to_p1363(bytes, size, signature, err);
    }
    *bytes_len = signature->len;
    memcpy(bytes, signature->data, signature->len);
    return LCT_OK;
}

static enum lct_code sign_digest(const struct lct_signing *signing, struct lct_signature *signature,
                                 struct lct_err *err)
{
    uint8_t digest[LCT_MAX_HASH];
    enum lct_code code = digest_input(signing, digest, err);

    return code == LCT_OK
               ? lct_signing_digest(signing, signature, digest, signing->scheme.hash->size, err)
               : code;
}

/* All of standard input; the caller frees it. */
static enum lct_code read_input(uint8_t **bytes, size_t *bytes_len, struct lct_err *err)
{
    size_t room = 0, n = 1;

    *bytes = NULL;
    for (*bytes_len = 0; n > 0; *bytes_len += n) {
        if (*bytes_len == room) {
            room = room > 0 ? 2 * room : 16384;
            uint8_t *more = realloc(*bytes, room);
            if (more == NULL)
                return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
            *bytes = more;
        }
        n = fread(*bytes + *bytes_len, 1, room - *bytes_len, stdin);
    }
    return ferror(stdin) ? fail_input(err) : LCT_OK;
}

/* Of a kind that signs no digests. */
static enum lct_code sign_whole(const struct lct_signing *signing, struct lct_signature *signature,
                                struct lct_err *err)
{
    uint8_t *message = NULL;
    size_t message_len = 0;
    enum lct_code code = read_input(&message, &message_len, err);

    if (code == LCT_OK)
        code = lct_signing_message(signing, signature, message, message_len, err);
    free(message);
    return code;
}

static enum lct_code sign_input(const struct lct_signing *signing, bool raw, struct lct_err *err)
{
    struct lct_signature signature;
    uint8_t bytes[LCT_MAX_SIGNATURE];
    size_t bytes_len = 0;
    enum lct_code code = signing->scheme.hash != NULL ? sign_digest(signing, &signature, err)
                                                      : sign_whole(signing, &signature, err);

    if (code != LCT_OK)
        return code;
    code = to_form(signing, raw, bytes, &bytes_len, &signature, err);
    return code == LCT_OK ? write_output(bytes, bytes_len, err) : code;
}

static enum lct_code sign_jose(const struct lct_signing *signing, struct lct_err *err)
{
    uint8_t *payload = NULL;
    size_t payload_len = 0;
    char *jws = NULL;
    char kid[4 + LCT_MAX_ID + 1];
    struct lct_signer signer = lct_signing_signer(signing);
    enum lct_code code = read_input(&payload, &payload_len, err);

    (void)snprintf(kid, sizeof kid, "lct:%s", signing->key->id);
    if (code == LCT_OK)
        code = lct_jws_compact(&jws, &signer, kid, NULL, payload, payload_len, err);
    if (code == LCT_OK)
        code = lct_tool_print(err, "%s\n", jws);
    free(jws);
    free(payload);
    return code;
}

/* What the command line says. */
struct asked {
    bool raw, jose;
    const char *kind; /* of a statement; NULL: it is none */
    const char *file; /* what the statement is of */
};

static enum lct_code check_asked(const struct asked *asked, struct lct_err *err)
{
    if (asked->raw && asked->jose)
        return LCT_FAIL(err, LCT_ERR_USAGE, "--raw and --jose exclude each other");
    if (asked->kind != NULL && (asked->raw || asked->jose))
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "a statement has one form; --type takes neither --raw nor --jose");
    if (asked->kind != NULL && !lct_is_statement_kind(asked->kind))
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "--type takes 1 to %d of the characters a-z, 0-9, dot and hyphen",
                        LCT_MAX_STATEMENT_KIND);
    if (asked->kind == NULL && asked->file != NULL)
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "lct sign signs standard input; a file is signed as a statement, with "
                        "--type");
    if (asked->kind == NULL && !asked->jose && isatty(STDOUT_FILENO))
        return LCT_FAIL(
            err, LCT_ERR_USAGE,
            "a signature is binary: send it to a file, as in lct sign ID <data >signature");
    return LCT_OK;
}

static enum lct_code print_statement(const struct lct_jws_general *jws, struct lct_err *err)
{
    char *text = lct_jws_general_write(jws);
    enum lct_code code = text != NULL ? lct_tool_print(err, "%s\n", text)
                                      : LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");

    free(text);
    return code;
}

static enum lct_code sign_statement(const struct lct_signing *signing, const struct asked *asked,
                                    struct lct_err *err)
{
    const struct lct_key *key = signing->key;
    struct lct_signer signer = lct_signing_signer(signing);
    struct lct_signed_statement statement = {.generation = key->number};
    struct lct_jws_general jws = {.payload = NULL};
    enum lct_code code = lct_tool_read(&statement.content, &statement.content_len, asked->file,
                                       LCT_MAX_STATEMENT_CONTENT, err);

    (void)snprintf(statement.id, sizeof statement.id, "%s", key->id);
    (void)snprintf(statement.kind, sizeof statement.kind, "%s", asked->kind);
    lct_json_now(statement.created);
    if (code == LCT_OK)
        code = lct_signed_statement_sign(&jws, &statement, &signer, err);
    if (code == LCT_OK)
        code = print_statement(&jws, err);
    lct_jws_general_clear(&jws);
    free(statement.content);
    return code;
}

static enum lct_code sign(const struct lct_signing *signing, const struct asked *asked,
                          struct lct_err *err)
{
    if (asked->kind != NULL)
        return sign_statement(signing, asked, err);
    return asked->jose ? sign_jose(signing, err) : sign_input(signing, asked->raw, err);
}

enum lct_code lct_sign_run(struct lct_tool *tool, int argc, char **argv, struct lct_err *err)
{
    struct asked asked = {.kind = NULL};
    const struct lct_option options[] = {
        {"raw", NULL, &asked.raw}, {"jose", NULL, &asked.jose}, {"type", &asked.kind, NULL}};
    struct lct_signing signing = {0};
    const char *id = NULL;
    char **operands;
    int num_operands;
    enum lct_code code =
        lct_options_parse(tool, argc, argv, options, 3, 1, 2, &operands, &num_operands, err);

    if (code == LCT_OK) {
        asked.file = num_operands > 1 ? operands[1] : asked.kind != NULL ? "-" : NULL;
        code = check_asked(&asked, err);
    }
    if (code == LCT_OK)
        code = lct_tool_id(tool, &id, operands[0], err);
    if (code == LCT_OK)
        code = lct_tool_open(tool, err);
    if (code == LCT_OK)
        code = lct_signing_open(&signing, tool, id, err);
    if (code == LCT_OK)
        code = sign(&signing, &asked, err);
    lct_signing_close(&signing);
    return code;
}
