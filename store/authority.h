/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_STORE_AUTHORITY_H
#define LCT_STORE_AUTHORITY_H

#include "base/error.h"
#include "store/store.h"
#include "tcg/seal.h"

#include <openssl/types.h>

/*
 * The recovery authority of a store: the public key of who may approve other boot states than that
 * of the sealing. It is in <dir>/.authority.pub.pem (no id begins with a dot), 0644, as
 * SubjectPublicKeyInfo in PEM, after lines for people, one of which says where the private half was
 * put when it was made here:
 *
 *     private-key: /media/stick/authority.pem
 *
 * A seal is worth no more than the place of that: with it and the disk, any boot can be approved.
 */
struct lct_authority {
    EVP_PKEY *pkey;    /* in the private library context */
    size_t public_len; /* of lct_authority_public */
    uint8_t public_area[LCT_MAX_AUTHORITY];
    char fingerprint[65]; /* SHA-256 of SubjectPublicKeyInfo, in hex: how it is called */
    char *dir;            /* the store it is in */
    char *private_key;    /* the path of the private half, NULL: it was not made here */
};

/*
 * The authority of the store that new identities go to, or with `dir` of that one.
 * LCT_ERR_NO_AUTHORITY: it has none; LCT_ERR_BAD_RECORD; LCT_ERR_STORE. lct_authority_clear frees
 * what it holds.
 */
enum lct_code lct_authority_get(struct lct_authority *authority, const struct lct_store *store,
                                const char *dir, struct lct_crypto *crypto, struct lct_err *err);
void lct_authority_clear(struct lct_authority *authority);

/* The same of such a file's text, which a NUL follows; it is of no store. LCT_ERR_BAD_RECORD;
 * LCT_ERR_INTERNAL. lct_authority_clear frees what it holds, whatever comes back. */
extern const char lct_authority_file[];
enum lct_code lct_authority_parse(struct lct_authority *authority, OSSL_LIB_CTX *libctx,
                                  const char *text, size_t text_len, struct lct_err *err);

/* Which of the stores has the authority of this seal, borrowed: where its approvals are. NULL:
 * none, or it is sealed to no authority. */
const char *lct_authority_find(const struct lct_store *store, struct lct_crypto *crypto,
                               const struct lct_seal *seal);

/*
 * Makes `pkey` the authority of the store that new identities go to, which is made if need be;
 * `private_key` may be NULL. LCT_ERR_EXISTS: it has one (the same one is no error);
 * LCT_ERR_UNSUPPORTED: a kind of key that none can be, or a line break in the path; LCT_ERR_STORE;
 * LCT_ERR_BAD_RECORD: what is there is damaged, and is left as it is.
 */
enum lct_code lct_authority_put(const struct lct_store *store, struct lct_crypto *crypto,
                                EVP_PKEY *pkey, const char *private_key, struct lct_err *err);

/* The name of a key, of which the private half may be there: SHA-256 of its SubjectPublicKeyInfo,
 * in hex, with a curve by name and a point that is not compressed. LCT_ERR_UNSUPPORTED: a kind of
 * key that none can be; LCT_ERR_INTERNAL. */
enum lct_code lct_authority_fingerprint(char fingerprint[65], EVP_PKEY *pkey, OSSL_LIB_CTX *libctx,
                                        struct lct_err *err);

#endif
