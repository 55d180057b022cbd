/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TESTS_KEYS_H
#define LCT_TESTS_KEYS_H

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* What the test programs do with keys. Each ends the program with status 1 if it does not go well.
 */

enum { MAX_SIGNATURE = 1024 };

/* The text that is signed, with its NUL. */
extern const char message[15];

/* Ends the program, saying what is not so, unless `condition`. */
void expect(bool condition, const char *what);

bool is_text(const char *text, const char *expected);

/* The key that a URI names in a library context. */
EVP_PKEY *load(OSSL_LIB_CTX *libctx, const char *uri);

/* The public half as the default provider has it, by way of its SubjectPublicKeyInfo. */
EVP_PKEY *software_public(OSSL_LIB_CTX *libctx, EVP_PKEY *pkey);

/* Signs `message` in one shot; `len` is the length of the signature. */
void sign(OSSL_LIB_CTX *libctx, EVP_PKEY *pkey, unsigned char signature[MAX_SIGNATURE],
          size_t *len);

bool verifies(OSSL_LIB_CTX *libctx, EVP_PKEY *public_key, const unsigned char *signature,
              size_t len);

void sign_and_verify(OSSL_LIB_CTX *libctx, EVP_PKEY *pkey);

/* Before anything of libcrypto is used: gives it an allocator whose blocks free() would abort on,
 * so that who mixes allocators is found out. */
void replace_allocator(void);

/* Waits for a child, which must end with status 0. */
void reap(pid_t pid, const char *what);

#endif
