/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/jws_general.h"

#include "base/encode.h"
#include "proof/jcs.h"
#include "proof/json.h"
#include "proof/jws.h"
#include "proof/spki.h"

#include <errno.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

static const char jose_type[] = "lct-statement+jws";

static const char *const roles[] = {
    [LCT_ROLE_OLD] = "old",         [LCT_ROLE_NEW] = "new",       [LCT_ROLE_WITNESS] = "witness",
    [LCT_ROLE_SUBJECT] = "subject", [LCT_ROLE_SIGNER] = "signer",
};

enum { num_roles = sizeof roles / sizeof roles[0] };

const char *lct_role_name(enum lct_role role)
{
    return roles[role];
}

static enum lct_code fail_memory(struct lct_err *err)
{
    return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
}

static char *to_text(const uint8_t *bytes, size_t bytes_len)
{
    char *text = malloc(lct_base64url_size(bytes_len) + 1);

    if (text != NULL)
        lct_base64url_encode(text, bytes, bytes_len);
    return text;
}

/* NULL: it is none, or out of memory. A NUL follows the bytes. */
static uint8_t *to_bytes(size_t *bytes_len, const char *text, size_t text_len)
{
    uint8_t *bytes = malloc(text_len + 1);

    if (bytes == NULL || !lct_base64url_decode(bytes, bytes_len, text_len, text, text_len)) {
        free(bytes);
        return NULL;
    }
    bytes[*bytes_len] = '\0';
    return bytes;
}

enum lct_code lct_jws_general_begin(struct lct_jws_general *jws, const uint8_t *payload,
                                    size_t payload_len, struct lct_err *err)
{
    *jws = (struct lct_jws_general){.payload_len = payload_len};
    if (payload_len > LCT_MAX_JWS_PAYLOAD)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                        "the statement is longer than the %d bytes that "
                        "it may have",
                        (int)LCT_MAX_JWS_PAYLOAD);
    jws->payload = malloc(payload_len + 1);
    jws->payload_text = to_text(payload, payload_len);
    if (jws->payload == NULL || jws->payload_text == NULL)
        return fail_memory(err);
    memcpy(jws->payload, payload, payload_len);
    jws->payload[payload_len] = '\0';
    return LCT_OK;
}

static void clear_signature(struct lct_jws_signature *signature)
{
    free(signature->verdict);
    free(signature->header);
}

/* Takes what it holds over, on failure too. */
static enum lct_code append(struct lct_jws_general *jws, struct lct_jws_signature signature,
                            struct lct_err *err)
{
    struct lct_jws_signature *grown =
        reallocarray(jws->signatures, jws->num_signatures + 1, sizeof *grown);

    if (grown == NULL) {
        clear_signature(&signature);
        return fail_memory(err);
    }
    grown[jws->num_signatures++] = signature;
    jws->signatures = grown;
    return LCT_OK;
}

/* What is signed (RFC 7515, 5.1, step 5), NUL-terminated; the caller frees it. */
static char *message_of(size_t *message_len, const struct lct_jws_general *jws, const char *header)
{
    char *message = NULL;
    int len = asprintf(&message, "%s.%s", header, jws->payload_text);

    *message_len = len > 0 ? (size_t)len : 0;
    return len > 0 ? message : NULL;
}

static char *make_header(const struct lct_jws_as *as, const char *alg, const char *kid)
{
    json_t *json =
        json_pack("{s:s, s:s, s:s, s:s, s:s*, s:s*}", "alg", alg, "kid", kid, "role",
                  roles[as->role], "typ", jose_type, "time", as->time, "verdict", as->verdict);
    char *text = lct_jcs_write(json);
    char *header = text != NULL ? to_text((const uint8_t *)text, strlen(text)) : NULL;

    json_decref(json);
    free(text);
    return header;
}

/* What it holds is the caller's to free, whatever comes back. */
static enum lct_code make(struct lct_jws_signature *made, const struct lct_jws_general *jws,
                          const struct lct_signer *signer, const struct lct_jws_as *as,
                          struct lct_err *err)
{
    const char *alg = lct_signer_jose(signer);
    size_t message_len;

    if (alg == NULL)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED, "a JWS has no name for this key's signatures");
    enum lct_code code = lct_spki_fingerprint(made->kid, signer->pkey, signer->libctx, err);
    if (code != LCT_OK)
        return code;
    if (!lct_json_text(made->alg, sizeof made->alg, alg) ||
        (as->time != NULL && !lct_json_time(made->time, as->time)))
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "the header of the statement cannot be encoded");
    made->verdict = as->verdict != NULL ? strdup(as->verdict) : NULL;
    made->header = make_header(as, alg, made->kid);
    char *message = made->header != NULL ? message_of(&message_len, jws, made->header) : NULL;
    if (message == NULL || (as->verdict != NULL && made->verdict == NULL))
        code = fail_memory(err);
    else
        code = lct_jose_sign(&made->signature, signer, (const uint8_t *)message, message_len, err);
    free(message);
    return code;
}

enum lct_code lct_jws_general_sign(struct lct_jws_general *jws, const struct lct_signer *signer,
                                   const struct lct_jws_as *as, struct lct_err *err)
{
    struct lct_jws_signature made = {.role = as->role};

    if (jws->num_signatures >= LCT_MAX_JWS_SIGNATURES)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                        "the statement has %d signatures, which is all "
                        "that it may have",
                        (int)LCT_MAX_JWS_SIGNATURES);
    enum lct_code code = make(&made, jws, signer, as, err);
    if (code == LCT_OK)
        return append(jws, made, err);
    clear_signature(&made);
    return code;
}

static json_t *signature_json(const struct lct_jws_signature *signature)
{
    char raw[4 * LCT_MAX_SIGNATURE / 3 + 4];

    lct_base64url_encode(raw, signature->signature.data, signature->signature.len);
    return json_pack("{s:s, s:s}", "protected", signature->header, "signature", raw);
}

char *lct_jws_general_write(const struct lct_jws_general *jws)
{
    json_t *signatures = json_array(), *json = NULL;
    char *text = NULL;
    bool good = signatures != NULL;

    for (size_t i = 0; i < jws->num_signatures && good; i++)
        good = json_array_append_new(signatures, signature_json(&jws->signatures[i])) == 0;
    if (good)
        json = json_pack("{s:s, s:O}", "payload", jws->payload_text, "signatures", signatures);
    if (json != NULL)
        text = lct_json_dump(json, JSON_COMPACT);
    json_decref(json);
    json_decref(signatures);
    return text;
}

static enum lct_code fail_form(struct lct_err *err, const char *what)
{
    return LCT_FAIL(err, LCT_ERR_BAD_EVIDENCE, "the statement is malformed: %s", what);
}

static bool take_role(enum lct_role *role, const char *text)
{
    for (size_t i = 0; i < num_roles; i++)
        if (strcmp(roles[i], text) == 0) {
            *role = (enum lct_role)i;
            return true;
        }
    return false;
}

static bool take_kid(char kid[65], const char *text)
{
    uint8_t bytes[32];

    return lct_json_bytes(bytes, sizeof bytes, text) && lct_json_text(kid, 65, text);
}

/* A witness says when; nobody else does, nor has a verdict. */
static bool take_witness(struct lct_jws_signature *signature, const char *when, const char *verdict)
{
    if (signature->role != LCT_ROLE_WITNESS)
        return when == NULL && verdict == NULL;
    if (when == NULL || !lct_json_time(signature->time, when))
        return false;
    signature->verdict = verdict != NULL ? strdup(verdict) : NULL;
    return verdict == NULL || (strlen(verdict) <= LCT_MAX_JWS && signature->verdict != NULL);
}

static bool take_header_json(struct lct_jws_signature *signature, json_t *json)
{
    const char *alg, *kid, *role, *typ, *when = NULL, *verdict = NULL;

    return json_unpack_ex(json, NULL, JSON_STRICT, "{s:s, s:s, s:s, s:s, s?s, s?s}", "alg", &alg,
                          "kid", &kid, "role", &role, "typ", &typ, "time", &when, "verdict",
                          &verdict) == 0 &&
           strcmp(typ, jose_type) == 0 && take_role(&signature->role, role) &&
           lct_json_text(signature->alg, sizeof signature->alg, alg) &&
           take_kid(signature->kid, kid) && take_witness(signature, when, verdict);
}

static bool take_header(struct lct_jws_signature *signature, const char *text)
{
    size_t bytes_len;
    uint8_t *bytes = to_bytes(&bytes_len, text, strlen(text));

    if (bytes == NULL)
        return false;
    json_t *json = lct_json_load(bytes, bytes_len, NULL);
    signature->header = strdup(text);
    bool good = json != NULL && signature->header != NULL && take_header_json(signature, json);
    json_decref(json);
    free(bytes);
    return good;
}

/* What it holds is the caller's to free, whatever comes back. */
static enum lct_code take_signature(struct lct_jws_signature *signature, json_t *json,
                                    struct lct_err *err)
{
    const char *header, *raw;

    if (json_unpack_ex(json, NULL, JSON_STRICT, "{s:s, s:s}", "protected", &header, "signature",
                       &raw) != 0)
        return fail_form(err, "a signature in it has other members than \"protected\" and "
                              "\"signature\"");
    if (!take_header(signature, header))
        return fail_form(err, "a protected header in it is not one of \"alg\", \"kid\", \"role\" "
                              "and \"typ\", and of a witness \"time\" and \"verdict\"");
    if (!lct_base64url_decode(signature->signature.data, &signature->signature.len,
                              sizeof signature->signature.data, raw, strlen(raw)))
        return fail_form(err, "a signature in it is no base64url, or too long");
    return LCT_OK;
}

/* A key signs once; so does each role, but for witnesses. */
static enum lct_code check_roles(const struct lct_jws_general *jws, struct lct_err *err)
{
    for (size_t i = 0; i < jws->num_signatures; i++)
        for (size_t j = 0; j < i; j++) {
            const struct lct_jws_signature *a = &jws->signatures[i], *b = &jws->signatures[j];
            if (strcmp(a->kid, b->kid) == 0)
                return LCT_FAIL(err, LCT_ERR_BAD_EVIDENCE,
                                "the statement is malformed: the key %.16s... has signed it twice, "
                                "as \"%s\" and as \"%s\"",
                                a->kid, roles[b->role], roles[a->role]);
            if (a->role == b->role && a->role != LCT_ROLE_WITNESS)
                return LCT_FAIL(err, LCT_ERR_BAD_EVIDENCE,
                                "the statement is malformed: two keys have signed it as \"%s\"",
                                roles[a->role]);
        }
    return LCT_OK;
}

static enum lct_code take_signatures(struct lct_jws_general *jws, const json_t *json,
                                     struct lct_err *err)
{
    json_t *item;
    size_t i;

    if (json_array_size(json) == 0 || json_array_size(json) > LCT_MAX_JWS_SIGNATURES)
        return fail_form(err, "it has no list of signatures, or too many");
    json_array_foreach (json, i, item) {
        struct lct_jws_signature signature = {.header = NULL};
        enum lct_code code = take_signature(&signature, item, err);
        if (code != LCT_OK) {
            clear_signature(&signature);
            return code;
        }
        code = append(jws, signature, err);
        if (code != LCT_OK)
            return code;
    }
    return check_roles(jws, err);
}

static enum lct_code take(struct lct_jws_general *jws, json_t *json, struct lct_err *err)
{
    const char *payload;
    json_t *signatures;

    if (json_unpack_ex(json, NULL, JSON_STRICT, "{s:s, s:o}", "payload", &payload, "signatures",
                       &signatures) != 0)
        return fail_form(err, "it has other members than \"payload\" and \"signatures\"");
    jws->payload = to_bytes(&jws->payload_len, payload, strlen(payload));
    jws->payload_text = strdup(payload);
    if (jws->payload == NULL || jws->payload_text == NULL)
        return fail_form(err, "its payload is no base64url");
    if (jws->payload_len > LCT_MAX_JWS_PAYLOAD)
        return fail_form(err, "it is too long");
    return take_signatures(jws, signatures, err);
}

enum lct_code lct_jws_general_read(struct lct_jws_general *jws, const uint8_t *text,
                                   size_t text_len, struct lct_err *err)
{
    *jws = (struct lct_jws_general){.payload = NULL};
    if (text_len > LCT_MAX_JWS_GENERAL)
        return fail_form(err, "it is too long");
    json_t *json = lct_json_load(text, text_len, NULL);
    if (json == NULL && errno == ENOMEM)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    enum lct_code code =
        json != NULL
            ? take(jws, json, err)
            : fail_form(err, "it is no JSON, or has a member twice, or is nested too deep");
    json_decref(json);
    return code;
}

void lct_jws_general_clear(struct lct_jws_general *jws)
{
    for (size_t i = 0; i < jws->num_signatures; i++)
        clear_signature(&jws->signatures[i]);
    free(jws->signatures);
    free(jws->payload_text);
    free(jws->payload);
    *jws = (struct lct_jws_general){.payload = NULL};
}

bool lct_jws_general_is_by(const struct lct_jws_general *jws, size_t i, EVP_PKEY *pkey,
                           OSSL_LIB_CTX *libctx)
{
    const struct lct_jws_signature *signature = &jws->signatures[i];
    char kid[65];
    size_t message_len;

    if (lct_spki_fingerprint(kid, pkey, libctx, NULL) != LCT_OK || strcmp(kid, signature->kid) != 0)
        return false;
    char *message = message_of(&message_len, jws, signature->header);
    bool by =
        message != NULL && lct_jose_is_by(&signature->signature, signature->alg,
                                          (const uint8_t *)message, message_len, pkey, libctx);
    free(message);
    return by;
}

const struct lct_jws_signature *lct_jws_general_find(const struct lct_jws_general *jws,
                                                     enum lct_role role)
{
    for (size_t i = 0; i < jws->num_signatures; i++)
        if (jws->signatures[i].role == role)
            return &jws->signatures[i];
    return NULL;
}
