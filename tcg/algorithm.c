/* SPDX-License-Identifier: Apache-2.0 */
#include "tcg/algorithm.h"

#include <string.h>

static const struct lct_hash hashes[] = {
    {TPM2_ALG_SHA1, "sha1", "SHA1", 20},
    {TPM2_ALG_SHA256, "sha256", "SHA256", 32},
    {TPM2_ALG_SHA384, "sha384", "SHA384", 48},
    {TPM2_ALG_SHA512, "sha512", "SHA512", 64},
    {TPM2_ALG_SHA3_256, "sha3-256", "SHA3-256", 32},
    {TPM2_ALG_SHA3_384, "sha3-384", "SHA3-384", 48},
    {TPM2_ALG_SHA3_512, "sha3-512", "SHA3-512", 64},
};

static const struct lct_algorithm algorithms[] = {
    {"ec-p256", "EC", "ES256", "prime256v1", "P-256", TPM2_ALG_ECC, TPM2_ECC_NIST_P256, 256, 32,
     TPM2_ALG_SHA256, true, true},
    {"ec-p384", "EC", "ES384", "secp384r1", "P-384", TPM2_ALG_ECC, TPM2_ECC_NIST_P384, 384, 48,
     TPM2_ALG_SHA384, true, true},
    {"rsa-2048", "RSA", "RS256", NULL, NULL, TPM2_ALG_RSA, 0, 2048, 256, TPM2_ALG_SHA256, true,
     false},
    {"rsa-3072", "RSA", "RS256", NULL, NULL, TPM2_ALG_RSA, 0, 3072, 384, TPM2_ALG_SHA256, true,
     false},
    {"ed25519", "ED25519", "EdDSA", NULL, NULL, TPM2_ALG_NULL, 0, 256, 32, TPM2_ALG_NULL, false,
     true},
};

static const struct lct_curve curves[] = {
    {TPM2_ECC_NIST_P256, "prime256v1", 32},
    {TPM2_ECC_NIST_P384, "secp384r1", 48},
    {TPM2_ECC_NIST_P521, "secp521r1", 66},
};

enum { num_hashes = sizeof hashes / sizeof hashes[0] };
enum { num_algorithms = sizeof algorithms / sizeof algorithms[0] };
enum { num_curves = sizeof curves / sizeof curves[0] };

const struct lct_hash *lct_hashes(size_t *num)
{
    *num = num_hashes;
    return hashes;
}

const struct lct_hash *lct_hash_by_id(uint16_t id)
{
    for (size_t i = 0; i < num_hashes; i++)
        if (hashes[i].id == id)
            return &hashes[i];
    return NULL;
}

const struct lct_hash *lct_hash_by_name(const char *name)
{
    for (size_t i = 0; i < num_hashes; i++)
        if (strcmp(hashes[i].name, name) == 0)
            return &hashes[i];
    return NULL;
}

bool lct_hash_is_trusted(const struct lct_hash *hash)
{
    static const uint16_t trusted[] = {TPM2_ALG_SHA256, TPM2_ALG_SHA384, TPM2_ALG_SHA512};

    for (size_t i = 0; i < sizeof trusted / sizeof trusted[0]; i++)
        if (hash != NULL && hash->id == trusted[i])
            return true;
    return false;
}

const struct lct_algorithm *lct_algorithm_by_name(const char *name)
{
    for (size_t i = 0; i < num_algorithms; i++)
        if (strcmp(algorithms[i].name, name) == 0)
            return &algorithms[i];
    return NULL;
}

const struct lct_algorithm *lct_algorithm_by_group(const char *group)
{
    for (size_t i = 0; i < num_algorithms; i++)
        if (algorithms[i].group != NULL && (strcmp(algorithms[i].group, group) == 0 ||
                                            strcmp(algorithms[i].group_nist, group) == 0))
            return &algorithms[i];
    return NULL;
}

const struct lct_algorithm *lct_algorithm_by_key(uint16_t type, uint16_t curve, uint16_t bits)
{
    for (size_t i = 0; i < num_algorithms; i++)
        if (algorithms[i].tpm && algorithms[i].type == type && algorithms[i].curve == curve &&
            (type == TPM2_ALG_ECC || algorithms[i].bits == bits))
            return &algorithms[i];
    return NULL;
}

const struct lct_curve *lct_curve_by_id(uint16_t id)
{
    for (size_t i = 0; i < num_curves; i++)
        if (curves[i].id == id)
            return &curves[i];
    return NULL;
}
