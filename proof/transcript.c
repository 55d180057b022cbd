/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/transcript.h"

#include "proof/document.h"

#include <openssl/evp.h>
#include <string.h>

static const char *const slots[] = {
    [LCT_SLOT_ACTIVATION] = "LCT-ATTEST-v1 activation",
    [LCT_SLOT_CERTIFY] = "LCT-ATTEST-v1 certify",
    [LCT_SLOT_QUOTE] = "LCT-ATTEST-v1 quote",
    [LCT_SLOT_POSSESSION] = "LCT-ATTEST-v1 possession",
};

static enum lct_code fail_hash(struct lct_err *err)
{
    return LCT_FAIL(err, LCT_ERR_INTERNAL, "libcrypto cannot hash with SHA256");
}

enum lct_code lct_transcript_make(struct lct_transcript *transcript, OSSL_LIB_CTX *libctx,
                                  const struct lct_challenge *challenge, struct lct_err *err)
{
    static const char head[] = "LCT-ATTEST-v1"; /* hashed with its zero byte */
    uint8_t message[sizeof head + sizeof transcript->digest];
    json_t *json = lct_challenge_json(challenge);

    if (json == NULL)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    memcpy(message, head, sizeof head);
    enum lct_code code = lct_document_digest(message + sizeof head, libctx, json, err);
    json_decref(json);
    if (code == LCT_OK && EVP_Q_digest(libctx, "SHA256", NULL, message, sizeof message,
                                       transcript->digest, NULL) != 1)
        code = fail_hash(err);
    return code;
}

size_t lct_transcript_message(uint8_t message[LCT_TRANSCRIPT_MESSAGE],
                              const struct lct_transcript *transcript, enum lct_slot slot)
{
    size_t len = strlen(slots[slot]) + 1;

    memcpy(message, slots[slot], len);
    memcpy(message + len, transcript->digest, sizeof transcript->digest);
    return len + sizeof transcript->digest;
}

enum lct_code lct_transcript_extra(uint8_t extra[32], OSSL_LIB_CTX *libctx,
                                   const struct lct_transcript *transcript, enum lct_slot slot,
                                   struct lct_err *err)
{
    uint8_t message[LCT_TRANSCRIPT_MESSAGE];
    size_t len = lct_transcript_message(message, transcript, slot);

    return EVP_Q_digest(libctx, "SHA256", NULL, message, len, extra, NULL) == 1 ? LCT_OK
                                                                                : fail_hash(err);
}

enum lct_code lct_transcript_activation(uint8_t mac[32], OSSL_LIB_CTX *libctx,
                                        const struct lct_transcript *transcript,
                                        const struct lct_secret *secret, struct lct_err *err)
{
    uint8_t message[LCT_TRANSCRIPT_MESSAGE];
    size_t len = lct_transcript_message(message, transcript, LCT_SLOT_ACTIVATION), mac_len = 0;

    if (EVP_Q_mac(libctx, "HMAC", NULL, "SHA256", NULL, secret->data, secret->len, message, len,
                  mac, 32, &mac_len) != NULL &&
        mac_len == 32)
        return LCT_OK;
    return LCT_FAIL(err, LCT_ERR_INTERNAL, "libcrypto cannot make an HMAC");
}
