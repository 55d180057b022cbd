/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_STORE_REFERENCE_H
#define LCT_STORE_REFERENCE_H

#include "store/store.h"

/*
 * LCT PRIVATE KEY: for programs that take a key only as a file, a file that stands for an identity
 * and holds nothing secret:
 *
 *     LCTKeyReference ::= SEQUENCE {
 *         type        VisibleString ("LCT Key Reference v1"),
 *         uri         UTF8String,                -- lct://alice
 *         publicKey   SubjectPublicKeyInfo }     -- of the generation that was active
 *
 * The string at its beginning tells the bare DER from all else. It follows a rotation: it means the
 * generation that is active when it is read, unless its URI names one. The public key holds it to
 * one identity: another one that was made later under the same id has none like it.
 */
struct lct_reference {
    struct lct_uri uri;
    uint8_t *public_key; /* SubjectPublicKeyInfo, DER */
    size_t public_len;
};

/* Its label in PEM: mod_ssl and others find only keys whose label ends so. */
extern const char lct_reference_label[];

/* Whether that much of a DER value, which need not be all of it, begins as a reference does. */
bool lct_reference_begins(const uint8_t *der, size_t der_len);

/*
 * Reads one PEM block of that label, or its bare DER; strict as lct_keyfile_read.
 * LCT_ERR_BAD_RECORD. lct_reference_clear frees the parts.
 */
enum lct_code lct_reference_read(struct lct_reference *reference, const uint8_t *bytes,
                                 size_t bytes_len, struct lct_err *err);
void lct_reference_clear(struct lct_reference *reference);

/* A reference to the identity whose active key is `key`, or of another generation to that alone, as
 * PEM; the caller frees *text with OPENSSL_free. LCT_ERR_INTERNAL. */
enum lct_code lct_reference_write(uint8_t **text, size_t *text_len, const struct lct_key *key,
                                  struct lct_err *err);

/*
 * The key that a reference stands for. LCT_ERR_WRONG_KEY: the identity of that id has no generation
 * with the reference's public key. Errors also as lct_store_get_key. Sends the TPM nothing.
 */
enum lct_code lct_reference_get_key(const struct lct_store *store, struct lct_crypto *crypto,
                                    const struct lct_reference *reference, struct lct_key **key,
                                    struct lct_err *err);

#endif
