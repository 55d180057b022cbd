/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/document.h"

#include "base/encode.h"
#include "proof/json.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

enum { VERSION = 1 };

enum lct_code lct_document_digest(uint8_t digest[32], OSSL_LIB_CTX *libctx, const json_t *json,
                                  struct lct_err *err)
{
    char *text = lct_json_dump(json, JSON_COMPACT | JSON_SORT_KEYS);
    bool good =
        text != NULL && EVP_Q_digest(libctx, "SHA256", NULL, text, strlen(text), digest, NULL) == 1;

    free(text);
    return good ? LCT_OK : LCT_FAIL(err, LCT_ERR_INTERNAL, "a document cannot be hashed");
}

/* Why there is no object; `error`: there is no JSON. What the text says is not repeated: it is
 * somebody else's, and may be of a terminal's control sequences. */
static const char *fault_of(const json_error_t *error, size_t text_len)
{
    if (text_len == 0)
        return "it is empty: what was to write it has failed, perhaps";
    if (error == NULL)
        return "it is no document of an attestation: no JSON object";
    switch (json_error_code(error)) {
    case json_error_premature_end_of_input:
        return "it is cut off: its JSON does not end";
    case json_error_duplicate_key:
        return "it has a member twice";
    default:
        return "it is no document of an attestation: no JSON object";
    }
}

enum lct_code lct_document_read(json_t **json, const char **type, const uint8_t *text,
                                size_t text_len, struct lct_err *err)
{
    json_error_t error;

    *json = lct_json_load(text, text_len, &error);
    *type = json_string_value(json_object_get(*json, "type"));
    if (*json == NULL && errno == ENOMEM)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    if (json_is_object(*json))
        return LCT_OK;
    const char *fault = fault_of(*json != NULL ? NULL : &error, text_len);
    json_decref(*json);
    *json = NULL;
    return LCT_FAIL(err, LCT_ERR_BAD_EVIDENCE, "%s", fault);
}

/* A document in words; NULL: it is none of ours. */
static const char *describe(const char *type)
{
    static const struct {
        const char *type, *words;
    } kinds[] = {
        {"lct-attestation-offer", "an offer, as lct attest offer makes it"},
        {"lct-attestation-challenge", "a challenge, as lct attest challenge makes it"},
        {"lct-attestation-evidence", "evidence, as lct attest respond makes it"},
        {"lct-attestation-state", "the state of a challenge, for --state"},
        {"lct-attestation-verdict", "a verdict"},
        {"lct-end", "the end of an identity, as lct retire and lct revoke make it"},
        {"lct-statement", "a statement, as lct sign --type makes it"},
        {"lct-succession", "a succession, as lct rotate makes it"},
    };

    for (size_t i = 0; type != NULL && i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(kinds[i].type, type) == 0)
            return kinds[i].words;
    return NULL;
}

static enum lct_code fail_type(const char *named, const char *wanted, struct lct_err *err)
{
    const char *is = describe(named);

    if (is != NULL)
        return LCT_FAIL(err, LCT_ERR_BAD_EVIDENCE, "it is %s; what is taken is %s", is,
                        describe(wanted));
    return LCT_FAIL(err, LCT_ERR_BAD_EVIDENCE, "it is not %s", describe(wanted));
}

enum lct_code lct_document_check(const json_t *json, const char *type, struct lct_err *err)
{
    const char *named = json_string_value(json_object_get(json, "type"));
    const json_t *version = json_object_get(json, "version");

    if (named == NULL || strcmp(named, type) != 0)
        return fail_type(named, type, err);
    if (!json_is_integer(version))
        return LCT_FAIL(err, LCT_ERR_BAD_EVIDENCE, "it does not say its version");
    if (json_integer_value(version) != VERSION)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                        "it is of version %lld, which this lct does not know",
                        (long long)json_integer_value(version));
    return LCT_OK;
}

json_t *lct_document_of_bytes(const uint8_t *bytes, size_t len)
{
    char *text = malloc(lct_base64url_size(len) + 1);
    json_t *json = NULL;

    if (text != NULL) {
        lct_base64url_encode(text, bytes, len);
        json = json_string(text);
    }
    free(text);
    return json;
}

bool lct_document_bytes(uint8_t *bytes, size_t *len, size_t capacity, const json_t *json)
{
    return json_is_string(json) &&
           lct_base64url_decode(bytes, len, capacity, json_string_value(json),
                                json_string_length(json));
}

uint8_t *lct_document_take_bytes(size_t *len, size_t max, const json_t *json)
{
    size_t size = json_string_length(json);

    *len = 0;
    if (size == 0 || size > lct_base64url_size(max))
        return NULL;
    uint8_t *bytes = malloc(size);
    if (bytes != NULL && lct_document_bytes(bytes, len, size, json))
        return bytes;
    free(bytes);
    return NULL;
}
