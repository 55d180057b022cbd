/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/signing.h"
#include "tools/tool.h"

#include "proof/jws.h"

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
    size_t size = signing->key->generation.algorithm->size;

    if (fixed && strcmp(signing->key->generation.algorithm->key_type, "EC") == 0) {
        *bytes_len = 2 * size;
        return lct_signature_to_p1363(bytes, size, signature, err);
    }
    *bytes_len = signature->len;
    memcpy(bytes, signature->data, signature->len);
    return LCT_OK;
}

static enum lct_code sign_input(const struct lct_signing *signing, bool raw, struct lct_err *err)
{
    struct lct_signature signature;
    uint8_t digest[LCT_MAX_HASH], bytes[LCT_MAX_SIGNATURE];
    size_t bytes_len = 0;
    enum lct_code code = digest_input(signing, digest, err);

    if (code == LCT_OK)
        code = lct_signing_digest(signing, &signature, digest, signing->scheme.hash->size, err);
    if (code == LCT_OK)
        code = to_form(signing, raw, bytes, &bytes_len, &signature, err);
    return code == LCT_OK ? write_output(bytes, bytes_len, err) : code;
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

static enum lct_code sign_jose(const struct lct_signing *signing, struct lct_err *err)
{
    uint8_t *payload = NULL;
    size_t payload_len = 0;
    char *jws = NULL;
    struct lct_signer signer = lct_signing_signer(signing);
    enum lct_code code = read_input(&payload, &payload_len, err);

    if (code == LCT_OK)
        code = lct_jws_compact(&jws, &signer, signing->key->label, NULL, payload, payload_len, err);
    if (code == LCT_OK)
        code = lct_tool_print(err, "%s\n", jws);
    free(jws);
    free(payload);
    return code;
}

enum lct_code lct_sign_run(struct lct_tool *tool, int argc, char **argv, struct lct_err *err)
{
    bool raw = false, jose = false;
    const struct lct_option options[] = {{"raw", NULL, &raw}, {"jose", NULL, &jose}};
    struct lct_signing signing = {0};
    const char *id = NULL;
    enum lct_code code = lct_tool_begin(tool, argc, argv, options, 2, &id, err);

    if (code == LCT_OK && raw && jose)
        code = LCT_FAIL(err, LCT_ERR_USAGE, "--raw and --jose exclude each other");
    if (code == LCT_OK && !jose && isatty(STDOUT_FILENO))
        code = LCT_FAIL(
            err, LCT_ERR_USAGE,
            "a signature is binary: send it to a file, as in lct sign ID <data >signature");
    if (code == LCT_OK)
        code = lct_signing_open(&signing, tool, id, err);
    if (code == LCT_OK)
        code = jose ? sign_jose(&signing, err) : sign_input(&signing, raw, err);
    lct_signing_close(&signing);
    return code;
}
