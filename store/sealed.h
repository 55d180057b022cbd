/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_STORE_SEALED_H
#define LCT_STORE_SEALED_H

#include "base/config.h"
#include "base/error.h"
#include "base/secret.h"
#include "store/pin.h"
#include "store/store.h"
#include "tcg/seal.h"
#include "tpm/tpm.h"

/*
 * A sealed secret, as a file of its own, which is of no store: PEM of a TSS2 PRIVATE KEY with the
 * OID of sealed data. Before it, in a block "LCT SEAL" of JSON in base64, struct lct_seal as the
 * record has it (proof/seal.h), which must be what the object's authPolicy is of, and beside its
 * members, or where it is not sealed alone, "parent_name": the Name of the storage key that it is
 * under, in hexadecimal. What has another Name gets nothing of it. Files of before have no such
 * member, and no block without a seal. What is sealed with `strict` is in the standard's `policy`
 * as well, and other tools can unseal it; the block could be taken away, and is there to say which
 * PCR differs.
 *
 * Of more than LCT_MAX_SEALED bytes the sealed data is "lct data key v1" with its NUL and 32 bytes,
 * a key of AES-256-GCM, and what that encrypts follows in a block "LCT SEALED DATA": 12 bytes of
 * nonce, the ciphertext, 16 bytes of tag; the additional data is the DER of the TSS2 PRIVATE KEY.
 * What the TPM unseals so tells whether there is such a block: one that was taken away or put there
 * is noticed.
 */
enum {
    LCT_MAX_SECRET = 1 << 20,                /* bytes */
    LCT_MAX_SECRET_FILE = 2 * LCT_MAX_SECRET /* bytes of such a file */
};

/* How a secret is sealed: values, borrowed. */
struct lct_sealed_request {
    const struct lct_seal *seal;         /* of lct_seal_prepare; NULL: none */
    bool provision;                      /* as in struct lct_tpm_template */
    struct lct_pin pin;                  /* what the storage root key has to be */
    const struct lct_secret *passphrase; /* NULL or empty: none */
    const struct lct_secret *owner_auth; /* NULL: not known */
};

/*
 * Seals: *text is the file, NUL-terminated, which the caller frees with free(). *made_srk: whether
 * a storage root key was made, on failure too. LCT_ERR_USAGE: nothing to seal, or too much. Errors
 * of lct_pin_create.
 */
enum lct_code lct_sealed_make(char **text, bool *made_srk, struct lct_tpm *tpm,
                              struct lct_crypto *crypto, const struct lct_sealed_request *request,
                              const uint8_t *data, size_t data_len, struct lct_err *err);

/*
 * A key, in the sense of lct_tpm_unseal, of such a file or of another tool's; lct_key_free. It has
 * no public key. Approvals are of the one of the store's directories whose authority it is sealed
 * to, and as configured. `file` is what messages call it. Sends the TPM nothing. Errors of
 * lct_key_from_sealed.
 */
enum lct_code lct_sealed_read(struct lct_key **key, struct lct_crypto *crypto,
                              const struct lct_store *store, const struct lct_config *config,
                              const char *file, const uint8_t *text, size_t text_len,
                              struct lct_err *err);

/* What was sealed in the file that the key was read from, into *data, which the caller wipes and
 * frees with free(). Errors of lct_key_unseal; LCT_ERR_BAD_RECORD: the data beside it is missing,
 * damaged or another file's. */
enum lct_code lct_sealed_open(uint8_t **data, size_t *data_len, const struct lct_key *key,
                              struct lct_tpm *tpm, const uint8_t *text, size_t text_len,
                              struct lct_err *err);

#endif
