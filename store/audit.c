/* SPDX-License-Identifier: Apache-2.0 */
#include "store/audit.h"

#include "base/encode.h"
#include "base/lines.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { DIGEST = 16 + 2 * LCT_MAX_HASH + 1 };

/* A program's name as it chose it must not begin another field. */
static void quote_safe(char *text)
{
    for (; *text != '\0'; text++)
        if (*text == '"' || *text == '\\')
            *text = '?';
}

/* Which key it is, whatever its identity's name is given to later; software keys have no Name. */
static void name_key(char hex[2 * sizeof((struct lct_name *)0)->data + 1],
                     const struct lct_key *key)
{
    const struct lct_name name = lct_key_name(key);

    if (name.len > 0)
        lct_hex_encode(hex, name.data, name.len);
    else
        (void)snprintf(hex, 2, "-");
}

static enum lct_code write_line(const struct lct_key *key, const char *event, const char *digest,
                                enum lct_code outcome, struct lct_err *err)
{
    char name[2 * sizeof((struct lct_name *)0)->data + 1], now[LCT_LINE_TIME];
    char line[LCT_LINE], program[LCT_LINE_PROGRAM];

    name_key(name, key);
    (void)lct_lines_program(program);
    quote_safe(program);
    (void)snprintf(line, sizeof line,
                   "time=%s event=%s identity=%s generation=%u name=%s digest=%s result=%s "
                   "status=%d pid=%d uid=%u euid=%u program=\"%s\"",
                   lct_lines_time(now), event, key->id[0] != '\0' ? key->id : "-", key->number,
                   name, digest, outcome == LCT_OK ? "ok" : "refused", (int)outcome, getpid(),
                   getuid(), geteuid(), program);
    int error = lct_lines_write(key->audit, line, true);
    if (error == 0)
        return LCT_OK;
    return LCT_FAIL(err, LCT_ERR_IO,
                    "%s: it is not used, since that cannot be written to the audit (%s): %s; see "
                    "audit in openssl.cnf",
                    key->label, lct_lines_where(key->audit), strerror(error));
}

enum lct_code lct_audit_signature(const struct lct_key *key, const struct lct_hash *hash,
                                  const uint8_t *digest, size_t digest_len, enum lct_code outcome,
                                  struct lct_err *err)
{
    char text[DIGEST];

    if (key->audit == NULL)
        return LCT_OK;
    int len = snprintf(text, 16, "%s:", hash != NULL ? hash->name : "none");
    lct_hex_encode(text + len, digest, digest_len < LCT_MAX_HASH ? digest_len : LCT_MAX_HASH);
    return write_line(key, "sign", text, outcome, err);
}

enum lct_code lct_audit_message(const struct lct_key *key, const uint8_t *message,
                                size_t message_len, enum lct_code outcome, struct lct_err *err)
{
    const struct lct_hash *hash = lct_hash_by_id(TPM2_ALG_SHA256);
    uint8_t digest[LCT_MAX_HASH];

    if (key->audit == NULL)
        return LCT_OK;
    if (!EVP_Q_digest(key->libctx, hash->openssl, NULL, message, message_len, digest, NULL))
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "%s is not to be had from libcrypto", hash->openssl);
    return lct_audit_signature(key, hash, digest, hash->size, outcome, err);
}

enum lct_code lct_audit_release(const struct lct_key *key, struct lct_err *err)
{
    return key->audit != NULL ? write_line(key, "release", "-", LCT_OK, err) : LCT_OK;
}
