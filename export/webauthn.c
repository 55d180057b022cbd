/* SPDX-License-Identifier: Apache-2.0 */
#include "export/webauthn.h"

/* IANA's registry of COSE algorithms; 0: there is none. */
static int cose_algorithm(const struct lct_scheme *scheme)
{
    static const struct {
        uint16_t scheme, hash;
        int number;
    } rows[] = {
        {TPM2_ALG_ECDSA, TPM2_ALG_SHA256, -7},    {TPM2_ALG_ECDSA, TPM2_ALG_SHA384, -35},
        {TPM2_ALG_ECDSA, TPM2_ALG_SHA512, -36},   {TPM2_ALG_RSAPSS, TPM2_ALG_SHA256, -37},
        {TPM2_ALG_RSAPSS, TPM2_ALG_SHA384, -38},  {TPM2_ALG_RSAPSS, TPM2_ALG_SHA512, -39},
        {TPM2_ALG_RSASSA, TPM2_ALG_SHA256, -257}, {TPM2_ALG_RSASSA, TPM2_ALG_SHA384, -258},
        {TPM2_ALG_RSASSA, TPM2_ALG_SHA512, -259}, {TPM2_ALG_RSASSA, TPM2_ALG_SHA1, -65535},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].scheme == scheme->id && rows[i].hash == scheme->hash->id)
            return rows[i].number;
    return 0;
}

/* Certificates as an array of byte strings. */
static cbor_item_t *chain_of(const struct lct_der_chain *chain)
{
    cbor_item_t *items[LCT_MAX_CERT_CHAIN];

    for (size_t i = 0; i < chain->num; i++)
        items[i] = lct_cbor_bytes(chain->certs[i].bytes, chain->certs[i].len);
    return lct_cbor_array(items, chain->num);
}

enum lct_code lct_webauthn_members(struct lct_cbor_member members[LCT_WEBAUTHN_MEMBERS],
                                   size_t *num, const struct lct_certified *certified,
                                   struct lct_err *err)
{
    const struct lct_evidence_attested *certify = &certified->evidence->certify;
    const struct lct_der_chain *chain = &certified->evidence->challenge.offer->ak_chain;
    int algorithm = cose_algorithm(&certified->scheme);

    *num = 0;
    if (algorithm == 0)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                        "the attestation key signs with %s in a scheme that COSE has no number for",
                        certified->scheme.hash->name);
    members[(*num)++] = (struct lct_cbor_member){"ver", lct_cbor_text("2.0")};
    members[(*num)++] = (struct lct_cbor_member){"alg", lct_cbor_negative(algorithm)};
    if (chain->num > 0)
        members[(*num)++] = (struct lct_cbor_member){"x5c", chain_of(chain)};
    members[(*num)++] =
        (struct lct_cbor_member){"sig", lct_cbor_bytes(certify->signature, certify->signature_len)};
    members[(*num)++] =
        (struct lct_cbor_member){"certInfo", lct_cbor_bytes(certify->attest, certify->attest_len)};
    members[(*num)++] = (struct lct_cbor_member){
        "pubArea", lct_cbor_bytes(certified->public_area, certified->public_len)};
    return LCT_OK;
}

enum lct_code lct_webauthn_encode(uint8_t **bytes, size_t *len,
                                  const struct lct_certified *certified, struct lct_err *err)
{
    struct lct_cbor_member members[LCT_WEBAUTHN_MEMBERS];
    size_t num = 0;

    if (certified->evidence->challenge.offer->ak_chain.num == 0)
        return LCT_FAIL(
            err, LCT_ERR_UNSUPPORTED,
            "the evidence has no certificate of its attestation key, which WebAuthn "
            "needs: get one by lct attest issue, give it to lct attest offer --ak-cert, "
            "and prove the key again");
    enum lct_code code = lct_webauthn_members(members, &num, certified, err);
    return code == LCT_OK ? lct_cbor_encode(bytes, len, lct_cbor_map(members, num), err) : code;
}
