/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/subject.h"

#include "base/encode.h"
#include "proof/json.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

enum { BASE64_TEXT = (LCT_MAX_SUBJECT_SPKI + 2) / 3 * 4 + 1, DIGEST = 32 };

const char *const lct_end_reasons[] = {"compromise", "superseded", "expired", "violation", NULL};

bool lct_is_end_reason(const char *text)
{
    for (size_t i = 0; lct_end_reasons[i] != NULL; i++)
        if (strcmp(lct_end_reasons[i], text) == 0)
            return true;
    return false;
}

/* The kinds of keys: of those on curves the SubjectPublicKeyInfo has one length, with the curve by
 * name and a point that is not compressed (RFC 5480, 2; RFC 8410, 4). */
static const struct {
    const char *algorithm, *type, *group;
    int bits;
    size_t spki_len; /* 0: any */
} kinds[] = {
    {"ec-p256", "EC", "prime256v1", 256, 91}, {"ec-p384", "EC", "secp384r1", 384, 120},
    {"rsa-2048", "RSA", NULL, 2048, 0},       {"rsa-3072", "RSA", NULL, 3072, 0},
    {"ed25519", "ED25519", NULL, 256, 44},
};

/* SEC 1, 2.3.3: 4 begins a point whose coordinates both follow; 6 and 7 are of another form, as
 * long. */
static bool is_plain_point(const uint8_t *spki, size_t spki_len, int bits)
{
    return spki[spki_len - 1 - 2 * (((size_t)bits + 7) / 8)] == 4;
}

static const char *algorithm_of(const EVP_PKEY *pkey, const uint8_t *spki, size_t spki_len)
{
    char group[64] = "";

    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (EVP_PKEY_is_a(pkey, kinds[i].type) && EVP_PKEY_get_bits(pkey) == kinds[i].bits &&
            (kinds[i].spki_len == 0 || kinds[i].spki_len == spki_len) &&
            (kinds[i].group == NULL ||
             (EVP_PKEY_get_group_name(pkey, group, sizeof group, NULL) == 1 &&
              strcmp(group, kinds[i].group) == 0 && is_plain_point(spki, spki_len, kinds[i].bits))))
            return kinds[i].algorithm;
    return NULL;
}

enum lct_code lct_subject_set_key(struct lct_subject *subject, const EVP_PKEY *pkey,
                                  struct lct_err *err)
{
    unsigned char *der = NULL;
    int len = i2d_PUBKEY(pkey, &der);
    const char *algorithm = len > 0 ? algorithm_of(pkey, der, (size_t)len) : NULL;
    bool good = algorithm != NULL && (size_t)len <= sizeof subject->spki;

    if (good) {
        memcpy(subject->spki, der, (size_t)len);
        subject->spki_len = (size_t)len;
        (void)snprintf(subject->algorithm, sizeof subject->algorithm, "%s", algorithm);
    }
    OPENSSL_free(der);
    return good ? LCT_OK
                : LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                           "the key is none of P-256, P-384, RSA 2048 and 3072, and Ed25519");
}

/* Whether it is written in the one way that we write it: else one key could be two. */
static bool is_canonical(const EVP_PKEY *pkey, const struct lct_subject *subject)
{
    struct lct_subject again = {.spki_len = 0};

    return lct_subject_set_key(&again, pkey, NULL) == LCT_OK &&
           again.spki_len == subject->spki_len &&
           memcmp(again.spki, subject->spki, subject->spki_len) == 0 &&
           strcmp(again.algorithm, subject->algorithm) == 0;
}

EVP_PKEY *lct_subject_pkey(const struct lct_subject *subject, OSSL_LIB_CTX *libctx)
{
    const unsigned char *at = subject->spki;

    (void)ERR_set_mark();
    EVP_PKEY *pkey = d2i_PUBKEY_ex(NULL, &at, (long)subject->spki_len, libctx, NULL);
    bool good = pkey != NULL && is_canonical(pkey, subject);
    (void)ERR_pop_to_mark();
    if (good)
        return pkey;
    EVP_PKEY_free(pkey);
    return NULL;
}

enum lct_code lct_subject_kid(char kid[65], const struct lct_subject *subject, OSSL_LIB_CTX *libctx,
                              struct lct_err *err)
{
    uint8_t digest[DIGEST];

    if (EVP_Q_digest(libctx, "SHA256", NULL, subject->spki, subject->spki_len, digest, NULL) != 1)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "a public key cannot be hashed");
    lct_hex_encode(kid, digest, sizeof digest);
    return LCT_OK;
}

json_t *lct_subject_json(const struct lct_subject *subject)
{
    char text[BASE64_TEXT];

    if (subject->spki_len == 0 || subject->spki_len > sizeof subject->spki ||
        subject->software != (subject->name.len == 0))
        return NULL;
    EVP_EncodeBlock((unsigned char *)text, subject->spki, (int)subject->spki_len);
    return json_pack(
        "{s:I, s:s, s:s, s:o, s:s}", "generation", (json_int_t)subject->generation, "algorithm",
        subject->algorithm, "custody", subject->software ? "software" : "tpm", "name",
        subject->software ? json_null() : lct_json_of_bytes(subject->name.data, subject->name.len),
        "public_key", text);
}

/* base64 with padding (RFC 4648, 4), in the one form that EVP_EncodeBlock writes. */
static bool take_spki(struct lct_subject *subject, const char *text)
{
    char again[BASE64_TEXT];
    uint8_t bytes[BASE64_TEXT];
    size_t len = strlen(text);

    if (len == 0 || len % 4 != 0 || len >= sizeof again)
        return false;
    int decoded = EVP_DecodeBlock(bytes, (const unsigned char *)text, (int)len);
    if (decoded < 0)
        return false;
    subject->spki_len = (size_t)decoded; /* with what is padding */
    subject->spki_len -= (size_t)(text[len - 1] == '=') + (size_t)(text[len - 2] == '=');
    if (subject->spki_len == 0 || subject->spki_len > sizeof subject->spki)
        return false;
    memcpy(subject->spki, bytes, subject->spki_len);
    EVP_EncodeBlock((unsigned char *)again, subject->spki, (int)subject->spki_len);
    return strcmp(again, text) == 0;
}

/* A key in a TPM has a Name, and one in software none. */
static bool take_custody(struct lct_subject *subject, const char *custody, const json_t *name)
{
    subject->software = strcmp(custody, "software") == 0;
    if (subject->software)
        return json_is_null(name);
    return strcmp(custody, "tpm") == 0 && json_is_string(name) &&
           lct_json_name(&subject->name, json_string_value(name));
}

bool lct_subject_read(struct lct_subject *subject, OSSL_LIB_CTX *libctx, json_t *json)
{
    const char *algorithm, *custody, *public_key;
    json_int_t generation;
    json_t *name;

    *subject = (struct lct_subject){.generation = 0};
    if (json_unpack_ex(json, NULL, JSON_STRICT, "{s:I, s:s, s:s, s:o, s:s}", "generation",
                       &generation, "algorithm", &algorithm, "custody", &custody, "name", &name,
                       "public_key", &public_key) != 0 ||
        generation < 1 || generation > LCT_MAX_SUBJECT_GENERATION ||
        !lct_json_text(subject->algorithm, sizeof subject->algorithm, algorithm) ||
        !take_custody(subject, custody, name) || !take_spki(subject, public_key))
        return false;
    subject->generation = (unsigned)generation;
    EVP_PKEY *pkey = lct_subject_pkey(subject, libctx);
    EVP_PKEY_free(pkey);
    return pkey != NULL;
}
