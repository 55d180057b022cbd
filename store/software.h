/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_STORE_SOFTWARE_H
#define LCT_STORE_SOFTWARE_H

#include "base/error.h"
#include "base/secret.h"
#include "store/record.h"
#include "tcg/signature.h"

#include <openssl/types.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Private keys in software: their file is one PEM block "ENCRYPTED PRIVATE KEY", a PKCS #8
 * EncryptedPrivateKeyInfo (RFC 5958, 3) under PBES2 (RFC 8018, 6.2) with scrypt (RFC 7914) and
 * AES-256-CBC.
 *
 * scrypt and not PBKDF2, since nothing limits how often a copy of the file is guessed at, and what
 * takes memory is guessed at with less help from graphics cards. N = 2^14, r = 8 takes 16 MiB: more
 * than 32 libcrypto itself refuses, and so would every other reader of the file. p = 5 makes up for
 * it in time, which is a tenth of a second for each load.
 *
 * All of it is done in `libctx`, the private library context; none of it speaks to a TPM.
 */

/* A new key pair of an algorithm that is made in software; the caller frees it. LCT_ERR_INTERNAL.
 */
enum lct_code lct_software_make(EVP_PKEY **pkey, const struct lct_algorithm *algorithm,
                                OSSL_LIB_CTX *libctx, struct lct_err *err);

/* What a record says of it, but for its number and times. LCT_ERR_INTERNAL. */
enum lct_code lct_software_describe(struct lct_generation *generation,
                                    const struct lct_algorithm *algorithm, EVP_PKEY *pkey,
                                    struct lct_err *err);

/* Its file; the caller frees *pem with OPENSSL_free. LCT_ERR_INTERNAL. */
enum lct_code lct_software_write(uint8_t **pem, size_t *pem_len, EVP_PKEY *pkey,
                                 const struct lct_secret *passphrase, OSSL_LIB_CTX *libctx,
                                 struct lct_err *err);

/*
 * Takes such a file apart as far as that goes without its passphrase: its DER, to be freed with
 * OPENSSL_free. Strict: nothing but white space around the block, DER, these algorithms, and what
 * it costs to decrypt is no more than four times what lct makes it cost, and no less than that.
 * LCT_ERR_BAD_RECORD.
 */
enum lct_code lct_software_read(uint8_t **der, size_t *der_len, const uint8_t *pem, size_t pem_len,
                                struct lct_err *err);

/* The public key of a generation, as its record has it: SubjectPublicKeyInfo of its algorithm, and
 * DER. The caller frees it. LCT_ERR_BAD_RECORD. */
enum lct_code lct_software_public(EVP_PKEY **pkey, const struct lct_generation *generation,
                                  OSSL_LIB_CTX *libctx, struct lct_err *err);

/*
 * Decrypts what lct_software_read gave: a private key that belongs to `public_key`, to be freed.
 * LCT_ERR_AUTH: the passphrase is wrong, which cannot be told from a damaged file;
 * LCT_ERR_BAD_RECORD: it is another key.
 */
enum lct_code lct_software_decrypt(EVP_PKEY **pkey, const uint8_t *der, size_t der_len,
                                   const struct lct_secret *passphrase, const EVP_PKEY *public_key,
                                   OSSL_LIB_CTX *libctx, struct lct_err *err);

/* The private key as PKCS #8 that is not encrypted, for libcrypto alone; the caller frees it with
 * OPENSSL_clear_free. LCT_ERR_INTERNAL. */
enum lct_code lct_software_encode(uint8_t **der, size_t *der_len, const EVP_PKEY *pkey,
                                  struct lct_err *err);

/* Signs a digest of scheme->hash with a private key, LCT_ERR_UNSUPPORTED if its kind signs none;
 * and a whole message with one of such a kind. LCT_ERR_INTERNAL. */
enum lct_code lct_software_sign(struct lct_signature *signature, EVP_PKEY *pkey,
                                const struct lct_scheme *scheme, const uint8_t *digest,
                                size_t digest_len, OSSL_LIB_CTX *libctx, struct lct_err *err);
enum lct_code lct_software_sign_message(struct lct_signature *signature, EVP_PKEY *pkey,
                                        const uint8_t *message, size_t message_len,
                                        OSSL_LIB_CTX *libctx, struct lct_err *err);

#endif
