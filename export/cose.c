/* SPDX-License-Identifier: Apache-2.0 */
#include "export/cose.h"

#include "export/cbor.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

/* RFC 9052, 3.1 and 2; RFC 9053, 2.1 and 2.2. */
enum { ALG = 1, CONTENT_TYPE = 3, KID = 4, TAG_SIGN1 = 18, ES256 = -7, EDDSA = -8, HALF = 32 };

/* Kinds of keys, and how they sign. */
static const struct row {
    const char *jose, *key;
    int alg;
    const char *digest; /* NULL: the message itself is signed */
} rows[] = {{"ES256", "EC", ES256, "SHA256"}, {"EdDSA", "ED25519", EDDSA, NULL}};

static const struct row *row_of_signer(const struct lct_signer *signer)
{
    const char *jose = lct_signer_jose(signer);

    for (size_t i = 0; jose != NULL && i < sizeof rows / sizeof rows[0]; i++)
        if (strcmp(rows[i].jose, jose) == 0)
            return &rows[i];
    return NULL;
}

/* RFC 8949, 4.2.1: keys in the order of their bytes. */
static enum lct_code encode_header(uint8_t **bytes, size_t *len, const struct row *row,
                                   const char *content_type, const char *kid, struct lct_err *err)
{
    struct cbor_pair pairs[] = {
        {lct_cbor_number(ALG), lct_cbor_negative(row->alg)},
        {lct_cbor_number(CONTENT_TYPE), lct_cbor_text(content_type)},
        {lct_cbor_number(KID), lct_cbor_bytes((const uint8_t *)kid, strlen(kid))},
    };

    return lct_cbor_encode(bytes, len, lct_cbor_pairs(pairs, sizeof pairs / sizeof pairs[0]), err);
}

/* What is signed (RFC 9052, 4.4), without data from elsewhere. */
static enum lct_code encode_message(uint8_t **bytes, size_t *len, const uint8_t *header,
                                    size_t header_len, const uint8_t *payload, size_t payload_len,
                                    struct lct_err *err)
{
    cbor_item_t *items[] = {lct_cbor_text("Signature1"), lct_cbor_bytes(header, header_len),
                            lct_cbor_bytes((const uint8_t *)"", 0),
                            lct_cbor_bytes(payload, payload_len)};

    return lct_cbor_encode(bytes, len, lct_cbor_array(items, sizeof items / sizeof items[0]), err);
}

static enum lct_code sign(uint8_t raw[LCT_COSE_SIGNATURE], const struct lct_signer *signer,
                          const struct row *row, const uint8_t *message, size_t message_len,
                          struct lct_err *err)
{
    struct lct_signature signature = {0};
    enum lct_code code = signer->sign(signer, &signature, message, message_len, err);

    if (code != LCT_OK)
        return code;
    if (row->alg == ES256)
        return lct_signature_to_p1363(raw, HALF, &signature, err);
    if (signature.len != LCT_COSE_SIGNATURE)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "a signature is not of the length that it has");
    memcpy(raw, signature.data, LCT_COSE_SIGNATURE);
    return LCT_OK;
}

enum lct_code lct_cose_sign1(uint8_t **bytes, size_t *len, const struct lct_signer *signer,
                             const char *content_type, const char *kid, const uint8_t *payload,
                             size_t payload_len, struct lct_err *err)
{
    const struct row *row = row_of_signer(signer);
    uint8_t *header = NULL, *message = NULL, raw[LCT_COSE_SIGNATURE];
    size_t header_len = 0, message_len = 0;

    *bytes = NULL;
    if (row == NULL)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                        "its signatures are neither ES256 nor EdDSA, which Web4's bindings take: "
                        "keys of P-256 or Ed25519 make these");
    enum lct_code code = encode_header(&header, &header_len, row, content_type, kid, err);
    if (code == LCT_OK)
        code =
            encode_message(&message, &message_len, header, header_len, payload, payload_len, err);
    if (code == LCT_OK)
        code = sign(raw, signer, row, message, message_len, err);
    if (code == LCT_OK) {
        cbor_item_t *items[] = {lct_cbor_bytes(header, header_len), lct_cbor_map(NULL, 0),
                                lct_cbor_bytes(payload, payload_len),
                                lct_cbor_bytes(raw, sizeof raw)};
        code = lct_cbor_encode(
            bytes, len,
            lct_cbor_tagged(TAG_SIGN1, lct_cbor_array(items, sizeof items / sizeof items[0])), err);
    }
    free(header);
    free(message);
    return code;
}

/* Reading: RFC 8949, 3. Everything is taken in the one form of 4.2. */
enum major { UNSIGNED, NEGATIVE, BYTES, TEXT, ARRAY, MAP, TAG };

struct reader {
    const uint8_t *at;
    size_t left;
};

/* The head of an item: what it is, and its number or length in as few bytes as that takes. */
static bool take_head(struct reader *reader, enum major wanted, uint64_t *value)
{
    enum { ONE = 24, EIGHT = 27 };
    static const uint64_t least[] = {24, 1u << 8, 1u << 16, (uint64_t)1 << 32};

    if (reader->left == 0 || reader->at[0] >> 5 != (unsigned)wanted)
        return false;
    unsigned info = reader->at[0] & 31u;
    size_t more = info >= ONE && info <= EIGHT ? (size_t)1 << (info - ONE) : 0;
    if (info > EIGHT || reader->left < 1 + more)
        return false;
    *value = more == 0 ? info : 0;
    for (size_t i = 0; i < more; i++)
        *value = *value << 8 | reader->at[1 + i];
    reader->at += 1 + more;
    reader->left -= 1 + more;
    return more == 0 || *value >= least[info - ONE];
}

static bool take_exactly(struct reader *reader, enum major wanted, uint64_t value)
{
    uint64_t found;

    return take_head(reader, wanted, &found) && found == value;
}

static bool take_string(struct reader *reader, enum major wanted, const uint8_t **bytes,
                        size_t *len)
{
    uint64_t value;

    if (!take_head(reader, wanted, &value) || value > reader->left)
        return false;
    *bytes = reader->at;
    *len = (size_t)value;
    reader->at += *len;
    reader->left -= *len;
    return true;
}

/* Printable ASCII. */
static bool take_text(struct reader *reader, enum major wanted, char text[LCT_COSE_TEXT])
{
    const uint8_t *bytes;
    size_t len;

    if (!take_string(reader, wanted, &bytes, &len) || len == 0 || len >= LCT_COSE_TEXT)
        return false;
    for (size_t i = 0; i < len; i++)
        if (bytes[i] < ' ' || bytes[i] > '~')
            return false;
    memcpy(text, bytes, len);
    text[len] = '\0';
    return true;
}

static bool take_header(struct lct_cose *cose)
{
    struct reader reader = {cose->header, cose->header_len};
    uint64_t alg;

    if (!take_exactly(&reader, MAP, 3) || !take_exactly(&reader, UNSIGNED, ALG) ||
        !take_head(&reader, NEGATIVE, &alg) || alg > INT16_MAX ||
        !take_exactly(&reader, UNSIGNED, CONTENT_TYPE) ||
        !take_text(&reader, TEXT, cose->content_type) || !take_exactly(&reader, UNSIGNED, KID) ||
        !take_text(&reader, BYTES, cose->kid))
        return false;
    cose->alg = -1 - (int)alg;
    return reader.left == 0;
}

enum lct_code lct_cose_read(struct lct_cose *cose, const uint8_t *bytes, size_t len,
                            struct lct_err *err)
{
    struct reader reader = {bytes, len};
    size_t signature_len = 0;

    *cose = (struct lct_cose){0};
    if (len > LCT_MAX_COSE || !take_exactly(&reader, TAG, TAG_SIGN1) ||
        !take_exactly(&reader, ARRAY, 4) ||
        !take_string(&reader, BYTES, &cose->header, &cose->header_len))
        return LCT_FAIL(err, LCT_ERR_BAD_EVIDENCE, "it is no tagged COSE_Sign1 in canonical CBOR");
    if (!take_header(cose))
        return LCT_FAIL(err, LCT_ERR_BAD_EVIDENCE,
                        "its protected header is not alg, content type and kid alone, in canonical "
                        "CBOR");
    if (!take_exactly(&reader, MAP, 0))
        return LCT_FAIL(err, LCT_ERR_BAD_EVIDENCE, "it has a header that is not protected");
    if (!take_string(&reader, BYTES, &cose->payload, &cose->payload_len) ||
        !take_string(&reader, BYTES, &cose->signature, &signature_len) ||
        signature_len != LCT_COSE_SIGNATURE || reader.left != 0)
        return LCT_FAIL(err, LCT_ERR_BAD_EVIDENCE,
                        "its payload or signature is not in canonical CBOR, or not of its length");
    return LCT_OK;
}

static const struct row *row_of_key(const EVP_PKEY *pkey)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (EVP_PKEY_is_a(pkey, rows[i].key) == 1)
            return &rows[i];
    return NULL;
}

/* In OpenSSL's encoding. */
static bool take_signature(struct lct_signature *signature, const struct lct_cose *cose)
{
    if (cose->alg == ES256)
        return lct_signature_from_ecdsa(signature, cose->signature, HALF, cose->signature + HALF,
                                        HALF, NULL) == LCT_OK;
    signature->len = LCT_COSE_SIGNATURE;
    memcpy(signature->data, cose->signature, LCT_COSE_SIGNATURE);
    return true;
}

bool lct_cose_is_by(const struct lct_cose *cose, EVP_PKEY *pkey, OSSL_LIB_CTX *libctx)
{
    const struct row *row = row_of_key(pkey);
    struct lct_signature signature;
    uint8_t *message = NULL;
    size_t message_len = 0;

    if (row == NULL || row->alg != cose->alg || EVP_PKEY_get_bits(pkey) > 8 * HALF ||
        !take_signature(&signature, cose) ||
        encode_message(&message, &message_len, cose->header, cose->header_len, cose->payload,
                       cose->payload_len, NULL) != LCT_OK)
        return false;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    (void)ERR_set_mark();
    bool by = ctx != NULL &&
              EVP_DigestVerifyInit_ex(ctx, NULL, row->digest, libctx, NULL, pkey, NULL) == 1 &&
              EVP_DigestVerify(ctx, signature.data, signature.len, message, message_len) == 1;
    (void)ERR_pop_to_mark();
    EVP_MD_CTX_free(ctx);
    free(message);
    return by;
}
