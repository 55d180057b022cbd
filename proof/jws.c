/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/jws.h"

#include "base/encode.h"
#include "proof/json.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* {"alg":..,"kid":..,"typ":..}, compact and sorted: the same bytes every time. */
static char *header_text(const char *alg, const char *kid, const char *typ)
{
    json_t *header = json_pack("{s:s, s:s, s:s*}", "alg", alg, "kid", kid, "typ", typ);
    char *text = header != NULL ? lct_json_dump(header, JSON_COMPACT | JSON_SORT_KEYS) : NULL;

    json_decref(header);
    return text;
}

/* The signature's part, behind the message of this length. */
static enum lct_code append_signature(char *text, size_t message_len,
                                      const struct lct_signer *signer, struct lct_err *err)
{
    struct lct_jose_signature signature;
    enum lct_code code = lct_jose_sign(&signature, signer, (const uint8_t *)text, message_len, err);

    if (code != LCT_OK)
        return code;
    text[message_len] = '.';
    lct_base64url_encode(text + message_len + 1, signature.data, signature.len);
    return LCT_OK;
}

enum lct_code lct_jws_compact(char **jws, const struct lct_signer *signer, const char *kid,
                              const char *typ, const uint8_t *payload, size_t payload_len,
                              struct lct_err *err)
{
    const char *alg = lct_signer_jose(signer);

    *jws = NULL;
    if (alg == NULL)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED, "a JWS has no name for this key's signatures");
    char *header = header_text(alg, kid, typ);
    if (header == NULL)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "the header of the JWS cannot be encoded");
    size_t header_size = lct_base64url_size(strlen(header));
    size_t message_len = header_size + 1 + lct_base64url_size(payload_len);
    char *text = malloc(message_len + 1 + lct_base64url_size(LCT_MAX_SIGNATURE) + 1);
    enum lct_code code = text != NULL ? LCT_OK : LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    if (code == LCT_OK) {
        lct_base64url_encode(text, (const uint8_t *)header, strlen(header));
        text[header_size] = '.';
        lct_base64url_encode(text + header_size + 1, payload, payload_len);
        code = append_signature(text, message_len, signer, err);
    }
    free(header);
    if (code == LCT_OK)
        *jws = text;
    else
        free(text);
    return code;
}

static enum lct_code fail_form(const char *what, struct lct_err *err)
{
    return LCT_FAIL(err, LCT_ERR_BAD_EVIDENCE, "it is no signed verdict: %s", what);
}

static bool take_header(struct lct_jws *jws, const char *part, size_t part_len)
{
    uint8_t text[1024];
    size_t text_len;
    const char *alg, *kid, *typ;

    if (!lct_base64url_decode(text, &text_len, sizeof text, part, part_len))
        return false;
    json_t *json = lct_json_load(text, text_len, NULL);
    bool good = json != NULL &&
                json_unpack_ex(json, NULL, JSON_STRICT, "{s:s, s:s, s:s}", "alg", &alg, "kid", &kid,
                               "typ", &typ) == 0 &&
                lct_json_text(jws->alg, sizeof jws->alg, alg) &&
                lct_json_text(jws->kid, sizeof jws->kid, kid) &&
                lct_json_text(jws->typ, sizeof jws->typ, typ);
    json_decref(json);
    return good;
}

enum lct_code lct_jws_read(struct lct_jws *jws, const char *text, size_t text_len,
                           struct lct_err *err)
{
    size_t len = text_len > 0 && text[text_len - 1] == '\n' ? text_len - 1 : text_len;

    *jws = (struct lct_jws){.message = text};
    if (len > LCT_MAX_JWS)
        return fail_form("it is too long", err);
    const char *payload = memchr(text, '.', len);
    const char *signature =
        payload != NULL ? memchr(payload + 1, '.', len - (size_t)(payload + 1 - text)) : NULL;
    if (signature == NULL)
        return fail_form("a JWS has three parts with dots between them", err);
    jws->message_len = (size_t)(signature - text);
    if (!take_header(jws, text, (size_t)(payload - text)))
        return fail_form("its header is not one of \"alg\", \"kid\" and \"typ\" alone", err);
    if (!lct_base64url_decode(jws->signature.data, &jws->signature.len, sizeof jws->signature.data,
                              signature + 1, len - jws->message_len - 1))
        return fail_form("its signature", err);
    jws->payload = malloc(len);
    if (jws->payload == NULL)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    if (!lct_base64url_decode(jws->payload, &jws->payload_len, len, payload + 1,
                              (size_t)(signature - payload - 1)))
        return fail_form("its payload", err);
    return LCT_OK;
}

void lct_jws_clear(struct lct_jws *jws)
{
    free(jws->payload);
    *jws = (struct lct_jws){0};
}

bool lct_jws_is_by(const struct lct_jws *jws, EVP_PKEY *pkey, OSSL_LIB_CTX *libctx)
{
    return lct_jose_is_by(&jws->signature, jws->alg, (const uint8_t *)jws->message,
                          jws->message_len, pkey, libctx);
}
