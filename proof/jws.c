/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/jws.h"

#include "base/encode.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_SIGNATURE = 1024 };

/* {"alg":..,"kid":..}, compact and sorted: the same bytes every time. */
static char *header_text(const char *alg, const char *kid)
{
    json_t *header = json_pack("{s:s, s:s}", "alg", alg, "kid", kid);
    char *text = header != NULL ? json_dumps(header, JSON_COMPACT | JSON_SORT_KEYS) : NULL;

    json_decref(header);
    return text;
}

enum lct_code lct_jws_compact(char **jws, const char *alg, const char *kid, const uint8_t *payload,
                              size_t payload_len,
                              enum lct_code (*sign)(void *arg, uint8_t *signature,
                                                    size_t *signature_len, const uint8_t *message,
                                                    size_t message_len, struct lct_err *err),
                              void *arg, struct lct_err *err)
{
    uint8_t signature[MAX_SIGNATURE];
    size_t signature_len = sizeof signature;
    char *header = header_text(alg, kid);
    char *text = NULL;
    enum lct_code code = LCT_OK;

    *jws = NULL;
    if (header == NULL)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "the header of the JWS cannot be encoded");
    size_t header_size = lct_base64url_size(strlen(header));
    size_t payload_size = lct_base64url_size(payload_len);
    size_t message_len = header_size + 1 + payload_size;
    text = malloc(message_len + 1 + lct_base64url_size(sizeof signature) + 1);
    if (text == NULL) {
        code = LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
        goto out;
    }
    lct_base64url_encode(text, (const uint8_t *)header, strlen(header));
    text[header_size] = '.';
    lct_base64url_encode(text + header_size + 1, payload, payload_len);
    code = sign(arg, signature, &signature_len, (const uint8_t *)text, message_len, err);
    if (code != LCT_OK)
        goto out;
    text[message_len] = '.';
    lct_base64url_encode(text + message_len + 1, signature, signature_len);
    *jws = text;
    text = NULL;
out:
    free(header);
    free(text);
    return code;
}
