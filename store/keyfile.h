/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_STORE_KEYFILE_H
#define LCT_STORE_KEYFILE_H

#include "base/error.h"
#include "tcg/seal.h"

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * TSS2 PRIVATE KEY, the ASN.1 standard for TPM 2.0 key files (draft-bottomley-tpm2-keys):
 *
 *     TPMKey ::= SEQUENCE {
 *         type        OBJECT IDENTIFIER,
 *         emptyAuth   [0] EXPLICIT BOOLEAN OPTIONAL,
 *         policy      [1] EXPLICIT SEQUENCE OF TPMPolicy OPTIONAL,
 *         secret      [2] EXPLICIT OCTET STRING OPTIONAL,
 *         authPolicy  [3] EXPLICIT SEQUENCE OF TPMAuthPolicy OPTIONAL,
 *         description [4] EXPLICIT UTF8String OPTIONAL,
 *         rsaParent   [5] EXPLICIT BOOLEAN OPTIONAL,
 *         parent      INTEGER,
 *         pubkey      OCTET STRING,       -- TPM2B_PUBLIC
 *         privkey     OCTET STRING }      -- TPM2B_PRIVATE
 */
enum lct_keyfile_type {
    LCT_KEYFILE_LOADABLE,   /* 2.23.133.10.1.3 */
    LCT_KEYFILE_IMPORTABLE, /* 2.23.133.10.1.4 */
    LCT_KEYFILE_SEALED      /* 2.23.133.10.1.5 */
};

/* A key file taken apart. The bytes and the description are its own. */
struct lct_keyfile {
    enum lct_keyfile_type type;
    uint32_t parent; /* a handle */
    bool rsa_parent;
    bool empty_auth;
    bool has_secret;
    bool has_policy;        /* policy [1] or authPolicy [3] is there */
    bool policy_auth_value; /* a step of its policy is PolicyAuthValue */
    /* What policy [1] and authPolicy [3] say, where it is one of: PolicyPCR, PolicyAuthorize, each
     * perhaps with PolicyAuthValue after it, or that alone, in SHA-256. Nothing has compared it
     * with the policy in the public area. NULL with has_policy: it is another, which is not
     * followed. The approvals are those of authPolicy that are PolicyPCR alone, by the same
     * authority for the same policyRef; they are verified no more than others. */
    struct lct_seal *seal;
    size_t num_approvals;
    struct lct_approval *approvals; /* with their pcr_digest */
    uint8_t *secret;                /* TPM2B_ENCRYPTED_SECRET of an importable key; NULL: none */
    size_t secret_len;
    char *description; /* NULL: none */
    uint8_t *der;      /* all of it, as it was read; NULL: it was not */
    size_t der_len;
    uint8_t *public_area; /* in `der`, if that is there; so is the next */
    size_t public_len;
    uint8_t *private_area;
    size_t private_len;
};

/* Its label in PEM. */
extern const char lct_keyfile_label[];

/* Whether that much of a DER value, which need not be all of it, begins as a key file does. */
bool lct_keyfile_begins(const uint8_t *der, size_t der_len);

/*
 * Reads one PEM block of that label, with nothing but white space around it, or its bare DER.
 * Strict: every field known, nothing trailing, TPM2Bs as long as they say. LCT_ERR_BAD_RECORD.
 * `libctx` is the private library context. lct_keyfile_clear frees the parts.
 */
enum lct_code lct_keyfile_read(struct lct_keyfile *keyfile, const uint8_t *bytes, size_t bytes_len,
                               OSSL_LIB_CTX *libctx, struct lct_err *err);
void lct_keyfile_clear(struct lct_keyfile *keyfile);

/*
 * What was read as it was read, or the fields of what is new, a loadable key or sealed data, as DER
 * or PEM; the caller frees *bytes with OPENSSL_free. Of a seal policy [1] says what it can, and
 * nothing of LCT_SEAL_EITHER, which has alternatives; authPolicy [3] has those of the approvals
 * whose pcr_digest is known and that no counter revokes, for LCT_SEAL_AUTHORITY alone.
 */
enum lct_code lct_keyfile_write_der(uint8_t **bytes, size_t *bytes_len,
                                    const struct lct_keyfile *keyfile, struct lct_err *err);
enum lct_code lct_keyfile_write_pem(uint8_t **bytes, size_t *bytes_len,
                                    const struct lct_keyfile *keyfile, struct lct_err *err);

#endif
