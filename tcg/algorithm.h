/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TCG_ALGORITHM_H
#define LCT_TCG_ALGORITHM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <tss2/tss2_tpm2_types.h> /* the TCG's constants, for every room above: types alone, nothing of TSS is linked */

/* A hash, as the TPM, the record and OpenSSL know it. */
struct lct_hash {
    uint16_t id;         /* TPM2_ALG_* */
    const char *name;    /* in records and for people: "sha256" */
    const char *openssl; /* for EVP_MD_fetch: "SHA256" */
    size_t size;         /* bytes */
};

enum {
    LCT_MAX_HASH = 64,       /* bytes of the largest digest */
    LCT_MAX_COORDINATE = 66, /* bytes of the largest EC coordinate read (P-521) */
    LCT_MAX_MODULUS = 512,   /* bytes of the largest RSA modulus read */
    LCT_MAX_SIGNATURE = 512  /* bytes of the largest signature in OpenSSL's encoding */
};

/* A kind of key. A new curve or size is a new row. */
struct lct_algorithm {
    const char *name;       /* of the command and the record: "ec-p256" */
    const char *key_type;   /* OpenSSL's: "EC" */
    const char *jose;       /* RFC 7518's (8037's) name of the signature: "ES256" */
    const char *group;      /* OpenSSL's short name of the curve, NULL for others */
    const char *group_nist; /* its other name: "P-256" */
    uint16_t type;          /* TPM2_ALG_ECC or TPM2_ALG_RSA; TPM2_ALG_NULL: no TPM has it */
    uint16_t curve;         /* TPM2_ECC_*, 0 for others */
    uint16_t bits;          /* of the key */
    uint16_t size;          /* bytes of a coordinate or of the modulus */
    uint16_t hash; /* TPM2_ALG_* of the default digest; for ECDSA the one the curve is signed with;
                      TPM2_ALG_NULL: whole messages are signed, no digests */
    bool tpm, software; /* where keys of it are made */
};

/* A curve of the TPM's keys: those above, and those only its storage and endorsement keys are on.
 */
struct lct_curve {
    uint16_t id;       /* TPM2_ECC_* */
    const char *group; /* OpenSSL's short name */
    size_t size;       /* bytes of a coordinate */
};

/* The table of hashes; its length in *num. */
const struct lct_hash *lct_hashes(size_t *num);

/* A row, or NULL. Names are compared exactly. */
const struct lct_hash *lct_hash_by_id(uint16_t id);
const struct lct_hash *lct_hash_by_name(const char *name);

/* Whether signatures and Names of this hash are believed: SHA-256, SHA-384 or SHA-512. NULL is
 * none. */
bool lct_hash_is_trusted(const struct lct_hash *hash);

const struct lct_algorithm *lct_algorithm_by_name(const char *name);
const struct lct_algorithm *lct_algorithm_by_group(const char *group);
/* Of a key in a TPM. */
const struct lct_algorithm *lct_algorithm_by_key(uint16_t type, uint16_t curve, uint16_t bits);
const struct lct_curve *lct_curve_by_id(uint16_t id);

#endif
